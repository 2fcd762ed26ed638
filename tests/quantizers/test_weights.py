# SPDX-License-Identifier: Apache-2.0
"""Weight and activation quantizers against independent NumPy formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tinyq.encodings import ENCODINGS
from tinyq.errors import InputError
from tinyq.quantizers import Activation, LayerSpec, Lut, Uniform, scales, weight_quantizer
from tinyq.quantizers.lut import fit_table, kmeans_with_zero, nearest

SHAPE = (3, 3, 4, 8)


def kernel(seed: int = 0, spread: bool = True) -> Any:
    """Laplace weights whose channels differ by powers of two."""
    w = np.random.default_rng(seed).laplace(0, 0.1, SHAPE)
    return (w * 2.0 ** np.arange(-4, 4) if spread else w).astype(np.float32)


def built(quantizer: Any, w: Any) -> dict[str, Any]:
    """Variables, initialized from ``w``."""
    variables = quantizer.build(w.shape, "weight", tf_keras.layers.Layer())
    quantizer.initialize(w, variables)
    return variables


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
@pytest.mark.parametrize("scale", ["per_channel", "per_tensor"])
def test_uniform_forward(bits: int, scale: str) -> None:
    w, quantizer = kernel(), Uniform(bits, scale)
    variables = built(quantizer, w)
    exponent = np.ceil(variables["theta"].numpy()) - (bits - 1)
    assert exponent.shape == ((1, 1, 1, 8) if scale == "per_channel" else (1, 1, 1, 1))
    limit = 2 ** (bits - 1) - 1
    codes = np.clip(np.floor(w / 2.0**exponent + 0.5), -limit, limit)
    assert np.array_equal(quantizer(w, True, variables), codes * 2.0**exponent)
    assert np.array_equal(quantizer.codes(w, variables, quantizer.exponent(variables)), codes)


def test_uniform_gradients_are_those_of_tqt() -> None:
    w, quantizer = kernel(), Uniform(4, "per_channel")
    variables = built(quantizer, w)
    upstream = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    x = tf.Variable(w)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantizer(x, True, variables) * upstream)
    to_x, to_theta = tape.gradient(loss, [x, variables["theta"]])

    s = 2.0 ** (np.ceil(variables["theta"].numpy().astype(np.float64)) - 3)
    y = w / s
    inside = np.abs(np.floor(y + 0.5)) <= 7
    assert not inside.all()
    assert np.array_equal(to_x.numpy(), np.where(inside, upstream, 0))
    slope = np.where(inside, np.floor(y + 0.5) - y, np.sign(y) * 7) * s * np.log(2)
    expected = (slope * upstream).sum((0, 1, 2), keepdims=True)
    # float32 products and sums of 36 terms against float64 ones; sums may cancel
    close = 1e-6 * np.abs(slope * upstream).sum((0, 1, 2))
    assert (np.abs(to_theta - expected) <= close).all()


@pytest.mark.parametrize("learning", scales.PLAIN_LEARNING)
def test_initial_exponents(learning: str) -> None:
    w, quantizer = kernel(), Uniform(4, "per_channel", learning)
    variables = built(quantizer, w)
    assert variables["theta"].trainable == (learning == "tqt")
    got = quantizer.exponent(variables).numpy().ravel()

    def error(c: int, e: float) -> float:
        x = w[..., c].astype(np.float64)
        return float(((np.clip(np.floor(x / 2.0**e + 0.5), -7, 7) * 2.0**e - x) ** 2).sum())

    for c, e in enumerate(got):
        if learning == "minmax":
            assert np.abs(w[..., c]).max() <= 7 * 2.0**e and np.abs(w[..., c]).max() > 3.5 * 2.0**e
        else:
            assert error(c, e) == min(error(c, e + d) for d in range(-6, 4))


def test_exponents_of_dead_channels_are_bounded() -> None:
    w = kernel(spread=False)
    w[..., 2] = 0
    w[..., 5] *= 2.0**-30
    for quantizer in (Uniform(8), Lut(4)):
        exponents = quantizer.exponent(built(quantizer, w)).numpy().ravel()
        assert exponents.max() - exponents.min() <= scales.MAX_SPREAD


def test_depthwise_exponents_belong_to_channel_and_multiplier() -> None:
    w = np.random.default_rng(0).normal(size=(3, 3, 5, 2)).astype(np.float32)
    quantizer = Uniform(8, "per_channel", "minmax", (-2, -1))
    got = quantizer.exponent(built(quantizer, w)).numpy()
    expected = np.ceil(np.log2(np.abs(w).max((0, 1), keepdims=True) / 127))
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("bits", [4, 3, 2])
@pytest.mark.parametrize("scale", ["per_channel", "per_tensor"])
def test_lut_forward(bits: int, scale: str) -> None:
    w, quantizer = kernel(), Lut(bits, scale)
    variables = built(quantizer, w)
    table, exponent = quantizer.table(variables), variables["exponent"].numpy()
    assert 0 in table and np.abs(table).max() <= 127 and len(table) <= 2**bits
    distance = np.abs((w / 2.0**exponent)[..., None] - table)
    codes = table[np.argmin(distance, -1)]
    assert np.array_equal(quantizer(w, True, variables), codes * 2.0**exponent)


def test_lut_table_rounds_clips_and_keeps_its_zero() -> None:
    w, quantizer = kernel(), Lut(2, "per_tensor")
    variables = built(quantizer, w)
    variables["table"].assign([55.0, 200.0, -3.6, -3.4])
    assert np.array_equal(quantizer.table(variables), [-4, -3, 0, 127])


def test_lut_gradients() -> None:
    w, quantizer = kernel(), Lut(3, "per_channel")
    variables = built(quantizer, w)
    # whole numbers, whose sums are exact in float32
    upstream = np.random.default_rng(1).integers(-9, 10, SHAPE).astype(np.float32)
    x = tf.Variable(w)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantizer(x, True, variables) * upstream)
    to_x, to_table = tape.gradient(loss, [x, variables["table"]])
    assert np.array_equal(to_x, upstream)

    scale = 2.0 ** variables["exponent"].numpy().astype(np.float64)
    codes = (quantizer(w, True, variables) / scale).numpy()
    table = variables["table"].numpy()
    assert to_table[0] == 0
    for entry in np.unique(table[table != 0]):
        expected = (upstream * scale)[codes == entry].sum()
        assert to_table.numpy()[table == entry].sum() == expected


def test_lut_beats_uniform_on_laplace_weights() -> None:
    w = kernel(spread=False)
    errors = [
        float(((q(w, False, built(q, w)) - w) ** 2).numpy().sum())
        for q in (Lut(4, "per_tensor"), Uniform(4, "per_tensor"))
    ]
    assert errors[0] < 0.7 * errors[1]  # 0.35 for these weights; no promise, a clear gain


def test_fitted_table_is_no_worse_than_a_single_exponent_choice() -> None:
    cols = scales.columns(kernel(), (-1,))
    table, exponents = fit_table(cols, 16)
    assert table[0] == 0 and np.array_equal(table, np.round(table))
    got = scales.squared_error(cols, exponents, lambda x: nearest(x, table)).sum()
    start = scales.covering_exponents(cols, 127)
    centres = kmeans_with_zero((cols / 2.0**start).ravel(), np.ones(cols.size), 16)
    plain = np.clip(np.round(centres), -127, 127)
    assert got <= scales.squared_error(cols, start, lambda x: nearest(x, plain)).sum()


def test_kmeans_finds_separated_clusters_and_holds_zero() -> None:
    x = np.concatenate([np.full(50, v) for v in (-90.0, 1.0, 30.0, 100.0)])
    centres = kmeans_with_zero(x, np.ones_like(x), 4)
    assert np.array_equal(centres, [-90, 0, 30, 100])


@pytest.mark.parametrize(("bits", "signed"), [(8, True), (8, False), (4, True), (4, False)])
def test_activation(bits: int, signed: bool) -> None:
    quantizer = Activation(bits, signed)
    variables = quantizer.build([], "activation", tf_keras.layers.Layer())
    x = np.random.default_rng(0).normal(0.5, 1, 1000).astype(np.float32)
    x = x if signed else np.maximum(x, 0)
    quantizer.initialize(x, variables)
    exponent = np.ceil(variables["theta"].numpy()) - (bits - 1 if signed else bits)
    assert exponent == quantizer.exponent(variables).numpy()
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    codes = np.clip(np.floor(x / 2.0**exponent + 0.5), low, high)
    assert np.array_equal(quantizer(x, False, variables), codes * 2.0**exponent)
    quantizer.set_exponent(-3, variables)
    assert quantizer.exponent(variables).numpy() == -3


@pytest.mark.parametrize("encoding", ["int8", "int4", "int3", "int2", "lut4", "lut3", "lut2"])
def test_factory_and_serialization(encoding: str) -> None:
    quantizer = weight_quantizer(LayerSpec(encoding, "per_tensor", "mse"), (-2, -1))
    assert quantizer.encoding == encoding in ENCODINGS
    config = tf_keras.utils.serialize_keras_object(quantizer)
    assert tf_keras.utils.deserialize_keras_object(config) == quantizer
    activation = Activation(4, False, "minmax")
    config = tf_keras.utils.serialize_keras_object(activation)
    assert tf_keras.utils.deserialize_keras_object(config) == activation


def test_refused_options() -> None:
    for make in (
        lambda: weight_quantizer(LayerSpec("int7")),
        lambda: weight_quantizer(LayerSpec("lut8")),
        lambda: weight_quantizer(LayerSpec("what4")),
        lambda: weight_quantizer(LayerSpec("int8", "per_row")),
        lambda: weight_quantizer(LayerSpec("int8", "per_tensor", "guess")),
        lambda: Uniform(5),
        lambda: Lut(8),
        lambda: Activation(9),
        lambda: Activation(8, True, "guess"),
    ):
        with pytest.raises(InputError):
            make()
