# SPDX-License-Identifier: Apache-2.0
"""Layers in bands of rows: the first ones run piece by piece, so that less RAM holds the model.

A chain of layers with windows (convolutions, depthwise convolutions, pooling) is computed for a
few rows of its last output at a time.  Rows of NHWC tensors lie side by side, so a band is an
address and a smaller height: the kernels stay as they are.  What neighbouring bands both need of
the tensors between is computed twice; what the chain reads may be overwritten by what it writes
(see ``lead``).  Exact: every output row is computed from the same codes.

The idea of patches: Lin et al., MCUNetV2 (NeurIPS 2021), section 3.1; bands need no copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinyq.graph import Graph, Node
from tinyq.ops import AveragePool2D, Conv2D, DepthwiseConv2D, MaxPool2D
from tinyq.ops.windows import Padding, Pair
from tinyq.tensors import Tensor

WINDOWED = (Conv2D, DepthwiseConv2D, AveragePool2D, MaxPool2D)


@dataclass(frozen=True)
class Rows:
    """Rows ``start``..``end`` - 1 of a tensor."""

    start: int
    end: int

    @property
    def count(self) -> int:
        """How many."""
        return self.end - self.start


@dataclass(frozen=True)
class Piece:
    """One layer of one band.

    Attributes:
        node: the layer; its operator's padding is that of the band.
        source, target: rows that it reads and writes.
        ins, out: tensors of these rows.
    """

    node: Node
    source: Rows
    target: Rows
    ins: Tensor
    out: Tensor

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.node.op.macs([self.ins.shape], self.out.shape)


@dataclass(frozen=True)
class Banding:
    """A chain of layers in bands; each band holds a piece of every layer."""

    nodes: tuple[Node, ...]
    bands: tuple[tuple[Piece, ...], ...]

    @property
    def extra_macs(self) -> int:
        """Multiply-accumulates that are done more than once."""
        whole = sum(piece.macs for piece in _whole(self))
        return sum(piece.macs for band in self.bands for piece in band) - whole

    @property
    def lead(self) -> int:
        """Bytes by which the output must start before the input where it overlays the input.

        A band's output may not reach rows that later bands read.
        """
        first, last = self.bands[0][0], self.bands[0][-1]
        in_row, out_row = _row_bytes(first.ins), _row_bytes(last.out)
        pairs = zip(self.bands, self.bands[1:], strict=False)
        reach = [b[-1].target.end * out_row - n[0].source.start * in_row for b, n in pairs]
        return max(0, *reach) if reach else 0

    def between(self) -> tuple[int, ...]:
        """Bytes of the largest band of every tensor between two layers."""
        sizes = [[piece.out.size for piece in band[:-1]] for band in self.bands]
        return tuple(max(column) for column in zip(*sizes, strict=True))


def _row_bytes(tensor: Tensor) -> int:
    return tensor.size // tensor.shape[0]


def _whole(banding: Banding) -> Iterator[Piece]:
    """The layers unbanded, as pieces."""
    for column in zip(*banding.bands, strict=True):
        first, last = column[0], column[-1]
        source = Rows(first.source.start, last.source.end)
        target = Rows(first.target.start, last.target.end)
        yield replace(
            first, source=source, target=target, ins=_cut(first.ins, source),
            out=_cut(first.out, target),
        )  # fmt: skip


def _cut(tensor: Tensor, rows: Rows) -> Tensor:
    return replace(tensor, shape=(rows.count, *tensor.shape[1:]))


def window_of(op: Any) -> tuple[Pair, Pair, Padding]:
    """Kernel, strides and padding of a windowed operator."""
    kernel = op.pool if isinstance(op, AveragePool2D | MaxPool2D) else op.kernel
    return kernel, op.strides, op.padding


def make_banding(graph: Graph, nodes: Sequence[Node], rows: int) -> Banding:
    """A chain in bands of ``rows`` rows of its last output (the last band may have fewer)."""
    height = graph.out(nodes[-1]).shape[0]
    starts = range(0, height, rows)
    bands = (_band(graph, nodes, Rows(a, min(a + rows, height))) for a in starts)
    return Banding(tuple(nodes), tuple(bands))


def _band(graph: Graph, nodes: Sequence[Node], target: Rows) -> tuple[Piece, ...]:
    """The pieces that rows ``target`` of the last layer need, first layer first."""
    pieces: list[Piece] = []
    for node in reversed(nodes):
        piece = _piece(graph, node, target)
        pieces.insert(0, piece)
        target = piece.source
    return tuple(pieces)


def _piece(graph: Graph, node: Node, target: Rows) -> Piece:
    (x,) = graph.ins(node)
    kernel, strides, (top, _, left, right) = window_of(node.op)
    start = target.start * strides[0] - top
    end = (target.end - 1) * strides[0] - top + kernel[0]
    source = Rows(max(start, 0), min(end, x.shape[0]))
    padding = (source.start - start, end - source.end, left, right)
    op: Any = node.op
    return Piece(
        replace(node, op=replace(op, padding=padding)),
        source,
        target,
        _cut(x, source),
        _cut(graph.out(node), target),
    )


def find_chains(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """Every run of at least two windowed layers whose tensors between nobody else reads."""
    for start in range(len(graph.nodes)):
        chain: tuple[Node, ...] = ()
        for following in graph.nodes[start:]:
            if not isinstance(following.op, WINDOWED) or len(graph.out(following).shape) != 3:
                break
            if chain and not _continues(graph, chain[-1], following):
                break
            chain = (*chain, following)
            if len(chain) > 1:
                yield chain


def _continues(graph: Graph, node: Node, following: Node) -> bool:
    readers = [n for n in graph.nodes if node.output in n.inputs]
    return readers == [following] and node.output not in graph.outputs


def bandings(graph: Graph) -> list[Banding]:
    """All chains in bands of all heights, the cheapest first."""
    found = [
        make_banding(graph, chain, rows)
        for chain in find_chains(graph)
        for rows in range(1, graph.out(chain[-1]).shape[0])
    ]
    return sorted(found, key=lambda banding: (banding.extra_macs, len(banding.bands)))
