# SPDX-License-Identifier: Apache-2.0
"""Pure functions that quantizers are made of: powers of two from bits, rounding rules, gradients.

Every function that has no useful derivative is a ``tf.custom_gradient``: the forward value is the
exact one in eager mode and in graphs.  The common ``x + stop_gradient(f(x) - x)`` is absent on
purpose: the subtraction and the addition round, and in graph mode integers stop being integers.

``tf.exp`` and ``tf.pow`` are not exact at integer exponents, and ``tf.round`` rounds half to even,
as no kernel does; neither is used here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

Tensor = Any

MIN_EXPONENT: Final = -126.0
MAX_EXPONENT: Final = 127.0
ROUNDINGS: Final = ("tflite", "half_up", "half_away")


def power_of_two(exponent: Tensor) -> Tensor:
    """2**exponent, exact, float32, built from the bits of the number; no gradient.

    Exponents are whole numbers; they are limited to the normal numbers, -126..127.
    """
    whole = tf.cast(tf.clip_by_value(exponent, MIN_EXPONENT, MAX_EXPONENT), tf.int32)
    return tf.bitcast(tf.bitwise.left_shift(whole + 127, 23), tf.float32)


@tf.custom_gradient
def exp2(exponent: Tensor) -> Tensor:
    """``power_of_two`` with the gradient 2**exponent * ln 2."""
    power = power_of_two(exponent)
    return power, lambda upstream: upstream * power * math.log(2.0)


@tf.custom_gradient
def straight_through(x: Tensor, value: Tensor) -> Tensor:
    """``value``, exactly; the gradient goes to ``x`` unchanged (Bengio et al., 2013)."""
    return tf.identity(value), lambda upstream: (upstream, None)


def with_gradient(value: Tensor, variable: Tensor, gradient: Callable[[Tensor], Tensor]) -> Tensor:
    """``value``, whose own gradient is unchanged; ``variable`` gets ``gradient(upstream)``.

    ``variable`` and ``value`` have one shape where ``gradient`` depends on ``upstream``.
    """

    @tf.custom_gradient
    def carry(passed: Tensor, _: Tensor) -> Tensor:
        return tf.identity(passed), lambda upstream: (upstream, gradient(upstream))

    return carry(value, tf.convert_to_tensor(variable))


def ceil_through(x: Tensor) -> Tensor:
    """ceil(x), gradient 1."""
    return straight_through(x, tf.math.ceil(x))


def round_half_up(x: Tensor) -> Tensor:
    """floor(x + 1/2), gradient 1.  The rule for weights, biases and inputs."""
    return straight_through(x, tf.floor(x + 0.5))


def round_half_away(x: Tensor) -> Tensor:
    """sgn(x) * floor(|x| + 1/2), gradient 1.  The rule of additions."""
    return straight_through(x, tf.sign(x) * tf.floor(tf.abs(x) + 0.5))


def round_tflite(x: Tensor, shift: Tensor) -> Tensor:
    """The rule of convolutions for x = acc * 2**-shift; gradient 1.

    floor(x + 1/2 + sgn(x) * 2**-shift) for shift >= 2, else floor(x + 1/2): the float form of
    (acc + 2**(shift-1) + sgn(acc)) >> shift, exact while |acc| + 2**(shift-1) + 1 fits the
    significand.
    """
    nudge = tf.cast(tf.where(shift >= 2.0, power_of_two(-tf.maximum(shift, 2.0)), 0.0), x.dtype)
    return straight_through(x, tf.floor(x + 0.5 + tf.sign(x) * nudge))


def round_shifted(x: Tensor, shift: Tensor, rounding: str) -> Tensor:
    """Round x = acc * 2**-shift by the named rule (``numerics.ROUNDINGS``); gradient 1."""
    if rounding == "tflite":
        return round_tflite(x, shift)
    return round_half_up(x) if rounding == "half_up" else round_half_away(x)


def requantize(
    y: Tensor, exponent: Tensor, shift: Tensor, limits: tuple[Tensor, Tensor], rounding: str
) -> Tensor:
    """Codes of real values ``y``: round(y / 2**exponent), clipped to ``limits``.

    Args:
        y: float32 or float64 ``[N, ..., C]``, multiples of 2**(exponent - shift).
        exponent: float32 scalar, the exponent of one code.
        shift: float32 scalar or ``[C]``, bits below the code.
        limits: smallest and largest code.
        rounding: key of ``numerics.ROUNDINGS``.

    Returns:
        integers in the dtype of ``y``.  Gradient to y: 1 inside the limits, 0 outside (before the
        factor 2**-exponent).
    """
    scaled = y * tf.cast(exp2(-exponent), y.dtype)
    low, high = (tf.cast(limit, y.dtype) for limit in limits)
    return tf.clip_by_value(round_shifted(scaled, shift, rounding), low, high)


def scale_clipped(x: Tensor, exponent: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """x / 2**exponent for codes of low..high whose gradient to x is 1 even where they clip.

    The exponent gets no gradient through clipped x: for clipped codes q the derivative of
    q * 2**exponent must be q * 2**exponent * ln 2, whatever passes straight through to x.
    """
    s = exp2(exponent)
    inside = (x >= low * s) & (x <= high * s)
    return x / tf.where(inside, s, tf.stop_gradient(s))


@tf.custom_gradient
def nearest_entry(x: Tensor, table: Tensor) -> Tensor:
    """The entry of ``table`` (``[L]``, any order) nearest to each x; the smaller one at a tie.

    Gradient to x: 1 everywhere; to the table: the sum over the members of each entry.
    """
    order = tf.argsort(table)
    levels = tf.gather(table, order)
    position = tf.searchsorted((levels[:-1] + levels[1:]) / 2, tf.reshape(x, [-1]))
    index = tf.gather(order, position)
    size = tf.size(table)

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        flat = tf.reshape(upstream, [-1])
        return upstream, tf.math.unsorted_segment_sum(flat, index, size)

    return tf.reshape(tf.gather(table, index), tf.shape(x)), gradient


def exponent_above(x: Tensor) -> Tensor:
    """Smallest integer e with |x| < 2**e, read from the bits; -126 for zero."""
    bits = tf.bitcast(tf.abs(x), tf.int32)
    return tf.cast(tf.bitwise.right_shift(bits, 23) - 126, tf.float32)
