# SPDX-License-Identifier: Apache-2.0
"""ReLU and ReLU6 go into the operator that feeds them, if nothing else sees its output.

``hoist_elementwise`` first moves them (and batch normalization) in front of reshapes, and ReLU in
front of max pooling and zero padding where a producer waits to take it: relu(max(x)) = max(relu(x))
and relu(0) = 0.  The values stay the same, bit by bit.

A rectifier that nobody can take (behind a concatenation, at the input) stays a node of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tinyq.graph import Graph, Node
from tinyq.ops import (
    Add,
    AveragePool2D,
    BatchNorm,
    LinearOp,
    MaxPool2D,
    Op,
    Pad2D,
    Relu,
    Reshape,
)
from tinyq.passes.rewriting import merge_into_producer, repeat, sole_producer, swap

#: (inner, outer) → their composition
_COMPOSED: Final = {
    ("linear", "relu"): "relu",
    ("linear", "relu6"): "relu6",
    ("relu", "relu"): "relu",
    ("relu", "relu6"): "relu6",
    ("relu6", "relu"): "relu6",
    ("relu6", "relu6"): "relu6",
}


def fuse_activation(graph: Graph) -> Graph:
    """Fuse each Relu node into its producer where that is possible."""
    return repeat(graph, _fuse)


def hoist_elementwise(graph: Graph) -> Graph:
    """Move Relu and BatchNorm towards the operator that can take them."""
    return repeat(graph, _hoist)


def _fuse(graph: Graph) -> Graph | None:
    for node in graph.nodes:
        if not isinstance(node.op, Relu):
            continue
        source = sole_producer(graph, node)
        if source is not None and isinstance(source.op, LinearOp | Add | AveragePool2D | Relu):
            activation = _COMPOSED[source.op.activation, node.op.activation]
            return merge_into_producer(
                graph, source, node, replace(source.op, activation=activation)
            )
    return None


def _hoist(graph: Graph) -> Graph | None:
    for node in graph.nodes:
        first = sole_producer(graph, node) if isinstance(node.op, Relu | BatchNorm) else None
        if first is not None and _commutes(graph, first, node.op):
            return swap(graph, first, node)
    return None


def _commutes(graph: Graph, first: Node, op: Op) -> bool:
    """True where ``op`` may and should run before ``first``."""
    if isinstance(first.op, Reshape):
        same_channels = graph.ins(first)[0].shape[-1] == graph.out(first).shape[-1]
        return isinstance(op, Relu) or same_channels
    if isinstance(first.op, MaxPool2D | Pad2D) and isinstance(op, Relu):
        source = sole_producer(graph, first)
        return source is not None and isinstance(source.op, LinearOp | Add | BatchNorm | Relu)
    return False
