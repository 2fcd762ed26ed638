# SPDX-License-Identifier: Apache-2.0
"""Softmax over the last axis in integers, equal to TFLM's int8 kernel.

The output is uint8 with exponent -8 (int8 with zero point -128 in a ``.tflite``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq import fixedpoint
from tinyq.errors import GraphError, UnsupportedError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op, check_equal, check_in
from tinyq.ops.clayer import CLayer, CTable
from tinyq.ops.twin import TwinBuilder, TwinOperator
from tinyq.tensors import Interval, Shape, Tensor, full_interval


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x) / sum(exp(x)) along the last axis."""

    stem = "softmax"

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        check_equal("output form", ("uint8", 8, -8), (out.dtype, out.bits, out.exponent))
        if out.shape[-1] > fixedpoint.SOFTMAX_MAX_ELEMENTS:
            raise GraphError(
                f"softmax over {out.shape[-1]} classes, at most {fixedpoint.SOFTMAX_MAX_ELEMENTS}"
            )
        check_in("input exponent", ins[0].exponent, fixedpoint.SOFTMAX_EXPONENTS)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        distances = ins[0].hi - ins[0].lo + 1
        exps = fixedpoint.softmax_exp_table(ins[0].exponent)[:distances]
        classes = out.shape[-1]
        fields = {
            "exps": CTable("exps", exps),
            "exp_count": len(exps),
            "classes": classes,
            "rows": out.size // classes,
            "input_signed": int(ins[0].signed),
        }
        return CLayer("softmax", fields)

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        if out.shape[-1] > fixedpoint.SOFTMAX_MAX_TFLM_ELEMENTS:
            raise UnsupportedError(
                f"softmax over {out.shape[-1]} classes: stock TFLM aborts above "
                f"{fixedpoint.SOFTMAX_MAX_TFLM_ELEMENTS}; quantize without the last softmax"
            )
        twin.emit(TwinOperator("SOFTMAX", {"beta": 1.0}), [twin.activation(ins[0])], out)

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        return fixedpoint.softmax(xs[0].astype(np.int64), ins[0].exponent).astype(np.int64)

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        e = np.exp(xs[0] - xs[0].max(-1, keepdims=True))
        result: FloatArray = e / e.sum(-1, keepdims=True)
        return result

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        return full_interval(out)
