# SPDX-License-Identifier: Apache-2.0
"""Depthwise 3x3, one channel at a time in words, for cores with MLA and no SIMD.

A word holds one activation, or two of one channel where every sum is proved to fit 16 bits
(``tinyq/planes.h``): then one multiplication does two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tinyq.encodings import ENCODINGS
from tinyq.kernels.pairs import LANE_MAX, LANE_MIN, finish_form
from tinyq.kernels.request import Request
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.clayer import CLayer, CTable

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
    lanes = request.out.shape[0] > 1 and lanes_hold(request, op)
    plan = choose_plan(request, op, pitch, lanes)
    kept = ("input", "output", "kernel", "requant", "multiplier")
    fields = {
        **{name: request.plain.fields[name] for name in kept},
        **weights_of(request, op),
        "sum_plane": f"tq_sum_plane_{pitch}_{op.strides[1]}",
        "finish": f"tq_finish_plane_{'lanes' if lanes else 'sums'}_"
        + finish_form(request.plain.fields["requant"]),
        "pitch": pitch,
        "tile": plan.tile,
        "planes": plan.planes,
        "lanes": int(lanes),
        "is_signed": int(request.ins[0].signed),
    }
    detail = f"{request.plain.detail} {'lanes' if lanes else 'sums'}, {plan.tile} rows"
    return CLayer("depthwise_conv2d_planes", fields, detail, scratch=plan.scratch)


def lanes_hold(request: Request, op: DepthwiseConv2D) -> bool:
    """Whether every finished sum, rounding constant included, fits 16 bits."""
    low, high = op.products(request.intervals[0], op.quantized.image().astype(np.int64))
    start = request.plain.fields["requant"]["bias"].values.astype(np.int64)
    least, greatest = start + low.sum(1), start + high.sum(1)
    return bool(least.min() >= LANE_MIN and greatest.max() <= LANE_MAX)


def weights_of(request: Request, op: DepthwiseConv2D) -> dict[str, Any]:
    """``weights`` and, where the kernel does not read the codes itself, ``unpack``."""
    encoding = ENCODINGS[op.quantized.encoding]
    weights = request.plain.fields["weights"]
    if encoding.bits == 8:
        return {"weights": weights}
    if encoding.bits != 4:
        return {"weights": weights, "unpack": request.plain.fields["unpack"]}
    table = op.quantized.table
    if table is None:
        table = np.array(encoding.levels or [*range(8), *range(-8, 0)], np.int8)
    return {"weights": {**weights, "table": CTable("table", table)}}


@dataclass(frozen=True)
class Plan:
    """How much is in scratch memory at a time.

    Attributes:
        tile: output rows; with lanes, of either half.
        planes: channels, 1 or 4.
        scratch: bytes.
        cost: instructions a channel of what is not the same for all plans.
    """

    tile: int
    planes: int
    scratch: int
    cost: float


def choose_plan(request: Request, op: DepthwiseConv2D, pitch: int, lanes: bool) -> Plan:
    """The cheapest within the budget, else that of the least memory."""
    height, width, channels = request.out.shape
    height = -(-height // 2) if lanes else height
    plans = []
    for planes in (1, 4) if op.multiplier == 1 and channels >= 4 else (1,):
        for tile in range(1, height + 1):
            rows, tiles = (tile - 1) * op.strides[0] + 3, -(-height // tile)
            inside = min(request.ins[0].shape[1], (width - 1) * op.strides[1] + 3)
            element = {(1, False): 4.5, (1, True): 7.5, (4, False): 3, (4, True): 5.5}
            fill = rows * (40 / planes + inside * element[planes, lanes])
            scratch = 4 * (planes * rows * pitch + tile * width)
            plans.append(Plan(tile, planes, scratch, tiles * (fill + 150)))
    fitting = [plan for plan in plans if plan.scratch <= BUDGET]
    if fitting:
        return min(fitting, key=lambda plan: (plan.cost, plan.scratch))
    return min(plans, key=lambda plan: plan.scratch)
