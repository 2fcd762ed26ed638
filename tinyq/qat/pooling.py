# SPDX-License-Identifier: Apache-2.0
"""Average pooling as the kernels round it.

Averages inherit the exponent of their input:

    out = z + sgn(t) * ((2|t| + c) div 2c)

with t = sum(q - z) over the c elements inside the input and z = 128 for uint8, 0 for int8 (TFLM
rounds the int8 value that it stores).  The sum is recovered exactly from a float64 average.  A mean
over the whole image that has fewer than 8 bits owns an exponent, because it is far smaller than the
largest value that it averages (``tinyq.ops.global_mean``).  Max pooling needs no layer of ours: it
is exact on codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tinyq.errors import UnsupportedError
from tinyq.ops.global_mean import MAX_COUNT, reciprocal
from tinyq.ops.windows import NO_PADDING, same_padding, window_counts
from tinyq.qat.links import OwnerLayer, QuantLayer
from tinyq.quantizers.functions import Tensor, exp2, straight_through


def average_codes(mean: Tensor, counts: Any, zero: float) -> Tensor:
    """Rounded averages of codes, float64; ``mean`` are their real averages over ``counts``."""
    total = tf.floor(mean * counts + 0.5) - zero * counts
    return zero + tf.sign(total) * tf.floor((2 * tf.abs(total) + counts) / (2 * counts))


class _AverageLayer(QuantLayer):
    def round_average(self, mean: Tensor, counts: Any) -> Tensor:
        """Real float32 outputs from averages of codes (float64)."""
        if self.float_output:
            return tf.cast(mean, tf.float32) * exp2(self.exponent())
        zero = 0.0 if self.signed else 128.0
        codes = straight_through(mean, average_codes(mean, counts, zero))
        return tf.cast(codes, tf.float32) * exp2(self.exponent())

    def codes_of(self, x: Tensor) -> Tensor:
        """Codes of the input, float64."""
        return tf.cast(x * exp2(-self.exponent()), tf.float64)


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantAveragePooling2D(_AverageLayer):
    """Average over windows."""

    def __init__(
        self,
        pool_size: Sequence[int],
        strides: Sequence[int],
        padding: str = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = tuple(pool_size)
        self.strides = tuple(strides)
        self.padding = padding

    def build(self, input_shape: Any) -> None:
        shape = tuple(int(size) for size in input_shape[1:])
        pool, strides = (tuple(map(int, pair)) for pair in (self.pool_size, self.strides))
        borders = NO_PADDING
        if self.padding == "same":
            borders = same_padding(shape, pool, strides)  # type: ignore[arg-type]
        counts = window_counts(shape, pool, strides, borders)  # type: ignore[arg-type]
        self.counts = counts.astype(np.float64)
        super().build(input_shape)

    def outline(self, x: Tensor) -> Tensor:
        return tf.nn.avg_pool2d(x, self.pool_size, self.strides, self.padding.upper())

    def compute(self, x: Tensor, training: Any) -> Tensor:
        codes = self.codes_of(x)
        mean = tf.nn.avg_pool2d(codes, self.pool_size, self.strides, self.padding.upper())
        return self.round_average(mean, self.counts)

    def get_config(self) -> dict[str, Any]:
        window = {"pool_size": list(self.pool_size), "strides": list(self.strides)}
        return {**super().get_config(), **window, "padding": self.padding}


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantGlobalAveragePooling2D(_AverageLayer):
    """Average over height and width."""

    def __init__(self, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keepdims = keepdims

    def outline(self, x: Tensor) -> Tensor:
        return tf.reduce_mean(x, [1, 2], keepdims=self.keepdims)

    def compute(self, x: Tensor, training: Any) -> Tensor:
        mean = tf.reduce_mean(self.codes_of(x), [1, 2], keepdims=self.keepdims)
        return self.round_average(mean, float(x.shape[1] * x.shape[2]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "keepdims": self.keepdims}


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantGlobalMean(OwnerLayer):
    """Average over height and width with an exponent of its own; float64, exact."""

    def __init__(self, activation_quantizer: Any, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(activation_quantizer, **kwargs)
        self.keepdims = keepdims

    def build(self, input_shape: Any) -> None:
        count = int(input_shape[1] * input_shape[2])
        if count > MAX_COUNT:
            raise UnsupportedError(
                f"layer '{self.name}': a mean of {count} elements with fewer than 8 bits, the "
                f"limit is {MAX_COUNT}; pool the image before it or use 8-bit activations"
            )
        self.factor, self.factor_exponent = reciprocal(count)
        super().build(input_shape)

    def accumulator_exponent(self) -> Tensor:
        return tf.stop_gradient(self.producers[0].exponent() + float(self.factor_exponent))

    @property
    def never_negative(self) -> bool:
        return not self.producers[0].signed

    def real_output(self, x: Tensor) -> Tensor:
        """Weighted sum before requantization, float64."""
        total = tf.reduce_sum(tf.cast(x, tf.float64), [1, 2], keepdims=self.keepdims)
        return total * (self.factor * 2.0**self.factor_exponent)

    def outline(self, x: Tensor) -> Tensor:
        return tf.reduce_mean(x, [1, 2], keepdims=self.keepdims)

    def compute(self, x: Tensor, training: Any) -> Tensor:
        return self.requantize(
            self.real_output(x), self.exponent(), self.accumulator_exponent(), "tflite"
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "keepdims": self.keepdims}
