# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution in Helium vectors: a window of a channel is one vector of four columns.

Scratch holds, for sixteen channels at a time, every column under some output rows as one word a
channel: the elements of up to three kernel rows.  Kernels up to 3 rows by 4 columns.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tinyq.kernels.mve import (
    BLOCK,
    Form,
    code_images,
    flip_of,
    requant_fields,
    weights_form,
)
from tinyq.kernels.request import Request
from tinyq.numerics import IntArray
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.clayer import CLayer, CTable, kernel_fields, shape_fields

#: TQ_MVE_DEPTHWISE_ROWS, TQ_MVE_DEPTHWISE_COLS of depthwise_conv2d_mve.h
MAX_ROWS: Final = 3
MAX_COLS: Final = 4
#: bytes of a column of sixteen channels in scratch
COLUMN_BYTES: Final = 64
#: bytes of a tile of more than one row, and of any tile
BUDGET: Final = 2048
LIMIT: Final = 16384


def choose(request: Request) -> CLayer | None:
    """For cores with Helium: weights of 4 or 8 bits, one output channel to an input channel."""
    op, form = request.node.op, _form(request)
    if not request.core.mve or not isinstance(op, DepthwiseConv2D) or form is None:
        return None
    height, width, _ = request.out.shape
    row_bytes = ((width - 1) * op.strides[1] + MAX_COLS) * COLUMN_BYTES
    if not _fits(op) or row_bytes > LIMIT:
        return None
    rows = max(1, min(height, BUDGET // row_bytes))
    requant = requant_fields(request, form)
    is_plain = "nudge" not in requant and (requant["lo"], requant["hi"]) == (0, 255)
    fields = {
        "codes": channel_codes(form),
        **form.table_field,
        "run": f"tq_mve_depthwise_{form.name}{'_u8' if is_plain else ''}",
        "requant": requant,
        "input": shape_fields(request.ins[0].shape),
        "output": shape_fields(request.out.shape),
        "kernel": kernel_fields(op.kernel, op.strides, op.padding),
        "tile_rows": rows,
        "flip": flip_of(request),
    }
    return CLayer("depthwise_conv2d_mve", fields, request.plain.detail, scratch=rows * row_bytes)


def _fits(op: DepthwiseConv2D) -> bool:
    height, width = op.kernel
    return (
        op.multiplier == 1
        and height <= MAX_ROWS
        and width <= MAX_COLS
        and op.strides[1] <= MAX_COLS
    )


def _form(request: Request) -> Form | None:
    """4-bit codes are decoded once a tile: all of them through a table."""
    form, op = weights_form(request), request.node.op
    if form is None or form.name != "int4" or not isinstance(op, DepthwiseConv2D):
        return form
    return Form("table", form.values, code_images(op.quantized))


def channel_codes(form: Form) -> CTable:
    """Weights ``[O, KH, KW]`` as ``[blocks][4][KW][KH]`` int8 or ``[blocks][2][KW][KH]`` pairs."""
    values: IntArray = form.values.swapaxes(1, 2).reshape(len(form.values), -1)
    whole = np.pad(values, ((0, -len(values) % BLOCK), (0, 0)))
    if form.is_packed:
        whole = whole[0::2] | whole[1::2] << 4
    return CTable("codes", np.ascontiguousarray(whole).ravel().view(np.uint8))
