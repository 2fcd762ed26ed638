# SPDX-License-Identifier: Apache-2.0
"""Removes channels that are constant or that nothing reads: exact on the integer graph.

A channel is constant when the bounds of its codes meet.  A convolution that reads a constant
channel takes it into its bias: bias[o] += value * sum(w[o, .., channel]).  Where the window can
reach into zero padding a constant other than 0 has a border effect, so it stays.  Channels that
only zero weights read go as well.

Which channels stay is the smallest set that holds all channels of inputs and outputs, what linear
layers need, and that is the same on both sides of every channelwise operator.

Absent: gathering channels for reshapes that mix them, and softmax; there all channels stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import GraphError
from tinyq.graph import Graph, Node
from tinyq.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalMean,
    LinearOp,
    MaxPool2D,
    Op,
    Pad2D,
    Relu,
    Reshape,
    Sigmoid,
)
from tinyq.proof import intervals
from tinyq.tensors import Interval, Tensor

Mask = npt.NDArray[Any]  # bool, one entry a channel
Masks = dict[str, Mask]
_SAME_CHANNELS: Final = (Add, AveragePool2D, GlobalMean, MaxPool2D, Pad2D, Relu, Sigmoid)


def eliminate_constants(graph: Graph) -> Graph:
    """The graph without removable channels; ``Tensor.channels`` tells which ones are left."""
    known = intervals(graph)
    keep = _kept_channels(graph, known)
    if all(mask.all() for mask in keep.values()):
        return graph
    tensors = {name: _slice_tensor(t, keep[name]) for name, t in graph.tensors.items()}
    nodes = tuple(_slice_node(node, known, keep, tensors) for node in graph.nodes)
    return replace(graph, tensors=tensors, nodes=nodes)


def _kept_channels(graph: Graph, known: Mapping[str, Interval]) -> Masks:
    """The fixed point of what every node needs; True where a channel stays."""
    pinned = {*graph.inputs, *graph.outputs}
    keep: Masks = {}
    for name, tensor in graph.tensors.items():
        keep[name] = np.full(tensor.shape[-1], name in pinned)
        keep[name][0] = True  # a tensor keeps at least one channel
    changed = True
    while changed:
        before = {name: mask.copy() for name, mask in keep.items()}
        for node in reversed(graph.nodes):
            _propagate(graph, node, known, keep)
        changed = any(not np.array_equal(before[name], keep[name]) for name in keep)
    return keep


def _propagate(graph: Graph, node: Node, known: Mapping[str, Interval], keep: Masks) -> None:
    """Let one node add what it needs to the masks of its inputs and its output."""
    op = node.op
    if isinstance(op, Conv2D | Dense):
        x = node.inputs[0]
        keep[x] = keep[x] | _needed_inputs(op, known[x], keep[node.output])
    elif isinstance(op, _SAME_CHANNELS) or _stacks_rows(op, graph.out(node)):
        union = np.logical_or.reduce([keep[name] for name in (*node.inputs, node.output)])
        for name in (*node.inputs, node.output):
            keep[name] = union.copy()
    elif isinstance(op, DepthwiseConv2D):
        _tie(keep, node.inputs[0], node.output, op.multiplier, _grouped)
    elif isinstance(op, Reshape):
        _propagate_reshape(graph, node, keep)
    elif isinstance(op, Concat):
        _propagate_concat(node, keep)
    else:
        for name in (*node.inputs, node.output):
            keep[name][:] = True


def _stacks_rows(op: Op, out: Tensor) -> bool:
    """A concatenation along another axis than the channels."""
    return isinstance(op, Concat) and op.axis != len(out.shape) - 1


def _needed_inputs(op: Conv2D | Dense, x: Interval, out: Mask) -> Mask:
    """Input channels that a kept output reads and that the bias cannot take over."""
    read = (op.quantized.image()[out] != 0).reshape(-1, len(x.lo)).any(0)
    return read & ~_foldable(op, x)


def _foldable(op: LinearOp, x: Interval) -> Mask:
    constant = x.lo == x.hi
    padded = isinstance(op, Conv2D) and any(op.padding)
    return constant & (x.lo == 0) if padded else constant


def _grouped(mask: Mask, count: int) -> Mask:
    """Which inputs a kept output of a depthwise layer belongs to."""
    return np.asarray(mask.reshape(-1, count).any(1))


def _tiled(mask: Mask, count: int) -> Mask:
    """Which channels a kept element of a flattened tensor belongs to."""
    return np.asarray(mask.reshape(count, -1).any(0))


def _tie(
    keep: Masks, source: str, target: str, count: int, gather: Callable[[Mask, int], Mask]
) -> None:
    """Make a channel and the ``count`` target channels that stem from it share their fate."""
    mask = keep[source] | gather(keep[target], count)
    keep[source] = mask
    keep[target] = np.repeat(mask, count) if gather is _grouped else np.tile(mask, count)


def _propagate_reshape(graph: Graph, node: Node, keep: Masks) -> None:
    source, target = graph.tensors[node.inputs[0]], graph.out(node)
    if source.shape[-1] == target.shape[-1] or len(target.shape) == 1:
        _tie(keep, source.name, target.name, target.shape[-1] // source.shape[-1], _tiled)
    else:
        keep[source.name][:] = True
        keep[target.name][:] = True


def _propagate_concat(node: Node, keep: Masks) -> None:
    bounds = np.cumsum([len(keep[name]) for name in node.inputs])[:-1]
    parts = np.split(keep[node.output], bounds)
    for name, part in zip(node.inputs, parts, strict=True):
        keep[name] = keep[name] | part
    keep[node.output] = np.concatenate([keep[name] for name in node.inputs])


def _slice_tensor(tensor: Tensor, mask: Mask) -> Tensor:
    if mask.all():
        return tensor
    original = tensor.channels or tuple(range(tensor.shape[-1]))
    kept = tuple(original[i] for i in np.flatnonzero(mask))
    return replace(tensor, shape=(*tensor.shape[:-1], len(kept)), channels=kept)


def _slice_node(
    node: Node, known: Mapping[str, Interval], keep: Masks, tensors: Mapping[str, Tensor]
) -> Node:
    op: Op = node.op
    if isinstance(op, Conv2D | Dense):
        op = _slice_linear(op, known[node.inputs[0]], keep[node.inputs[0]], keep[node.output])
    elif isinstance(op, DepthwiseConv2D):
        rows = np.flatnonzero(keep[node.output])
        op = replace(op, weights=op.quantized.take(rows), bias=op.bias[rows])
    elif isinstance(op, Reshape):
        op = Reshape(tensors[node.output].shape)
    return replace(node, op=op)


def _slice_linear(op: Conv2D | Dense, x: Interval, kept_in: Mask, kept_out: Mask) -> Op:
    rows, columns = np.flatnonzero(kept_out), np.flatnonzero(kept_in)
    weights = op.quantized.take(rows)
    removed = ~kept_in & _foldable(op, x)
    values = np.where(removed, x.lo, 0)
    taps = weights.image().astype(np.int64).reshape(len(rows), -1, len(kept_in)).sum(1)
    bias = op.bias[rows].astype(np.int64) + taps @ values
    if bias.size and np.abs(bias).max() >= 2**31:
        raise GraphError("a folded constant channel leaves the 32-bit range of the bias")
    sliced = replace(weights, codes=np.ascontiguousarray(weights.codes[..., columns]))
    return replace(op, weights=sliced, bias=bias.astype(np.int32))
