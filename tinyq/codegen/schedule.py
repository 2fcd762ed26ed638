# SPDX-License-Identifier: Apache-2.0
"""The order of calls in the generated code: which node is which layer of the hook.

A reshape is no call: its output is another name for the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from tinyq.graph import Graph, Node
from tinyq.ops import Reshape

Array = npt.NDArray[Any]


def scheduled(graph: Graph) -> tuple[Node, ...]:
    """The nodes that run; the hook's layer number is the index in this tuple."""
    return tuple(node for node in graph.nodes if not isinstance(node.op, Reshape))


def aliases(graph: Graph) -> dict[str, str]:
    """For every output of a reshape the tensor whose bytes it shares."""
    roots: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node.op, Reshape):
            source = node.inputs[0]
            roots[node.output] = roots.get(source, source)
    return roots


def with_aliases(graph: Graph, values: Mapping[str, Array]) -> dict[str, Array]:
    """``values`` ``[N, *shape]`` by tensor name, and every reshape of them."""
    result = dict(values)
    for name, root in aliases(graph).items():
        if root in result:
            result[name] = result[root].reshape(-1, *graph.tensors[name].shape)
    return result
