# SPDX-License-Identifier: Apache-2.0
"""Which tensors must have one exponent, and which one type: the classes of a union-find.

Operators that are exact on codes (pooling, padding, reshape, concatenation, a standing rectifier)
pass their exponent on; all but the rectifier pass dtype and bits on as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tinyq.graph import Graph, Node

#: every tensor of a class by the class's first tensor
Classes = Mapping[str, tuple[str, ...]]


def exponent_classes(graph: Graph) -> Classes:
    """Sets of tensors that must share their exponent."""
    return _classes(graph, lambda node: node.op.keeps_exponent)


def type_classes(graph: Graph) -> Classes:
    """Sets of tensors that must share dtype and bits."""
    return _classes(graph, lambda node: node.op.keeps_type)


def by_member(classes: Classes) -> dict[str, str]:
    """The class of every tensor."""
    return {member: key for key, members in classes.items() for member in members}


def _classes(graph: Graph, ties: Callable[[Node], bool]) -> Classes:
    order = [*graph.inputs, *(node.output for node in graph.nodes)]
    parent = {name: name for name in order}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        if ties(node):
            first, *others = (root(name) for name in (*node.inputs, node.output))
            for other in others:
                parent[root(other)] = root(first)
    found: dict[str, list[str]] = {}
    for name in order:
        found.setdefault(root(name), []).append(name)
    return {members[0]: tuple(members) for members in found.values()}
