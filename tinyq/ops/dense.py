# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer: y[o] = b[o] + sum over i of w[o, i] * x[i]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray, IntArray
from tinyq.ops.base import LinearOp, product_range
from tinyq.ops.clayer import CLayer, dot_function
from tinyq.ops.twin import TwinBuilder
from tinyq.tensors import Interval, Shape, Tensor


@dataclass(frozen=True)
class Dense(LinearOp):
    """Fully connected layer over a flat input ``[I]``; weights ``[O, I]``."""

    stem = "dense"

    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[0] != (self.weights.shape[1],):
            raise GraphError(f"{self.weights.shape[1]} flat inputs expected, got {shapes[0]}")
        return (self.weights.shape[0],)

    def accumulate(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        return x @ weights.T

    def products(
        self, interval: Interval, image: IntArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return product_range(image, interval.lo, interval.hi)

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        fields = {
            **self.c_fields(ins, out),
            "dot": dot_function(self.quantized, ins[0]),
            "inputs": ins[0].size,
            "outputs": out.size,
        }
        return CLayer("dense", fields)

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        inputs = [twin.activation(ins[0]), *twin.parameters(self, ins[0], out, channel_axis=0)]
        twin.emit(self.twin_operator("FULLY_CONNECTED", {}, out), inputs, out)

    def macs(self, ins: Sequence[Shape], out: Shape) -> int:
        return int(np.prod(self.weights.shape))
