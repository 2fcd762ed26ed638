# SPDX-License-Identifier: Apache-2.0
"""A rectifier that could not be fused: a clamp of the codes; the exponent is inherited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op, apply_activation, check_activation, output_limits
from tinyq.ops.clayer import CLayer
from tinyq.ops.twin import TwinBuilder, TwinOperator
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class Relu(Op):
    """ReLU or ReLU6 standing alone."""

    stem = "relu"
    in_place = (0,)
    keeps_exponent = True

    activation: str = "relu"

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        super().check(ins, out)
        check_activation(self.activation)

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        return np.clip(xs[0].astype(np.int64), *output_limits(self.activation, out))

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        return apply_activation(xs[0], self.activation)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        lo, hi = output_limits(self.activation, out)
        fields = {"count": out.size, "input_signed": int(ins[0].signed), "lo": lo, "hi": hi}
        return CLayer("relu", fields, self.activation)

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        # RELU6 has no output scale of its own in TFLM; RELU and a MINIMUM say the same.
        operator = TwinOperator("RELU", {}, "relu", output_limits(self.activation, out))
        twin.emit(operator, [twin.activation(ins[0])], out)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        return intervals[0].clip(*output_limits(self.activation, out))
