# SPDX-License-Identifier: Apache-2.0
"""A training that starts from the codes of post-training quantization computes what those do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tf_keras
from qat_models import data_for, randomize

import tinyq
import tinyq.qat as qat
from tinyq import executor, passes
from tinyq.errors import InputError
from tinyq.frontends.importer import to_float_graph
from tinyq.graph import Graph
from tinyq.ops import Add, AveragePool2D
from tinyq.ptq import PtqConfig
from tinyq.ptq import quantize as post_train

L = tf_keras.layers
ENCODINGS = ("int8", "int4", "int2", "lut4", "lut2", "pot4", "pot3", "apot4", "apot3")
QUICK = ("int8", "lut4", "apot4")
SLOW = pytest.mark.slow


def small() -> Any:
    """Norms with and without a bias before them, a bias alone, a depthwise layer, an addition, an
    activation at the end of a layer."""
    x = inputs = L.Input((6, 6, 2), name="image")
    x = L.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(x)
    x = L.ReLU(name="stem_relu")(L.BatchNormalization(name="stem_norm")(x))
    y = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = L.ReLU(name="depthwise_relu")(L.BatchNormalization(name="depthwise_norm")(y))
    x = L.Add(name="sum")([x, y])
    x = L.GlobalAveragePooling2D(name="mean")(L.Conv2D(5, 1, activation="relu", name="point")(x))
    x = L.Dense(3, activation="softmax", name="classes")(x)
    return randomize(tf_keras.Model(inputs, x, name="small"))


WEIGHTED = 4


@pytest.fixture(scope="module")
def model() -> Any:
    return small()


def post_trained(model: Any, data: list[Any], weights: str, per_channel: bool = True) -> Graph:
    """Codes that the least-squares pipeline chose."""
    graph = passes.apply(to_float_graph(model), passes.FLOAT_PIPELINE)
    config = PtqConfig(weights, per_channel=per_channel, zero_negligible=False)
    return post_train(graph, dict(zip(graph.inputs, data, strict=True)), config)


@pytest.mark.parametrize(
    "weights", [pytest.param(name, marks=[] if name in QUICK else SLOW) for name in ENCODINGS]
)
def test_the_same_codes_and_outputs(model: Any, weights: str) -> None:
    data = data_for(model, 32, 2)
    graph = post_trained(model, data, weights)
    quantized = qat.quantize(model, qat.QuantConfig(weights), data)
    assert qat.adopt(quantized, graph) == WEIGHTED
    mine = qat.to_graph(quantized)
    pairs = zip(mine.linear_nodes(), graph.linear_nodes(), strict=True)
    for (node, own), (_, op) in pairs:
        assert np.array_equal(own.quantized.real(), op.quantized.real()), node.label
        assert np.array_equal(own.bias, op.bias), node.label
    outputs = [
        executor.run(g, executor.quantize_inputs(g, data))[g.outputs[0]] for g in (mine, graph)
    ]
    assert np.array_equal(*outputs)


def test_layers_of_several_parts() -> None:
    """A separable convolution, a sum of three, an activation: each part takes what is its own."""
    x = inputs = L.Input((6, 6, 4), name="image")
    y = L.SeparableConv2D(4, 3, padding="same", activation="relu", name="split")(x)
    z = L.SeparableConv2D(4, 1, name="other")(y)
    x = L.Add(name="sum")([x, y, z])
    x = L.Dense(3, activation="sigmoid", name="classes")(L.Flatten(name="flat")(x))
    parts = randomize(tf_keras.Model(inputs, x, name="parts"))
    data = data_for(parts, 32, 2)
    graph = post_trained(parts, data, "lut4")
    quantized = qat.quantize(parts, qat.QuantConfig("lut4"), data)
    assert qat.adopt(quantized, graph) == 5
    mine = qat.to_graph(quantized)
    for (node, own), (_, op) in zip(mine.linear_nodes(), graph.linear_nodes(), strict=True):
        assert np.array_equal(own.quantized.real(), op.quantized.real()), node.label
    sums = [[g.out(n).exponent for n in g.nodes if isinstance(n.op, Add)] for g in (mine, graph)]
    assert sums[0] == sums[1]
    assert len(sums[0]) == 2


def test_biases_are_in_units_of_the_graphs_own_inputs(model: Any) -> None:
    data = data_for(model, 32, 2)
    graph = post_trained(model, data, "int4")
    quantized = qat.quantize(model, qat.QuantConfig("int4", activation_bits=4), data)
    assert qat.adopt(quantized, graph) == WEIGHTED
    owners = [layer for layer in quantized.layers if hasattr(layer, "folded")]
    layers = {name: layer for layer in owners for name in layer.source_layers}
    for node, op in graph.linear_nodes():
        source = graph.tensors[node.inputs[0]].exponent
        unit = 2.0 ** (op.quantized.exponents_per_channel() + source)
        layer = next(layers[name] for name in node.layers if name in layers)
        assert np.array_equal(np.rint(layer.folded()[1] / unit), op.bias), node.label


def test_a_mean_keeps_the_exponent_that_it_owns(model: Any) -> None:
    data = data_for(model, 32, 2)
    graph = post_trained(model, data, "int4")
    wide = {"mean": {"activation_bits": 8}}
    config = qat.QuantConfig("int4", activation_bits=4, overrides=wide)
    quantized = qat.quantize(model, config, data)
    before = int(quantized.get_layer("mean").exponent())
    qat.adopt(quantized, graph)
    (averaged,) = (graph.out(n) for n in graph.nodes if isinstance(n.op, AveragePool2D))
    assert int(quantized.get_layer("mean").exponent()) == before < averaged.exponent


def test_one_exponent_a_layer(model: Any) -> None:
    data = data_for(model, 32, 2)
    graph = post_trained(model, data, "int4", per_channel=False)
    config = qat.QuantConfig("int4", scale="per_tensor")
    assert qat.adopt(qat.quantize(model, config, data), graph) == WEIGHTED
    # one exponent a channel does not fit one for all
    graph = post_trained(model, data, "int4")
    assert qat.adopt(qat.quantize(model, config, data), graph) < WEIGHTED


@pytest.mark.slow
def test_other_encodings_and_bounded_sums_keep_what_they_had(model: Any) -> None:
    data = data_for(model, 32, 2)
    graph = post_trained(model, data, "int8")
    assert qat.adopt(qat.quantize(model, qat.QuantConfig("lut4"), data), graph) == 0
    bounded = replace(qat.preset("w8a8_a2q16"), constrain_first_last=True)
    assert qat.adopt(qat.quantize(model, bounded, data), graph) == 0


def test_a_graph_of_another_network_is_refused(model: Any) -> None:
    data = data_for(model, 32, 2)
    graph = post_trained(model, data, "int4")
    nodes = tuple(replace(n, layers=("other",)) for n in graph.nodes)
    with pytest.raises(InputError, match="layer 'stem' is not in the graph"):
        qat.adopt(qat.quantize(model, qat.QuantConfig("int4"), data), replace(graph, nodes=nodes))


@pytest.mark.slow
def test_the_api_starts_there_with_every_layers_own_encoding(model: Any) -> None:
    (x,) = data_for(model, 32, 2)
    config = {"preset": "w4a8_pot", "overrides": {"stem": "int8", "classes": "lut3"}}
    options = {"config": config, "epochs": 0, "drop_softmax": True}
    rounded = tinyq.train(model, x, np.zeros(32, np.int64), **options)
    chosen = tinyq.train(model, x, np.zeros(32, np.int64), start="least_squares", **options)
    real = to_float_graph(model)
    wanted = executor.predict(real, {real.inputs[0]: x})[real.outputs[0]]

    def error(graph: Graph) -> float:
        codes = executor.predict(graph, executor.quantize_inputs(graph, [x]))[graph.outputs[0]]
        return float(np.square(graph.tensors[graph.outputs[0]].dequantize(codes) - wanted).mean())

    assert error(chosen) < error(rounded)


def test_refused_starts(model: Any) -> None:
    (x,) = data_for(model, 8, 2)
    with pytest.raises(InputError, match="start='best' is unknown"):
        tinyq.train(model, x, start="best")
    with pytest.raises(InputError, match="has no effect with gradual"):
        tinyq.train(model, x, start="least_squares", gradual=0.5)
