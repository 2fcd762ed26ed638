# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution: output channel o = c * multiplier + m sees input channel c only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import GraphError, UnsupportedError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import LinearOp, product_range
from tinyq.ops.clayer import (
    CLayer,
    kernel_fields,
    shape_fields,
    type_suffix,
    window_detail,
)
from tinyq.ops.twin import TwinBuilder, window_source
from tinyq.ops.windows import NO_PADDING, Padding, Pair, convolve_depthwise, window_shape
from tinyq.tensors import Interval, Shape, Tensor

#: TQ_DEPTHWISE_MAX_TAPS of depthwise_conv2d.h
MAX_TAPS: Final = 256


@dataclass(frozen=True)
class DepthwiseConv2D(LinearOp):
    """Depthwise convolution; weights ``[O, KH, KW]`` with O = input channels * multiplier."""

    stem = "depthwise_conv2d"

    strides: Pair = (1, 1)
    padding: Padding = NO_PADDING
    multiplier: int = 1

    @property
    def kernel(self) -> Pair:
        """Height and width of the kernel."""
        return self.weights.shape[1], self.weights.shape[2]

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[0][-1] * self.multiplier != self.weights.shape[0]:
            raise GraphError(
                f"{self.weights.shape[0]} filters for {shapes[0][-1]} channels x {self.multiplier}"
            )
        out = window_shape(shapes[0], self.kernel, self.strides, self.padding)
        return (*out, self.weights.shape[0])

    def accumulate(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        return convolve_depthwise(x, weights, self.multiplier, self.strides, self.padding)

    def products(
        self, interval: Interval, image: IntArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        x = interval.with_zero() if any(self.padding) else interval
        lo, hi = (np.repeat(v, self.multiplier)[:, None] for v in (x.lo, x.hi))
        return product_range(image.reshape(len(image), -1), lo, hi)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        if np.prod(self.kernel) > MAX_TAPS:
            raise UnsupportedError(
                f"depthwise kernel {self.kernel} has more than {MAX_TAPS} taps; use a smaller one"
            )
        fields = {
            **self.c_fields(ins, out),
            "unpack": f"tq_unpack_{self.quantized.encoding}",
            "sum_taps": f"tq_sum_taps_{type_suffix(ins[0])}",
            "input": shape_fields(ins[0].shape),
            "output": shape_fields(out.shape),
            "kernel": kernel_fields(self.kernel, self.strides, self.padding),
            "multiplier": self.multiplier,
        }
        return CLayer("depthwise_conv2d", fields, window_detail(self.kernel, self.strides))

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        window = self.kernel, self.strides, self.padding
        source, padding = window_source(twin, ins[0], out, window)
        options = {
            "padding": padding,
            "strideH": self.strides[0],
            "strideW": self.strides[1],
            "dilationHFactor": 1,
            "dilationWFactor": 1,
            "depthMultiplier": self.multiplier,
        }
        inputs = [source, *twin.parameters(self, ins[0], out, channel_axis=3)]
        twin.emit(self.twin_operator("DEPTHWISE_CONV_2D", options, out), inputs, out)

    def macs(self, ins: Sequence[Shape], out: Shape) -> int:
        return int(np.prod(out) * np.prod(self.kernel))
