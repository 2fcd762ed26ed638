# SPDX-License-Identifier: Apache-2.0
"""What each layer alone costs: one is quantized, all others stay float.

A layer's causes are the rounding of its weights with ideal real scales, the same with the file's
powers of two, its weights as the file has them (the bias keeps the mean output each time), the
rounding of its output without limits, and the clipping of its output without rounding.  Noises are
those of the network's outputs against the same network in float.  They add up only roughly: layers
interact.  One more cause, the layer's integer arithmetic (rules of ties, requantization, integer
averages and tables), only exists among codes: there the network is the quantized one, all others'
arithmetic is exact, and the noise is against that.
Inputs of the network count as layers without weights.  Operators that hand codes on (pooling by
maximum, padding, reshape, concatenation, a standing rectifier) cost nothing and are left out.
Evaluated in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.executor import batches
from tinyq.graph import Graph, Node
from tinyq.ops import AveragePool2D, LinearOp, Op
from tinyq.progress import Progress
from tinyq.waterfall.pairing import Float64, FloatLayer
from tinyq.waterfall.simulate import (
    NOTHING,
    Effect,
    NoiseMeter,
    clipping,
    decibels,
    quantizing,
    rounding,
    simulate,
)
from tinyq.waterfall.stages import Network, file_ops
from tinyq.waterfall.weights import on_grid, on_ideal_grid, storage_of

Array = npt.NDArray[Any]
PARTS: Final = ("rounding", "scales", "weights", "activations", "clipping", "integers", "all")


@dataclass(frozen=True)
class Change:
    """A simulation: operators and effects in place of the float network's."""

    ops: Mapping[str, Op]
    effects: Mapping[str, Effect]


@dataclass(frozen=True)
class LayerLoss:
    """What a layer alone costs.

    Attributes:
        name: the user's layer; node, tensor: in the integer graph, node ``None`` for inputs.
        op: the operator.
        stored: how its weights are stored; "" without any.
        noise: r by part, keys of ``PARTS``: weight rounding with real scales, with powers of two,
            weights as stored, activations, clipping, integer arithmetic; "all" is weights as
            stored, activations and clipping together.
        share: of the sum of "all" over all layers.
        accuracy_lost: 0..1, ``None`` without labels.
    """

    name: str
    node: str | None
    tensor: str
    op: str
    stored: str
    noise: Mapping[str, float]
    share: float
    accuracy_lost: float | None

    @property
    def sqnr(self) -> dict[str, float]:
        """dB of every part."""
        return {part: decibels(noise) for part, noise in self.noise.items()}

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "layer": self.name,
            "tensor": self.tensor,
            "op": self.op,
            "stored": self.stored,
            "sqnr_db": self.sqnr,
            "noise_share": self.share,
            "accuracy_lost": self.accuracy_lost,
        }


def sources(graph: Graph) -> list[tuple[Node | None, str]]:
    """Inputs and nodes whose values are not inherited codes, with the tensors they make."""
    made = [n for n in graph.nodes if not n.op.keeps_exponent or isinstance(n.op, AveragePool2D)]
    inputs: list[tuple[Node | None, str]] = [(None, name) for name in graph.inputs]
    return inputs + [(node, node.output) for node in made]


def single_changes(network: Network, node: Node | None, tensor: str) -> dict[str, Change]:
    """The simulations of one layer by part; a part that cannot matter is left out."""
    t = network.graph.tensors[tensor]
    ops: Mapping[str, Op] = NOTHING
    changes: dict[str, Change] = {}
    if node is not None and isinstance(node.op, LinearOp):
        for part, values in _weights_by_part(node.op, network.layers[node.name]).items():
            changes[part] = Change(_with_weights(network, node, values), NOTHING)
        ops = changes["weights"].ops
    changes["activations"] = Change(NOTHING, {tensor: rounding(t)})
    changes["clipping"] = Change(NOTHING, {tensor: clipping(t)})
    changes["all"] = Change(ops, {tensor: quantizing(t)})
    return changes


def _weights_by_part(op: LinearOp, layer: FloatLayer) -> dict[str, Float64]:
    return {
        "rounding": on_ideal_grid(layer.weights, op.quantized),
        "scales": on_grid(layer.weights, op.quantized),
        "weights": op.real.astype(np.float64),
    }


def _with_weights(network: Network, node: Node, values: Float64) -> dict[str, Op]:
    """A layer's operator with weights ``values``, its bias corrected for them."""
    op: Any = node.op
    bias = network.layers[node.name].corrected_bias(values)
    return {node.name: replace(op, weights=values, bias=bias)}


def integer_noises(network: Network, progress: Progress) -> dict[str, float]:
    """r of each layer's integer arithmetic among codes, by tensor."""
    graph = network.graph
    nodes = [node for node, _ in sources(graph) if node is not None]
    meters = {node.output: NoiseMeter(graph.outputs) for node in nodes}
    fitted = file_ops(graph)
    exact = {name: quantizing(t) for name, t in graph.tensors.items()}
    done, total = 0, len(next(iter(network.inputs.values())))
    for xs in batches(network.inputs, network.batch):
        progress("integers", done, total)
        doubles = {name: x.astype(np.float64) for name, x in xs.items()}
        base = simulate(network.twin, doubles, fitted, exact)
        for node in nodes:
            y = integer_output(graph, node, base)
            if np.array_equal(y, base[node.output]):
                meters[node.output].add(base, base)
                continue
            forced: Mapping[str, Effect] = {**exact, node.output: partial(_instead, y)}
            meters[node.output].add(simulate(network.twin, doubles, fitted, forced), base)
        done += len(next(iter(xs.values())))
    progress("integers", total, total)
    return {name: meter.noise for name, meter in meters.items()}


def _instead(values: Array, _: Array) -> Array:
    return values


def integer_output(graph: Graph, node: Node, values: Mapping[str, Array]) -> Array:
    """What a node's integer arithmetic makes of values that are codes times their units."""
    ins, out = graph.ins(node), graph.out(node)
    codes = [t.quantize(values[t.name]) for t in ins]
    return out.dequantize(node.op.evaluate(codes, ins, out)).astype(np.float64)


def measure_changes(
    network: Network,
    changes: Mapping[Any, Change],
    progress: Progress,
    what: str,
    samples: int | None = None,
) -> tuple[dict[Any, float], dict[Any, Array], Array]:
    """Noise and first output of every change, and the first output without any."""
    outputs = network.graph.outputs
    meters = {key: NoiseMeter(outputs) for key in changes}
    first: dict[Any, list[Array]] = {key: [] for key in changes}
    plain = []
    inputs = {name: x[:samples] for name, x in network.inputs.items()}
    total = len(changes) * -(-len(next(iter(inputs.values()))) // network.batch)
    done = 0
    for xs in batches(inputs, network.batch):
        base = simulate(network.twin, {name: x.astype(np.float32) for name, x in xs.items()})
        plain.append(base[outputs[0]])
        for key, change in changes.items():
            progress(what, done, total)
            values = simulate(network.twin, base, change.ops, change.effects)
            meters[key].add(values, base)
            first[key].append(values[outputs[0]])
            done += 1
    progress(what, total, total)
    noise = {key: meter.noise for key, meter in meters.items()}
    return noise, {k: np.concatenate(x) for k, x in first.items()}, np.concatenate(plain)


def measure_layers(network: Network, progress: Progress) -> tuple[LayerLoss, ...]:
    """What every layer alone costs, in the order of the network."""
    found = sources(network.graph)
    changes = {
        (tensor, part): change
        for node, tensor in found
        for part, change in single_changes(network, node, tensor).items()
    }
    noise, first, plain = measure_changes(network, changes, progress, "layers")
    integers = integer_noises(network, progress)
    noise |= {(tensor, "integers"): r for tensor, r in integers.items()}
    before = network.score(plain).accuracy
    total = max(sum(noise[tensor, "all"] for _, tensor in found), 1e-30)
    losses = []
    for node, tensor in found:
        after = network.score(first[tensor, "all"]).accuracy
        losses.append(
            LayerLoss(
                name=tensor if node is None else node.label,
                node=None if node is None else node.name,
                tensor=tensor,
                op="input" if node is None else type(node.op).__name__,
                stored=_stored(node),
                noise={p: noise[tensor, p] for p in PARTS if (tensor, p) in noise},
                share=noise[tensor, "all"] / total,
                accuracy_lost=None if before is None or after is None else before - after,
            )
        )
    return tuple(losses)


def _stored(node: Node | None) -> str:
    if node is None or not isinstance(node.op, LinearOp):
        return ""
    return str(storage_of(node.op.quantized))
