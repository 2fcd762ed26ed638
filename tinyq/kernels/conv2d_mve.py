# SPDX-License-Identifier: Apache-2.0
"""Convolution in Helium vectors: four channels of two pixels at a time, on copied columns.

Every column of the image under a tile's windows lies in scratch as one string of bytes, kernel
height deep; kernel width strings side by side are a window.  1x1 convolutions see the whole image
as one row of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tinyq.kernels.mve import (
    BLOCK,
    LANES,
    Form,
    block_codes,
    flip_of,
    requant_fields,
    vectors_of,
    weights_form,
)
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import MAX_UINT16, CLayer, CStruct, kernel_fields, shape_fields
from tinyq.ops.windows import NO_PADDING
from tinyq.tensors import Shape

#: bytes of columns that a tile of more than one row or of less than the whole width may have
BUDGET: Final = 4096


@dataclass(frozen=True)
class Geometry:
    """Shapes as the kernel sees them, and the tile.

    Attributes:
        x, y: shapes of input and output.
        column: bytes of a column in scratch.
        col_step: input columns from one in scratch to the next.
        stride: columns in scratch from a window to the next.
        width: of the kernel.
        rows, cols: output pixels of a tile.
    """

    x: Shape
    y: Shape
    column: int
    col_step: int
    stride: int
    width: int
    rows: int = 1
    cols: int = 1

    def row_bytes(self, cols: int) -> int:
        """Columns under so many output columns."""
        return ((cols - 1) * self.stride + self.width) * self.column

    @property
    def tile_bytes(self) -> int:
        """The columns, and what the last vector of the last window reads beyond."""
        return self.rows * self.row_bytes(self.cols) + LANES - 1


def choose(request: Request) -> CLayer | None:
    """For cores with Helium: weights of 4 or 8 bits."""
    op, form = request.node.op, weights_form(request)
    if not request.core.mve or not isinstance(op, Conv2D) or form is None:
        return None
    geometry = with_tile(geometry_of(op, request.ins[0].shape, request.out.shape))
    if max(*geometry.x, *geometry.y) > MAX_UINT16:
        return None
    values = form.values.swapaxes(1, 2).reshape(len(form.values), -1)
    vectors = vectors_of(values.shape[1])
    fields = {
        "codes": block_codes(form, values),
        **form.table_field,
        **_routine(request, form, vectors),
        "input": shape_fields(geometry.x),
        "output": shape_fields(geometry.y),
        "kernel": kernel_fields(op.kernel, op.strides, op.padding),
        "tile_rows": geometry.rows,
        "tile_cols": geometry.cols,
        "col_step": geometry.col_step,
        "flip": flip_of(request),
    }
    images = vectors * BLOCK * LANES if form.table is not None else 0
    return CLayer("conv2d_mve", fields, request.plain.detail, scratch=images + geometry.tile_bytes)


def _routine(request: Request, form: Form, vectors: int) -> CStruct:
    requant = requant_fields(request, form)
    kind = "int4" if form.name == "int4" else "int8"
    return {
        "dot": f"tq_mve_dot_{kind}{'_nudge' if 'nudge' in requant else ''}",
        "block_bytes": vectors * BLOCK * LANES // (2 if form.is_packed else 1),
        "requant": requant,
    }


def geometry_of(op: Conv2D, x: Shape, y: Shape) -> Geometry:
    """Without a tile; a 1x1 convolution of stride 1 sees one row."""
    col_stride = op.strides[1]
    if op.kernel == (1, 1) and op.strides == (1, 1) and op.padding == NO_PADDING:
        x, y = (1, x[0] * x[1], x[2]), (1, y[0] * y[1], y[2])
    skips = op.kernel[1] == 1 and not any(op.padding[2:])
    col_step = col_stride if skips else 1
    return Geometry(x, y, op.kernel[0] * x[2], col_step, col_stride // col_step, op.kernel[1])


def with_tile(geometry: Geometry) -> Geometry:
    """As many whole rows as the budget holds, or else as much of a row, at least two pixels."""
    height, width, _ = geometry.y
    rows = min(height, BUDGET // geometry.row_bytes(width))
    if rows > 0:
        return replace(geometry, rows=rows, cols=width)
    fitting = [cols for cols in range(2, width, 2) if geometry.row_bytes(cols) <= BUDGET]
    return replace(geometry, cols=max(fitting, default=min(2, width)))
