# SPDX-License-Identifier: Apache-2.0
"""The explanation as a picture; matplotlib is imported only here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

from tinyq.errors import OutputError, ToolMissing
from tinyq.waterfall.layers import PARTS
from tinyq.waterfall.report import Explanation
from tinyq.waterfall.stages import CAUSES

FORMATS: Final = (".png", ".svg", ".pdf")
_COLOURS: Final = {"weights": "#4477aa", "activations": "#ee6677", "clipping": "#ccbb44"}


def require_plotting(path: Path) -> None:
    """Refuse before any work what cannot be drawn.

    Raises:
        OutputError: a file type that is not in ``FORMATS``.
        ToolMissing: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"cannot plot to {path}: name a file that ends in {', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ToolMissing(
            "--plot needs matplotlib, which is not installed; pip install matplotlib"
        ) from error


def draw(result: Explanation, form: str) -> bytes:
    """The waterfall above, the layers' noise below, as a file of type "png", "svg" or "pdf"."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 3.2 + 0.28 * len(result.layers)
    figure = Figure(figsize=(9, 2.8 + height), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, height_ratios=(2.8, height))
    _draw_stages(upper, result)
    _draw_layers(lower, result)
    stream = io.BytesIO()
    figure.savefig(stream, format=form, dpi=120)
    return stream.getvalue()


def _draw_stages(axes: Any, result: Explanation) -> None:
    """Bars that hang from the level of the stage before: accuracy, or SQNR without labels."""
    levels = [stage.score.accuracy for stage in result.stages]
    known = [level * 100 for level in levels if level is not None]
    values = known if len(known) == len(levels) else [stage.sqnr for stage in result.stages]
    unit = "accuracy, %" if values is known else "output SQNR, dB"
    for i, value in enumerate(values):
        before = values[i - 1] if i else value
        colour = "#bb4433" if value < before else "#228833"
        axes.bar(i, abs(value - before), bottom=min(value, before), color=colour)
        axes.plot([i - 0.4, i + 0.4], [value, value], color="black")
        axes.annotate(f"{value:.1f}", (i, max(value, before)), ha="center", va="bottom")
    titles = [CAUSES[stage.cause].replace(" ", "\n", 1) for stage in result.stages]
    axes.set_xticks(range(len(titles)), titles, fontsize=8)
    axes.set_ylabel(unit)
    axes.margins(y=0.15)
    axes.set_title(f"{result.model}: what quantization costs ({result.samples} samples)")


def _draw_layers(axes: Any, result: Explanation) -> None:
    total = max(sum(layer.noise["all"] for layer in result.layers), 1e-30)
    left = [0.0] * len(result.layers)
    rows = range(len(result.layers))
    for part in PARTS[:-1]:
        widths = [100 * layer.noise.get(part, 0.0) / total for layer in result.layers]
        axes.barh(rows, widths, left=left, color=_COLOURS[part], label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(rows, [layer.name for layer in result.layers], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("noise of this layer alone, % of all layers'")
    axes.legend()
