# SPDX-License-Identifier: Apache-2.0
"""Learned linear symmetric quantization against the paper's rule, written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinyq.errors import InputError
from tinyq.quantizers.llsq import LlsqActivation, LlsqWeights, simulated_gradient

BITS = (8, 4, 3, 2)


def error(x: Any, alpha: float, low: int, high: int) -> float:
    """E(alpha) in float64."""
    codes = np.clip(np.floor(np.asarray(x, np.float64) / alpha + 0.5), low, high)
    return float(((codes * alpha - x) ** 2).mean())


def rule(x: Any, alpha: float, low: int, high: int) -> float:
    """The simulated gradient of alpha, case by case as in the paper; 0 where E is 0."""
    a1 = error(x, alpha, low, high) - error(x, alpha / 2, low, high)
    a2 = error(x, 2 * alpha, low, high) - error(x, alpha, low, high)
    if error(x, alpha, low, high) == 0:
        return 0.0
    if a1 < 0 and a2 <= 0:
        return -(alpha**2)
    if a1 >= 0 and a2 <= 0 and a1 + a2 < 0:
        return -(alpha**2)
    if a1 < 0 and a2 > 0:
        return 0.0
    return alpha**2


def simulated(x: Any, alpha: float, low: int, high: int) -> float:
    flat = tf.constant(np.ravel(x), tf.float64)
    return float(simulated_gradient(flat, tf.constant(alpha, tf.float64), (low, high), [0]))


GAUSS = np.random.default_rng(0).normal(0, 1, 1000)
#: the error falls to both sides of alpha = 1: 0.5 is a code of 1/2, 14 is reached from 2 on
PEAK_UP = np.array([0.5] * 300 + [14.0])
PEAK_DOWN = np.array([0.5] * 600 + [14.0])


@pytest.mark.parametrize(
    ("x", "alpha", "expected"),
    [
        (GAUSS, 0.01, -1),
        (GAUSS, 0.3, 0),
        (GAUSS, 5.0, 1),
        (PEAK_UP, 1.0, -1),
        (PEAK_DOWN, 1.0, 1),
        (GAUSS / 99, 5.0, 1),  # all codes are 0
        (np.zeros(5), 0.5, 0),
        (np.full(5, 3.0), 0.25, -1),
        (np.full(5, 3.0), 0.5, 0),
        (np.full(5, 3.0), 1.0, 0),
        (np.full(5, 3.0), 2.0, 1),
        (np.array([7.5, -7.5]), 1.0, -1),
    ],
)
def test_every_case_of_the_rule(x: Any, alpha: float, expected: int) -> None:
    assert rule(x, alpha, -7, 7) == expected * alpha**2
    assert simulated(x, alpha, -7, 7) == expected * alpha**2


def test_peaks_are_peaks() -> None:
    for x in (PEAK_UP, PEAK_DOWN):
        assert error(x, 0.5, -7, 7) <= error(x, 1.0, -7, 7) >= error(x, 2.0, -7, 7)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.sampled_from(BITS),
    st.booleans(),
    st.floats(-9, 3),
)
def test_random_values(seed: int, count: int, bits: int, signed: bool, log_step: float) -> None:
    x, alpha = np.random.default_rng(seed).normal(0, 1, count), 2.0**log_step
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    x = x if signed else np.maximum(x, 0)
    below, here, above = (error(x, alpha * f, low, high) for f in (0.5, 1, 2))
    # Sums in another order may decide a near tie otherwise.
    gaps = np.abs([here - below, above - here, above - below])
    assume(all(gap == 0 or gap > 1e-12 for gap in gaps))
    assert simulated(x, alpha, low, high) == rule(x, alpha, low, high)


def kernel(shape: tuple[int, ...] = (3, 3, 4, 8)) -> Any:
    """Laplace weights with a zero channel; values on ties and clipping edges of step 1/8."""
    w = np.random.default_rng(3).laplace(0, 0.2, shape).astype(np.float32)
    w[..., 0] = 0
    w.reshape(-1, shape[-1])[:6, -1] = np.array([0.5, -0.5, 1.5, 7.5, -7.5, 100]) / 8
    return w


def built(quantizer: Any, w: Any, steps: Any = None) -> dict[str, Any]:
    variables = quantizer.build(w.shape, "weight", tf_keras.layers.Layer())
    quantizer.initialize(w, variables)
    if steps is not None:
        theta = np.log2(steps) + quantizer.bits - 1
        variables["theta"].assign(np.broadcast_to(theta, variables["theta"].shape))
    return variables


@pytest.mark.parametrize("bits", BITS)
def test_weights_start_at_the_largest_magnitude(bits: int) -> None:
    w = kernel()
    quantizer = LlsqWeights(bits, "per_tensor")
    alpha = np.abs(w).max() / 2 ** (bits - 1)
    assert quantizer.exponent(built(quantizer, w)) == np.floor(np.log2(alpha) + 0.5)
    single = LlsqWeights(bits, "per_channel")
    one = kernel((5, 5, 1, 2))[..., 1:]
    assert single.exponent(built(single, one)).numpy().shape == (1, 1, 1, 1)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("scale", ["per_tensor", "per_channel"])
def test_weights_forward(bits: int, scale: str) -> None:
    w, quantizer = kernel(), LlsqWeights(bits, scale)
    variables = built(quantizer, w, 0.11)  # rounds to 1/8
    assert np.array_equal(np.unique(quantizer.exponent(variables)), [-3])
    limit = 2 ** (bits - 1) - 1
    expected = np.clip(np.floor(w.astype(np.float64) * 8 + 0.5), -limit, limit)
    assert np.array_equal(quantizer.codes(w, variables, quantizer.exponent(variables)), expected)
    assert np.array_equal(quantizer(w, True, variables), expected / 8)


@pytest.mark.parametrize("axes", [(), (-1,), (-2, -1)])
def test_weight_gradients(axes: tuple[int, ...]) -> None:
    w = kernel()
    quantizer = LlsqWeights(4, "per_channel" if axes else "per_tensor", "llsq", axes or (-1,))
    kept = [axis % 4 for axis in axes]
    shape = [size if axis in kept else 1 for axis, size in enumerate(w.shape)]
    count = int(np.prod(shape))
    steps = 2.0 ** (np.arange(count) % 9 - 8).reshape(shape)
    variables = built(quantizer, w, steps)
    upstream = np.random.default_rng(1).normal(size=w.shape).astype(np.float32)
    x = tf.Variable(w)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantizer(x, True, variables) * upstream)
    to_x, to_theta = tape.gradient(loss, [x, variables["theta"]])
    assert np.array_equal(to_x, upstream)  # also where codes clip
    columns = np.moveaxis(w, kept, range(4 - len(kept), 4)).reshape(-1, count).astype(np.float64)
    expected = [np.sign(rule(c, s, -7, 7)) for c, s in zip(columns.T, steps.ravel(), strict=True)]
    assert len(set(expected)) > 1 or count == 1
    assert np.array_equal(np.ravel(to_theta), expected)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_activation_starts_at_the_largest_value(bits: int, signed: bool) -> None:
    quantizer = LlsqActivation(bits, signed)
    variables = quantizer.build([], "activation", tf_keras.layers.Layer())
    x = np.array([0, 1.7, 6.9], np.float32)
    quantizer.initialize(x, variables)
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    alpha = x.max() / (high + 1 if bits >= 4 else 2 * high)
    assert quantizer.exponent(variables) == np.floor(np.log2(alpha) + 0.5)
    quantizer.initialize(np.zeros(3), variables)
    assert quantizer.exponent(variables) == 0
    quantizer.set_exponent(-5, variables)
    assert quantizer.exponent(variables) == -5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("bits", "signed"), [(4, True), (4, False), (3, False), (2, True)])
def test_activation_gradients(bits: int, signed: bool, dtype: Any) -> None:
    quantizer = LlsqActivation(bits, signed)
    variables = quantizer.build([], "activation", tf_keras.layers.Layer())
    low, high = quantizer.low, quantizer.high
    edges = np.array([low - 0.75, low - 0.25, 0, 0.5, high + 0.25, high + 0.5, high + 3])
    values = np.concatenate([edges, np.random.default_rng(2).normal(0, 1, 57)]).reshape(8, 8)
    upstream = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    seen = set()
    for exponent in (-6, -1, 0, 3):
        quantizer.set_exponent(exponent, variables)
        x = tf.Variable(values.astype(dtype))
        with tf.GradientTape() as tape:
            y = tf.cast(quantizer(tf.cast(x, tf.float32), True, variables), tf.float32)
            loss = tf.reduce_sum(y * upstream)
        to_x, to_theta = tape.gradient(loss, [x, variables["theta"]])
        codes = np.floor(np.float32(values) * 2.0**-exponent + 0.5)
        inside = (codes >= low) & (codes <= high)
        assert np.array_equal(to_x, np.where(inside, upstream, 0))
        assert to_theta == np.sign(rule(np.float32(values), 2.0**exponent, low, high))
        seen.add(float(to_theta))
    assert seen == {-1, 0, 1}


def test_steps_settle_where_the_error_is_least() -> None:
    w = np.random.default_rng(5).normal(0, 0.1, (200, 3)).astype(np.float32)
    quantizer = LlsqWeights(4, "per_channel")
    variables = built(quantizer, w, 2.0 ** np.array([-9.0, -4.0, 1.0]))
    optimizer = tf_keras.optimizers.Adam(0.2)
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(quantizer(w, True, variables))
        gradient = tape.gradient(loss, variables["theta"])
        optimizer.apply_gradients([(gradient, variables["theta"])])
    found = quantizer.exponent(variables).numpy().ravel()
    for column, exponent in zip(w.T.astype(np.float64), found, strict=True):
        errors = [error(column, 2.0**e, -7, 7) for e in range(-12, 4)]
        assert exponent == np.argmin(errors) - 12


@pytest.mark.parametrize("bits", BITS)
def test_serialization(bits: int) -> None:
    for quantizer in (
        LlsqWeights(bits, "per_tensor", channel_axes=(-2, -1)),
        LlsqActivation(bits, False),
    ):
        config = tf_keras.utils.serialize_keras_object(quantizer)
        restored = tf_keras.utils.deserialize_keras_object(config)
        assert restored == quantizer and type(restored) is type(quantizer)


def test_refused_options() -> None:
    for make in (
        lambda: LlsqWeights(5),
        lambda: LlsqWeights(4, scale_learning="tqt"),
        lambda: LlsqActivation(1),
        lambda: LlsqActivation(4, scale_learning="lsq"),
    ):
        with pytest.raises(InputError):
            make()
