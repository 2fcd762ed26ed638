# SPDX-License-Identifier: Apache-2.0
"""Depthwise 3x3, one channel at a time in words, for cores with MLA and no SIMD.

A word holds one activation, or two of one channel where every sum is proved to fit 16 bits
(``tinyq/planes.h``): then one multiplication does two.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tinyq.kernels.pairs import LANE_MAX, LANE_MIN, finish_form
from tinyq.kernels.request import Request
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.clayer import CLayer

#: words of a row that there are functions for
PITCHES: Final = (8, 16, 32, 64, 128)
#: bytes of scratch memory, but for images so wide that a single row of output needs more
BUDGET: Final = 7168


def choose(request: Request) -> CLayer | None:
    """For cores with Thumb-2 and without the DSP extension: 3x3, column stride 1 or 2."""
    op, core = request.node.op, request.core
    if not isinstance(op, DepthwiseConv2D) or not core.thumb2 or core.dsp:
        return None
    columns = (request.out.shape[1] - 1) * op.strides[1] + 3
    pitch = next((pitch for pitch in PITCHES if pitch >= columns), None)
    if op.kernel != (3, 3) or op.strides[1] > 2 or pitch is None or not request.intervals:
        return None
    height, width, _ = request.out.shape
    lanes = height > 1 and lanes_hold(request, op)
    tile = largest_tile(-(-height // 2) if lanes else height, op.strides[0], pitch, width)
    kept: tuple[str, ...] = ("input", "output", "kernel", "weights", "requant", "multiplier")
    if op.quantized.encoding != "int8":
        kept += ("unpack",)
    fields = {
        **{name: request.plain.fields[name] for name in kept},
        "sum_plane": f"tq_sum_plane_{pitch}_{op.strides[1]}",
        "finish": f"tq_finish_plane_{'lanes' if lanes else 'sums'}_"
        + finish_form(request.plain.fields["requant"]),
        "pitch": pitch,
        "tile": tile,
        "lanes": int(lanes),
        "is_signed": int(request.ins[0].signed),
    }
    detail = f"{request.plain.detail} {'lanes' if lanes else 'sums'}, {tile} rows"
    scratch = scratch_bytes(tile, op.strides[0], pitch, width)
    return CLayer("depthwise_conv2d_planes", fields, detail, scratch=scratch)


def lanes_hold(request: Request, op: DepthwiseConv2D) -> bool:
    """Whether every finished sum, rounding constant included, fits 16 bits."""
    low, high = op.products(request.intervals[0], op.quantized.image().astype(np.int64))
    start = request.plain.fields["requant"]["bias"].values.astype(np.int64)
    least, greatest = start + low.sum(1), start + high.sum(1)
    return bool(least.min() >= LANE_MIN and greatest.max() <= LANE_MAX)


def scratch_bytes(tile: int, stride: int, pitch: int, width: int) -> int:
    """Activations under a tile of output rows, and its sums."""
    return 4 * (((tile - 1) * stride + 3) * pitch + tile * width)


def largest_tile(rows: int, stride: int, pitch: int, width: int) -> int:
    """Output rows at a time: as few tiles as the budget admits, of equal height."""
    fitting = [t for t in range(1, rows + 1) if scratch_bytes(t, stride, pitch, width) <= BUDGET]
    return -(-rows // -(-rows // max(fitting, default=1)))
