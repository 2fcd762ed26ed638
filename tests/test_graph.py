# SPDX-License-Identifier: Apache-2.0
"""Invariants of graphs and the messages for graphs that break them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import GraphBuilder, every_op_graph

from tinyq.errors import GraphError
from tinyq.graph import Graph, unique_name, validate


@pytest.fixture
def graph() -> Graph:
    g = GraphBuilder(np.random.default_rng(0))
    x = g.input((6, 6, 2))
    a = g.conv(x, 4)
    b = g.conv(a, 4, activation="linear")
    return g.build("net", [b])


def with_tensor(graph: Graph, name: str, **changes: object) -> Graph:
    return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], **changes)})


def with_op(graph: Graph, index: int, **changes: object) -> Graph:
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], op=replace(nodes[index].op, **changes))
    return replace(graph, nodes=tuple(nodes))


def test_messages_name_the_users_layer(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"layer 'keras/conv2d0' \(Conv2D\): output shape"):
        validate(with_tensor(graph, "conv2d0", shape=(6, 6, 5)))


def test_negative_shift_is_refused(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"shift -.*outside 0\.\.31: raise the output exponent"):
        validate(with_tensor(graph, "conv2d0", exponent=-40))


def test_float_weights_are_refused_in_an_integer_graph(graph: Graph) -> None:
    with pytest.raises(GraphError, match="float weights"):
        validate(with_op(graph, 0, weights=np.zeros((4, 3, 3, 2))))


def test_bias_type_is_checked(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"bias must be int32 \[4\]"):
        validate(with_op(graph, 0, bias=np.zeros(4)))


def test_order_is_checked(graph: Graph) -> None:
    with pytest.raises(GraphError, match="before it is written"):
        validate(replace(graph, nodes=graph.nodes[::-1]))


def test_names_must_be_identifiers_and_unique(graph: Graph) -> None:
    with pytest.raises(GraphError, match="not a lower-case C identifier"):
        validate(replace(graph, name="1net"))
    twice = tuple(replace(node, name="same") for node in graph.nodes)
    with pytest.raises(GraphError, match="not unique"):
        validate(replace(graph, nodes=twice))


def test_text_shows_types_and_layers() -> None:
    text = str(every_op_graph(0))
    assert "Softmax(dense14)  # keras/softmax15" in text
    assert text.splitlines()[-1] == "  return softmax15, sigmoid16, dense14, reshape18"


def test_unique_name_is_an_identifier() -> None:
    assert unique_name("Conv 1/BiasAdd:0", set()) == "conv_1_biasadd_0"
    assert unique_name("1x1", {"n1x1"}) == "n1x1_2"
    assert unique_name("éü", set()) == "node"
