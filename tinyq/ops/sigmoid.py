# SPDX-License-Identifier: Apache-2.0
"""Sigmoid as a table of 256 bytes, equal to TFLM's int8 LOGISTIC; output uint8, exponent -8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyq import fixedpoint
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op, check_equal, check_in
from tinyq.ops.clayer import CLayer, CTable
from tinyq.ops.twin import TwinBuilder, TwinOperator
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class Sigmoid(Op):
    """1 / (1 + exp(-x)), elementwise."""

    stem = "sigmoid"

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        check_equal("output form", ("uint8", 8, -8), (out.dtype, out.bits, out.exponent))
        check_in("input exponent", ins[0].exponent, fixedpoint.SIGMOID_EXPONENTS)

    def table(self, x: Tensor) -> npt.NDArray[np.uint8]:
        """Outputs uint8 ``[256]``, indexed by the byte that holds the input's code."""
        return fixedpoint.sigmoid_table(x.exponent, x.signed)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        return CLayer("lookup", {"table": CTable("lookup", self.table(ins[0])), "count": out.size})

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        twin.emit(TwinOperator("LOGISTIC"), [twin.activation(ins[0])], out)

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        codes: IntArray = self.table(ins[0])[xs[0].astype(np.int64) & 255].astype(np.int64)
        return codes

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        # Split by sign so that exp never overflows.
        positive = 1 / (1 + np.exp(-np.abs(xs[0])))
        result: FloatArray = np.where(xs[0] >= 0, positive, 1 - positive)
        return result

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        return Interval(
            self.evaluate([intervals[0].lo], ins, out), self.evaluate([intervals[0].hi], ins, out)
        )
