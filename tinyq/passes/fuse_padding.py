# SPDX-License-Identifier: Apache-2.0
"""A zero border goes into the explicit padding of the convolutions that read it.

All readers must be convolutions or depthwise convolutions; their own padding (zeros too) adds up.
Not done for pooling: average pooling counts what lies in the input only, and the zeros of a border
take part in a maximum.
"""

from __future__ import annotations

from dataclasses import replace

from tinyq.graph import Graph, Node
from tinyq.ops import Conv2D, DepthwiseConv2D, Op, Pad2D
from tinyq.ops.windows import Padding
from tinyq.passes.rewriting import merge_into_consumers, read_by_nodes_only, repeat


def fuse_padding(graph: Graph) -> Graph:
    """Fuse each Pad2D that only convolutions read."""
    return repeat(graph, _fuse)


def _fuse(graph: Graph) -> Graph | None:
    for node in graph.nodes:
        if not isinstance(node.op, Pad2D) or not read_by_nodes_only(graph, node.output):
            continue
        readers = graph.consumers(node.output)
        ops = {n.name: op for n in readers if (op := _padded(n, node.op.padding)) is not None}
        if readers and len(ops) == len(readers):
            return merge_into_consumers(graph, node, ops)
    return None


def _padded(node: Node, border: Padding) -> Op | None:
    if not isinstance(node.op, Conv2D | DepthwiseConv2D):
        return None
    top, bottom, left, right = (a + b for a, b in zip(border, node.op.padding, strict=True))
    return replace(node.op, padding=(top, bottom, left, right))
