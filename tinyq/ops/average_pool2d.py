# SPDX-License-Identifier: Apache-2.0
"""Average pooling; the exponent is inherited.

out = z + sgn(t) * ((2|t| + c) div 2c) with t = sum(q - z) over the c elements inside the input;
z = 128 for uint8 and 0 for int8, because TFLM rounds the int8 value that it stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UnsupportedError
from tinyq.numerics import FloatArray, IntArray, divide_half_away
from tinyq.ops.base import Op, apply_activation, check_activation, output_limits
from tinyq.ops.clayer import CLayer, kernel_fields, shape_fields, window_detail
from tinyq.ops.twin import TwinBuilder, TwinOperator, padding_option
from tinyq.ops.windows import (
    NO_PADDING,
    Padding,
    Pair,
    check_padding,
    window_counts,
    window_shape,
    windows,
)
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class AveragePool2D(Op):
    """Average over windows of (height, width); elements in the padding are not counted."""

    stem = "average_pool2d"
    keeps_exponent = True
    keeps_type = True

    pool: Pair
    strides: Pair
    padding: Padding = NO_PADDING
    activation: str = "linear"

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        check_padding(self.padding, self.pool)
        out = window_shape(shapes[0], self.pool, self.strides, self.padding)
        return (*out, shapes[0][2])

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        super().check(ins, out)
        check_activation(self.activation)

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        zero = 0 if ins[0].signed else 128
        centred = xs[0].astype(np.int64) - zero
        total = windows(centred, self.pool, self.strides, self.padding).sum((3, 4))
        counts = window_counts(ins[0].shape, self.pool, self.strides, self.padding)
        average = zero + divide_half_away(total, counts.astype(np.int64))
        return np.clip(average, *output_limits(self.activation, out))

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        total = windows(xs[0], self.pool, self.strides, self.padding).sum((3, 4))
        counts = window_counts(xs[0].shape[1:], self.pool, self.strides, self.padding)
        return apply_activation(total / counts.astype(xs[0].dtype), self.activation)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        lo, hi = output_limits(self.activation, out)
        fields = {
            "input": shape_fields(ins[0].shape),
            "output": shape_fields(out.shape),
            "kernel": kernel_fields(self.pool, self.strides, self.padding),
            "is_signed": int(out.signed),
            "lo": lo,
            "hi": hi,
        }
        return CLayer("average_pool2d", fields, window_detail(self.pool, self.strides))

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        padding = padding_option(ins[0].shape, self.pool, self.strides, self.padding)
        if padding is None:
            raise UnsupportedError(
                f"average pooling with padding {self.padding} has no TFLite form: use 'same' or "
                "'valid' padding"
            )
        options = {
            "padding": padding,
            "strideH": self.strides[0],
            "strideW": self.strides[1],
            "filterHeight": self.pool[0],
            "filterWidth": self.pool[1],
        }
        limits = output_limits(self.activation, out)
        operator = TwinOperator("AVERAGE_POOL_2D", options, self.activation, limits)
        twin.emit(operator, [twin.activation(ins[0])], out)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        return intervals[0].clip(*output_limits(self.activation, out))
