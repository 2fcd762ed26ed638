# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization: float graph and calibration data in, integer graph out.

1. Channels with negligible weights are set to zero (``negligible``).
2. Types and exponents of all activations are chosen from the float network (``activations``).
3. Layer by layer, in order: moments of the float and of the quantized input (``statistics``), for
   coarse encodings a scale of each channel that is free (``scales``), a target corrected for the
   quantized input, levels and exponents (``grids``), codes (``codes``), bias (``layer``).
   The quantized input is what the integer executor computes, to the bit.
4. On request, activation exponents are searched in the bit-exact model (``search``).

A layer that is called several times is quantized at its first call; every call keeps a bias of its
own, because its input may have another exponent.

Absent on purpose: labels, training, equalization of ranges across layers (it hurts table weights).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tinyq.encodings import ENCODINGS, Weights
from tinyq.errors import GraphError
from tinyq.graph import Graph, Node, validate
from tinyq.numerics import MAX_SHIFT
from tinyq.ops import BatchNorm, LinearOp
from tinyq.progress import Progress, silent
from tinyq.ptq.activations import plan_tensors
from tinyq.ptq.config import PtqConfig, layer_encodings
from tinyq.ptq.grids import ExponentBounds
from tinyq.ptq.layer import (
    Problem,
    integer_bias,
    is_coarse,
    least_bias_exponents,
    pose,
    quantize_weights,
)
from tinyq.ptq.negligible import zero_negligible
from tinyq.ptq.observe import BATCH, Array, Inputs, Observation, check_calibration, observe
from tinyq.ptq.scales import Steps, choose_steps, record, rescale, scale_limits
from tinyq.ptq.search import search_exponents
from tinyq.ptq.statistics import Moments, may_measure_active, measure, measure_active
from tinyq.tensors import Tensor

DEFAULTS: Final = PtqConfig()


def quantize(
    graph: Graph,
    calibration: Mapping[str, Array],
    config: PtqConfig = DEFAULTS,
    progress: Progress = silent,
) -> Graph:
    """Quantize a float graph.

    Args:
        graph: after ``passes.FLOAT_PIPELINE``: no batch normalization left.
        calibration: what the model sees (after preprocessing), float ``[N, *shape]`` by the name of
            each input; 100 to 300 samples do.
        config: what to make of it.
        progress: told the name of each layer.

    Returns:
        The integer graph, with the names of the float graph's nodes and tensors.

    Raises:
        DataError: calibration data of a wrong shape, count or value.
        InputError: an option that does not fit the model.
        UnsupportedError: no integer form exists.
        GraphError: the graph is not a float graph without batch normalization.
    """
    _check_graph(graph)
    inputs = check_calibration(graph, calibration)
    encodings = layer_encodings(graph, config)
    rng = np.random.default_rng(config.seed)
    zeroed = 0
    if config.zero_negligible:
        graph, zeroed = zero_negligible(graph, inputs, config.negligible_threshold)
    seen = observe(graph, inputs, rng)
    tensors = plan_tensors(graph, seen, encodings, config.clips_activations)
    run = _Run(graph, seen, tensors, encodings, config, rng)
    nodes = run.nodes(inputs, progress)
    meta = {**graph.meta, **_facts(config, inputs, zeroed), **record(run.scales)}
    result = validate(replace(graph, tensors=tensors, nodes=nodes, meta=meta))
    return search_exponents(result, seen, progress) if config.exponent_search else result


def _check_graph(graph: Graph) -> None:
    if not graph.is_float:
        raise GraphError(f"'{graph.name}' is quantized already")
    for node in graph.nodes:
        if isinstance(node.op, BatchNorm):
            raise GraphError(f"layer '{node.label}': fold batch normalization before quantization")


def _facts(config: PtqConfig, inputs: Inputs, zeroed: int) -> dict[str, str]:
    overrides = ", ".join(f"{pattern}={name}" for pattern, name in config.overrides.items())
    return {
        "quantization": "ptq",
        "weights": config.weights,
        "overrides": overrides,
        "first_last": config.first_last,
        "per_channel": str(config.per_channel).lower(),
        "calibration_samples": str(len(next(iter(inputs.values())))),
        "zeroed_channels": str(zeroed),
    }


@dataclass
class _Run:
    """The walk over the graph; both networks' values live until their last reader is done."""

    graph: Graph
    seen: Mapping[str, Observation]
    tensors: Mapping[str, Tensor]
    encodings: Mapping[str, str]
    config: PtqConfig
    rng: np.random.Generator
    floats: dict[str, Array] = field(default_factory=dict)
    codes: dict[str, Array] = field(default_factory=dict)
    weights: dict[str, Weights] = field(default_factory=dict)
    scales: dict[str, Steps] = field(default_factory=dict)

    def nodes(self, inputs: Inputs, progress: Progress) -> tuple[Node, ...]:
        """All nodes in integer form."""
        for name, x in inputs.items():
            self.floats[name] = x
            self.codes[name] = self.tensors[name].quantize(x)
        last = {name: i for i, node in enumerate(self.graph.nodes) for name in node.inputs}
        done = []
        for index, name in enumerate([node.name for node in self.graph.nodes]):
            progress(self.graph.node(name).label, index, len(self.graph.nodes))
            quantized = self.quantized(name)
            node = self.graph.node(name)
            self.advance(node, quantized)
            for name in {*node.inputs, node.output}:
                if last.get(name, index) <= index:
                    del self.floats[name], self.codes[name]
            done.append(quantized)
        progress(self.graph.name, len(done), len(done))
        return tuple(done)

    def quantized(self, name: str) -> Node:
        """The node in integer form; ``graph`` gets the scales that were free."""
        node = self.graph.node(name)
        if not isinstance(node.op, LinearOp):
            return node
        moments = self.moments(node)
        key = weights_key(node)
        if key not in self.weights:
            node = self.rescaled(node, moments)
            key = weights_key(node)
            problem = self.problem(node, moments)
            self.weights[key] = quantize_weights(problem, _linear(node).weights.shape)
        return self.with_bias(node, self.weights[key], moments)

    def moments(self, node: Node) -> Moments:
        """What the node reads, in both networks."""
        (name,) = node.inputs
        op, coarse = _linear(node), is_coarse(ENCODINGS[self.encodings[node.name]])
        how = measure_active if coarse and may_measure_active(op) else measure
        xs = self.floats[name], self.codes[name]
        return how(op, *xs, self.tensors[name], self.config.rows, self.rng)

    def problem(self, node: Node, moments: Moments) -> Problem:
        """What is to be solved for the node's weights."""
        encoding = ENCODINGS[self.encodings[node.name]]
        return pose(
            _linear(node),
            moments,
            encoding,
            self.bounds(node, moments.groups),
            self.config.per_channel,
        )

    def rescaled(self, node: Node, moments: Moments) -> Node:
        """The node after its channels got the scales that suit its encoding, where they may."""
        if not is_coarse(ENCODINGS[self.encodings[node.name]]):
            return node
        limits = scale_limits(self.graph, node, self.seen[node.output], self.tensors[node.output])
        if limits is None:
            return node
        steps = choose_steps(self.problem(node, moments), limits)
        self.graph = rescale(self.graph, node.name, steps)
        self.scales[node.name] = steps
        return self.graph.node(node.name)

    def with_bias(self, node: Node, weights: Weights, moments: Moments) -> Node:
        """The node with integer weights and the bias that keeps its mean output."""
        op = _linear(node)
        bias = integer_bias(op, weights, moments, self.tensors[node.inputs[0]].exponent)
        return replace(
            node, op=replace(op, weights=weights, bias=bias, rounding=self.config.rounding)
        )

    def bounds(self, node: Node, count: int) -> ExponentBounds:
        """Limits of the weight exponents over all calls of the layer, for ``count`` groups."""
        key, low, high = weights_key(node), [], []
        for call, op in self.graph.linear_nodes():
            if weights_key(call) == key:
                e_x = self.tensors[call.inputs[0]].exponent
                shift = self.tensors[call.output].exponent - e_x
                high.append(shift)
                low.append(np.maximum(least_bias_exponents(op.bias, e_x), shift - MAX_SHIFT))
        return ExponentBounds(np.max(low, axis=0).reshape(count, -1), min(high))

    def advance(self, node: Node, quantized: Node) -> None:
        """Compute the node's output in both networks."""
        ins, out = [self.tensors[name] for name in node.inputs], self.tensors[node.output]
        self.floats[node.output] = _in_batches(
            node.op.evaluate_float, [self.floats[name] for name in node.inputs]
        )
        self.codes[node.output] = _in_batches(
            lambda xs: quantized.op.evaluate(xs, ins, out).astype(out.numpy_dtype),
            [self.codes[name] for name in node.inputs],
        )


def _linear(node: Node) -> LinearOp:
    assert isinstance(node.op, LinearOp)
    return node.op


def weights_key(node: Node) -> str:
    """Equal for the calls of one layer: its name and its float weights."""
    weights = node.op.real.tobytes() if isinstance(node.op, LinearOp) else b""
    return f"{node.label} {hashlib.sha256(weights).hexdigest()}"


def _in_batches(function: Callable[[Sequence[Array]], Array], xs: Sequence[Array]) -> Array:
    """``function`` over slices of samples, which bounds what it allocates."""
    count = len(xs[0])
    parts = [function([x[i : i + BATCH] for x in xs]) for i in range(0, count, BATCH)]
    return np.concatenate(parts)
