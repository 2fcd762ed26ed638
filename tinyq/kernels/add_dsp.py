# SPDX-License-Identifier: Apache-2.0
"""Sum of two tensors on cores with the DSP extension, four elements at once.

All is counted from the smallest output on, so that saturation to 0..255 is the lower clamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tinyq.kernels.request import Request
from tinyq.numerics import INT16_MAX
from tinyq.ops import Add
from tinyq.ops.base import output_limits
from tinyq.ops.clayer import CLayer, CStruct
from tinyq.tensors import Tensor

BYTE: Final = 255
#: elements from which words gain, whatever their remainder: fewer are added one by one
LEAST_ELEMENTS: Final = 16
#: below every sum: none is rounded as the negative ones are
NEVER: Final = -(1 << 30)


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension: not too short; factors and rounded sums fit 16 bits."""
    op = request.node.op
    if not request.core.dsp or not isinstance(op, Add):
        return None
    if request.out.size < LEAST_ELEMENTS and not request.forced:
        return None
    fields = add_fields(op, request.ins, request.out)
    return None if fields is None else CLayer("add_dsp", fields, in_place=(0, 1))


def add_fields(op: Add, ins: Sequence[Tensor], out: Tensor) -> CStruct | None:
    """A ``tq_add_dsp``; ``None`` where 16 bits do not hold a factor or a rounded sum."""
    shift, factors = op.shift(ins, out), [1 << gap for gap in op.gaps(ins)]
    reach = sum(max(-x.lo, x.hi) * factor for x, factor in zip(ins, factors, strict=True))
    if max(factors) > INT16_MAX or (reach >> shift) + 1 + BYTE > INT16_MAX:
        return None
    lo, hi = output_limits(op.activation, out)
    middle = sum(128 * factor for x, factor in zip(ins, factors, strict=True) if x.signed)
    zero = (1 << shift >> 1) - (lo << shift)
    return {
        "count": out.size,
        "start": zero - middle,
        "zero": zero if lo < 0 < shift else NEVER,
        "a_factor": factors[0],
        "b_factor": factors[1],
        "a_signed": int(ins[0].signed),
        "b_signed": int(ins[1].signed),
        "shift": shift,
        "lo": lo & BYTE,
        "span": hi - lo,
    }
