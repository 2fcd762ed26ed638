# SPDX-License-Identifier: Apache-2.0
"""Which float layer every quantized layer was made from, channel by channel.

Both quantizers keep node names or the names of the user's layers.  Channels that became constant
are gone from the integer graph; ``Tensor.channels`` says which ones stayed.  What a removed input
channel contributes in the float model goes into the bias as its mean over the data:

    b0[o] = b[o] + sum over removed k of W[o, k] * mean(x[k]).

Weights W^ in place of W get a bias that keeps the mean of the layer's output:

    b[o] = b0[o] + sum over kept k of (W[o, k] - W^[o, k]) * mean(x[k]).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import InputError
from tinyq.executor import batches, run_float
from tinyq.graph import Graph, Node
from tinyq.ops import DepthwiseConv2D, LinearOp, Softmax
from tinyq.passes.drop_identities import drop_final_softmax
from tinyq.ptq.statistics import mean_patch
from tinyq.tensors import Tensor

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
#: layers whose weights point elsewhere were trained apart; unrelated ones are near 0
LEAST_COSINE: Final = 0.3


@dataclass(frozen=True)
class Match:
    """A quantized layer and its float layer.

    Attributes:
        node: of the integer graph.
        source: of the float graph.
        rows: int64 ``[O]``, the float layer's output channel of each kept one.
        columns: int64 ``[I]``, the same for input channels; ``None`` for depthwise layers.
    """

    node: Node
    source: Node
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64] | None

    def kept(self, values: Array) -> Float64:
        """Float weights ``[O, ...]`` of the kept channels."""
        rows = values[self.rows].astype(np.float64)
        return rows if self.columns is None else rows[..., self.columns]


@dataclass(frozen=True)
class FloatLayer:
    """The float weights of a quantized layer, kept channels only.

    Attributes:
        weights: float64 ``[O, ...]``.
        bias: float64 ``[O]``, the b0 of the module's docstring.
        mean: mean input of every weight, broadcastable to ``weights``.
    """

    weights: Float64
    bias: Float64
    mean: Float64

    def corrected_bias(self, weights: Float64) -> Float64:
        """The bias ``[O]`` that keeps the mean output with other ``weights``."""
        moved = (self.weights - weights) * self.mean
        return self.bias + moved.reshape(len(weights), -1).sum(1)


def align_outputs(floats: Graph, graph: Graph) -> Graph:
    """The float graph without the softmax that the integer graph was made without.

    Raises:
        InputError: inputs or outputs of other shapes.
    """
    ends = [graph.producer(name) for name in graph.outputs]
    if not any(node is not None and isinstance(node.op, Softmax) for node in ends):
        last = [floats.producer(name) for name in floats.outputs]
        if any(node is not None and isinstance(node.op, Softmax) for node in last):
            floats = drop_final_softmax(floats)
    for what, ours, theirs in (
        ("inputs", graph.inputs, floats.inputs),
        ("outputs", graph.outputs, floats.outputs),
    ):
        mine = [graph.tensors[name].shape for name in ours]
        other = [floats.tensors[name].shape for name in theirs]
        if mine != other:
            raise InputError(
                f"the float model has {what} {other}, '{graph.name}' has {mine}; give the Keras "
                "model that it was made from"
            )
    return floats


def match_layers(graph: Graph, floats: Graph) -> dict[str, Match]:
    """The float layer of every weighted node of the integer graph, by node name.

    Raises:
        InputError: a layer without a partner, or one of another shape.
    """
    nodes = [node for node, _ in graph.linear_nodes()]
    sources = [node for node, _ in floats.linear_nodes()]
    if len(nodes) != len(sources):
        raise InputError(
            f"the float model has {len(sources)} layers with weights, '{graph.name}' has "
            f"{len(nodes)}; give the Keras model that it was made from"
        )
    partners = _partners(nodes, sources)
    return {n.name: _match(graph, n, s) for n, s in zip(nodes, partners, strict=True)}


def _partners(nodes: Sequence[Node], sources: Sequence[Node]) -> Sequence[Node]:
    """By node name, else by the user's layers, else by position."""
    by_name = {source.name: source for source in sources}
    if all(node.name in by_name for node in nodes):
        return [by_name[node.name] for node in nodes]
    by_layer = [
        [s for s in sources if set(s.layers) & set(n.layers) and type(s.op) is type(n.op)]
        for n in nodes
    ]
    found = [candidates[0] for candidates in by_layer if len(candidates) == 1]
    unique = len(found) == len(nodes) and len({s.name for s in found}) == len(nodes)
    return found if unique else sources


def _match(graph: Graph, node: Node, source: Node) -> Match:
    op, partner = node.op, source.op
    assert isinstance(op, LinearOp) and isinstance(partner, LinearOp)
    depthwise = isinstance(op, DepthwiseConv2D)
    shape, full = op.weights.shape, partner.weights.shape
    rows = _indices(graph.out(node))
    columns = None if depthwise else _indices(graph.ins(node)[0])
    wanted = [_full_size(graph.out(node), full[0])]
    wanted += shape[1:] if depthwise else shape[1:-1]
    if not depthwise:
        wanted.append(_full_size(graph.ins(node)[0], full[-1]))
    if type(op) is not type(partner) or tuple(wanted) != full:
        raise InputError(
            f"layer '{node.label}' ({type(op).__name__} {tuple(wanted)}) does not match the float "
            f"model's '{source.label}' ({type(partner).__name__} {full}); give the Keras model "
            "that the quantized one was made from"
        )
    return Match(node, source, rows, columns)


def _indices(tensor: Tensor) -> npt.NDArray[np.int64]:
    kept = range(tensor.shape[-1]) if tensor.channels is None else tensor.channels
    return np.array(kept, np.int64)


def _full_size(tensor: Tensor, full: int) -> int:
    """Channels before any was removed; ``full`` where some were and that is possible."""
    if tensor.channels is None:
        return tensor.shape[-1]
    return max(full, max(tensor.channels) + 1)


def float_layers(
    floats: Graph, matches: Mapping[str, Match], inputs: Mapping[str, Array], batch: int
) -> dict[str, FloatLayer]:
    """The float side of every match, with mean inputs over ``inputs`` ``[N, *shape]``."""
    count = len(next(iter(inputs.values())))
    means: dict[str, Float64] = {}
    for chunk in batches(inputs, batch):
        values = run_float(floats, chunk)
        for name, match in matches.items():
            op, x = match.source.op, values[match.source.inputs[0]]
            assert isinstance(op, LinearOp)
            means[name] = means.get(name, 0) + mean_patch(op, x) * (len(x) / count)
    return {name: _float_layer(match, means[name]) for name, match in matches.items()}


def _float_layer(match: Match, mean: Float64) -> FloatLayer:
    op = match.source.op
    assert isinstance(op, LinearOp)
    full, bias = op.real.astype(np.float64), op.bias[match.rows].astype(np.float64)
    if isinstance(op, DepthwiseConv2D):
        means = mean.reshape(-1, *full.shape[1:])[match.rows // op.multiplier]
        return FloatLayer(match.kept(full), bias, means)
    assert match.columns is not None
    means = mean.reshape(1, *full.shape[1:])
    removed = np.ones(full.shape[-1])
    removed[match.columns] = 0
    moved = (full[match.rows] * means * removed).reshape(len(bias), -1).sum(1)
    return FloatLayer(match.kept(full), bias + moved, means[..., match.columns])


def check_weights_agree(
    graph: Graph, matches: Mapping[str, Match], layers: Mapping[str, FloatLayer]
) -> None:
    """Refuse a float model of the same shape but with other weights (InputError).

    The cosine between float and stored weights, in the median over the layers, must reach
    ``LEAST_COSINE``.
    """
    cosines = []
    for name, match in matches.items():
        op = match.node.op
        assert isinstance(op, LinearOp)
        a, b = layers[name].weights, op.real
        cosines.append(float((a * b).sum() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)))
    middle = float(np.median(cosines)) if cosines else 1.0
    if middle < LEAST_COSINE:
        raise InputError(
            f"the float model's weights are not those of '{graph.name}' (median cosine {middle:.2f}"
            f" over {len(cosines)} layers, at least {LEAST_COSINE} expected); give the Keras model "
            "that it was made from"
        )


def float_twin(graph: Graph, layers: Mapping[str, FloatLayer]) -> Graph:
    """The integer graph's nodes with float weights: what simulations start from."""
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, LinearOp):
            layer = layers[node.name]
            op = replace(op, weights=layer.weights, bias=layer.bias)
        nodes.append(replace(node, op=op))
    return replace(graph, nodes=tuple(nodes))
