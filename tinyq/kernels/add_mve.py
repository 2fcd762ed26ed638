# SPDX-License-Identifier: Apache-2.0
"""Sum of two tensors in Helium vectors, where eight 16-bit lanes hold it."""

from __future__ import annotations

from tinyq.kernels.request import Request
from tinyq.numerics import INT16_MAX
from tinyq.ops import Add
from tinyq.ops.base import output_limits
from tinyq.ops.clayer import CLayer


def choose(request: Request) -> CLayer | None:
    """For cores with Helium: no sum, with its rounding constant, may need more than 16 bits."""
    op = request.node.op
    if not request.core.mve or not isinstance(op, Add):
        return None
    shift, gaps = op.shift(request.ins, request.out), op.gaps(request.ins)
    reach = sum(max(-x.lo, x.hi) << gap for x, gap in zip(request.ins, gaps, strict=True))
    if reach + (1 << shift) > INT16_MAX:
        return None
    lo, hi = output_limits(op.activation, request.out)
    fields = {
        "count": request.out.size,
        "a_factor": 1 << gaps[0],
        "b_factor": 1 << gaps[1],
        "shift": -shift,
        "away": -int(shift > 0),
        "lo": lo,
        "hi": hi,
        "a_signed": int(request.ins[0].signed),
        "b_signed": int(request.ins[1].signed),
    }
    return CLayer("add_mve", fields, in_place=(0, 1))
