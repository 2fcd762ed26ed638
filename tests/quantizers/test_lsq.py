# SPDX-License-Identifier: Apache-2.0
"""Learned step size against the paper's formula in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tinyq.errors import InputError
from tinyq.quantizers import LayerSpec, activation_quantizer, weight_quantizer
from tinyq.quantizers.lsq import LsqActivation, LsqWeights

BITS = (8, 4, 3, 2)


def slope(x: Any, s: Any, low: int, high: int) -> Any:
    """dx^/ds: the rounding error in units of s inside the range, the bound outside."""
    y = np.asarray(x, np.float64) / s
    codes = np.floor(y + 0.5)
    inside = (codes >= low) & (codes <= high)
    return np.where(inside, codes - y, np.clip(codes, low, high)), inside


def squared_error(x: Any, s: float, low: int, high: int, axes: Any = None) -> Any:
    y = np.asarray(x, np.float64)
    codes = np.clip(np.floor(y / s + 0.5), low, high)
    return ((codes * s - y) ** 2).sum(axes, keepdims=axes is not None)


def assert_sum(got: Any, terms: Any, axes: Any) -> None:
    """``got`` is the sum: float32 products and sums against float64 ones, which may cancel."""
    close = 1e-6 * np.abs(terms).sum(axes, keepdims=axes is not None)
    assert (np.abs(got - terms.sum(axes, keepdims=axes is not None)) <= close).all()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("scale", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (7, 1)])
def test_weights(bits: int, scale: str, shape: tuple[int, ...]) -> None:
    w = np.random.default_rng(0).laplace(0, 0.2, shape).astype(np.float32)
    w.reshape(-1)[:5] = 0, 1 / 16, -3 / 16, 20, -20  # zero, ties, clipped
    axes = tuple(range(w.ndim - (scale == "per_channel")))
    high = 2 ** (bits - 1) - 1
    quantizer = LsqWeights(bits, scale)
    variables = quantizer.build(shape, "weight", tf_keras.layers.Layer())
    quantizer.initialize(w, variables)
    trials = np.array([squared_error(w, 2.0**e, -high, high, axes) for e in range(-12, 8)])
    assert np.array_equal(quantizer.exponent(variables), np.argmin(trials, 0) - 12)
    theta = variables["theta"]
    assert np.array_equal(theta, np.floor(theta))  # in the middle of what rounds to the exponent
    theta.assign(np.full(theta.shape, bits - 1 - 3.4))

    upstream = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    x = tf.Variable(w)
    with tf.GradientTape() as tape:
        y = quantizer(x, True, variables)
        loss = tf.reduce_sum(y * upstream)
    to_x, to_theta = tape.gradient(loss, [x, variables["theta"]])
    s = 2.0**-3
    change, inside = slope(w, s, -high, high)
    assert not inside.all()
    assert np.array_equal(y, np.clip(np.floor(w / s + 0.5), -high, high) * s)
    assert np.array_equal(to_x, np.where(inside, upstream, 0))
    count = w.size // trials[0].size
    factor = s * np.log(2) / np.sqrt(count * high)
    assert_sum(to_theta, factor * change * upstream, axes)


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (4, True), (4, False), (2, True)])
def test_activation(bits: int, signed: bool) -> None:
    values = np.random.default_rng(0).normal(0.3, 1, (6, 5, 4)).astype(np.float32)
    values = values if signed else np.maximum(values, 0)
    values[0, 0] = 0, 0.25, 0.75, 200
    quantizer = LsqActivation(bits, signed)
    variables = quantizer.build([], "activation", tf_keras.layers.Layer())
    quantizer.initialize(values, variables)
    low, high = quantizer.low, quantizer.high
    covering = np.ceil(np.log2(np.abs(values).max() / high))
    trials = [squared_error(values, 2.0 ** (covering - d), low, high) for d in range(4)]
    assert quantizer.exponent(variables) == covering - np.argmin(trials)
    quantizer.set_exponent(-1, variables)

    upstream = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    x = tf.Variable(values)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantizer(x, True, variables) * upstream)
    to_x, to_theta = tape.gradient(loss, [x, variables["theta"]])
    s = 2.0**-1
    change, inside = slope(values, s, low, high)
    assert not inside.all()
    assert np.array_equal(to_x, np.where(inside, upstream, 0))
    factor = s * np.log(2) / np.sqrt(20 * high)  # 20 values in a sample
    assert_sum(to_theta, factor * change * upstream, None)


def test_only_layers_that_decide_a_shared_exponent_learn() -> None:
    quantizer = LsqActivation(4)
    variables = quantizer.build([], "activation", tf_keras.layers.Layer())
    quantizer.set_exponent(-3, variables)
    values = tf.ones([2, 3])
    for shared, learns in ((-3.0, True), (-2.0, False)):
        with tf.GradientTape() as tape:
            exponent = quantizer.learn(tf.constant(shared), values, variables)
        assert exponent == shared
        assert (tape.gradient(exponent, variables["theta"]) != 0) == learns


@pytest.mark.parametrize("learning", ["lsq", "llsq", "tqt", "mse"])
def test_factories_and_serialization(learning: str) -> None:
    spec = LayerSpec("int3", "per_tensor", learning, activation_bits=3)
    for quantizer in (weight_quantizer(spec, (-2, -1)), activation_quantizer(spec)):
        assert quantizer.scale_learning == learning and quantizer.bits == 3
        assert learning not in ("lsq", "llsq") or learning in type(quantizer).__name__.lower()
        config = tf_keras.utils.serialize_keras_object(quantizer)
        restored = tf_keras.utils.deserialize_keras_object(config)
        assert restored == quantizer and type(restored) is type(quantizer)


def test_unknown_learning_is_refused() -> None:
    for make in (
        lambda: LayerSpec("int4", scale_learning="guess"),
        lambda: LsqWeights(4, scale_learning="tqt"),
    ):
        with pytest.raises(InputError, match="choose one of"):
            make()
