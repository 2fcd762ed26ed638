# SPDX-License-Identifier: Apache-2.0
"""What all pictures share; matplotlib is imported only where one is drawn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

from tinyq.errors import OutputError, ToolMissing

FORMATS: Final = (".png", ".svg", ".pdf")


def require_plotting(path: Path) -> None:
    """Refuse before any work what cannot be drawn.

    Raises:
        OutputError: a file type that is not in ``FORMATS``.
        ToolMissing: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"cannot plot to {path}: name a file that ends in {', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise ToolMissing(
            "--plot needs matplotlib, which is not installed; pip install matplotlib"
        ) from error


def new_figure(height: float) -> Any:
    """An empty figure of 9 inches in width."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Any, form: str) -> bytes:
    """The figure as a file: "png", "svg" or "pdf"."""
    stream = io.BytesIO()
    figure.savefig(stream, format=form, dpi=120)
    return stream.getvalue()
