# SPDX-License-Identifier: Apache-2.0
"""Input quantizer, addition, concatenation, standalone ReLU, and the two functions by table.

Softmax and sigmoid are computed in integer TensorFlow operations as ``tinyq.fixedpoint`` defines
them, so that the Keras model is exact to the last layer; training sees the real functions.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import tensorflow as tf
import tf_keras

from tinyq import fixedpoint
from tinyq.errors import UnsupportedError
from tinyq.numerics import INT32_MAX
from tinyq.qat.links import (
    OwnerLayer,
    QuantLayer,
    cut_by_activation,
    is_training,
)
from tinyq.quantizers.functions import Tensor, power_of_two, straight_through

#: Q2.29 of 48/17 and -32/17, where Newton's division starts
_NEWTON_START: Final = 1515870810
_NEWTON_SLOPE: Final = -1010580540


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantInput(OwnerLayer):
    """Codes of a real input: clip(floor(x / 2**e + 1/2)), in float64 as the executor does."""

    reads_codes = False

    def accumulator_exponent(self) -> Tensor:
        return self.wanted_exponent()

    def real_output(self, x: Tensor) -> Tensor:
        """What calibration looks at."""
        return x

    def compute(self, x: Tensor, training: Any) -> Tensor:
        exponent = self.exponent()
        return self.requantize(tf.cast(x, tf.float64), exponent, exponent, "half_up")


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantAdd(OwnerLayer):
    """Sum of two tensors, rounded half away from zero; float64, because exponents may differ."""

    def accumulator_exponent(self) -> Tensor:
        first, second = (p.exponent() for p in self.producers)
        return tf.stop_gradient(tf.minimum(first, second))

    @property
    def never_negative(self) -> bool:
        return self.activation != "linear" or not any(p.signed for p in self.producers)

    def real_output(self, xs: Any) -> Tensor:
        """Activated sum before requantization."""
        return self.activate(xs[0] + xs[1])

    def outline(self, xs: Any) -> Tensor:
        return xs[0]

    def compute(self, xs: Any, training: Any) -> Tensor:
        y = self.activate(tf.cast(xs[0], tf.float64) + tf.cast(xs[1], tf.float64))
        return self.requantize(y, self.exponent(), self.accumulator_exponent(), "half_away")


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantConcatenate(QuantLayer):
    """Concatenation; the layers that own the exponents of its inputs become one group."""

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def connect(self) -> None:
        for producer in self.producers:
            if not producer.owners():
                raise UnsupportedError(
                    f"layer '{self.name}' (Concatenate) reads '{producer.name}', whose exponent "
                    "is fixed; concatenate before the softmax or sigmoid"
                )
        first, *others = self.owners()
        for other in others:
            first.group.merge(other.group)

    def owners(self) -> tuple[OwnerLayer, ...]:
        return tuple(owner for p in self.producers for owner in p.owners())

    def compute(self, xs: Any, training: Any) -> Tensor:
        return tf.concat(xs, self.axis)

    def outline(self, xs: Any) -> Tensor:
        return tf.concat(xs, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantReLU(QuantLayer):
    """ReLU or ReLU6 that no layer could take over: a clamp under the exponent of its input."""

    def __init__(self, activation: str = "relu", signed: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.signed_codes = signed

    @property
    def signed(self) -> bool:
        return self.signed_codes

    def compute(self, x: Tensor, training: Any) -> Tensor:
        exponent = self.exponent()
        scale = power_of_two(exponent)
        low, high = cut_by_activation(self.activation, *self.code_range, exponent)
        return tf.clip_by_value(x, low * scale, high * scale)

    def get_config(self) -> dict[str, Any]:
        own = {"activation": self.activation, "signed": self.signed_codes}
        return {**super().get_config(), **own}


class UnitLayer(QuantLayer):
    """Output in [0, 1): uint8 with exponent -8."""

    def owners(self) -> tuple[OwnerLayer, ...]:
        return ()

    def exponent(self) -> Tensor:
        return tf.constant(float(fixedpoint.UNIT_EXPONENT))

    @property
    def signed(self) -> bool:
        return False

    @property
    def bits(self) -> int:
        return 8

    def input_codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (int64) of the input, and its exponent (int32)."""
        exponent = self.producers[0].exponent()
        return tf.cast(x * power_of_two(-exponent), tf.int64), tf.cast(exponent, tf.int32)


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantSoftmax(UnitLayer):
    """Softmax over the last axis, equal to ``fixedpoint.softmax``."""

    def compute(self, x: Tensor, training: Any) -> Tensor:
        real = tf.nn.softmax(x)
        if is_training(training):
            return real
        codes = _softmax_codes(*self.input_codes(x))
        return straight_through(real, tf.cast(codes, tf.float32) * power_of_two(self.exponent()))


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantSigmoid(UnitLayer):
    """Sigmoid by a table of 256 bytes, equal to ``fixedpoint.sigmoid_table``."""

    def compute(self, x: Tensor, training: Any) -> Tensor:
        real = tf.sigmoid(x)
        if is_training(training):
            return real
        codes, exponent = self.input_codes(x)
        tables = tf.constant(_sigmoid_tables(self.producers[0].signed))
        table = tf.gather(tables, exponent - fixedpoint.SIGMOID_EXPONENTS[0])
        value = tf.gather(table, tf.bitwise.bitwise_and(codes, 255))
        return straight_through(real, tf.cast(value, tf.float32) * power_of_two(self.exponent()))


@functools.cache
def _sigmoid_tables(signed: bool) -> Any:
    """int32 ``[exponents, 256]``."""
    rows = [fixedpoint.sigmoid_table(e, signed) for e in fixedpoint.SIGMOID_EXPONENTS]
    return np.stack(rows).astype(np.int32)


@functools.cache
def _softmax_tables() -> Any:
    """int64 ``[exponents, 256]``: exp of each distance, 0 where it does not count."""
    tables = np.zeros((len(fixedpoint.SOFTMAX_EXPONENTS), 256), np.int64)
    for row, exponent in zip(tables, fixedpoint.SOFTMAX_EXPONENTS, strict=True):
        values = fixedpoint.softmax_exp_table(exponent)
        row[: len(values)] = values
    return tables


def _softmax_codes(codes: Tensor, exponent: Tensor) -> Tensor:
    """uint8 codes (as int64) of softmax over the last axis of int64 ``codes``."""
    tables = tf.constant(_softmax_tables())
    table = tf.gather(tables, exponent - fixedpoint.SOFTMAX_EXPONENTS[0])
    exps = tf.gather(table, tf.reduce_max(codes, -1, keepdims=True) - codes)
    total = tf.reduce_sum(_shift_half_up(exps, tf.constant(12, tf.int64)), -1, keepdims=True)
    leading = 31 - _floor_log2(total)
    one = tf.constant(1, tf.int64)
    fraction = tf.bitwise.left_shift(total, leading) - tf.bitwise.left_shift(one, 31 * one)
    product = _high_mul(exps, _one_over_one_plus(fraction))
    return tf.clip_by_value(_shift_half_up(product, 35 - leading), 0, 255)


def _floor_log2(x: Tensor) -> Tensor:
    """floor(log2(x)) of int64 x > 0, from the bits of its float64 value."""
    bits = tf.bitcast(tf.cast(x, tf.float64), tf.int64)
    return tf.bitwise.right_shift(bits, tf.constant(52, tf.int64)) - 1023


def _shift_half_up(x: Tensor, shift: Tensor) -> Tensor:
    """Round x >= 0 / 2**shift to nearest, ties up; shift >= 1."""
    one = tf.constant(1, tf.int64)
    return tf.bitwise.right_shift(x + tf.bitwise.left_shift(one, shift - one), shift)


def _high_mul(a: Tensor, b: Tensor) -> Tensor:
    """``fixedpoint.doubling_high_mul`` for int64 tensors."""
    product = a * b
    up, down = tf.constant(1 << 30, tf.int64), tf.constant(1 - (1 << 30), tf.int64)
    nudged = product + tf.where(product >= 0, up, down)
    quotient = tf.sign(nudged) * tf.bitwise.right_shift(tf.abs(nudged), tf.constant(31, tf.int64))
    return tf.minimum(quotient, INT32_MAX)


def _one_over_one_plus(a: Tensor) -> Tensor:
    """``fixedpoint.one_over_one_plus_x`` for int64 tensors (Newton's division)."""
    one = tf.constant(1, tf.int64)
    half = tf.bitwise.right_shift(a + (1 << 31), one)
    x = _NEWTON_START + _high_mul(half, tf.constant(_NEWTON_SLOPE, tf.int64))
    for _ in range(3):
        rest = (1 << 29) - _high_mul(half, x)
        x = x + _saturated_double(_high_mul(x, rest), 2)
    return _saturated_double(x, 1)


def _saturated_double(x: Tensor, times: int) -> Tensor:
    """x * 2**times, limited to 32 bits."""
    scaled = x * (1 << times)
    return tf.clip_by_value(scaled, fixedpoint.INT32_MIN, INT32_MAX)
