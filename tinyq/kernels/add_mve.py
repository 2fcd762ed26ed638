# SPDX-License-Identifier: Apache-2.0
"""Sum of two tensors in Helium vectors, where eight 16-bit lanes hold it."""

from __future__ import annotations

from collections.abc import Sequence

from tinyq.kernels.request import Request
from tinyq.numerics import INT16_MAX
from tinyq.ops import Add
from tinyq.ops.base import output_limits
from tinyq.ops.clayer import CLayer, CStruct
from tinyq.tensors import Tensor


def choose(request: Request) -> CLayer | None:
    """For cores with Helium: no sum, with its rounding constant, may need more than 16 bits."""
    op = request.node.op
    if not request.core.mve or not isinstance(op, Add):
        return None
    fields = add_fields(op, request.ins, request.out)
    return None if fields is None else CLayer("add_mve", fields, in_place=(0, 1))


def add_fields(op: Add, ins: Sequence[Tensor], out: Tensor) -> CStruct | None:
    """A ``tq_add_mve``; ``None`` where 16 bits do not hold every sum."""
    shift, gaps = op.shift(ins, out), op.gaps(ins)
    reach = sum(max(-x.lo, x.hi) << gap for x, gap in zip(ins, gaps, strict=True))
    if reach + (1 << shift) > INT16_MAX:
        return None
    lo, hi = output_limits(op.activation, out)
    return {
        "count": out.size,
        "a_factor": 1 << gaps[0],
        "b_factor": 1 << gaps[1],
        "shift": -shift,
        "away": -int(shift > 0),
        "lo": lo,
        "hi": hi,
        "a_signed": int(ins[0].signed),
        "b_signed": int(ins[1].signed),
    }
