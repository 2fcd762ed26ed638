# SPDX-License-Identifier: Apache-2.0
"""2-D convolution: y[o] = b[o] + sum over ky, kx, i of w[o, ky, kx, i] * x[.. + ky, .. + kx, i]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import LinearOp, product_range
from tinyq.ops.clayer import (
    CLayer,
    dot_function,
    kernel_fields,
    shape_fields,
    window_detail,
)
from tinyq.ops.twin import TwinBuilder, window_source
from tinyq.ops.windows import NO_PADDING, Padding, Pair, convolve, window_shape
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class Conv2D(LinearOp):
    """Convolution over (height, width, channels); weights ``[O, KH, KW, I]``, zero padding."""

    stem = "conv2d"

    strides: Pair = (1, 1)
    padding: Padding = NO_PADDING

    @property
    def kernel(self) -> Pair:
        """Height and width of the kernel."""
        return self.weights.shape[1], self.weights.shape[2]

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[0][-1] != self.weights.shape[3]:
            raise GraphError(f"{self.weights.shape[3]} input channels expected, got {shapes[0]}")
        out = window_shape(shapes[0], self.kernel, self.strides, self.padding)
        return (*out, self.weights.shape[0])

    def accumulate(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        return convolve(x, weights, self.strides, self.padding)

    def products(
        self, interval: Interval, image: IntArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        x = interval.with_zero() if any(self.padding) else interval
        low, high = product_range(image, x.lo, x.hi)
        return low.reshape(len(image), -1), high.reshape(len(image), -1)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        fields = {
            **self.c_fields(ins, out),
            "dot": dot_function(self.quantized, ins[0]),
            "input": shape_fields(ins[0].shape),
            "output": shape_fields(out.shape),
            "kernel": kernel_fields(self.kernel, self.strides, self.padding),
        }
        return CLayer("conv2d", fields, window_detail(self.kernel, self.strides))

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        window = self.kernel, self.strides, self.padding
        source, padding = window_source(twin, ins[0], out, window)
        options = {
            "padding": padding,
            "strideH": self.strides[0],
            "strideW": self.strides[1],
            "dilationHFactor": 1,
            "dilationWFactor": 1,
        }
        inputs = [source, *twin.parameters(self, ins[0], out, channel_axis=0)]
        twin.emit(self.twin_operator("CONV_2D", options, out), inputs, out)

    def macs(self, ins: Sequence[Shape], out: Shape) -> int:
        return int(np.prod(out[:2]) * np.prod(self.weights.shape))
