# SPDX-License-Identifier: Apache-2.0
"""Types and exponents of activations: minimal, shared where they must be, legal everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import float_graphs as fg
import numpy as np
import pytest
from ptq_graphs import perceptron, residual, samples

from tinyq.errors import UnsupportedError
from tinyq.graph import Graph
from tinyq.ops import Add, AveragePool2D, Concat, Relu, Sigmoid
from tinyq.ops.add import MAX_GAP
from tinyq.ptq.activations import covering_exponent, plan_tensors
from tinyq.ptq.observe import observe
from tinyq.ptq.sharing import exponent_classes, type_classes
from tinyq.tensors import Tensor


def plan(graph: Graph, data: Mapping[str, np.ndarray], clips: bool = False) -> dict[str, Tensor]:
    encodings = {node.name: "int8" for node, _ in graph.linear_nodes()}
    seen = observe(graph, data, np.random.default_rng(0))
    return plan_tensors(graph, seen, encodings, clips)


def classes(found: Mapping[str, tuple[str, ...]]) -> set[frozenset[str]]:
    return {frozenset(members) for members in found.values()}


def test_classes_of_a_graph_with_concat_add_and_pool() -> None:
    tied = frozenset({"sum", "branch", "both", "max", "pad", "mean", "flat"})
    alone = {frozenset({name}) for name in ("x", "stem", "left", "right", "logits", "softmax")}
    assert classes(exponent_classes(residual())) == {tied} | alone
    assert classes(type_classes(residual())) == {tied} | alone


def test_a_standing_rectifier_shares_the_exponent_but_not_the_type() -> None:
    graph = fg.chain((4,), ("a", fg.dense(4, 4)), ("r", Relu()), ("b", fg.dense(4, 2)))
    assert frozenset({"a", "r"}) in classes(exponent_classes(graph))
    assert frozenset({"a", "r"}) not in classes(type_classes(graph))
    tensors = plan(graph, samples(graph))
    assert (tensors["a"].dtype, tensors["r"].dtype) == ("int8", "uint8")
    assert tensors["a"].exponent == tensors["r"].exponent


@pytest.mark.parametrize("clips", [True, False])
def test_classes_share_in_the_plan(clips: bool) -> None:
    graph = residual()
    tensors = plan(graph, samples(graph), clips)
    for members in exponent_classes(graph).values():
        assert len({tensors[name].exponent for name in members}) == 1
    for members in type_classes(graph).values():
        assert len({tensors[name].dtype for name in members}) == 1


def test_types_follow_the_signs() -> None:
    graph = residual()
    tensors = plan(graph, samples(graph))
    assert {name for name, t in tensors.items() if t.dtype == "uint8"} == {
        "stem",
        "right",
        "softmax",
    }
    positive = {"x": np.abs(samples(graph)["x"])}
    assert plan(graph, positive)["x"].dtype == "uint8"
    assert tensors["softmax"].exponent == -8


def test_the_sum_of_unsigned_values_is_unsigned() -> None:
    rectified = {"activation": "relu"}
    steps = [
        ("a", fg.dense(3, 4, **rectified), ["x"]),
        ("b", fg.dense(3, 4, **rectified), ["x"]),
        ("s", Add(), ["a", "b"]),
    ]
    graph = fg.make({"x": (3,)}, steps, ["s"])
    assert plan(graph, samples(graph))["s"].dtype == "uint8"


@pytest.mark.parametrize(
    ("low", "high", "lo", "hi", "exponent"),
    [
        (0.0, 255.5, 0, 255, 0),
        (0.0, 255.6, 0, 255, 1),
        (-128.5, 127.0, -128, 127, 0),
        (-128.6, 127.0, -128, 127, 1),
        (-1.0, 127.6, -128, 127, 1),
        (0.0, 1.0, 0, 255, -7),
        (0.0, 0.0, 0, 255, -7),
        (0.0, 1e-30, 0, 255, -107),
    ],
)
def test_covering_exponent(low: float, high: float, lo: int, hi: int, exponent: int) -> None:
    assert covering_exponent(low, high, lo, hi) == exponent


def test_exponents_without_clipping_are_minimal() -> None:
    graph = perceptron()
    data = samples(graph)
    tensors = plan(graph, data)
    seen = observe(graph, data, np.random.default_rng(0))
    for name in ("first", "second", "last"):
        t = tensors[name]
        assert covering_exponent(seen[name].low, seen[name].high, t.lo, t.hi) == t.exponent


def test_a_quiet_feature_beside_a_loud_useless_one_gets_a_fine_exponent() -> None:
    # The loud input never reaches the output: covering it would waste six bits.
    weights = np.array([[1.0, 0.0], [0.5, 0.0]], np.float32)
    layer = replace(fg.dense(2, 2), weights=weights, bias=np.zeros(2, np.float32))
    graph = fg.chain((2,), ("y", layer))
    data = samples(graph)["x"] * np.array([0.25, 100.0], np.float32)
    loud = covering_exponent(float(data.min()), float(data.max()), -128, 127)
    assert plan(graph, {"x": data})["x"].exponent == loud - 2


def test_averages_of_rare_large_values_get_a_finer_exponent() -> None:
    conv = fg.conv(1, 1, kernel=1, activation="relu")
    conv = replace(conv, weights=np.ones_like(conv.weights), bias=np.zeros(1, np.float32))
    steps = [("y", conv), ("mean", AveragePool2D((16, 16), (1, 1)))]
    x = np.random.default_rng(0).exponential(size=(64, 16, 16, 1)).astype(np.float32) ** 2
    graph = fg.chain((16, 16, 1), *steps)
    ends = plan(graph, {"x": x})
    inner = fg.chain((16, 16, 1), steps[0])
    assert ends["mean"].exponent < plan(inner, {"x": x})["y"].exponent


def test_the_output_of_a_layer_is_never_finer_than_its_accumulator() -> None:
    big = replace(fg.dense(4, 4), bias=np.zeros(4, np.float32))
    cancel = np.zeros((4, 4), np.float32)
    cancel[:, 0], cancel[:, 1] = 1000.0, -1000.0
    graph = fg.chain((4,), ("a", big), ("b", replace(big, weights=cancel)))
    x = samples(graph)["x"]
    a = replace(big, weights=np.tile(big.weights[:1], (4, 1)))
    graph = fg.chain((4,), ("a", a), ("b", replace(big, weights=cancel)))
    tensors = plan(graph, {"x": x})
    assert tensors["b"].exponent == tensors["a"].exponent + 3


def test_gaps_of_a_sum_are_closed() -> None:
    loud = replace(fg.dense(4, 4), weights=np.full((4, 4), 1e5, np.float32))
    quiet = replace(
        fg.dense(4, 4), weights=np.full((4, 4), 1e-5, np.float32), bias=np.zeros(4, np.float32)
    )
    steps = [("a", loud, ["x"]), ("b", quiet, ["x"]), ("s", Add(), ["a", "b"])]
    graph = fg.make({"x": (4,)}, steps, ["s"])
    tensors = plan(graph, samples(graph))
    assert tensors["s"].exponent - tensors["b"].exponent == MAX_GAP
    graph.node("s").op.check([tensors["a"], tensors["b"]], tensors["s"])


def test_the_sum_prefers_the_finest_input_exponent() -> None:
    same = {"weights": np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32)}
    layer = replace(fg.dense(4, 4), **same)
    steps = [
        ("a", layer, ["x"]),
        ("b", replace(layer, weights=-0.9 * layer.weights), ["x"]),
        ("s", Add(), ["a", "b"]),
        ("out", fg.dense(4, 2), ["s"]),
    ]
    graph = fg.make({"x": (4,)}, steps, ["out"])
    tensors = plan(graph, samples(graph), clips=True)
    finest = min(tensors["a"].exponent, tensors["b"].exponent)
    assert tensors["s"].exponent == finest


def test_sigmoid_beside_large_values_is_refused() -> None:
    steps = [
        ("a", fg.dense(3, 4), ["x"]),
        ("g", Sigmoid(), ["a"]),
        ("both", Concat(0), ["g", "x"]),
        ("out", fg.dense(7, 2), ["both"]),
    ]
    graph = fg.make({"x": (3,)}, steps, ["out"])
    with pytest.raises(UnsupportedError, match=r"layer 'g' gives values in 0\.\.1"):
        plan(graph, samples(graph))


def test_inputs_of_sigmoid_stay_in_its_range() -> None:
    tiny = replace(
        fg.dense(3, 4), weights=np.full((4, 3), 1e-14, np.float32), bias=np.zeros(4, np.float32)
    )
    graph = fg.chain((3,), ("a", tiny), ("g", Sigmoid()))
    assert plan(graph, samples(graph))["a"].exponent == -27
