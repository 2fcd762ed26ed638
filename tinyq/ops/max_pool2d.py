# SPDX-License-Identifier: Apache-2.0
"""Max pooling: exact on codes; the padding never wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op
from tinyq.ops.clayer import CLayer, kernel_fields, shape_fields, window_detail
from tinyq.ops.twin import TwinBuilder, TwinOperator, window_source
from tinyq.ops.windows import NO_PADDING, Padding, Pair, check_padding, window_shape, windows
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class MaxPool2D(Op):
    """Maximum over windows of (height, width)."""

    stem = "max_pool2d"
    keeps_exponent = True
    keeps_type = True

    pool: Pair
    strides: Pair
    padding: Padding = NO_PADDING

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        check_padding(self.padding, self.pool)
        out = window_shape(shapes[0], self.pool, self.strides, self.padding)
        return (*out, shapes[0][2])

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        x = xs[0].astype(np.int64)
        return windows(x, self.pool, self.strides, self.padding, ins[0].lo).max((3, 4))

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        x = windows(xs[0], self.pool, self.strides, self.padding, -np.inf)
        maximum: FloatArray = x.max((3, 4))
        return maximum

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        fields = {
            "input": shape_fields(ins[0].shape),
            "output": shape_fields(out.shape),
            "kernel": kernel_fields(self.pool, self.strides, self.padding),
            "is_signed": int(out.signed),
        }
        return CLayer("max_pool2d", fields, window_detail(self.pool, self.strides))

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        window = self.pool, self.strides, self.padding
        source, padding = window_source(twin, ins[0], out, window, ins[0].lo)
        options = {
            "padding": padding,
            "strideH": self.strides[0],
            "strideW": self.strides[1],
            "filterHeight": self.pool[0],
            "filterWidth": self.pool[1],
        }
        twin.emit(TwinOperator("MAX_POOL_2D", options), [source], out)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        return intervals[0]
