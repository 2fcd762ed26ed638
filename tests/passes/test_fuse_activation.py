# SPDX-License-Identifier: Apache-2.0
"""Rectifiers move into their producers without changing a value."""

from __future__ import annotations

import float_graphs as fg
import numpy as np
import pytest

from tinyq.graph import Graph, validate
from tinyq.ops import Add, AveragePool2D, Concat, MaxPool2D, Op, Pad2D, Relu, Reshape
from tinyq.passes.fuse_activation import fuse_activation, hoist_elementwise

IMAGE = (6, 5, 3)


def assert_equal_outputs(got: Graph, expected: Graph) -> None:
    for a, b in zip(fg.outputs(validate(got)), fg.outputs(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize(
    "op", [fg.conv(3, 4), fg.depthwise(3), AveragePool2D((2, 2), (1, 1))], ids=lambda op: op.stem
)
def test_fuses_into_the_sole_producer(op: Op, activation: str) -> None:
    graph = fg.chain(IMAGE, ("a", op), ("r", Relu(activation)))
    fused = fuse_activation(graph)
    (node,) = fused.nodes
    assert (node.name, node.op.activation, node.layers) == ("a", activation, ("a", "r"))
    assert fused.outputs == ("a",)
    assert_equal_outputs(fused, graph)


def test_fuses_into_dense_and_add() -> None:
    graph = fg.make(
        {"x": (5,), "y": (5,)},
        [
            ("d", fg.dense(5, 5), ["x"]),
            ("r", Relu(), ["d"]),
            ("s", Add(), ["r", "y"]),
            ("t", Relu("relu6"), ["s"]),
        ],
        ["t"],
    )
    fused = fuse_activation(graph)
    assert [(n.name, n.op.activation) for n in fused.nodes] == [("d", "relu"), ("s", "relu6")]
    assert_equal_outputs(fused, graph)


@pytest.mark.parametrize("second", ["relu", "relu6"])
@pytest.mark.parametrize("first", ["relu", "relu6"])
def test_rectifiers_compose(first: str, second: str) -> None:
    graph = fg.chain(IMAGE, ("c", fg.conv(3, 4)), ("r", Relu(first)), ("s", Relu(second)))
    fused = fuse_activation(graph)
    assert fg.ops(fused) == ["Conv2D"]
    assert_equal_outputs(fused, graph)


def test_stays_where_the_producer_is_seen_elsewhere() -> None:
    steps = [("c", fg.conv(3, 3, 1), ["x"]), ("r", Relu(), ["c"]), ("s", Add(), ["c", "r"])]
    for graph in (
        fg.make({"x": IMAGE}, steps, ["s"]),
        fg.make({"x": IMAGE}, steps[:2], ["r", "c"]),
        fg.make({"x": IMAGE}, [("k", Concat(2), ["x", "x"]), ("r", Relu(), ["k"])], ["r"]),
        fg.chain(IMAGE, ("r", Relu())),
    ):
        assert fuse_activation(graph) is graph


@pytest.mark.parametrize(
    "between",
    [Reshape((60,)), MaxPool2D((2, 2), (1, 1), (0, 1, 0, 1)), Pad2D((1, 0, 2, 0))],
    ids=lambda op: op.stem,
)
def test_hoisted_in_front_of_what_commutes(between: Op) -> None:
    graph = fg.chain(
        IMAGE, ("c", fg.conv(3, 5)), ("m", between), ("r", Relu("relu6")), ("k", Relu())
    )
    fused = fuse_activation(hoist_elementwise(graph))
    assert fg.ops(fused) == ["Conv2D", type(between).__name__]
    assert fused.nodes[0].op.activation == "relu6"
    assert_equal_outputs(fused, graph)


def test_not_hoisted_where_nobody_waits_for_it() -> None:
    graph = fg.chain(IMAGE, ("m", MaxPool2D((2, 2), (2, 2))), ("r", Relu()))
    assert hoist_elementwise(graph) is graph


def test_batchnorm_not_hoisted_over_a_flatten() -> None:
    graph = fg.chain(IMAGE, ("f", Reshape((90,))), ("b", fg.norm(90)))
    assert hoist_elementwise(graph) is graph
