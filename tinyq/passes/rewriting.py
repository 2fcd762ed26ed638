# SPDX-License-Identifier: Apache-2.0
"""What the float passes share: looking at neighbours and merging two nodes into one.

In the float graph the tensor that a node writes carries the node's name; merging keeps that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tinyq.graph import Graph, Node, Tensor, unique_name
from tinyq.ops import Op

#: One step of a pass: the changed graph, or None when there is nothing left to do.
Step = Callable[[Graph], Graph | None]


def repeat(graph: Graph, step: Step) -> Graph:
    """Apply ``step`` until it finds nothing."""
    while (changed := step(graph)) is not None:
        graph = changed
    return graph


def sole_producer(graph: Graph, node: Node) -> Node | None:
    """The node that feeds ``node`` and nothing else; None if anybody else sees that tensor."""
    source = graph.producer(node.inputs[0])
    if source is None or not read_by_nodes_only(graph, source.output):
        return None
    return source if graph.consumers(source.output) == (node,) else None


def read_by_nodes_only(graph: Graph, tensor: str) -> bool:
    """True unless the tensor is an output of the graph."""
    return tensor not in graph.outputs


def merge_into_producer(graph: Graph, source: Node, node: Node, op: Op) -> Graph:
    """``source`` computes ``op`` instead and stands for both; readers of ``node`` read it."""
    merged = replace(source, op=op, layers=(*source.layers, *node.layers))
    nodes = tuple(merged if n is source else n for n in graph.nodes if n is not node)
    shaped = replace(graph.tensors[source.output], shape=graph.out(node).shape)
    tensors = {**graph.tensors, source.output: shaped}
    return redirect(graph.with_nodes(nodes, tensors), node.output, source.output)


def merge_into_consumers(graph: Graph, node: Node, ops: Mapping[str, Op]) -> Graph:
    """Drop ``node``; each consumer, by name, computes its op of ``ops`` on the node's input."""
    merged = {
        name: replace(
            graph.node(name),
            op=op,
            inputs=node.inputs,
            layers=(*node.layers, *graph.node(name).layers),
        )
        for name, op in ops.items()
    }
    nodes = tuple(merged.get(n.name, n) for n in graph.nodes if n is not node)
    return graph.with_nodes(nodes, graph.tensors)


def redirect(graph: Graph, old: str, new: str) -> Graph:
    """Every reader of tensor ``old``, the graph's outputs included, reads ``new``."""
    outputs = tuple(new if name == old else name for name in graph.outputs)
    nodes = tuple(
        replace(n, inputs=tuple(new if name == old else name for name in n.inputs))
        if old in n.inputs
        else n
        for n in graph.nodes
    )
    return replace(graph, outputs=outputs).with_nodes(nodes, graph.tensors)


def swap(graph: Graph, first: Node, second: Node) -> Graph:
    """Exchange two neighbours: ``second`` runs before ``first``, which it alone reads.

    Both keep their names, except that readers of ``second`` now read ``first``.
    """
    ahead = replace(second, inputs=first.inputs)
    behind = replace(first, inputs=(second.output,))
    shape = ahead.op.infer_shape([t.shape for t in graph.ins(first)])
    tensors = {
        **graph.tensors,
        second.output: replace(graph.tensors[second.output], shape=shape),
        first.output: replace(graph.tensors[first.output], shape=graph.out(second).shape),
    }
    readers = redirect(graph, second.output, first.output)
    order = [n for n in readers.nodes if n.name not in (first.name, second.name)]
    position = [n.name for n in readers.nodes if n.name != second.name].index(first.name)
    nodes = (*order[:position], ahead, behind, *order[position:])
    return readers.with_nodes(nodes, tensors)


def with_chain(graph: Graph, node: Node, chain: Sequence[tuple[Op, str]]) -> Graph:
    """Replace ``node`` by a chain of (op, suffix of its name), in the order of execution.

    The op with the empty suffix keeps the node's name; readers of ``node`` read the chain's end.
    """
    made: list[Node] = []
    tensors = dict(graph.tensors)
    current = node.inputs[0]
    for op, suffix in chain:
        name = unique_name(node.name + suffix, set(tensors)) if suffix else node.name
        tensors[name] = Tensor(name, op.infer_shape([tensors[current].shape]))
        made.append(Node(name, op, (current,), (name,), node.layers))
        current = name
    readers = redirect(graph, node.output, current)
    position = graph.nodes.index(node)
    nodes = (*readers.nodes[:position], *made, *readers.nodes[position + 1 :])
    return readers.with_nodes(nodes, tensors)
