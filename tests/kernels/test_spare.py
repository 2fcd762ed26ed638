# SPDX-License-Identifier: Apache-2.0
"""Scratch memory that costs nothing: what the busiest layer needs, less what a layer's own does."""

from __future__ import annotations

import numpy as np

from tinyq.encodings import Weights
from tinyq.graph import Graph, Node
from tinyq.kernels.spare import alive_bytes, spare_bytes
from tinyq.ops import Add, Conv2D
from tinyq.tensors import Tensor


def convolution(inputs: int, outputs: int, size: int = 1) -> Conv2D:
    image = np.ones((outputs, size, size, inputs), np.int8)
    return Conv2D(Weights("int8", image, np.zeros(1, np.int32)), np.zeros(outputs, np.int32))


def residual_graph() -> Graph:
    """x -> a (1x1), a -> b (3x3 as to size), a + b -> c, c -> d (fewer channels)."""
    sizes = {"x": 3, "a": 8, "b": 8, "c": 8, "d": 2}
    tensors = {name: Tensor(name, (4, 4, count), "uint8") for name, count in sizes.items()}
    nodes = (
        Node("first", convolution(3, 8), ("x",), ("a",)),
        Node("branch", convolution(8, 8, 3), ("a",), ("b",)),
        Node("sum", Add(), ("a", "b"), ("c",)),
        Node("last", convolution(8, 2), ("c",), ("d",)),
    )
    return Graph("g", tensors, nodes, ("x",), ("d",))


def test_bytes_alive_while_a_layer_runs() -> None:
    graph = residual_graph()
    alive = {node.name: alive_bytes(graph, node) for node in graph.nodes}
    # The branch's output takes the place of what is added to it; so does the sum's.
    assert alive == {"first": 16 * 11, "branch": 16 * 8, "sum": 16 * 16, "last": 16 * 10}


def test_the_busiest_layer_has_nothing_to_spare() -> None:
    graph = residual_graph()
    spare = {node.name: spare_bytes(graph, node) for node in graph.nodes}
    assert spare == {"first": 16 * 5, "branch": 16 * 8, "sum": 0, "last": 16 * 6}
