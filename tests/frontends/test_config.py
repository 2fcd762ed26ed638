# SPDX-License-Identifier: Apache-2.0
"""Configurations of old and new Keras versions, read without any Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyq.errors import InputError, UnsupportedError
from tinyq.frontends.config import network_from_config
from tinyq.frontends.importer import to_float_graph
from tinyq.frontends.network import Network

IMAGE = [None, 8, 8, 3]


def entry(kind: str, name: str, inbound: Any = (), module: str | None = None, **config: Any):
    made = {"class_name": kind, "name": name, "config": {"name": name, **config}}
    return {**made, "inbound_nodes": list(inbound), "module": module}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    first = entry("InputLayer", "image", batch_input_shape=IMAGE)
    return {"name": "net", "layers": [first, *layers]}


def functional(layers: list[dict[str, Any]], output: str) -> dict[str, Any]:
    first = entry("InputLayer", "image", batch_shape=IMAGE)
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [[output, 0, 0]]}
    return {"name": "net", "layers": [first, *layers], **ends}


def keras3_node(*names: str) -> dict[str, Any]:
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
        for name in names
    ]
    return {"args": tensors, "kwargs": {"mask": None}}


def kinds(network: Network) -> list[str]:
    return [network.layer_of(i).kind for i in range(len(network.calls))]


def test_the_first_layer_may_carry_the_shape() -> None:
    flatten = entry("Flatten", "flat", batch_input_shape=IMAGE)
    network = network_from_config({"name": "net", "layers": [flatten]}, {})
    assert kinds(network) == ["InputLayer", "Flatten"]
    assert network.layers[0].options["shape"] == (8, 8, 3)


@pytest.mark.parametrize(
    "addition",
    [
        entry(
            "TFOpLambda",
            "plus",
            [["image", 0, 0, {"y": ["r", 0, 0]}]],
            function="__operators__.add",
        ),
        entry("TFOpLambda", "plus", [["image", 0, 0, {"y": ["r", 0, 0]}]], function="math.add"),
        entry(
            "TensorFlowOpLayer",
            "plus",
            [[["image", 0, 0, {}], ["r", 0, 0, {}]]],
            node_def={"op": "AddV2"},
            constants={},
        ),
        entry("Add", "plus", [keras3_node("image", "r")], "keras.src.ops.numpy"),
        entry("Add", "plus", [[["image", 0, 0, {}], ["r", 0, 0, {}]]], "keras.layers"),
    ],
    ids=["operator", "tf.add", "tf1", "keras3", "layer"],
)
def test_sums_of_every_dialect_are_add_layers(addition: dict[str, Any]) -> None:
    relu = entry("ReLU", "r", [[["image", 0, 0, {}]]])
    network = network_from_config(functional([addition, relu], "plus"), {})
    assert kinds(network) == ["InputLayer", "ReLU", "Add"]
    assert network.calls[2].inputs == (0, 1)


@pytest.mark.parametrize(
    "operation",
    [
        entry(
            "TFOpLambda",
            "op",
            [["image", 0, 0, {"y": ["_CONSTANT_VALUE", -1, 1.0, None]}]],
            function="__operators__.add",
        ),
        entry(
            "Add", "op", [{**keras3_node("image"), "kwargs": {"x2": 1.0}}], "keras.src.ops.numpy"
        ),
        entry("TFOpLambda", "op", [["image", 0, 0, {"y": 2.0}]], function="math.multiply"),
        entry("Multiply", "op", [keras3_node("image", "image")], "keras.src.ops.numpy"),
    ],
    ids=["x + 1", "x + 1 (keras3)", "x * 2", "x * x"],
)
def test_other_operations_are_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"layer 'op'.*not supported"):
        network_from_config(functional([operation], "op"), {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "linear"),
        ("relu6", "relu6"),
        ("softmax_v2", "softmax"),
        ({"class_name": "function", "config": "relu"}, "relu"),
        ({"class_name": "ReLU", "config": {"max_value": 6.0}}, "relu6"),
        ({"class_name": "ReLU", "config": {"max_value": None}}, "relu"),
    ],
)
def test_spellings_of_activations(value: Any, expected: str) -> None:
    network = network_from_config(sequential(entry("Activation", "a", activation=value)), {})
    assert network.layers[1].options["activation"] == expected


def test_numpy_numbers_in_a_config() -> None:
    boxed = {"class_name": "__numpy__", "config": {"value": 6.0, "dtype": "float32"}}
    layers = [
        entry("ReLU", "a", max_value=boxed, negative_slope=np.float32(0)),
        entry("ReLU", "b", max_value=np.float32(6), threshold=np.zeros((), np.float32)),
    ]
    network = network_from_config(sequential(*layers), {})
    assert [layer.options["max_value"] for layer in network.layers[1:]] == [6.0, 6.0]


CONV = {"filters": 2, "kernel_size": [3, 3]}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "Lambda": (entry("Lambda", "f", function="evil"), r"'f' \(Lambda\) is not supported; .*Conv2D"),
    "LSTM": (entry("LSTM", "rnn", units=3), r"'rnn' \(LSTM\) is not supported; .*Dense"),
    "custom": (entry("My>Layer", "mine"), r"'mine' \(Layer\) is not supported"),
    "dilation": (
        entry("Conv2D", "c", **CONV, dilation_rate=[2, 2]),
        r"'c' \(Conv2D\) has dilation_rate=\(2, 2\)",
    ),
    "groups": (entry("Conv2D", "c", **CONV, groups=3), r"'c' \(Conv2D\) has groups=3.*: 1"),
    "channels_first": (
        entry("MaxPooling2D", "m", data_format="channels_first"),
        "data_format=channels_first.*channels_last",
    ),
    "causal": (
        entry("Conv1D", "c", filters=2, kernel_size=[3], padding="causal"),
        "padding=causal.*valid, same",
    ),
    "activation": (entry("Dense", "d", units=2, activation="tanh"), "activation=tanh.*relu6"),
    "unknown activation object": (
        entry("Activation", "a", activation={"class_name": "LeakyReLU", "config": {"alpha": 0.1}}),
        "activation=LeakyReLU",
    ),
    "relu limit": (entry("ReLU", "r", max_value=4.0), "max_value=4.0.*: 6"),
    "leak": (entry("ReLU", "r", negative_slope=0.1), "negative_slope=0.1.*: 0"),
    "threshold": (entry("ReLU", "r", threshold=1.0), "threshold=1.0"),
    "renorm": (entry("BatchNormalization", "b", renorm=True), "renorm=True"),
    "lora": (entry("Dense", "d", units=2, lora_rank=4), "lora_rank=4.*the default"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_layer_class_and_remedy(case: str) -> None:
    layer, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message) as caught:
        network_from_config(sequential(layer), {})
    assert "\n" not in str(caught.value)


def test_missing_weights_are_told() -> None:
    with pytest.raises(UnsupportedError, match=r"'c' \(Conv2D\) holds 0 weight arrays where 2"):
        network_from_config(sequential(entry("Conv2D", "c", **CONV)), {})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_name_the_layer(value: float) -> None:
    kernel = np.zeros((3, 3, 3, 2))
    kernel[1, 1, 1] = value
    weights = {("c",): [kernel, np.zeros(2)]}
    with pytest.raises(InputError, match=r"layer 'c' \(Conv2D\): 2 of 54 values of kernel are NaN"):
        network_from_config(sequential(entry("Conv2D", "c", **CONV)), weights)


def test_weights_of_the_wrong_shape() -> None:
    weights = {("c",): [np.zeros((3, 3, 4, 2)), np.zeros(2)]}
    network = network_from_config(sequential(entry("Conv2D", "c", **CONV)), weights)
    with pytest.raises(UnsupportedError, match=r"'c'.*\(3, 3, 4, 2\) where \(3, 3, 3, 2\)"):
        to_float_graph(network)


def test_inputs_without_shape_or_size() -> None:
    bare = {"name": "net", "layers": [entry("Flatten", "flat")]}
    with pytest.raises(UnsupportedError, match="'flat_input' has no shape"):
        network_from_config(bare, {})
    vague = {"name": "net", "layers": [entry("Flatten", "f", batch_input_shape=[None, None, 3])]}
    with pytest.raises(UnsupportedError, match=r"'f_input' has shape \(None, 3\)"):
        to_float_graph(network_from_config(vague, {}))


def test_a_connection_that_does_not_exist() -> None:
    broken = functional([entry("ReLU", "r", [[["nobody", 0, 0, {}]]])], "r")
    with pytest.raises(UnsupportedError, match="'r' has inputs that no layer"):
        network_from_config(broken, {})


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([entry("Softmax", "s", axis=1)], r"'s' \(Softmax\) has axis=1"),
        ([entry("Flatten", "f"), entry("MaxPooling2D", "m")], r"'m'.*needs a 3-D input, got"),
        ([entry("MaxPooling2D", "m", pool_size=[9, 9])], r"'m' \(MaxPooling2D\): window"),
        ([entry("Reshape", "r", target_shape=[5, 7])], r"'r' \(Reshape\): cannot reshape"),
        ([entry("Concatenate", "c", axis=0)], r"'c' \(Concatenate\) has 1 inputs"),
    ],
)
def test_shapes_that_do_not_fit_name_the_layer(layers: list[Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        to_float_graph(network_from_config(sequential(*layers), {}))


def test_names_are_c_identifiers_and_unique() -> None:
    names = ["double", "Conv 1", "conv-1", "1st", "ünïcode", "conv_1_2"]
    config = sequential(*(entry("ReLU", name) for name in names))
    graph = to_float_graph(network_from_config(config, {}), "while")
    got = [node.name for node in graph.nodes]
    assert len(set(got)) == len(names)
    assert "double" not in got
    assert graph.name != "while"
    assert [node.layers for node in graph.nodes] == [(name,) for name in names]
