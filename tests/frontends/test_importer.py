# SPDX-License-Identifier: Apache-2.0
"""Every supported layer: the float graph computes what Keras computes, before and after passes.

Float against float: both sum in float32 in their own order, so equality is up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras_models as small
import numpy as np
import pytest

from tinyq.errors import UnsupportedError
from tinyq.executor import run_float
from tinyq.frontends.importer import to_float_graph
from tinyq.graph import Graph
from tinyq.passes import FLOAT_PIPELINE, apply

IMAGE = (7, 6, 4)
SEQUENCE = (9, 4)
VECTOR = (10,)


def _grid() -> dict[str, tuple[tuple[int, ...], Callable[[Any], list[Any]]]]:
    """Name → (input shape, layers)."""
    cases: dict[str, tuple[tuple[int, ...], Callable[[Any], list[Any]]]] = {}
    for padding in ("valid", "same"):
        for stride in (1, 2):
            for kernel in ((1, 1), (3, 3), (4, 2), (5, 5)):
                name = f"conv2d {kernel} {padding} {stride}"
                cases[name] = (
                    IMAGE,
                    lambda k, a=(kernel, stride, padding): [
                        k.Conv2D(3, a[0], strides=a[1], padding=a[2])
                    ],
                )
            cases[f"depthwise {padding} {stride}"] = (
                IMAGE,
                lambda k, a=(stride, padding): [
                    k.DepthwiseConv2D(3, strides=a[0], padding=a[1], depth_multiplier=3 - a[0])
                ],
            )
            cases[f"average {padding} {stride}"] = (
                IMAGE,
                lambda k, a=(stride, padding): [k.AveragePooling2D((3, 2), a[0], a[1])],
            )
            cases[f"max {padding} {stride}"] = (
                IMAGE,
                lambda k, a=(stride, padding): [k.MaxPooling2D(3, a[0], a[1])],
            )
            cases[f"conv1d {padding} {stride}"] = (
                SEQUENCE,
                lambda k, a=(stride, padding): [
                    k.Conv1D(5, 3, strides=a[0], padding=a[1], activation="relu")
                ],
            )
            cases[f"pool1d {padding} {stride}"] = (
                SEQUENCE,
                lambda k, a=(stride, padding): [
                    k.MaxPooling1D(2, a[0], a[1]),
                    k.AveragePooling1D(3, a[0], a[1]),
                ],
            )
    for activation in ("linear", "relu", "relu6", "sigmoid", "softmax"):
        cases[f"dense {activation}"] = (
            VECTOR,
            lambda k, a=activation: [k.Dense(5, activation=a), k.Activation(a)],
        )
        cases[f"conv {activation}"] = (
            IMAGE,
            lambda k, a=activation: [k.Conv2D(5, 3, activation=a), k.BatchNormalization()],
        )
    return cases


CASES = {
    **_grid(),
    "no bias": (
        IMAGE,
        lambda k: [
            k.Conv2D(3, 3, use_bias=False),
            k.DepthwiseConv2D(3, use_bias=False),
            k.Flatten(),
            k.Dense(3, use_bias=False),
        ],
    ),
    "separable": (
        IMAGE,
        lambda k: [
            k.SeparableConv2D(
                5, 3, strides=2, padding="same", depth_multiplier=2, activation="relu"
            )
        ],
    ),
    "dense on a sequence": (SEQUENCE, lambda k: [k.Dense(6, activation="relu")]),
    "dense on an image": (IMAGE, lambda k: [k.Dense(6), k.ReLU()]),
    "dense on a volume": ((2, 3, 4, 5), lambda k: [k.Dense(6)]),
    "norm behind conv": (IMAGE, lambda k: [k.Conv2D(5, 3), k.BatchNormalization(), k.ReLU(6.0)]),
    "norm behind conv1d": (SEQUENCE, lambda k: [k.Conv1D(5, 3), k.BatchNormalization(), k.ReLU()]),
    "norm behind dense": (VECTOR, lambda k: [k.Dense(5), k.BatchNormalization(scale=False)]),
    "norm first": (
        IMAGE,
        lambda k: [k.BatchNormalization(center=False), k.Conv2D(3, 3, padding="same")],
    ),
    "norm before valid conv": (IMAGE, lambda k: [k.BatchNormalization(), k.Conv2D(3, 3)]),
    "norm, flatten, dense": (
        IMAGE,
        lambda k: [k.BatchNormalization(axis=3), k.Flatten(), k.Dense(3)],
    ),
    "norm alone": (IMAGE, lambda k: [k.BatchNormalization(epsilon=0.1)]),
    "norm alone on a vector": (VECTOR, lambda k: [k.BatchNormalization(), k.ReLU()]),
    "norm alone on a sequence": (SEQUENCE, lambda k: [k.BatchNormalization()]),
    "pad, conv": (IMAGE, lambda k: [k.ZeroPadding2D(((0, 1), (2, 0))), k.Conv2D(3, 3, strides=2)]),
    "pad, same depthwise": (
        IMAGE,
        lambda k: [k.ZeroPadding2D(1), k.DepthwiseConv2D(3, padding="same")],
    ),
    "pad, pool": (IMAGE, lambda k: [k.ZeroPadding2D((1, 2)), k.AveragePooling2D()]),
    "pad 1d": (SEQUENCE, lambda k: [k.ZeroPadding1D((2, 1)), k.Conv1D(3, 3)]),
    "global": (IMAGE, lambda k: [k.GlobalAveragePooling2D(), k.Dense(3)]),
    "global kept": (IMAGE, lambda k: [k.GlobalAveragePooling2D(keepdims=True), k.Conv2D(3, 1)]),
    "global max": (IMAGE, lambda k: [k.GlobalMaxPooling2D()]),
    "global max kept": (IMAGE, lambda k: [k.GlobalMaxPooling2D(keepdims=True)]),
    "global 1d": (SEQUENCE, lambda k: [k.GlobalAveragePooling1D()]),
    "global max 1d": (SEQUENCE, lambda k: [k.GlobalMaxPooling1D(keepdims=True)]),
    "reshape": (
        IMAGE,
        lambda k: [k.Reshape((-1, 4)), k.Conv1D(3, 2), k.Flatten(), k.Reshape((3, -1))],
    ),
    "softmax": (SEQUENCE, lambda k: [k.Softmax()]),
    "nothing": (
        IMAGE,
        lambda k: [
            k.Dropout(0.5),
            k.SpatialDropout2D(0.5),
            k.GaussianNoise(1.0),
            k.Conv2D(3, 1),
            k.Activation("linear"),
        ],
    ),
    "pool, relu": (
        IMAGE,
        lambda k: [k.Conv2D(3, 3), k.MaxPooling2D(), k.ReLU(), k.AveragePooling2D(1), k.ReLU()],
    ),
}


def assert_computes(graph: Graph, model: Any) -> None:
    """Graph and folded graph give the model's outputs up to float32 rounding."""
    inputs = small.samples(model)
    expected = small.predictions(model, inputs)
    for candidate in (graph, apply(graph, FLOAT_PIPELINE)):
        values = run_float(candidate, dict(zip(candidate.inputs, inputs, strict=True)))
        for name, y in zip(candidate.outputs, expected, strict=True):
            assert values[name].shape == y.shape
            scale = max(1.0, float(np.abs(y).max()))
            np.testing.assert_allclose(values[name], y, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize("case", CASES)
def test_layers(tf_keras: Any, case: str) -> None:
    shape, make = CASES[case]
    layers = tf_keras.layers
    model = small.randomize(tf_keras.Sequential([layers.Input(shape), *make(layers)]))
    assert_computes(to_float_graph(model), model)


def test_a_whole_model_with_several_outputs(keras: Any) -> None:
    model = small.nested(keras)
    assert_computes(to_float_graph(model), model)


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
def test_several_inputs_sums_and_joins(tf_keras: Any, axis: int) -> None:
    layers = tf_keras.layers
    a, b, c = (layers.Input((4, 4, 3), name=name) for name in "abc")
    total = layers.Add(name="total")([a, b, c, a])
    joined = layers.Concatenate(axis=axis, name="joined")([total, b, layers.ReLU()(c)])
    model = tf_keras.Model([a, b, c], [joined, layers.ReLU()(total)])
    graph = to_float_graph(model)
    assert graph.inputs == ("a", "b", "c")
    assert [n.name for n in graph.nodes if n.layers == ("total",)] == [
        "total_partial1",
        "total_partial2",
        "total",
    ]
    assert_computes(graph, model)


def test_broadcasting_sums_are_refused(tf_keras: Any) -> None:
    layers = tf_keras.layers
    a, b = layers.Input((4, 4, 3)), layers.Input((1, 1, 3))
    model = tf_keras.Model([a, b], layers.Add(name="total")([a, b]))
    with pytest.raises(UnsupportedError, match=r"'total' \(Add\): cannot add shapes"):
        to_float_graph(model)


def test_the_pipeline_leaves_the_layers_a_chip_needs(tf_keras: Any) -> None:
    graph = apply(to_float_graph(small.nested(tf_keras)), FLOAT_PIPELINE)
    kinds = {type(node.op).__name__ for node in graph.nodes}
    layers = {"Add", "AveragePool2D", "Concat", "Conv2D", "Dense", "DepthwiseConv2D"}
    assert kinds == {*layers, "Reshape", "Softmax"}
    head = next(node for node in graph.nodes if "head/conv" in node.layers)
    assert head.op.activation == "relu6"
    assert head.layers[:2] == ("head/conv", "head/bn")
