# SPDX-License-Identifier: Apache-2.0
"""Zero padding that no convolution could take over: exact on codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import Op
from tinyq.ops.clayer import CLayer, shape_fields
from tinyq.ops.twin import TwinBuilder, emit_pad
from tinyq.ops.windows import Padding, pad
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class Pad2D(Op):
    """A border of zeros: (top, bottom, left, right)."""

    stem = "pad2d"
    keeps_exponent = True
    keeps_type = True

    padding: Padding

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if len(shapes[0]) != 3 or min(self.padding) < 0:
            raise GraphError(f"cannot pad {shapes[0]} by {self.padding}")
        top, bottom, left, right = self.padding
        height, width, channels = shapes[0]
        return height + top + bottom, width + left + right, channels

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        return pad(xs[0].astype(np.int64), self.padding)

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        return pad(xs[0], self.padding)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        shape_fields(out.shape)  # refuses what the frame makes too large
        sides = zip(("top", "bottom", "left", "right"), self.padding, strict=True)
        return CLayer("pad2d", {"input": shape_fields(ins[0].shape), **dict(sides)})

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        emit_pad(twin, ins[0], out, self.padding)

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        return intervals[0].with_zero()
