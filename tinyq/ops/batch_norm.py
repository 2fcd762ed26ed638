# SPDX-License-Identifier: Apache-2.0
"""Batch normalization as y = x * scale + offset; lives in the float graph only.

The passes fold it into a neighbour or turn it into a 1x1 depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class BatchNorm(Op):
    """Per-channel scale and offset (float32 ``[C]``) on the last axis."""

    stem = "batch_norm"

    scale: FloatArray
    offset: FloatArray

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[0][-1] != len(self.scale):
            raise GraphError(f"{len(self.scale)} channels expected, got {shapes[0]}")
        return shapes[0]

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        raise GraphError("batch normalization must be folded before quantization")

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        raise GraphError("batch normalization has no integer form: fold it first")

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        return xs[0] * self.scale.astype(xs[0].dtype) + self.offset.astype(xs[0].dtype)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        raise GraphError("batch normalization has no integer form: fold it first")
