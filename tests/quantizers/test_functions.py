# SPDX-License-Identifier: Apache-2.0
"""Rounding rules and gradients against tinyq.numerics and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tinyq import numerics
from tinyq.quantizers import functions as f


def gradient(function: Any, *inputs: Any) -> list[Any]:
    variables = [tf.Variable(np.asarray(x, np.float32)) for x in inputs]
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(function(*variables))
    return [g if g is None else g.numpy() for g in tape.gradient(y, variables)]


def test_power_of_two_is_exact_over_the_normal_numbers() -> None:
    exponents = np.arange(-126, 128).astype(np.float32)
    expected = np.ldexp(np.float32(1), np.arange(-126, 128))
    for function in (f.power_of_two, f.exp2, tf.function(f.exp2)):
        assert np.array_equal(function(tf.constant(exponents)), expected)


def test_exp2_gradient() -> None:
    exponents = np.array([-3.0, 0.0, 5.0], np.float32)
    (got,) = gradient(f.exp2, exponents)
    assert np.array_equal(got, np.float32(2.0) ** exponents * np.float32(np.log(2)))


def test_straight_through_gives_integers_in_graphs() -> None:
    x = np.random.default_rng(0).normal(0, 40, 100_000).astype(np.float32)
    got = tf.function(f.round_half_up)(tf.constant(x)).numpy()
    assert np.array_equal(got, np.floor(x + np.float32(0.5)))
    assert np.array_equal(got, np.round(got))


@pytest.mark.parametrize("name", ["round_half_up", "round_half_away", "ceil_through"])
def test_rounding_passes_the_gradient(name: str) -> None:
    (got,) = gradient(getattr(f, name), [-1.3, 0.2, 7.7])
    assert np.array_equal(got, [1, 1, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rounding", f.ROUNDINGS)
def test_requantize_equals_the_integer_rule(rounding: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    shift = np.arange(20)
    reach = 2**23 - 2 ** np.maximum(shift - 1, 0) - 1
    near_ties = (rng.integers(-200, 200, (500, 20)) << shift) + (1 << np.maximum(shift - 1, 0))
    acc = np.concatenate([rng.integers(-reach, reach, (500, 20)), near_ties, near_ties - 1])
    acc = np.clip(acc, -reach, reach)
    exponent = -7
    y = np.ldexp(acc.astype(dtype), exponent - shift)
    compiled = tf.function(f.requantize)
    n = tf.constant(shift, tf.float32)
    got = compiled(tf.constant(y), tf.constant(float(exponent)), n, (-128.0, 127.0), rounding)
    assert got.dtype == dtype
    assert np.array_equal(got, numerics.requantize(acc, shift, rounding, -128, 127))


def test_requantize_gradient_is_one_inside_and_zero_outside() -> None:
    def scaled(y: Any) -> Any:
        return f.requantize(y, tf.constant(-2.0), tf.constant(4.0), (0.0, 15.0), "tflite")

    (got,) = gradient(scaled, [-0.5, 0.3, 3.0, 4.5])
    assert np.array_equal(got, [0, 4, 4, 0])


def test_nearest_entry_forward_and_gradients() -> None:
    table = np.array([0, 40, -20, 3, 3], np.float32)
    x = np.array([[-100, -10.5], [-9.5, 1.4], [1.6, 22], [90, -10]], np.float32)
    distance = np.abs(x[..., None] - np.sort(table))
    expected = np.sort(table)[np.argmin(distance, -1)]
    assert np.array_equal(f.nearest_entry(tf.constant(x), tf.constant(table)), expected)

    upstream = np.arange(8, dtype=np.float32).reshape(4, 2)
    to_x, to_table = gradient(lambda a, t: f.nearest_entry(a, t) * upstream, x, table)
    assert np.array_equal(to_x, upstream)
    for value in np.unique(table):
        members = upstream[expected == value].sum()
        assert to_table[table == value].sum() == members


def test_exponent_above() -> None:
    x = np.array([0.75, 1.0, -1.5, 2.0**-20, -(2.0**10) + 1, 5e9], np.float32)
    assert np.array_equal(f.exponent_above(tf.constant(x)), np.frexp(np.abs(x))[1])
    assert f.exponent_above(tf.constant(0.0)).numpy() == -126
