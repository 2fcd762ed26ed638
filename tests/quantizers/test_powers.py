# SPDX-License-Identifier: Apache-2.0
"""Power-of-two weights and their sums against independent NumPy formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq.encodings import ENCODINGS, encode_image, fixed_levels
from tinyq.errors import InputError
from tinyq.quantizers import Apot, LayerSpec, Pot, scales, weight_quantizer
from tinyq.quantizers.pot import round_log2, round_to_powers

APOT = {4: [0, 1, 2, 3, 4, 6, 8, 10], 3: [0, 1, 2, 3]}
MAKERS: dict[str, Any] = {
    "pot": lambda bits, scale="per_channel", axes=(-1,): Pot(bits, scale, "mse", "log", axes),
    "pot nearest": lambda bits, scale="per_channel", axes=(-1,): Pot(
        bits, scale, "mse", "nearest", axes
    ),
    "apot": lambda bits, scale="per_channel", axes=(-1,): Apot(bits, scale, "mse", axes),
}


def built(quantizer: Any, w: Any) -> dict[str, Any]:
    """Variables, initialized from ``w``."""
    variables = quantizer.build(w.shape, "weight", tf_keras.layers.Layer())
    quantizer.initialize(w, variables)
    return variables


def laplace(shape: tuple[int, ...] = (3, 3, 4, 8), seed: int = 0) -> Any:
    """Weights whose channels differ by powers of two."""
    w = np.random.default_rng(seed).laplace(0, 0.1, shape)
    return (w * 2.0 ** (np.arange(shape[-1]) % 8 - 4)).astype(np.float32)


def expected_powers(x: Any, rounding: str, count: int) -> Any:
    """The paper's formula in float64 with logarithms, or by distances."""
    magnitude = np.abs(np.asarray(x, np.float64))
    if rounding == "log":
        with np.errstate(divide="ignore"):
            k = np.floor(np.log2(magnitude) + 0.5)
        found = 2.0 ** np.clip(k, 0, count - 1)
    else:
        levels = 2.0 ** np.arange(count)[::-1]  # the larger one first: it wins ties
        found = levels[np.argmin(np.abs(magnitude[..., None] - levels), -1)]
    return np.where(magnitude < 0.5, 0, np.sign(x) * found)


def expected_sums(x: Any, bits: int) -> Any:
    levels = np.array([-v for v in APOT[bits][:0:-1]] + APOT[bits], np.float64)
    return levels[np.argmin(np.abs(np.asarray(x, np.float64)[..., None] - levels), -1)]


def expected(name: str, x: Any, bits: int) -> Any:
    if name == "apot":
        return expected_sums(x, bits)
    rounding = "nearest" if name.endswith("nearest") else "log"
    return expected_powers(x, rounding, (2**bits - 1) // 2)


def test_levels_are_those_of_the_encodings() -> None:
    for bits in (4, 3):
        powers = 2 ** np.arange(Pot(bits).levels)
        for quantizer, positive in ((Pot(bits), powers), (Apot(bits), APOT[bits][1:])):
            levels = fixed_levels(ENCODINGS[quantizer.encoding])
            assert np.array_equal(levels, [*-np.array(positive)[::-1], 0, *positive])


@pytest.mark.parametrize("rounding", ["log", "nearest"])
@pytest.mark.parametrize("count", [7, 3])
def test_rounding_to_powers_at_every_threshold(rounding: str, count: int) -> None:
    """Each threshold, the floats beside it, the ends and beyond, under both signs."""
    edge = np.float32(np.sqrt(2) if rounding == "log" else 1.5)
    edges = np.concatenate([edge * 2.0 ** np.arange(-3, 9), 2.0 ** np.arange(-3, 9), [0.5, 64.0]])
    edges = edges.astype(np.float32)
    beside = [np.nextafter(edges, np.float32(side)) for side in (0, np.inf)]
    x = np.concatenate([edges, *beside, [0, 1e-45, 1e-38, 3e38]]).astype(np.float32)
    x = np.concatenate([x, -x])
    for function in (round_to_powers, tf.function(round_to_powers)):
        got = function(tf.constant(x), rounding, count).numpy()
        assert np.array_equal(got, expected_powers(x, rounding, count))
    assert np.array_equal(round_to_powers(tf.constant([0.5, -0.5]), rounding, count), [1, -1])
    assert round_to_powers(tf.constant(np.nextafter(np.float32(0.5), 0)), rounding, count) == 0


def test_rounded_logarithm_over_the_normal_numbers() -> None:
    rng = np.random.default_rng(0)
    x = np.ldexp(rng.uniform(1, 2, 4000), rng.integers(-126, 127, 4000)).astype(np.float32)
    got = round_log2(tf.constant(x), "log").numpy()
    assert np.array_equal(got, np.floor(np.log2(x.astype(np.float64)) + 0.5))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("bits", [4, 3])
@pytest.mark.parametrize("scale", ["per_channel", "per_tensor"])
def test_forward(name: str, bits: int, scale: str) -> None:
    w, quantizer = laplace(), MAKERS[name](bits, scale)
    variables = built(quantizer, w)
    exponent = quantizer.exponent(variables).numpy()
    assert exponent.shape == ((1, 1, 1, 8) if scale == "per_channel" else (1, 1, 1, 1))
    codes = expected(name, w / 2.0**exponent, bits)
    assert np.array_equal(quantizer(w, True, variables), codes * 2.0**exponent)
    assert np.array_equal(quantizer.codes(w, variables, exponent), codes)
    compiled = tf.function(lambda x: quantizer(x, True, variables))
    assert np.array_equal(compiled(w), codes * 2.0**exponent)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(MAKERS)),
    st.sampled_from([4, 3]),
    st.sampled_from(["per_channel", "per_tensor"]),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.sampled_from(["laplace", "zeros", "constant", "sparse"]),
    st.integers(0, 2**16),
)
def test_any_shape_becomes_codes(
    name: str, bits: int, scale: str, shape: list[int], kind: str, seed: int
) -> None:
    w = laplace(tuple(shape), seed)
    if kind in ("zeros", "constant"):
        w = np.full_like(w, 0 if kind == "zeros" else w.flat[0])
    if kind == "sparse":
        w = np.where(np.random.default_rng(seed).random(shape) < 0.8, 0, w).astype(np.float32)
    axes = (-2, -1) if len(shape) == 4 else (-1,)
    quantizer = MAKERS[name](bits, scale, axes=axes)
    variables = built(quantizer, w)
    exponent = quantizer.exponent(variables)
    codes = quantizer.codes(tf.constant(w), variables, exponent).numpy()
    assert np.array_equal(codes, expected(name, w / 2.0 ** exponent.numpy(), bits))
    assert np.array_equal(codes[w == 0], np.zeros((w == 0).sum()))
    rows = np.moveaxis(codes, -1, 0).astype(np.int64)
    stored = encode_image(rows, ENCODINGS[quantizer.encoding], np.zeros(1, np.int64))
    assert np.array_equal(stored.image(), rows)


@pytest.mark.parametrize("bits", [4, 3])
def test_powers_start_at_the_papers_exponent(bits: int) -> None:
    w = laplace()
    variables = built(Pot(bits, "per_channel", "minmax"), w)
    top = np.ceil(np.log2(np.abs(w).max((0, 1, 2))))
    assert np.array_equal(variables["exponent"].numpy().ravel(), top - (2**bits - 1) // 2 + 1)
    assert not variables["exponent"].trainable


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("bits", [4, 3])
def test_searched_exponents_have_the_least_error(name: str, bits: int) -> None:
    w = laplace()
    quantizer = MAKERS[name](bits)
    got = quantizer.exponent(built(quantizer, w)).numpy()
    largest = 2 ** ((2**bits - 1) // 2 - 1) if name != "apot" else APOT[bits][-1]
    start = np.ceil(np.log2(np.abs(w).max((0, 1, 2), keepdims=True) / largest))
    depth = 3 if name != "apot" else 14
    assert ((got <= start) & (got > start - depth)).all()

    def errors(exponent: Any) -> Any:
        scaled = w.astype(np.float64) / 2.0**exponent
        return ((expected(name, scaled, bits) - scaled) ** 2 * 4.0**exponent).sum((0, 1, 2))

    trials = [errors(start - step) for step in range(depth)]
    assert np.array_equal(errors(got), np.min(trials, 0))


def test_powers_pass_every_gradient_through() -> None:
    w, upstream = laplace(), np.random.default_rng(1).normal(size=(3, 3, 4, 8)).astype(np.float32)
    w[0, 0, 0] = 0
    w[1, 1, 1] *= 100
    for rounding in ("log", "nearest"):
        quantizer = Pot(4, "per_channel", "mse", rounding)
        variables = built(quantizer, laplace())
        x = tf.Variable(w)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(quantizer(x, True, variables) * upstream)
        assert np.array_equal(tape.gradient(loss, x), upstream)


@pytest.mark.parametrize("bits", [4, 3])
@pytest.mark.parametrize("scale", ["per_channel", "per_tensor"])
def test_sums_learn_their_clipping(bits: int, scale: str) -> None:
    quantizer = Apot(bits, scale, "tqt")
    variables = built(quantizer, laplace())
    exponent = np.ceil(variables["theta"].numpy().astype(np.float64))
    top = APOT[bits][-1]
    w = (laplace(seed=2) * 3).astype(np.float32)
    w[0, 0, 0] = top * 2.0 ** exponent[..., 0, :]  # on the clipping edge: counts as inside
    w[0, 0, 1] = -1.5 * 2.0 ** exponent[..., 0, :]  # a tie: the smaller level
    w[0, 0, 2] = 0
    upstream = np.random.default_rng(1).normal(size=w.shape).astype(np.float32)
    x = tf.Variable(w)
    with tf.GradientTape() as tape:
        y = quantizer(x, True, variables)
        loss = tf.reduce_sum(y * upstream)
    to_x, to_theta = tape.gradient(loss, [x, variables["theta"]])
    assert np.array_equal(to_x, upstream)

    scaled = w / 2.0**exponent
    codes = expected_sums(scaled, bits)
    assert np.array_equal(y, codes * 2.0**exponent)
    assert (codes[0, 0, 1] == -2).all()
    clipped = np.abs(scaled) > top
    assert clipped.any() and not clipped[0, 0, 0].any()
    slope = np.where(clipped, codes, codes - scaled) * 2.0**exponent * np.log(2) * upstream
    axes = (0, 1, 2) if scale == "per_channel" else (0, 1, 2, 3)
    # float32 sums against float64 ones
    np.testing.assert_allclose(to_theta, slope.sum(axes, keepdims=True), rtol=1e-4, atol=1e-5)


def test_sums_move_their_clipping_towards_the_weights() -> None:
    """The squared error of weights far outside asks for a larger exponent, and far inside for a
    smaller one."""
    quantizer = Apot(4, "per_tensor", "tqt")
    for size, sign in ((100.0, -1), (0.01, 1)):
        w = laplace()
        variables = built(quantizer, w)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((quantizer(size * w, True, variables) - size * w) ** 2)
        assert np.sign(tape.gradient(loss, variables["theta"]).numpy().item()) == sign


@pytest.mark.parametrize("learning", ["mse", "minmax"])
def test_sums_keep_exponents_that_are_not_learned(learning: str) -> None:
    variables = built(Apot(4, "per_channel", learning), laplace())
    assert not variables["theta"].trainable
    assert np.array_equal(variables["theta"], np.ceil(variables["theta"]))


def test_exponents_of_dead_channels_are_bounded() -> None:
    w = laplace()
    w[..., 2] = 0
    w[..., 5] *= 2.0**-30
    for make in MAKERS.values():
        quantizer = make(4)
        exponents = quantizer.exponent(built(quantizer, w)).numpy()
        assert exponents.max() - exponents.min() <= scales.MAX_SPREAD


@pytest.mark.parametrize("encoding", ["pot4", "pot3", "apot4", "apot3"])
def test_factory_and_serialization(encoding: str) -> None:
    spec = LayerSpec(encoding, "per_tensor", "mse", pot_rounding="nearest")
    quantizer = weight_quantizer(spec, (-2, -1))
    assert quantizer.encoding == encoding
    config = tf_keras.utils.serialize_keras_object(quantizer)
    restored = tf_keras.utils.deserialize_keras_object(config)
    assert restored == quantizer and restored != weight_quantizer(LayerSpec(encoding), (-2, -1))


def test_refused_options() -> None:
    for make in (
        lambda: Pot(8),
        lambda: Apot(2),
        lambda: Pot(4, rounding="up"),
        lambda: Pot(4, scale_learning="guess"),
        lambda: Apot(4, scale_learning="guess"),
        lambda: LayerSpec("pot4", pot_rounding="up"),
        lambda: LayerSpec("pot2"),
    ):
        with pytest.raises(InputError):
            make()
