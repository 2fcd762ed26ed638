# SPDX-License-Identifier: Apache-2.0
"""The fake-quantized Keras model and the integer executor agree on every tensor: equality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from exactness import assert_equal_everywhere, quantized, train_briefly
from qat_models import MODELS, data_for, make

import tinyq.qat as qat
from tinyq import fixedpoint
from tinyq.qat.elementwise import _sigmoid_tables, _softmax_codes
from tinyq.qat.folded import FoldedLayer

L = tf_keras.layers


FAST = [
    ("branches", qat.QuantConfig("int4", scale="per_tensor")),
    ("sequence", qat.QuantConfig("lut2", scale="per_tensor", scale_learning="mse")),
    ("two_ended", qat.QuantConfig("int3", rounding="half_up", activation_bits=4)),
]


@pytest.mark.parametrize(("name", "config"), FAST, ids=[name for name, _ in FAST])
def test_every_tensor_equal(name: str, config: qat.QuantConfig) -> None:
    model, data = quantized(name, config)
    train_briefly(model, data)
    assert_equal_everywhere(model, data)


ENCODINGS = ("int8", "int4", "int3", "int2", "lut4", "lut3", "lut2")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("scale", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("weights", ENCODINGS)
@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_equal_in_all_schemes(name: str, weights: str, scale: str) -> None:
    rounding = "half_up" if weights in ("int3", "lut3") else "tflite"
    config = qat.QuantConfig(weights, scale=scale, rounding=rounding)
    model, data = quantized(name, config)
    assert_equal_everywhere(model, data)
    train_briefly(model, data, batch_statistics=0.5)
    assert_equal_everywhere(model, data)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("bits", [2, 4, 6])
@pytest.mark.parametrize("name", MODELS)
def test_narrow_activations(name: str, bits: int) -> None:
    config = qat.QuantConfig("int4", activation_bits=bits, input_bits=bits, output_bits=bits)
    model, data = quantized(name, config)
    train_briefly(model, data)
    graph = assert_equal_everywhere(model, data)
    assert all(t.bits == bits for t in graph.tensors.values() if t.exponent != -8)


@pytest.fixture(scope="module")
def trained() -> tuple[Any, list[Any]]:
    """``residual`` with table weights, trained with batch statistics, then frozen."""
    model, data = quantized("residual", qat.QuantConfig("lut4", overrides={"stem": "int8"}))
    train_briefly(model, data, batch_statistics=0.5)
    return model, data


@pytest.mark.slow
def test_trained_model_equals_its_graph(trained: tuple[Any, list[Any]]) -> None:
    model, data = trained
    graph = assert_equal_everywhere(model, data)
    assert graph.node("stem").op.weights.encoding == "int8"
    assert graph.node("point").op.weights.encoding == "lut4"
    assert graph.node("alone").op.weights.encoding == "int8"
    assert graph.node("stem").layers == ("stem", "stem_norm", "stem_relu")
    assert graph.tensors["stem"].dtype == "uint8"
    assert graph.tensors["image"].dtype == "int8"


@pytest.mark.slow
def test_eager_graph_and_loaded_model_agree(trained: tuple[Any, list[Any]], tmp_path: Path) -> None:
    model, data = trained
    expected = model.predict(data, verbose=0)
    assert np.array_equal(model(data, training=False), expected)
    assert np.array_equal(tf.function(lambda x: model(x, training=False))(data), expected)
    qat.save(model, tmp_path / "model.keras")
    loaded = qat.load(tmp_path / "model.keras")
    assert np.array_equal(loaded(data, training=False), expected)
    before, after = qat.to_graph(model), qat.to_graph(loaded)
    assert str(before) == str(after)
    for (_, a), (_, b) in zip(before.linear_nodes(), after.linear_nodes(), strict=True):
        assert np.array_equal(a.quantized.codes, b.quantized.codes)
        assert np.array_equal(a.bias, b.bias)


@pytest.mark.slow
def test_dropped_softmax_ends_at_the_logits(trained: tuple[Any, list[Any]]) -> None:
    graph = qat.to_graph(trained[0], "Net 1", softmax=False)
    assert (graph.name, graph.outputs) == ("net_1", ("classes",))
    assert "classes_activation" not in graph.tensors


def test_concatenation_shares_exponent_and_sign_after_training() -> None:
    model, data = quantized("branches", qat.QuantConfig("int8"))
    members = [model.get_layer(name) for name in ("left", "right")]
    members[0].activation_quantizer.set_exponent(-1, members[0].activation_variables)
    graph = assert_equal_everywhere(model, data)
    joined = [graph.tensors[n] for n in ("left", "left_pool", "right", "join", "join_relu")]
    assert {t.exponent for t in joined} == {-1}
    assert {t.dtype for t in joined[:-1]} == {"int8"}
    assert graph.tensors["join_relu"].dtype == "uint8"
    clone = tf_keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert str(qat.to_graph(clone)) == str(graph)


def test_dense_block_shares_one_exponent_through_its_loop() -> None:
    """A convolution whose input and output meet in concatenations."""
    x = inputs = L.Input((6, 6, 3), name="image")
    for index in range(2):
        y = L.Conv2D(2, 3, padding="same", activation="relu", name=f"grow{index}")(x)
        x = L.Concatenate(name=f"join{index}")([x, y])
    float_model = tf_keras.Model(inputs, L.GlobalMaxPooling2D(name="peak")(x))
    data = data_for(float_model, 16)
    graph = assert_equal_everywhere(qat.quantize(float_model, qat.preset("w4a8_lut"), data), data)
    assert len({t.exponent for t in graph.tensors.values()}) == 1


def test_exponents_too_fine_for_the_accumulator_are_raised() -> None:
    model, data = quantized("two_ended", qat.QuantConfig("int2", scale="per_tensor"))
    layer = model.get_layer("plain")
    layer.activation_quantizer.set_exponent(-30, layer.activation_variables)
    graph = assert_equal_everywhere(model, data)
    node = graph.node("plain")
    assert node.op.shifts(graph.ins(node), graph.out(node)).min() >= 0


def wide_model(bias: float) -> tuple[Any, list[Any]]:
    """A layer whose sums need more than the 24 bits of float32."""
    inputs = L.Input((6000,), name="x")
    model = tf_keras.Model(inputs, L.Dense(3, name="wide")(inputs))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.9, 1, (6000, 3)), np.full(3, bias)])
    return model, [rng.uniform(0.5, 1, (40, 6000)).astype(np.float32)]


def test_layers_beyond_the_float32_certificate_run_in_float64() -> None:
    float_model, data = wide_model(0.1)
    model = qat.quantize(float_model, qat.preset("w8a8"), data)
    layer = model.get_layer("wide")
    assert isinstance(layer, FoldedLayer)
    assert not layer.fits_float32(layer.parameters())
    assert_equal_everywhere(model, data)


def test_bias_far_above_the_weights_keeps_its_bits() -> None:
    float_model, data = wide_model(3e6)
    model = qat.quantize(float_model, qat.preset("w8a8"), data)
    graph = assert_equal_everywhere(model, data)
    assert np.abs(graph.node("wide").op.bias).max() <= 2**22


def test_dead_channels_keep_their_shifts_legal() -> None:
    float_model = make("residual")
    kernel, bias = float_model.get_layer("stem").get_weights()
    kernel[..., 1] = 0
    kernel[..., 2] *= 2.0**-40
    float_model.get_layer("stem").set_weights([kernel, bias])
    data = data_for(float_model, 16)
    assert_equal_everywhere(qat.quantize(float_model, qat.preset("w4a8_lut"), data), data)


@pytest.mark.parametrize("exponent", [-25, -7, -3, 0, 4, 31])
def test_softmax_equals_fixed_point(exponent: int) -> None:
    codes = np.random.default_rng(exponent + 30).integers(-128, 128, (300, 11))
    codes[0] = 5
    got = tf.function(_softmax_codes)(tf.constant(codes, tf.int64), tf.constant(exponent))
    assert np.array_equal(got, fixedpoint.softmax(codes, exponent))


def test_sigmoid_tables_cover_every_exponent() -> None:
    for signed in (True, False):
        tables = _sigmoid_tables(signed)
        for row, exponent in zip(tables, fixedpoint.SIGMOID_EXPONENTS, strict=True):
            assert np.array_equal(row, fixedpoint.sigmoid_table(exponent, signed))


def test_inputs_are_rounded_as_the_executor_does() -> None:
    """Values just below a tie, where float32 arithmetic would round up."""
    inputs = L.Input((4,), name="x")
    model = tf_keras.Model(inputs, L.Dense(2, name="out")(inputs))
    edge = np.nextafter(np.float32(0.5), np.float32(0)) * np.float32(2.0**-7)
    data = [np.array([[edge, 3 * edge, 0.99, 0.3], [0.5 / 128, 1, 0, edge]], np.float32)]
    quantized_model = qat.quantize(model, qat.preset("w8a8"), data)
    graph = assert_equal_everywhere(quantized_model, data)
    assert graph.tensors["x"].dtype == "uint8"


def test_config_is_replaceable_by_preset() -> None:
    assert replace(qat.preset("w8a8"), weights="lut4") == qat.preset("w4a8_lut")
