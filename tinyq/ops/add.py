# SPDX-License-Identifier: Apache-2.0
"""Elementwise sum of two tensors, requantized half away from zero (TFLM's ADD).

acc = q1 * 2**(e1-f) + q2 * 2**(e2-f) with f = min(e1, e2); then a right shift of e_out - f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray, IntArray, requantize
from tinyq.ops.base import Op, apply_activation, check_activation, output_limits
from tinyq.ops.clayer import CLayer
from tinyq.ops.twin import TwinBuilder, TwinOperator
from tinyq.tensors import Interval, Shape, Tensor

#: TFLM halves the inputs after scaling them by 2**20: a larger gap of exponents loses bits there.
MAX_GAP: Final = 18
MAX_SHIFT: Final = 19


@dataclass(frozen=True)
class Add(Op):
    """Sum of two tensors of one shape, with a fused activation."""

    stem = "add"
    in_place = (0, 1)
    arity = 2

    activation: str = "linear"

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[0] != shapes[1]:
            raise GraphError(f"cannot add shapes {shapes[0]} and {shapes[1]}: no broadcasting")
        return shapes[0]

    def gaps(self, ins: Sequence[Tensor]) -> tuple[int, int]:
        """Left shifts that bring both inputs to the finer exponent."""
        finest = min(x.exponent for x in ins)
        return ins[0].exponent - finest, ins[1].exponent - finest

    def shift(self, ins: Sequence[Tensor], out: Tensor) -> int:
        """Right shift from the finer exponent to the output's."""
        return out.exponent - min(x.exponent for x in ins)

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        check_activation(self.activation)
        if max(self.gaps(ins)) > MAX_GAP:
            raise GraphError(f"exponents {[x.exponent for x in ins]} differ by more than {MAX_GAP}")
        if not 0 <= self.shift(ins, out) <= MAX_SHIFT:
            raise GraphError(f"requantization shift {self.shift(ins, out)} outside 0..{MAX_SHIFT}")

    def _sum(self, xs: Sequence[IntArray], ins: Sequence[Tensor]) -> IntArray:
        gap1, gap2 = self.gaps(ins)
        return (xs[0].astype(np.int64) << gap1) + (xs[1].astype(np.int64) << gap2)

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        limits = output_limits(self.activation, out)
        return requantize(self._sum(xs, ins), self.shift(ins, out), "half_away", *limits)

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        return apply_activation(xs[0] + xs[1], self.activation)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        gaps, (lo, hi) = self.gaps(ins), output_limits(self.activation, out)
        fields = {
            "count": out.size,
            "a_factor": 1 << gaps[0],
            "b_factor": 1 << gaps[1],
            "a_signed": int(ins[0].signed),
            "b_signed": int(ins[1].signed),
            "shift": self.shift(ins, out),
            "lo": lo,
            "hi": hi,
        }
        return CLayer("add", fields)

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        operator = TwinOperator("ADD", {}, self.activation, output_limits(self.activation, out))
        twin.emit(operator, [twin.activation(x) for x in ins], out)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        return Interval(
            self.evaluate([x.lo for x in intervals], ins, out),
            self.evaluate([x.hi for x in intervals], ins, out),
        )
