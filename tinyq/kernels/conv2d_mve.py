# SPDX-License-Identifier: Apache-2.0
"""Convolution in Helium vectors: four channels of two pixels at a time, on copied columns.

Every column of the image under a tile's windows lies in scratch as one string of bytes, kernel
height deep; kernel width strings side by side are a window.  Rows and columns change places where
the image is narrow; a 1x1 convolution sees all pixels as one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tinyq.kernels.mve import (
    BLOCK,
    LANES,
    Form,
    Window,
    block_codes,
    flip_of,
    requant_fields,
    vectors_of,
    weights_form,
)
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import MAX_UINT16, CLayer, CStruct
from tinyq.ops.windows import NO_PADDING
from tinyq.tensors import Shape

#: bytes of columns that a tile of more than one row or of less than the whole width may have
BUDGET: Final = 2048
#: the same where weights are expanded for every tile and fewer pixels than these would share them
EXPANDED_BUDGET: Final = 4096
EXPANDED_PIXELS: Final = 16


@dataclass(frozen=True)
class Tile:
    """Output pixels whose columns are in scratch at a time."""

    rows: int
    cols: int


def choose(request: Request) -> CLayer | None:
    """For cores with Helium: weights of 4 or 8 bits."""
    return build(request, is_fixed=False)


def build(request: Request, is_fixed: bool) -> CLayer | None:
    """The kernel; ``is_fixed``: rows and columns may not change places."""
    op, form = request.node.op, weights_form(request)
    if not request.core.mve or not isinstance(op, Conv2D) or form is None:
        return None
    plain = window_of(op, request.ins[0].shape, request.out.shape)
    window = plain if is_fixed else min(plain, plain.transposed(), key=effort)
    if max(*window.x, *window.y) > MAX_UINT16:
        return None
    axes = (0, 2, 1, 3) if window is plain else (0, 1, 2, 3)
    values = form.values.transpose(axes).reshape(len(form.values), -1)
    vectors = vectors_of(values.shape[1])
    tile = tile_of(window, BUDGET)
    if form.is_packed and tile.rows * tile.cols < EXPANDED_PIXELS:
        tile = tile_of(window, EXPANDED_BUDGET)
    fields = {
        "codes": block_codes(form, values),
        **form.table_field,
        **_routines(request, form, vectors),
        **window.fields,
        "tile_rows": tile.rows,
        "tile_cols": tile.cols,
        "col_step": col_step(window),
        "flip": flip_of(request),
    }
    weights = vectors * BLOCK * LANES if form.is_packed else 0
    # The last vector of the last window reads on beyond the columns.
    columns = tile.rows * row_bytes(window, tile.cols) + LANES - 1
    return CLayer("conv2d_mve", fields, request.plain.detail, scratch=weights + columns)


def _routines(request: Request, form: Form, vectors: int) -> CStruct:
    requant = requant_fields(request, form)
    dot = "nudge" if "nudge" in requant else "any"
    if dot == "any" and vectors == 1 and (requant["lo"], requant["hi"]) == (0, 255):
        dot = "short"
    expansion = {"expand": f"tq_mve_expand_{form.name}"} if form.is_packed else {}
    return {
        **expansion,
        "dot": f"tq_mve_dot_{dot}",
        "block_bytes": vectors * BLOCK * LANES // (2 if form.is_packed else 1),
        "requant": requant,
    }


def window_of(op: Conv2D, x: Shape, y: Shape) -> Window:
    """Rows as rows; a 1x1 convolution of stride 1 sees the image as one row."""
    if op.kernel == (1, 1) and op.strides == (1, 1) and op.padding == NO_PADDING:
        x, y = (1, x[0] * x[1], x[2]), (1, y[0] * y[1], y[2])
    return Window.of(x, y, op.kernel, op.strides, op.padding)


def effort(window: Window) -> int:
    """Pixels computed in pairs, and what each row costs beside them."""
    height, width, _ = window.y
    return height * (width + 3 * (width % 2) + 2)


def col_step(window: Window) -> int:
    """Input columns from one in scratch to the next: unused ones are left out."""
    skips = window.kernel[1] == 1 and not any(window.padding[2:])
    return window.strides[1] if skips else 1


def row_bytes(window: Window, cols: int) -> int:
    """Columns in scratch under so many output columns."""
    stride = window.strides[1] // col_step(window)
    return ((cols - 1) * stride + window.kernel[1]) * window.kernel[0] * window.x[2]


def tile_of(window: Window, budget: int) -> Tile:
    """As many whole rows as the budget holds, or else as much of a row, at least two pixels."""
    height, width, _ = window.y
    rows = min(height, budget // row_bytes(window, width))
    if rows > 0:
        return Tile(rows, width)
    fitting = [cols for cols in range(2, width, 2) if row_bytes(window, cols) <= budget]
    return Tile(1, max(fitting, default=min(2, width)))
