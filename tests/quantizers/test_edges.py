# SPDX-License-Identifier: Apache-2.0
"""Gradients to scales and tables where they are delicate: ties, clipping edges, constants, zeros.

Values are quarters of a step and upstream gradients small whole numbers, so every sum is exact in
float32; what may differ from NumPy is said beside each tolerance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from quantizer_formulas import BITS, Array, backward, built, llsq_direction, nearest, rounded

from tinyq.quantizers import A2q, Activation, Lut, Uniform, scales
from tinyq.quantizers.base import Accumulator
from tinyq.quantizers.llsq import LlsqActivation, LlsqWeights
from tinyq.quantizers.lsq import LsqActivation, LsqWeights

LEARNINGS = ("tqt", "lsq", "llsq")
WEIGHTS: dict[str, Any] = {"tqt": Uniform, "lsq": LsqWeights, "llsq": LlsqWeights}
ACTIVATIONS: dict[str, Any] = {"tqt": Activation, "lsq": LsqActivation, "llsq": LlsqActivation}
CASES = ("edges", "ties", "constant", "clipped", "zero")
#: ln 2 and two products, in float32: each rounds by at most 2**-24 of its size
ROUNDINGS = 2.0**-22


def scaled_values(case: str, shape: tuple[int, ...], low: int, high: int) -> Array:
    """Values in units of the step: a power of two of them, so that means are exact too."""
    rng = np.random.default_rng(low + 7 * high)
    if case == "edges":  # the ends of the range, what still rounds to them, and what does not
        ends = [low - 0.75, low - 0.5, low, high, high + 0.25, high + 0.5]
        return rng.choice(ends, shape)
    if case == "ties":
        return rng.integers(2 * low, 2 * high + 1, shape) + 0.5
    return np.full(shape, {"constant": 0.75, "clipped": high + 3.0, "zero": 0.0}[case])


def step_gradient(
    x: Array, upstream: Array, low: int, high: int, axes: tuple[int, ...]
) -> tuple[Array, Array]:
    """d(x^)/dtheta / (s ln 2): sum of upstream * (q - x inside, q outside), and of magnitudes."""
    codes = np.clip(rounded(x), low, high)
    inside = codes == rounded(x)
    parts = upstream * codes, upstream * np.where(inside, x, 0)
    total, subtracted = (part.sum(axes, keepdims=True) for part in parts)
    return total - subtracted, np.abs(total) + np.abs(subtracted)


def assert_step_gradient(got: Array, expected: tuple[Array, Array], factor: Any) -> None:
    slope, size = expected
    assert (np.abs(got - slope * factor) <= ROUNDINGS * size * factor).all()


@pytest.mark.parametrize("shape", [(1, 1), (8, 1), (2, 2, 2, 4), (1, 1, 1, 2)])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("learning", LEARNINGS)
def test_weights(learning: str, case: str, shape: tuple[int, ...]) -> None:
    """Channels with steps of their own; a single channel, a single weight."""
    inner = tuple(range(len(shape) - 1))
    for bits in BITS:
        limit = 2 ** (bits - 1) - 1
        quantizer = WEIGHTS[learning](bits, "per_channel")
        exponent = np.arange(shape[-1]) - 3.0
        variables = built(quantizer, np.ones(shape, np.float32))
        nudge = -0.25 if learning == "tqt" else 0.25  # what rounds to the exponent
        theta = exponent + bits - 1 + nudge
        variables["theta"].assign(theta.reshape(variables["theta"].shape))
        units = scaled_values(case, shape, -limit, limit)
        w = (units * 2.0**exponent).astype(np.float32)
        upstream = np.random.default_rng(bits).integers(-3, 4, shape).astype(np.float32)
        y, to_w, to_theta = backward(quantizer, w, variables, upstream, variables["theta"])
        inside = np.abs(rounded(units)) <= limit
        assert np.array_equal(y, np.clip(rounded(units), -limit, limit) * 2.0**exponent)
        assert np.array_equal(to_w, upstream if learning == "llsq" else upstream * inside)
        if learning == "llsq":
            ways = llsq_direction(w.astype(np.float64), 2.0**exponent, -limit, limit, inner)
            assert np.array_equal(to_theta, ways)
            continue
        count = units.size // shape[-1]
        factor = 2.0**exponent * np.log(2) / (np.sqrt(count * limit) if learning == "lsq" else 1)
        assert_step_gradient(to_theta, step_gradient(units, upstream, -limit, limit, inner), factor)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("learning", LEARNINGS)
def test_activations(learning: str, case: str, signed: bool) -> None:
    for bits, shape in zip([*BITS, *BITS], [(2, 4, 4)] * 4 + [(1,)] * 4, strict=True):
        quantizer = ACTIVATIONS[learning](bits, signed)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        variables = quantizer.build([], "activation", tf_keras.layers.Layer())
        quantizer.set_exponent(-2, variables)
        units = scaled_values(case, shape, low, high)
        x = (units / 4).astype(np.float32)
        upstream = np.random.default_rng(bits).integers(-3, 4, shape).astype(np.float32)
        y, to_x, to_theta = backward(quantizer, x, variables, upstream, variables["theta"])
        inside = (rounded(units) >= low) & (rounded(units) <= high)
        assert np.array_equal(y, np.clip(rounded(units), low, high) / 4)
        assert np.array_equal(to_x, upstream * inside)
        if learning == "llsq":
            (way,) = llsq_direction(x.ravel().astype(np.float64), np.array(0.25), low, high, 0)
            assert to_theta == way
            continue
        sample = units.size // shape[0]
        factor = np.log(2) / 4 / (np.sqrt(sample * high) if learning == "lsq" else 1)
        expected = step_gradient(units, upstream, low, high, tuple(range(len(shape))))
        assert_step_gradient(to_theta, expected, factor)


@pytest.mark.parametrize("case", ["one channel", "one weight", "constant", "zero"])
@pytest.mark.parametrize("bits", [4, 3, 2])
def test_tables(case: str, bits: int) -> None:
    """Each entry gets the sum of its members, exactly; the pinned zero gets nothing."""
    shape = (1, 1) if case == "one weight" else (3, 3, 2, 1 if case == "one channel" else 3)
    rng = np.random.default_rng(bits)
    w = rng.laplace(0, 0.1, shape).astype(np.float32)
    if case in ("constant", "zero"):
        w[:] = -0.3 if case == "constant" else 0
    quantizer = Lut(bits, "per_channel")
    variables = built(quantizer, w)
    upstream = rng.integers(-3, 4, shape).astype(np.float32)
    y, to_w, to_table = backward(quantizer, w, variables, upstream, variables["table"])
    table, scale = variables["table"].numpy(), 2.0 ** variables["exponent"].numpy()
    members = nearest(w / scale, table)
    assert np.array_equal(y, members * scale) and np.array_equal(to_w, upstream)
    assert to_table[0] == 0 and np.isfinite(to_table).all()
    assert (table != 0).any() == (case != "zero")
    for entry in table[table != 0]:
        assert to_table[table == entry] == (upstream * scale)[members == entry].sum()


def a2q_reference(
    w: Array, upstream: Array, radius: Array, limit: int, axes: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Gradients of clip(trunc(r * v / |v|_1)) to v and to log2 r, and the size of the terms."""
    norm = np.maximum(np.abs(w).sum(axes, keepdims=True), 1e-300)
    unit = w / norm
    g = upstream * (np.abs(np.trunc(radius * unit)) <= limit)
    to_unit = (g * unit).sum(axes, keepdims=True)
    size = radius / norm * (np.abs(g) + np.abs(g * unit).sum(axes, keepdims=True))
    to_w = radius / norm * (g - np.sign(w) * to_unit)
    return to_w * (w.any(axes, keepdims=True)), np.log(2) * radius * to_unit, size


@pytest.mark.parametrize("binds", [False, True])
@pytest.mark.parametrize("method", ["a2q", "a2q_plus"])
@pytest.mark.parametrize(
    ("shape", "channel_axes"),
    [
        ((12, 1), (-1,)),
        ((1, 1), (-1,)),
        ((3, 3, 2, 1), (-1,)),
        ((3, 3, 4, 1), (-2, -1)),
        ((3, 3, 2, 2), (-2, -1)),
        ((3, 3, 1, 1), (-2, -1)),
        ((5, 5, 1, 3), (-2, -1)),
    ],
)
def test_bounded_weights(
    shape: tuple[int, ...], channel_axes: tuple[int, ...], method: str, binds: bool
) -> None:
    """A single channel, a single weight, depthwise kernels, a zero weight in each."""
    rng = np.random.default_rng(len(shape))
    w = rng.laplace(0, 0.1, shape).astype(np.float32)
    w.flat[0] = 0 if w.size > 1 else 0.1
    quantizer = A2q(4, 11, method, "per_channel", channel_axes)
    variables = quantizer.build(shape, "weight", tf_keras.layers.Layer())
    variables["gain"].assign(np.full(variables["gain"].shape, 20.0 if binds else 1.3))
    channels = int(np.prod([shape[axis] for axis in channel_axes]))
    beside = Accumulator(0, 255, tf.fill([channels], 3.0), tf.constant(5.0))
    upstream = rng.integers(-3, 4, shape).astype(np.float32)
    source = tf.Variable(w)
    with tf.GradientTape() as tape:
        codes = quantizer.bounded_codes(source, variables, tf.constant(0.0), beside)
        loss = tf.reduce_sum(codes * upstream)
    to_w, to_gain = tape.gradient(loss, [source, variables["gain"]])

    asked = tf.fill(scales.scale_shape(shape, channel_axes), 2.0**20 if binds else 2.0**1.3)
    bound = quantizer.radius(quantizer.direction(w), asked, beside).numpy()
    assert np.array_equal(bound < asked, np.full(bound.shape, binds))
    radius = np.minimum(bound, asked).astype(np.float64)
    axes = tuple(i for i in range(len(shape)) if i - len(shape) not in channel_axes)
    assert not quantizer.centers(shape)
    expected, to_log, size = a2q_reference(w.astype(np.float64), upstream, radius, 7, axes)
    # Norms, quotients and sums of at most 25 terms in float32.
    assert (np.abs(to_w - expected) <= 2.0**-19 * size).all()
    if binds:
        assert np.array_equal(to_gain, np.zeros(to_gain.shape))
    else:
        # and 2**gain for a gain that float32 rounds at 2**-23
        np.testing.assert_allclose(to_gain, to_log, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channel_axes", [(-1,), (-2, -1)])
@pytest.mark.parametrize("method", ["a2q", "a2q_plus"])
def test_zero_channels_of_bounded_weights_get_no_gradient(
    method: str, channel_axes: tuple[int, ...]
) -> None:
    quantizer = A2q(8, 16, method, "per_channel", channel_axes)
    w = np.zeros((3, 3, 4, 2), np.float32)
    w[..., 0] = np.random.default_rng(1).laplace(0, 0.1, (3, 3, 4))
    variables = quantizer.build(w.shape, "weight", tf_keras.layers.Layer())
    variables["gain"].assign(np.full(variables["gain"].shape, 5.0))
    upstream = np.random.default_rng(0).normal(size=w.shape).astype(np.float32)
    y, to_w, to_gain = backward(quantizer, w, variables, upstream, variables["gain"])
    assert np.isfinite(to_w).all() and np.isfinite(to_gain).all()
    for array in (y, to_w, to_gain):
        assert np.array_equal(array[..., 1], np.zeros(array[..., 1].shape))
    assert (to_w[..., 0] != 0).any()
