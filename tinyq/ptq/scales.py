# SPDX-License-Identifier: Apache-2.0
"""A free scale for each channel, chosen so that its weights meet the levels well.

A rectifier commutes with a positive factor: relu(s y) = s relu(y).  So the channel of a layer can
be multiplied by any s > 0 and the readers' weights for it divided by s; the float network computes
the same (Nagel et al., arXiv 1906.04721, eq. 5).  They choose s to equalize ranges; here exponents
do that, and s stays within half an octave of 1.  What it wins is the position of the weights
between the levels: s minimizes the error of the codes,

    min over codes of (s w - v)' H (s w - v) / s^2.

Levels 2^m repeat themselves under every power of two, so for them s is the only thing that can be
chosen; a table of 16 entries and 8 bits are fine enough without.

Absent on purpose: sums and concatenations, whose inputs would have to agree on s; layers that are
called more than once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.graph import Graph, Node
from tinyq.ops import (
    AveragePool2D,
    DepthwiseConv2D,
    LinearOp,
    MaxPool2D,
    Pad2D,
    Relu,
    Reshape,
)
from tinyq.ptq.codes import Grid, choose_codes, column_errors
from tinyq.ptq.layer import Problem
from tinyq.ptq.observe import Observation
from tinyq.ptq.statistics import Array, Float64
from tinyq.tensors import Tensor

Steps = npt.NDArray[np.int64]

#: A factor is 2**(step / STEPS): steps that are tried, the favourite first.
STEPS: Final = 16
CANDIDATES: Final = np.array(sorted(range(-STEPS // 2, STEPS // 2), key=abs))
RECORD: Final = "channel_scales"


def factors(steps: Steps) -> Float64:
    """What the steps multiply by."""
    return np.asarray(np.exp2(np.asarray(steps) / STEPS), np.float64)


def choose_steps(problem: Problem, limits: Float64) -> Steps:
    """The step ``[O]`` of least error for every output channel.

    Args:
        limits: the largest factor of each channel, ``[O]``, at least 1.
    """
    grid, tried = problem.grid(), factors(CANDIDATES)
    count, width = grid.exponents.shape
    # All candidates side by side: columns do not influence each other.
    wide = Grid(grid.levels, np.tile(grid.exponents, len(tried)))
    targets = np.concatenate([problem.target * factor for factor in tried], 2)
    values = choose_codes(targets, problem.hessian, wide)
    errors = column_errors(targets, values, problem.hessian)
    if len(errors) != count:  # blocks of the rows of one group
        errors = errors.sum(0, keepdims=True)
    relative = errors.reshape(count, len(tried), width) / tried[:, None] ** 2
    allowed = tried[:, None] <= limits.reshape(count, 1, width)
    return CANDIDATES[np.where(allowed, relative, np.inf).argmin(1).reshape(-1)]


def scale_limits(graph: Graph, node: Node, seen: Observation, out: Tensor) -> Float64 | None:
    """Largest factor ``[O]`` of each output channel of ``node``; None where none is free.

    A factor beyond 1 may not carry a channel beyond the largest code.

    Args:
        seen: the float values of the output.
        out: the integer tensor that the output becomes.
    """
    if not _is_free(graph, node):
        return None
    largest = np.abs(seen.sample).reshape(-1, seen.sample.shape[-1]).max(0)
    reach = np.ldexp(out.hi + 0.5, out.exponent)
    return np.maximum(reach / np.maximum(largest, reach * 2.0**-20), 1.0).astype(np.float64)


def _is_free(graph: Graph, node: Node) -> bool:
    positive = getattr(node.op, "activation", "") in ("linear", "relu")
    return positive and _called_once(graph, node) and _readers(graph, node.output) is not None


def _called_once(graph: Graph, node: Node) -> bool:
    return sum(other.label == node.label for other, _ in graph.linear_nodes()) == 1


def _readers(graph: Graph, name: str) -> tuple[Node, ...] | None:
    """The weighted nodes that read a tensor's channels, as such; None if anything else does."""
    if name in graph.outputs:
        return None
    found: list[Node] = []
    for node in graph.consumers(name):
        if isinstance(node.op, LinearOp):
            if not _called_once(graph, node):
                return None
            found.append(node)
            continue
        further = _readers(graph, node.output) if _passes_scales(graph, node) else None
        if further is None:
            return None
        found.extend(further)
    return tuple(found)


def _passes_scales(graph: Graph, node: Node) -> bool:
    """True for operators that keep channels apart and commute with a positive factor."""
    if isinstance(node.op, Reshape):
        # Elements stay in order: element i of a pixel belongs to channel i modulo the channels.
        before, after = graph.ins(node)[0].shape[-1], graph.out(node).shape[-1]
        return after % before == 0
    if isinstance(node.op, Relu | AveragePool2D):
        return node.op.activation != "relu6"
    return isinstance(node.op, MaxPool2D | Pad2D)


def rescale(graph: Graph, name: str, steps: Steps) -> Graph:
    """The same function with the output channels of node ``name`` times ``factors(steps)``."""
    scales, node = factors(steps), graph.node(name)
    readers = {reader.name for reader in _readers(graph, node.output) or ()}
    nodes = []
    for other in graph.nodes:
        op = other.op
        if isinstance(op, LinearOp) and other.name == name:
            op = replace(op, weights=_times(op.real, scales), bias=_times(op.bias, scales))
        elif isinstance(op, LinearOp) and other.name in readers:
            op = replace(op, weights=_read_with(op, 1 / scales))
        nodes.append(replace(other, op=op))
    return replace(graph, nodes=tuple(nodes))


def record(chosen: Mapping[str, Steps]) -> dict[str, str]:
    """The steps of every rescaled node, as an entry of a graph's ``meta``; none without any."""
    lists = {name: steps.tolist() for name, steps in chosen.items()}
    return {RECORD: json.dumps(lists, separators=(",", ":"))} if lists else {}


def with_recorded_scales(floats: Graph, meta: Mapping[str, str]) -> Graph:
    """The float graph in the units of the integer graph that ``meta`` belongs to.

    Whoever compares tensors or weights inside the two networks needs this; outputs are the same.
    """
    for name, steps in json.loads(meta.get(RECORD, "{}")).items():
        floats = rescale(floats, name, np.array(steps, np.int64))
    return floats


def _times(values: Array, factors: Float64) -> Array:
    shape = (-1, *(1,) * (values.ndim - 1))
    return np.asarray(values * factors.reshape(shape), np.float32)


def _read_with(op: LinearOp, factors: Float64) -> Array:
    """Weights with those of input channel c (modulo the channels) times ``factors[c]``."""
    if isinstance(op, DepthwiseConv2D):
        inputs = op.weights.shape[0] // op.multiplier
        return _times(op.real, np.repeat(np.resize(factors, inputs), op.multiplier))
    return np.asarray(op.real * np.resize(factors, op.real.shape[-1]), np.float32)
