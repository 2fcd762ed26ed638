# SPDX-License-Identifier: Apache-2.0
"""Concatenation along one axis: exact on codes; inputs share exponent and type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op
from tinyq.ops.clayer import CLayer, CTable
from tinyq.ops.twin import TwinBuilder, TwinOperator, derived
from tinyq.tensors import Interval, Shape, Tensor

TFLM_INPUTS: Final = 10


@dataclass(frozen=True)
class Concat(Op):
    """Concatenation; ``axis`` counts without the batch dimension, 0 or above."""

    stem = "concat"
    keeps_exponent = True
    keeps_type = True
    arity = None

    axis: int

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        rests = {s[: self.axis] + s[self.axis + 1 :] for s in shapes}
        if len(rests) != 1 or not 0 <= self.axis < len(shapes[0]):
            raise GraphError(f"cannot concatenate {list(shapes)} along axis {self.axis}")
        total = sum(s[self.axis] for s in shapes)
        return (*shapes[0][: self.axis], total, *shapes[0][self.axis + 1 :])

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        return np.concatenate([x.astype(np.int64) for x in xs], self.axis + 1)

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        return np.concatenate(xs, self.axis + 1)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        blocks = [int(np.prod(x.shape[self.axis :])) for x in ins]
        fields = {
            "block_bytes": CTable("blocks", np.array(blocks, np.uint32)),
            "count": len(ins),
            "outer": int(np.prod(out.shape[: self.axis])),
        }
        return CLayer("concat", fields, f"axis {self.axis}", gathers=True)

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        # TFLM joins at most ten tensors at once.
        head, rest = list(ins[:TFLM_INPUTS]), list(ins[TFLM_INPUTS:])
        whole = derived(out, f"{len(rest)}", self.infer_shape([x.shape for x in head]))
        target = whole if rest else out
        operator = TwinOperator("CONCATENATION", {"axis": self.axis + 1})
        twin.emit(operator, [twin.activation(x) for x in head], target)
        if rest:
            self.to_tflite(twin, [whole, *rest], out)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        if self.axis == len(out.shape) - 1:
            return Interval(
                np.concatenate([x.lo for x in intervals]),
                np.concatenate([x.hi for x in intervals]),
            )
        return Interval(
            np.min([x.lo for x in intervals], axis=0), np.max([x.hi for x in intervals], axis=0)
        )
