# SPDX-License-Identifier: Apache-2.0
"""Batch normalization disappears: y = x * scale + offset goes into a neighbour, or stands alone.

Behind a convolution, depthwise convolution or dense layer without activation:
``w'[o] = w[o] * scale[o]``, ``b'[o] = b[o] * scale[o] + offset[o]``.
In front of one (through a flatten too), if no padding is in the way or the offset is zero:
``w'[o, …, i] = w[o, …, i] * scale[i]``, ``b'[o] = b[o] + sum w[o, …, i] * offset[i]``.
Two in a row become one.  What is left becomes a 1x1 depthwise convolution (``lower_batchnorm``).

Computed in float64, rounded to float32 once.  Not done here: moving a batch normalization past
pooling, or into several producers of a concatenation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tinyq.graph import Graph, Node
from tinyq.ops import BatchNorm, Conv2D, Dense, DepthwiseConv2D, LinearOp, Op, Reshape
from tinyq.passes.rewriting import (
    merge_into_consumers,
    merge_into_producer,
    read_by_nodes_only,
    redirect,
    repeat,
    sole_producer,
    with_chain,
)

Float64 = npt.NDArray[np.float64]


def fold_batchnorm(graph: Graph) -> Graph:
    """Fold every BatchNorm that a neighbour can take, first backward, then forward."""
    return repeat(repeat(graph, _fold_backward), _fold_forward)


def lower_batchnorm(graph: Graph) -> Graph:
    """Turn each BatchNorm that is left into a 1x1 depthwise convolution."""
    return repeat(graph, _stand_alone)


def _batchnorms(graph: Graph) -> list[tuple[Node, BatchNorm]]:
    return [(n, n.op) for n in graph.nodes if isinstance(n.op, BatchNorm)]


def _float64(op: LinearOp | BatchNorm) -> tuple[Float64, Float64]:
    if isinstance(op, BatchNorm):
        return op.scale.astype(np.float64), op.offset.astype(np.float64)
    return op.real.astype(np.float64), op.bias.astype(np.float64)


def _with_parameters(op: LinearOp, weights: Float64, bias: Float64) -> LinearOp:
    return replace(op, weights=weights.astype(np.float32), bias=bias.astype(np.float32))


# ---------------------------------------------------------------- behind


def _fold_backward(graph: Graph) -> Graph | None:
    for node, norm in _batchnorms(graph):
        source = sole_producer(graph, node)
        if source is not None and (op := _scaled(source.op, norm)) is not None:
            return merge_into_producer(graph, source, node, op)
    return None


def _scaled(op: Op, norm: BatchNorm) -> Op | None:
    """``op`` followed by ``norm`` as one operator; None where that is not linear."""
    scale, offset = _float64(norm)
    if isinstance(op, BatchNorm):
        inner_scale, inner_offset = _float64(op)
        return BatchNorm(
            (inner_scale * scale).astype(np.float32),
            (inner_offset * scale + offset).astype(np.float32),
        )
    if not isinstance(op, LinearOp) or op.activation != "linear":
        return None
    weights, bias = _float64(op)
    rows = scale.reshape(-1, *[1] * (weights.ndim - 1))
    return _with_parameters(op, weights * rows, bias * scale + offset)


# ---------------------------------------------------------------- in front


def _fold_forward(graph: Graph) -> Graph | None:
    for node, norm in _batchnorms(graph):
        readers = graph.consumers(node.output)
        if not readers or not read_by_nodes_only(graph, node.output):
            continue
        ops = {n.name: op for n in readers if (op := _absorbed(n.op, norm)) is not None}
        if len(ops) == len(readers):
            return merge_into_consumers(graph, node, ops)
        if (through := _fold_through_reshape(graph, node, norm, readers)) is not None:
            return through
    return None


def _absorbed(op: Op, norm: BatchNorm) -> Op | None:
    """``norm`` followed by ``op`` as one operator; None where it cannot be."""
    if not isinstance(op, LinearOp):
        return None
    padding = op.padding if isinstance(op, Conv2D | DepthwiseConv2D) else ()
    if any(padding) and norm.offset.any():
        return None
    scale, offset = _float64(norm)
    weights, bias = _float64(op)
    if isinstance(op, DepthwiseConv2D):
        scale, offset = (np.repeat(v, op.multiplier)[:, None, None] for v in (scale, offset))
    elif isinstance(op, Dense):
        copies = weights.shape[1] // len(scale)
        scale, offset = np.tile(scale, copies), np.tile(offset, copies)
    shift = (weights * offset).reshape(len(bias), -1).sum(1)
    return _with_parameters(op, weights * scale, bias + shift)


def _fold_through_reshape(
    graph: Graph, node: Node, norm: BatchNorm, readers: tuple[Node, ...]
) -> Graph | None:
    """BatchNorm, flatten, dense: channels run fastest, so the parameters repeat."""
    if len(readers) != 1 or not isinstance(readers[0].op, Reshape):
        return None
    flatten = readers[0]
    after = graph.consumers(flatten.output)
    if not after or not read_by_nodes_only(graph, flatten.output):
        return None
    dense = [n for n in after if isinstance(n.op, Dense)]
    ops = {n.name: op for n in dense if (op := _absorbed(n.op, norm)) is not None}
    if len(ops) != len(after) or len(graph.out(flatten).shape) != 1:
        return None
    folded = tuple(
        replace(n, op=ops[n.name], layers=(*node.layers, *n.layers)) if n.name in ops else n
        for n in graph.nodes
        if n is not node
    )
    return redirect(replace(graph, nodes=folded), node.output, node.inputs[0])


# ---------------------------------------------------------------- alone


def _stand_alone(graph: Graph) -> Graph | None:
    for node, norm in _batchnorms(graph):
        shape = graph.out(node).shape
        image = (*(1,) * (3 - len(shape)), *shape)
        if len(shape) > 3:
            image = (1, int(np.prod(shape[:-1])), shape[-1])
        op = DepthwiseConv2D(weights=norm.scale[:, None, None], bias=norm.offset)
        if image == shape:
            return with_chain(graph, node, [(op, "")])
        chain: list[tuple[Op, str]] = [
            (Reshape(image), "_expand"),
            (op, ""),
            (Reshape(shape), "_squeeze"),
        ]
        return with_chain(graph, node, chain)
    return None
