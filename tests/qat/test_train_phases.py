# SPDX-License-Identifier: Apache-2.0
"""Gradual quantization, and noise that repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from qat_models import data_for, make
from train_models import blobs, classifier, noisy

import tinyq.qat as qat
from tinyq.qat.folded import FoldedLayer
from tinyq.qat.forward import NOISE, forward, phase_applied
from tinyq.qat.schedule import Phase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Any:
    return qat.quantize(classifier(), qat.preset("w2a8_lut"), blobs()[0])


def test_wide_weights_are_eight_bits_of_the_folded_kernel(model: Any) -> None:
    layer = model.get_layer("conv")
    kernel, _ = (t.numpy() for t in layer.folded())
    with phase_applied(model, Phase(wide_weights=True)):
        codes, exponent, *_ = (t.numpy() for t in layer.parameters())
    peaks = np.abs(kernel).max((0, 1, 2), keepdims=True)
    expected = np.floor(np.log2(peaks)) + 1 - 7
    assert np.array_equal(exponent, expected)
    assert np.array_equal(codes, np.clip(np.floor(kernel / 2.0**expected + 0.5), -127, 127))
    assert len(np.unique(codes)) > 4 >= len(np.unique(layer.parameters().codes))


def test_wide_weights_learn_and_tables_wait(model: Any) -> None:
    layer = model.get_layer("conv")
    x = tf.constant(blobs()[0])
    network = qat.logits_model(model)
    with phase_applied(model, Phase(wide_weights=True)), tf.GradientTape() as tape:
        (output,), _ = forward(network, [x], tf.constant([0, 0]))
        loss = tf.reduce_sum(output**2)
    kernel, table = tape.gradient(loss, [layer.kernel, layer.weight_variables["table"]])
    assert table is None and np.count_nonzero(kernel) == np.size(kernel)


def test_real_activations_are_the_sums_of_the_layer(model: Any) -> None:
    x = blobs()[0]
    layer = model.get_layer("conv")
    entry = layer.producers[0]
    quantized = entry(tf.constant(x))
    with phase_applied(model, Phase(float_activations=True)):
        assert np.array_equal(layer(quantized, training=True), layer.real_output(quantized))
        assert np.array_equal(entry(tf.constant(x), training=True), quantized)
    rounded = layer(quantized, training=True).numpy()
    assert not np.array_equal(rounded, layer.real_output(quantized))
    assert np.array_equal(rounded, layer(quantized))


@pytest.mark.parametrize("name", ["branches", "two_ended"])
def test_every_layer_passes_real_activations(name: str) -> None:
    source = make(name)
    data = data_for(source, 2)
    model = qat.quantize(source, qat.preset("w8a8"), data)
    network = qat.logits_model(model)
    inputs = [tf.constant(x) for x in data]
    plain, _ = forward(network, inputs, tf.constant([0, 0]))
    with phase_applied(model, Phase(float_activations=True)):
        real, _ = forward(network, inputs, tf.constant([0, 0]))
    for a, b in zip(plain, real, strict=True):
        step = np.abs(a).max() / 16  # of 8-bit outputs, after roundings in every layer
        assert not np.array_equal(a, b) and np.abs(a - b).max() < step


def test_quantizers_are_fitted_when_the_weights_narrow(model: Any) -> None:
    x, y = blobs()
    start = model.get_weights()
    layer = model.get_layer("conv")
    tables, fitted = [], []
    original = FoldedLayer.initialize_weights

    def spy(self: Any) -> None:
        fitted.append(self.name)
        original(self)

    config = qat.TrainConfig(epochs=2, batch_size=48, wide_weights=0.5, float_activations=0.25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FoldedLayer, "initialize_weights", spy)
        qat.train(
            model, x, y, config, lambda _: tables.append(layer.weight_variables["table"].numpy())
        )
    assert fitted == ["conv", "classes"]
    assert np.array_equal(tables[0], tables[1]) and not np.array_equal(tables[1], tables[2])
    assert not layer.wide_weights and not layer.float_output
    model.set_weights(start)


def test_noise_is_a_function_of_its_seed() -> None:
    model = noisy()
    x = tf.constant(np.random.default_rng(0).normal(size=(64, 4, 4, 8)).astype(np.float32))
    seed = tf.constant([1, 2])
    for name in ("noise", "maps", "blur", "drop"):
        layer = model.get_layer(name)
        make_noise = NOISE[type(layer).__name__]
        first = make_noise(layer, x, seed).numpy()
        assert np.array_equal(first, make_noise(layer, x, seed))
        assert not np.array_equal(first, make_noise(layer, x, tf.constant([1, 3])))
        # Noise leaves the mean: of 8192 values, or of 512 maps, to five standard deviations.
        assert abs(first.mean() - x.numpy().mean()) < 0.03
    dropped = NOISE["Dropout"](model.get_layer("drop"), x, seed).numpy()
    # a share of 8192 draws: to four standard deviations of 0.0044
    assert (dropped == 0).mean() == pytest.approx(0.2, abs=0.018)
    kept = dropped != 0
    # a product with a rounded 1 / 0.8 instead of a quotient, in float32
    np.testing.assert_allclose(dropped[kept], x.numpy()[kept] / 0.8, rtol=2.0**-22)
    maps = NOISE["SpatialDropout2D"](model.get_layer("maps"), x, seed).numpy() == 0
    assert np.array_equal(maps.all((1, 2)), maps.any((1, 2))) and maps.any()
