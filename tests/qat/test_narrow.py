# SPDX-License-Identifier: Apache-2.0
"""Whole networks of 4, 3 and 2 bits with learned steps: Keras = executor = host C = TFLM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import c_model
import numpy as np
import pytest
import tf_keras
from exactness import assert_equal_everywhere, quantized, train_briefly
from qat_models import MODELS, data_for, randomize

import tinyq.qat as qat
from tinyq import executor
from tinyq.graph import Graph
from tinyq.proof import prove
from tinyq.quantizers import LEARNED_STEPS
from tinyq.tflite import run_tflm, write_tflite

pytestmark = pytest.mark.slow

L = tf_keras.layers


def slim() -> Any:
    """Signed and unsigned outputs that join, a sum, two poolings, logits."""
    inputs = L.Input((6, 6, 2), name="image")
    a = L.Conv2D(4, 3, padding="same", activation="relu", name="left")(inputs)
    b = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="right")(inputs)
    x = L.Add(name="sum")([a, b])
    x = L.MaxPooling2D(2, name="peak")(L.Concatenate(name="join")([x, a]))
    x = L.BatchNormalization(name="norm")(L.Conv2D(5, 2, name="middle")(x))
    x = L.AveragePooling2D(2, name="average")(L.ReLU(6.0, name="limit")(x))
    return tf_keras.Model(inputs, L.Dense(4, name="logits")(L.Flatten(name="flat")(x)))


#: an 8-bit input and an 8-bit output, as the presets have them, and narrow ones
CASES = {
    "w4a4": qat.preset("w4a4_llsq"),
    "w3a3": replace(qat.preset("w3a3_llsq"), input_bits=3, output_bits=3),
    "w2a2": replace(qat.preset("w2a2_llsq"), scale="per_tensor"),
}


@pytest.fixture(scope="module", params=CASES)
def trained(request: pytest.FixtureRequest) -> tuple[Any, Graph, Mapping[str, Any]]:
    """A briefly trained model, its graph, and input codes; equal on every tensor."""
    float_model = randomize(slim())
    model = qat.quantize(float_model, CASES[request.param], data_for(float_model, 16, 2))
    data = data_for(float_model, 24)
    train_briefly(model, data)
    graph = assert_equal_everywhere(model, data)
    return model, graph, executor.quantize_inputs(graph, data)


def test_every_layer_has_the_widths_of_the_preset(trained: tuple[Any, Graph, Any]) -> None:
    model, graph, _ = trained
    first = model.get_layer("left")
    weights, outputs = LEARNED_STEPS[first.weight_quantizer.scale_learning]
    for name in ("left", "right", "middle", "logits"):
        layer, node = model.get_layer(name), graph.node(name)
        assert type(layer.weight_quantizer) is weights
        assert type(layer.activation_quantizer) is outputs
        assert node.op.quantized.encoding == first.weight_quantizer.encoding
        assert np.min(node.op.shifts(graph.ins(node), graph.out(node))) >= 0
    inner = set(graph.tensors) - {*graph.inputs, *graph.outputs}
    assert {graph.tensors[name].bits for name in inner} == {first.bits}


def test_host_c_and_tflm_are_equal(trained: tuple[Any, Graph, Mapping[str, Any]]) -> None:
    _, graph, codes = trained
    expected = executor.run(graph, codes)
    compiled = c_model.build(graph)
    for sample in range(3):
        for name, got in compiled.trace(codes, sample).items():
            assert np.array_equal(got[0], expected[name][sample]), name
    few = {name: x[:3] for name, x in codes.items()}
    got = run_tflm(write_tflite(graph, "int8"), few)
    assert set(got) == set(expected)
    for name, x in got.items():
        assert np.array_equal(x, expected[name][:3]), name


def test_accumulators_of_small_layers_fit_16_bits(trained: tuple[Any, Graph, Any]) -> None:
    _, graph, _ = trained
    proofs = prove(graph)
    assert set(proofs) == {node.name for node, _ in graph.linear_nodes()}
    assert all(proof.fits_int16 and proof.bits <= 16 for proof in proofs.values())


def test_reloaded_model_is_equal_and_its_steps_stay_legal(
    trained: tuple[Any, Graph, Any], tmp_path: Any
) -> None:
    model, graph, _ = trained
    qat.save(model, tmp_path / "model.keras")
    loaded = qat.load(tmp_path / "model.keras")
    assert str(qat.to_graph(loaded)) == str(graph)
    layer = loaded.get_layer("middle")
    layer.activation_quantizer.set_exponent(-40, layer.activation_variables)
    raised = qat.to_graph(loaded)
    for node, op in raised.linear_nodes():
        assert np.min(op.shifts(raised.ins(node), raised.out(node))) >= 0
    assert raised.tensors["middle"].exponent > -40


SCHEMES = [(bits, learning) for bits in (8, 4, 3, 2) for learning in ("llsq", "lsq")]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("bits", "learning"), SCHEMES)
@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_equal_in_all_widths(name: str, bits: int, learning: str) -> None:
    config = qat.QuantConfig(
        f"int{bits}",
        scale="per_tensor" if bits == 3 else "per_channel",
        scale_learning=learning,
        activation_bits=bits,
        input_bits=bits,
        output_bits=bits,
    )
    model, data = quantized(name, config)
    train_briefly(model, data, batch_statistics=0.5)
    assert_equal_everywhere(model, data)
