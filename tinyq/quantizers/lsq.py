# SPDX-License-Identifier: Apache-2.0
"""Learned step size: the step follows the loss, its gradient scaled by 1 / sqrt(N * high).

After Esser et al., *Learned Step Size Quantization* (ICLR 2020): with x^ = s clip(round(x / s)),

    dx^/ds = round(x/s) - x/s inside the range, the bound outside,

times g = 1 / sqrt(N * high), N the number of weights that share a step, or of one sample's values.
The gradient to x is 1 inside the range, 0 outside.

For export s is 2**round(log2 s) forward.  The variable is theta = log2 of the largest magnitude,
because Adam's steps are absolute and steps of layers differ by powers of two; hence
dx^/dtheta = g s ln 2 dx^/ds.  It differs from TQT (``scales``) by rounding to the nearest power
instead of up, and by g.  The first step is, as there, the power of two with the least squared error
(LSQ+, Bhalgat et al., CVPRW 2020, starts activations so); the paper's 2 mean|x| / sqrt(high), made
a power of two, left some outputs several powers too coarse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tf_keras

from tinyq.quantizers import scales
from tinyq.quantizers.activation import Activation
from tinyq.quantizers.base import Variables, bounded_spread
from tinyq.quantizers.functions import Tensor, with_gradient
from tinyq.quantizers.uniform import Uniform


@tf_keras.utils.register_keras_serializable("tinyq")
class LsqWeights(Uniform):
    """Uniform weights with a learned step."""

    learnings: ClassVar[Sequence[str]] = ("lsq",)

    def __init__(
        self,
        bits: int = 8,
        scale: str = "per_channel",
        scale_learning: str = "lsq",
        channel_axes: Sequence[int] = (-1,),
    ) -> None:
        super().__init__(bits, scale, scale_learning, channel_axes)
        self.count = 1

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        shape = list(tensor_shape)
        steps = np.prod(scales.scale_shape(shape, self.scale_axes))
        self.count = int(np.prod(shape) // steps)
        return super().build(tensor_shape, name, layer)

    def exponent(self, weights: Variables) -> Tensor:
        factor = (self.count * self.limit) ** -0.5
        exponent = scales.nearest_exponent(weights["theta"], self.bits - 1)
        return bounded_spread(with_gradient(exponent, weights["theta"], lambda up: up * factor))


@tf_keras.utils.register_keras_serializable("tinyq")
class LsqActivation(Activation):
    """Activations with a learned step."""

    learnings: ClassVar[Sequence[str]] = ("lsq",)

    def __init__(self, bits: int = 8, signed: bool = True, scale_learning: str = "lsq") -> None:
        super().__init__(bits, signed, scale_learning)

    def exponent(self, weights: Variables) -> Tensor:
        return scales.nearest_exponent(weights["theta"], self.magnitude_bits)

    def learn(self, exponent: Tensor, values: Tensor, weights: Variables) -> Tensor:
        def scaled(upstream: Tensor) -> Tensor:
            count = tf.cast(tf.size(values) / tf.shape(values)[0], tf.float32)
            # In a group only the members that decide the exponent learn.
            decides = tf.cast(self.exponent(weights) >= exponent, tf.float32)
            return upstream * decides * tf.math.rsqrt(count * self.high)

        return with_gradient(exponent, weights["theta"], scaled)
