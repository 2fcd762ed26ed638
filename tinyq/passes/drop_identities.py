# SPDX-License-Identifier: Apache-2.0
"""Nodes that compute nothing disappear; consecutive reshapes become one.

An identity between an input and an output of the graph stays: an output must be computed.
"""

from __future__ import annotations

from dataclasses import replace

from tinyq.graph import Graph, Node
from tinyq.ops import (
    AveragePool2D,
    BatchNorm,
    Concat,
    MaxPool2D,
    Pad2D,
    Relu,
    Reshape,
    Softmax,
)
from tinyq.passes.rewriting import redirect, repeat


def drop_identities(graph: Graph) -> Graph:
    """Remove nodes whose output equals their input."""
    return repeat(graph, _drop)


def merge_reshapes(graph: Graph) -> Graph:
    """A reshape of a reshape reads the original; reshapes that nobody reads are removed."""
    return repeat(repeat(graph, _skip_reshape), _remove_unread)


def drop_final_softmax(graph: Graph) -> Graph:
    """Outputs become the logits: the order of classes, and so the decision, is the same.

    Not part of the pipeline: the user asks for it.
    """
    return repeat(graph, _drop_softmax)


def is_identity(graph: Graph, node: Node) -> bool:
    """True if the node hands on its input unchanged."""
    op = node.op
    if isinstance(op, Reshape):
        return graph.ins(node)[0].shape == op.shape
    if isinstance(op, Relu):
        return op.activation == "linear"
    if isinstance(op, Pad2D):
        return not any(op.padding)
    if isinstance(op, Concat):
        return len(node.inputs) == 1
    if isinstance(op, BatchNorm):
        return bool((op.scale == 1).all() and not op.offset.any())
    if isinstance(op, AveragePool2D | MaxPool2D):
        plain = getattr(op, "activation", "linear") == "linear"
        return plain and op.pool == (1, 1) and op.strides == (1, 1)
    return False


def _drop(graph: Graph) -> Graph | None:
    for node in graph.nodes:
        if is_identity(graph, node) and _may_vanish(graph, node):
            return _without(graph, node)
    return None


def _may_vanish(graph: Graph, node: Node) -> bool:
    return not (node.output in graph.outputs and node.inputs[0] in graph.inputs)


def _without(graph: Graph, node: Node) -> Graph:
    """The graph without ``node``; the layer before it also stands for the node's layers."""
    source = graph.producer(node.inputs[0])
    nodes = tuple(
        replace(n, layers=(*n.layers, *node.layers)) if n is source else n
        for n in graph.nodes
        if n is not node
    )
    return redirect(replace(graph, nodes=nodes), node.output, node.inputs[0])


def _skip_reshape(graph: Graph) -> Graph | None:
    for node in graph.nodes:
        source = graph.producer(node.inputs[0])
        if isinstance(node.op, Reshape) and source and isinstance(source.op, Reshape):
            shorter = replace(node, inputs=source.inputs)
            nodes = tuple(shorter if n is node else n for n in graph.nodes)
            return graph.with_nodes(nodes, graph.tensors)
    return None


def _remove_unread(graph: Graph) -> Graph | None:
    for node in graph.nodes:
        unread = not graph.consumers(node.output) and node.output not in graph.outputs
        if isinstance(node.op, Reshape) and unread:
            nodes = tuple(n for n in graph.nodes if n is not node)
            return graph.with_nodes(nodes, graph.tensors)
    return None


def _drop_softmax(graph: Graph) -> Graph | None:
    for name in graph.outputs:
        node = graph.producer(name)
        if node and isinstance(node.op, Softmax) and _may_vanish(graph, node):
            if graph.consumers(name):
                outputs = tuple(node.inputs[0] if n == name else n for n in graph.outputs)
                return replace(graph, outputs=outputs)
            return _without(graph, node)
    return None
