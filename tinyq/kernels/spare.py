# SPDX-License-Identifier: Apache-2.0
"""How much scratch memory a layer may take before the arena grows.

The arena is as large as the busiest layer asks for.  What a layer leaves free below that is its
for nothing.  Counted are the tensors alive while it runs; where the output takes the place of an
input, or of what a following addition adds, it does not count.
"""

from __future__ import annotations

from tinyq.graph import Graph, Node
from tinyq.ops import Add, Conv2D, DepthwiseConv2D, Reshape


def spare_bytes(graph: Graph, node: Node) -> int:
    """Bytes that are free while ``node`` runs, as the arena is at least that of the busiest."""
    used = {other.name: alive_bytes(graph, other) for other in graph.nodes}
    return max(used.values()) - used[node.name]


def alive_bytes(graph: Graph, node: Node) -> int:
    """Bytes of the tensors that must exist while ``node`` runs."""
    index = graph.nodes.index(node)
    made = {n.output: i for i, n in enumerate(graph.nodes)}
    roots = {n.output: n.inputs[0] for n in graph.nodes if isinstance(n.op, Reshape)}
    alive = {
        root(name, roots)
        for name in graph.tensors
        if made.get(name, -1) < index and is_needed(graph, name, index)
    }
    if not takes_place(graph, node, index, made):
        alive.add(root(node.output, roots))
    return sum(graph.tensors[name].size for name in alive if not graph.tensors[name].state)


def root(name: str, roots: dict[str, str]) -> str:
    """The tensor that a reshaped one is."""
    while name in roots:
        name = roots[name]
    return name


def is_needed(graph: Graph, name: str, index: int) -> bool:
    """Something reads the tensor at step ``index`` or later."""
    return name in graph.outputs or any(name in n.inputs for n in graph.nodes[index:])


def takes_place(graph: Graph, node: Node, index: int, made: dict[str, int]) -> bool:
    """The output needs no memory of its own."""
    if node.op.in_place or isinstance(node.op, Reshape):
        return True
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.output]
    pointwise = isinstance(node.op, Conv2D) and node.op.kernel == node.op.strides == (1, 1)
    if pointwise or isinstance(node.op, DepthwiseConv2D):
        return x.shape == y.shape and not is_needed(graph, x.name, index + 1)
    readers = [n for n in graph.nodes if node.output in n.inputs]
    if len(readers) != 1 or not isinstance(readers[0].op, Add):
        return False
    return all(made.get(name, -1) < index for name in readers[0].inputs if name != node.output)
