# SPDX-License-Identifier: Apache-2.0
"""Mean over height and width with an exponent of its own, for outputs of few bits.

An average that keeps its input's exponent (AveragePool2D) is at most the largest code and mostly
far less: in four bits almost all averages of a ReLU's output are 0 or 1.  Here

    out = clamp(round(n * sum(q) * 2**-s)),   s = e_out - (e_x + e_n),   1 / count ~ n * 2**e_n,

which is a depthwise convolution over the whole image whose weights are all n, and rounds like one:
that is its form in TFLite, while the C kernel needs no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tinyq.encodings import ENCODINGS, encode_image
from tinyq.errors import GraphError
from tinyq.numerics import MAX_SHIFT, FloatArray, IntArray, requantize
from tinyq.ops.base import Op
from tinyq.ops.clayer import CLayer, shape_fields
from tinyq.ops.depthwise_conv2d import DepthwiseConv2D
from tinyq.ops.twin import TwinBuilder
from tinyq.tensors import Interval, Shape, Tensor

#: elements whose n-fold sum and rounding fit 32 bits whatever the codes: 255 * n * count < 2**30
#: (TQ_GLOBAL_MEAN_MAX of global_mean.h)
MAX_COUNT: Final = 32768


def reciprocal(count: int) -> tuple[int, int]:
    """(n, e) with n * 2**e nearest to 1 / count, n odd, 1..127; exact for powers of two.

    The relative error is at most 1 / 128.
    """
    exponent = -(count - 1).bit_length() - 6  # so that 64 <= n <= 128
    factor = (2 ** (1 - exponent) + count) // (2 * count)
    while factor % 2 == 0:
        factor, exponent = factor // 2, exponent + 1
    return factor, exponent


@dataclass(frozen=True)
class GlobalMean(Op):
    """Mean over height and width, ``[H, W, C]`` to ``[1, 1, C]``; rounded as a convolution is."""

    stem = "global_mean"

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if len(shapes[0]) != 3:
            raise GraphError(f"a mean over an image needs 3 dimensions, got {shapes[0]}")
        return (1, 1, shapes[0][2])

    def shift(self, ins: Sequence[Tensor], out: Tensor) -> int:
        """s of the module's docstring."""
        return out.exponent - ins[0].exponent - reciprocal(_count(ins[0]))[1]

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        if _count(ins[0]) > MAX_COUNT:
            raise GraphError(f"a mean of {_count(ins[0])} elements: the limit is {MAX_COUNT}")
        if not 0 <= self.shift(ins, out) <= MAX_SHIFT:
            raise GraphError(
                f"requantization shift {self.shift(ins, out)} outside 0..{MAX_SHIFT}: raise the "
                "output exponent"
            )

    def _requantize(self, total: IntArray, ins: Sequence[Tensor], out: Tensor) -> IntArray:
        factor = reciprocal(_count(ins[0]))[0]
        return requantize(factor * total, self.shift(ins, out), "tflite", out.lo, out.hi)

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        total = xs[0].astype(np.int64).sum((1, 2), keepdims=True)
        return self._requantize(total, ins, out)

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        return xs[0].mean((1, 2), keepdims=True)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        count = _count(ins[0])
        return Interval(
            self._requantize(count * intervals[0].lo.astype(np.int64), ins, out),
            self._requantize(count * intervals[0].hi.astype(np.int64), ins, out),
        )

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        height, width, _ = ins[0].shape
        fields = {
            "input": shape_fields(ins[0].shape),
            "factor": reciprocal(height * width)[0],
            "shift": self.shift(ins, out),
            "is_signed": int(ins[0].signed),
            "lo": out.lo,
            "hi": out.hi,
        }
        return CLayer("global_mean", fields, f"{height}x{width}")

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        as_depthwise(ins[0]).to_tflite(twin, ins, out)


def as_depthwise(x: Tensor) -> DepthwiseConv2D:
    """The depthwise convolution that computes the same."""
    height, width, channels = x.shape
    factor, exponent = reciprocal(height * width)
    image = np.full((channels, height, width), factor, np.int64)
    weights = encode_image(image, ENCODINGS["int8"], np.array([exponent]))
    return DepthwiseConv2D(weights, np.zeros(channels, np.int32))


def _count(x: Tensor) -> int:
    return x.shape[0] * x.shape[1]
