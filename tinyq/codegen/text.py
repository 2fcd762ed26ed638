# SPDX-License-Identifier: Apache-2.0
"""Text of C constants and comments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy.typing as npt

COLUMNS: Final = 100
_INDENT: Final = "    "


def table_rows(values: npt.NDArray[Any]) -> tuple[str, ...]:
    """Lines of an initialiser: decimal numbers in aligned columns, within 100 characters."""
    words = [str(value) for value in values.tolist()]
    width = max(map(len, words), default=1)
    per_row = max((COLUMNS - len(_INDENT) + 1) // (width + 2), 1)
    cells = [f"{word:>{width}}," for word in words]
    return tuple(
        _INDENT + " ".join(cells[start : start + per_row])
        for start in range(0, len(cells), per_row)
    )


def comment(text: str) -> str:
    """``text`` without anything that could end a comment or start a trigraph."""
    return re.sub(r"[^A-Za-z0-9_.,:+\-/()\[\] ]", "_", text)


def dimensions(shape: Sequence[int]) -> str:
    """``32x32x3``."""
    return "x".join(map(str, shape))


def align_columns(rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> tuple[str, ...]:
    """A table of text: columns two spaces apart, those in ``numbers`` aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return tuple(line(row) for row in rows)
