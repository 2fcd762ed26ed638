# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution in Helium vectors: a window of a channel is one vector of four columns.

Scratch holds, for sixteen channels at a time, every column under some output rows as one word a
channel: the elements of up to three kernel rows.  Kernels up to 3 rows by 4 columns;
rows and columns change places where that is less work.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tinyq.kernels.mve import (
    BLOCK,
    Form,
    Window,
    code_images,
    flip_of,
    requant_fields,
    weights_form,
)
from tinyq.kernels.request import Request
from tinyq.numerics import IntArray
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.clayer import CLayer, CTable

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
    plain = Window.of(request.ins[0].shape, request.out.shape, op.kernel, op.strides, op.padding)
    windows = [w for w in (plain, plain.transposed()) if _fits(w)]
    if op.multiplier != 1 or not windows:
        return None
    window = min(windows, key=effort)
    rows = max(1, min(window.y[0], BUDGET // row_bytes(window)))
    requant = requant_fields(request, form)
    is_plain = "nudge" not in requant and (requant["lo"], requant["hi"]) == (0, 255)
    fields = {
        "codes": channel_codes(form, is_transposed=window is not plain),
        **form.table_field,
        "run": f"tq_mve_depthwise_{form.name}{'_u8' if is_plain else ''}",
        "requant": requant,
        **window.fields,
        "tile_rows": rows,
        "flip": flip_of(request),
    }
    scratch = rows * row_bytes(window)
    return CLayer("depthwise_conv2d_mve", fields, request.plain.detail, scratch=scratch)


def row_bytes(window: Window) -> int:
    """Columns under an output row; the last window is four wide, whatever the kernel."""
    return ((window.y[1] - 1) * window.strides[1] + MAX_COLS) * COLUMN_BYTES


def effort(window: Window) -> int:
    """Pixels, and what each row costs beside them."""
    return window.y[0] * (window.y[1] + 8)


def _fits(window: Window) -> bool:
    return (
        window.kernel[0] <= MAX_ROWS
        and window.kernel[1] <= MAX_COLS
        and window.strides[1] <= MAX_COLS
        and row_bytes(window) <= LIMIT
    )


def _form(request: Request) -> Form | None:
    """4-bit codes are decoded once a tile: all of them through a table."""
    form, op = weights_form(request), request.node.op
    if form is None or form.name != "int4" or not isinstance(op, DepthwiseConv2D):
        return form
    return Form("table", form.values, code_images(op.quantized))


def channel_codes(form: Form, is_transposed: bool) -> CTable:
    """Weights ``[O, KH, KW]`` as ``[blocks][4][cols][rows]`` int8 or ``[blocks][2][..]`` pairs."""
    kernels = form.values if is_transposed else form.values.swapaxes(1, 2)
    values: IntArray = kernels.reshape(len(kernels), -1)
    whole = np.pad(values, ((0, -len(values) % BLOCK), (0, 0)))
    if form.is_packed:
        whole = whole[0::2] | whole[1::2] << 4
    return CTable("codes", np.ascontiguousarray(whole).ravel().view(np.uint8))
