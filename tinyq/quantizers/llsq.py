# SPDX-License-Identifier: Apache-2.0
"""Learned linear symmetric quantization: the step follows the quantization error, not the loss.

After Zhao et al., *Linear Symmetric Quantization of Neural Networks for Low-precision Integer
Hardware* (ICLR 2020).  With q(x) = clip(round(x / alpha), low, high) and E(alpha) the mean of
(alpha q(x) - x)**2, let a1 = E(alpha) - E(alpha/2) and a2 = E(2 alpha) - E(alpha).  The step

    grows    where a2 <= 0 and a1 + a2 < 0       simulated gradient -alpha**2
    stays    where a1 < 0 and a2 > 0                                 0
    shrinks  otherwise                                              +alpha**2

The gradient of the loss to x passes activations inside the clipping range and weights everywhere.
First steps: max|w| / 2**(bits-1) for weights; for activations max|x| / (high + 1) from 4 bits up
and max|x| / (2 high) below.

Power-of-two variant, the only one here: theta holds log2 of the largest magnitude, alpha is
2**round(log2 alpha) forward, and E is taken at that alpha, so that what is compared is what is
exported.  Our choices: theta gets the simulated gradient divided by alpha**2, that is -1, 0 or 1,
because Adam remembers the squares of past gradients, and those of a larger alpha would stall a
step that has to shrink; alpha stays where its error is 0, as for a tensor of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.quantizers import scales
from tinyq.quantizers.activation import Activation
from tinyq.quantizers.base import Variables, bounded_spread
from tinyq.quantizers.functions import Tensor, power_of_two, straight_through, with_gradient
from tinyq.quantizers.uniform import Uniform

#: activations of fewer bits start at half the step
NARROW_BITS = 3


def mean_squared_error(
    x: Tensor, step: Tensor, limits: tuple[int, int], axes: Sequence[int]
) -> Tensor:
    """E(step): mean over ``axes`` (kept as 1) of the squared error of quantized ``x``."""
    codes = tf.clip_by_value(tf.floor(x / step + 0.5), *map(float, limits))
    return tf.reduce_mean(tf.math.squared_difference(codes * step, x), axes, keepdims=True)


def simulated_gradient(
    x: Tensor, step: Tensor, limits: tuple[int, int], axes: Sequence[int]
) -> Tensor:
    """The paper's gradient of the step: -step**2, 0 or step**2.

    Args:
        x: real values, float32 or float64.
        step: alpha > 0, broadcastable to ``x`` with 1 along ``axes``.
        limits: smallest and largest code.
        axes: those that share a step.

    Returns:
        float32 or float64, the shape of ``step``.
    """
    step = tf.cast(step, x.dtype)
    return tf.cast(direction(x, step, limits, axes), x.dtype) * step**2


def direction(x: Tensor, step: Tensor, limits: tuple[int, int], axes: Sequence[int]) -> Tensor:
    """The sign of ``simulated_gradient``, float32; arguments in one dtype."""
    below, here, above = (
        tf.reshape(mean_squared_error(x, step * factor, limits, axes), tf.shape(step))
        for factor in (0.5, 1.0, 2.0)
    )
    first, second = here - below, above - here
    grows = (second <= 0) & (first + second < 0)
    stays = (here == 0) | ((first < 0) & (second > 0))
    return tf.where(stays, 0.0, tf.where(grows, -1.0, 1.0))


@tf_keras.utils.register_keras_serializable("tinyq")
class LlsqWeights(Uniform):
    """Uniform weights whose step follows the quantization error."""

    learnings: ClassVar[Sequence[str]] = ("llsq",)

    def __init__(
        self,
        bits: int = 8,
        scale: str = "per_channel",
        scale_learning: str = "llsq",
        channel_axes: Sequence[int] = (-1,),
    ) -> None:
        super().__init__(bits, scale, scale_learning, channel_axes)

    def exponent(self, weights: Variables) -> Tensor:
        return bounded_spread(scales.nearest_exponent(weights["theta"], self.bits - 1))

    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        scaled = inputs * power_of_two(-exponent)
        limits = (-self.limit, self.limit)
        codes = tf.clip_by_value(tf.floor(scaled + 0.5), *map(float, limits))
        kept = {axis % len(inputs.shape) for axis in self.scale_axes}
        shared = [axis for axis in range(len(inputs.shape)) if axis not in kept]
        step = power_of_two(self.exponent(weights))

        def follow(_: Tensor) -> Tensor:
            return direction(inputs, step, limits, shared)

        return with_gradient(straight_through(scaled, codes), weights["theta"], follow)

    def initialize(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        peaks = np.abs(scales.columns(values, self.scale_axes)).max(0)
        theta = scales.theta_of_step(peaks / 2 ** (self.bits - 1), self.bits - 1)
        weights["theta"].assign(theta.reshape(weights["theta"].shape))


@tf_keras.utils.register_keras_serializable("tinyq")
class LlsqActivation(Activation):
    """Activations whose step follows the quantization error."""

    learnings: ClassVar[Sequence[str]] = ("llsq",)

    def __init__(self, bits: int = 8, signed: bool = True, scale_learning: str = "llsq") -> None:
        super().__init__(bits, signed, scale_learning)

    def exponent(self, weights: Variables) -> Tensor:
        return scales.nearest_exponent(weights["theta"], self.magnitude_bits)

    def learn(self, exponent: Tensor, values: Tensor, weights: Variables) -> Tensor:
        step, limits = power_of_two(self.exponent(weights)), (self.low, self.high)

        def follow(_: Tensor) -> Tensor:
            flat = tf.reshape(values, [-1])
            return direction(flat, tf.cast(step, flat.dtype), limits, [0])

        return with_gradient(exponent, weights["theta"], follow)

    def initialize(self, values: npt.NDArray[Any], weights: Variables) -> None:
        peak = np.abs(np.asarray(values, np.float64)).max(initial=0.0)
        divisor = 2 * self.high if self.bits <= NARROW_BITS else self.high + 1
        weights["theta"].assign(scales.theta_of_step(peak / divisor, self.magnitude_bits))
