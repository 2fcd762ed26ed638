# SPDX-License-Identifier: Apache-2.0
"""Bounded weights against independent NumPy formulas, and the bound itself over random states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq.errors import InputError
from tinyq.quantizers import A2q, LayerSpec, scales, weight_quantizer
from tinyq.quantizers.a2q import MIN_CENTERED, PENALTY
from tinyq.quantizers.base import Accumulator

SHAPE = (3, 3, 8, 5)
METHODS = ("a2q", "a2q_plus")


def kernel(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    w = np.random.default_rng(seed).laplace(0.01, 0.1, shape)
    return w.astype(np.float32)


def beside(channels: int, bias: float = 0.0, low: int = 0, high: int = 255) -> Accumulator:
    return Accumulator(low, high, tf.constant([bias] * channels, tf.float32), tf.constant(65.0))


def variables(quantizer: A2q, w: np.ndarray, gain: float, theta: float) -> dict[str, Any]:
    made = quantizer.build(w.shape, "weight", tf_keras.layers.Layer())
    made["gain"].assign(np.full(made["gain"].shape, gain))
    made["theta"].assign(np.full(made["theta"].shape, theta))
    return made


def demand(
    q: np.ndarray, method: str, a: Accumulator, axes: tuple[int, ...] = (-1,)
) -> tuple[np.ndarray, np.ndarray]:
    """What each channel's accumulator must hold above and below zero, with bias and rounding."""
    cols = scales.columns(q, axes).astype(np.int64)
    bias, margin = np.asarray(a.bias).astype(np.int64), int(a.margin)
    if method == "a2q":
        both = np.abs(cols).sum(0) * max(-a.low, a.high) + np.abs(bias) + margin
        return both, both
    up = np.where(cols > 0, cols * a.high, cols * a.low).sum(0) + np.maximum(bias, 0)
    down = np.where(cols > 0, -cols * a.low, -cols * a.high).sum(0) + np.maximum(-bias, 0)
    return up + margin, down + margin


def direction(w: np.ndarray, centered: bool) -> np.ndarray:
    v = w.astype(np.float64)
    v = v - v.mean((0, 1, 2)) if centered else v
    return v / np.abs(v).sum((0, 1, 2))


@pytest.mark.parametrize("method", METHODS)
def test_forward_where_the_norm_fits(method: str) -> None:
    w, quantizer = kernel(), A2q(8, 16, method)
    made = variables(quantizer, w, gain=np.log2(60.3 * 2.0**-5), theta=-5.0)
    codes = quantizer.bounded_codes(w, made, quantizer.exponent(made), beside(5)).numpy()
    expected = np.trunc(60.3 * direction(w, method == "a2q_plus"))
    assert np.array_equal(codes, expected)
    assert np.abs(codes).max() > 1 and (codes < 0).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limits", [(0, 255), (-128, 127), (0, 15), (-8, 7)])
def test_forward_where_the_bound_binds(method: str, limits: tuple[int, int]) -> None:
    """The largest radius that fits, to one part in 80; never less than the papers' T."""
    w, quantizer, a = kernel(), A2q(8, 16, method), beside(5, -500.0, *limits)
    made = variables(quantizer, w, gain=20.0, theta=-5.0)
    codes = quantizer.bounded_codes(w, made, quantizer.exponent(made), a).numpy()
    assert max(x.max() for x in demand(codes, method, a)) <= 2**15 - 1
    unit = direction(w, method == "a2q_plus")
    room = 2**15 - 1 - 500 - 65
    paper = room / max(limits[1], -limits[0])
    if method == "a2q_plus":
        paper = 2 * room / (limits[1] - limits[0])
    assert (np.abs(codes) >= np.abs(np.clip(np.trunc(paper * 0.999 * unit), -127, 127))).all()
    for c in range(5):
        radii = paper * np.arange(1, 4, 0.003)
        trials = np.clip(np.trunc(radii[:, None] * unit[..., c].ravel()), -127, 127)
        one = Accumulator(a.low, a.high, a.bias[:1], a.margin)
        fits = [max(x[0] for x in demand(t[:, None], method, one)) <= 2**15 - 1 for t in trials]
        best = np.abs(trials[np.flatnonzero(fits)[-1]]).sum()
        # Eight bisections of four radii end 1/85 below the largest that fits, the trials' step
        # adds 1/330; a code each is lost to truncation at the edge.
        assert np.abs(codes[..., c]).sum() >= 0.97 * best - 1


@pytest.mark.parametrize("binds", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_gradients(method: str, binds: bool) -> None:
    w, quantizer, a = kernel(), A2q(4, 16, method), beside(5)
    made = variables(quantizer, w, gain=20.0 if binds else np.log2(70.0) - 5, theta=-5.3)
    upstream = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    x = tf.Variable(w)
    with tf.GradientTape() as tape:
        exponent = quantizer.exponent(made)
        codes = quantizer.bounded_codes(x, made, exponent, a)
        loss = tf.reduce_sum(codes * 2.0**-5 * upstream)
    to_x, to_gain = tape.gradient(loss, [x, made["gain"]])

    unit, axes = direction(w, method == "a2q_plus"), (0, 1, 2)
    if binds:
        r = quantizer.radius(quantizer.direction(w), tf.fill([1, 1, 1, 5], 2.0**20), a).numpy()
    else:
        r = np.full(5, 70.0)
    v = w - w.mean(axes) if method == "a2q_plus" else w
    inside = np.abs(np.trunc(r * unit)) <= 7
    g = upstream.astype(np.float64) * 2.0**-5 * inside
    to_v = r / np.abs(v).sum(axes) * (g - np.sign(v) * (g * unit).sum(axes))
    expected = to_v - to_v.mean(axes) if method == "a2q_plus" else to_v
    # float32 norms, quotients and sums of 72 terms, which may cancel, against float64
    np.testing.assert_allclose(to_x, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    to_r = 0.0 if binds else np.log(2) * (g * r * unit).sum(axes)
    # the same, and 2**gain of a gain in float32
    np.testing.assert_allclose(to_gain.numpy().ravel(), to_r, rtol=1e-5, atol=1e-6)


def test_scale_gradient() -> None:
    """w^ = s * q: s ln 2 * (q - u) where g rules, s ln 2 * q where the bound does."""
    w, quantizer, a = kernel(), A2q(8, 16), beside(5)
    for gain in (np.log2(70.0) - 5, 20.0):
        made = variables(quantizer, w, gain=gain, theta=-5.3)
        with tf.GradientTape() as tape:
            exponent = quantizer.exponent(made)
            codes = quantizer.bounded_codes(w, made, exponent, a)
            loss = tf.reduce_sum(codes * tf.exp(exponent * np.log(2)))
        got = tape.gradient(loss, made["theta"]).numpy().ravel()
        rest = codes.numpy() - (70.0 * direction(w, False) if gain < 20 else 0.0)
        expected = 2.0**-5 * np.log(2) * rest.sum((0, 1, 2))
        # 2**gain and the direction are float32 here, and so are sums of 72 terms
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_penalty_pulls_at_norms_beyond_the_bound() -> None:
    w, quantizer, a = kernel(), A2q(8, 16), beside(5)
    made = variables(quantizer, w, gain=3.0, theta=-5.0)
    exponent = quantizer.exponent(made)
    radius = quantizer.radius(quantizer.direction(w), tf.fill([1, 1, 1, 5], 2.0**8), a).numpy()
    excess = np.maximum(2.0**3 - radius * 2.0**-5, 0)
    assert (excess > 0).all()
    got = quantizer.penalty(w, made, exponent, a).numpy()
    np.testing.assert_allclose(got, PENALTY * excess.sum(), rtol=1e-6)  # a float32 sum of five
    made["gain"].assign(np.full((1, 1, 1, 5), -1.0))
    assert quantizer.penalty(w, made, exponent, a).numpy() == 0


def test_only_wide_ordinary_kernels_are_centered() -> None:
    assert A2q(8, 16, "a2q_plus").centers(SHAPE)
    assert not A2q(8, 16, "a2q").centers(SHAPE)
    assert not A2q(8, 16, "a2q_plus").centers((3, 3, 3, 16))
    assert not A2q(8, 16, "a2q_plus", zero_center=False).centers(SHAPE)
    assert not A2q(8, 16, "a2q_plus", channel_axes=(-2, -1)).centers((7, 7, 8, 1))
    assert A2q(8, 16, "a2q_plus").centers((MIN_CENTERED, 2))


@pytest.mark.parametrize("case", ["zeros", "one channel zero", "constant", "one weight"])
@pytest.mark.parametrize("method", METHODS)
def test_degenerate_kernels(method: str, case: str) -> None:
    shape = (1, 1, 1, 5) if case == "one weight" else SHAPE
    w = kernel(shape)
    if case == "zeros":
        w[:] = 0
    elif case == "constant":
        w[:] = 0.25
    elif case == "one channel zero":
        w[..., 2] = 0
    quantizer, a = A2q(8, 16, method), beside(5)
    made = variables(quantizer, w, 0.0, 0.0)
    start = quantizer.initialize_bounded(w, made, Accumulator(0, 255, np.zeros(5), 0.0), -8.0)
    assert np.isfinite(start).all()
    codes = quantizer.bounded_codes(start, made, quantizer.exponent(made), a).numpy()
    assert max(x.max() for x in demand(codes, method, a)) <= 2**15 - 1
    if case == "one weight":
        # 120 codes fit beside the share that the margin may take: half a code of at least 60
        np.testing.assert_allclose(codes * 2.0 ** quantizer.exponent(made), w, rtol=1 / 120)


@pytest.mark.parametrize("scale", scales.SCALES)
@pytest.mark.parametrize("method", METHODS)
def test_start_is_rounding_where_there_is_room_and_projection_where_not(
    method: str, scale: str
) -> None:
    w = kernel()
    wide, narrow = A2q(8, 28, method, scale), A2q(8, 16, method, scale)
    errors = []
    for quantizer in (wide, narrow):
        made = variables(quantizer, w, 0.0, 0.0)
        outside = Accumulator(0, 255, np.full(5, 0.1), 0.0)
        start = quantizer.initialize_bounded(w, made, outside, -8.0)
        a = beside(5)
        codes = quantizer.bounded_codes(start, made, quantizer.exponent(made), a).numpy()
        real = codes * 2.0 ** quantizer.exponent(made).numpy()
        target = w - w.mean((0, 1, 2)) if method == "a2q_plus" else w
        errors.append(float(((real - target) ** 2).sum() / (target**2).sum()))
    # Rounding costs step**2 / 12 of weights whose mean square is 0.023: 2.2e-4 for steps of 2**-7.
    # What 16 bits cost has no formula; most of the weights' energy is kept (0.98 here).
    assert errors[0] < 3e-4
    assert errors[0] < errors[1] < 0.05


@given(
    st.integers(0, 2**32 - 1),
    st.integers(8, 24),
    st.sampled_from(METHODS),
    st.sampled_from([8, 4, 3, 2]),
    st.sampled_from([(0, 255), (-128, 127), (0, 15), (-8, 7), (0, 3)]),
    st.sampled_from([(-1,), (-2, -1)]),
)
@settings(max_examples=40, deadline=None)
def test_no_state_leaves_the_accumulator(
    seed: int, width: int, method: str, bits: int, limits: tuple[int, int], axes: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(map(int, rng.integers(1, 7, 4)))
    channels = int(np.prod([shape[axis] for axis in axes]))
    w = (rng.normal(0, 1, shape) * 2.0 ** rng.integers(-20, 20, shape)).astype(np.float32)
    w[rng.random(shape) < 0.3] = rng.choice([0.0, 1.0])
    quantizer = A2q(bits, width, method, str(rng.choice(scales.SCALES)), axes)
    made = quantizer.build(shape, "weight", tf_keras.layers.Layer())
    for variable in made.values():
        variable.assign(rng.normal(0, 8, variable.shape))
    room = 2 ** (width - 1) - 1
    bias = rng.integers(-(room // 3), room // 3 + 1, channels).astype(np.float32)
    a = Accumulator(*limits, tf.constant(bias), tf.constant(float(rng.integers(0, room // 8 + 1))))
    codes = quantizer.bounded_codes(w, made, quantizer.exponent(made), a).numpy()
    assert np.array_equal(codes, np.round(codes)) and np.abs(codes).max() <= 2 ** (bits - 1) - 1
    assert max(x.max() for x in demand(codes, method, a, axes)) <= room


def test_eager_and_graph_agree() -> None:
    w, quantizer, a = kernel(), A2q(8, 16, "a2q_plus"), beside(5, 300.0)
    made = variables(quantizer, w, 0.4, -5.0)

    def codes(x: Any) -> Any:
        return quantizer.bounded_codes(x, made, quantizer.exponent(made), a)

    assert np.array_equal(codes(tf.constant(w)), tf.function(codes)(tf.constant(w)))


def test_saved_and_restored() -> None:
    quantizer = A2q(4, 14, "a2q_plus", "per_tensor", (-2, -1), False)
    config = tf_keras.utils.serialize_keras_object(quantizer)
    assert tf_keras.utils.deserialize_keras_object(config) == quantizer


def test_refused_options() -> None:
    for make in (
        lambda: A2q(5),
        lambda: A2q(8, 7),
        lambda: A2q(8, 33),
        lambda: A2q(8, 16, "a2q_minus"),
        lambda: weight_quantizer(LayerSpec("lut4", method="a2q")),
    ):
        with pytest.raises(InputError):
            make()
    made = weight_quantizer(LayerSpec("int4", method="a2q_plus", accumulator_bits=14))
    assert isinstance(made, A2q) and (made.bits, made.accumulator_bits) == (4, 14)
