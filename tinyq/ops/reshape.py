# SPDX-License-Identifier: Apache-2.0
"""A new shape for the same elements in the same order: no code, no copy, an alias in the arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op
from tinyq.ops.twin import TwinBuilder, TwinOperator
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class Reshape(Op):
    """Flatten, Reshape and the dimensions that 1-D layers gain and lose."""

    stem = "reshape"
    keeps_exponent = True
    keeps_type = True

    shape: Shape

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if np.prod(shapes[0]) != np.prod(self.shape):
            raise GraphError(f"cannot reshape {shapes[0]} to {self.shape}")
        return self.shape

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        return xs[0].reshape(len(xs[0]), *self.shape).astype(np.int64)

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        return xs[0].reshape(len(xs[0]), *self.shape)

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        shape = twin.integers(f"{out.name}#shape", np.array([1, *out.shape]))
        twin.emit(TwinOperator("RESHAPE"), [twin.activation(ins[0]), shape], out)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        columns = (-1, self.shape[-1])
        lo = np.broadcast_to(intervals[0].lo, ins[0].shape).reshape(columns).min(0)
        hi = np.broadcast_to(intervals[0].hi, ins[0].shape).reshape(columns).max(0)
        return Interval(lo, hi)
