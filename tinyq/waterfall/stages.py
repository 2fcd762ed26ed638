# SPDX-License-Identifier: Apache-2.0
"""The waterfall: from the float model to the integer one, one cause after another.

Each stage is the one before plus one cause, so that losses add up to the total exactly:

    float        the float model in float32; y0 is the same in float64
    weights      W -> s * nearest level(W / s), real scales s of the least squared error, as many
                 as the file has exponents; channels that rounding made constant are gone; the bias
                 keeps the mean output (``pairing``)
    scales       W -> 2**e * nearest level(W / 2**e), exponents e of the file; bias as before
    fitting      codes and biases of the file: what calibration or training chose in place of the
                 nearest level; often a gain, which is a loss below zero; bias rounding is here
    activations  x -> 2**e * floor(x / 2**e + 1/2) for every tensor, without limits
    clipping     x -> x limited to 2**e * [lo, hi] as well
    integers     what the chip computes: tie rules of requantization, rounded averages, integer
                 softmax and sigmoid

Stages up to clipping are evaluated in float64, in which they are exact sums of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import executor
from tinyq.evaluate import Score, score
from tinyq.graph import Graph
from tinyq.ops import LinearOp, Op
from tinyq.progress import Progress
from tinyq.waterfall.pairing import Float64, FloatLayer
from tinyq.waterfall.simulate import (
    Effect,
    NoiseMeter,
    decibels,
    quantizing,
    rounding,
    simulate,
)
from tinyq.waterfall.weights import on_grid, on_ideal_grid

Array = npt.NDArray[Any]
Values = Mapping[str, Array]
#: key and title of every cause, in order
CAUSES: Final[Mapping[str, str]] = {
    "float": "float model",
    "weights": "weight rounding",
    "scales": "power-of-two scales",
    "fitting": "codes and biases as fitted",
    "activations": "activation rounding",
    "clipping": "clipping",
    "integers": "integer arithmetic",
}


@dataclass(frozen=True)
class Stage:
    """The network with all causes up to one.

    Attributes:
        cause: key of ``CAUSES``.
        noise: r of ``simulate``.
        score: accuracy or mean squared error, where known.
        sqnr_lost: dB lost to this cause alone; 0 for the float model.
        accuracy_lost: accuracy lost to it, 0..1; ``None`` without labels.
        noise_share: what it adds to the noise, as a share of the final noise; may be negative.
    """

    cause: str
    noise: float
    score: Score
    sqnr_lost: float = 0.0
    accuracy_lost: float | None = None
    noise_share: float = 0.0

    @property
    def sqnr(self) -> float:
        """dB."""
        return decibels(self.noise)

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "cause": self.cause,
            "title": CAUSES[self.cause],
            "sqnr_db": self.sqnr,
            "sqnr_lost_db": self.sqnr_lost,
            "noise_share": self.noise_share,
            "accuracy": self.score.accuracy,
            "accuracy_lost": self.accuracy_lost,
            "mse": self.score.mse,
        }


@dataclass(frozen=True)
class Network:
    """Both forms of a model and the data.

    Attributes:
        graph: the integer graph.
        floats: the float graph as the user drew it, folded.
        twin: the integer graph's nodes with float weights.
        layers: float weights by node name.
        inputs: what the model sees, float ``[N, *shape]`` by input of ``graph``.
        labels: ``[N, ...]`` or ``None``.
        batch: samples at once.
    """

    graph: Graph
    floats: Graph
    twin: Graph
    layers: Mapping[str, FloatLayer]
    inputs: Values
    labels: Array | None
    batch: int

    def ops(self, weights: Callable[[LinearOp, FloatLayer], Float64]) -> dict[str, Op]:
        """Operators with weights made from the float ones, the bias corrected for them."""
        made: dict[str, Op] = {}
        for node, op in self.graph.linear_nodes():
            layer = self.layers[node.name]
            values = weights(op, layer)
            made[node.name] = replace(op, weights=values, bias=layer.corrected_bias(values))
        return made

    def score(self, outputs: Array) -> Score:
        """How good the first output is."""
        return score(outputs, self.labels, self.inputs[self.graph.inputs[0]])


def file_ops(graph: Graph) -> dict[str, Op]:
    """Operators with the real values of the stored weights and biases."""
    made: dict[str, Op] = {}
    for node, op in graph.linear_nodes():
        exponents = graph.ins(node)[0].exponent + op.quantized.exponents_per_channel()
        bias = np.ldexp(op.bias.astype(np.float64), exponents)
        made[node.name] = replace(op, weights=op.real, bias=bias)
    return made


def make_stages(network: Network, progress: Progress) -> tuple[Stage, ...]:
    """All stages, in the order of ``CAUSES``."""
    graph = network.graph
    fitted = file_ops(graph)
    tensors = graph.tensors.items()
    rounded = {name: rounding(t) for name, t in tensors}
    clipped = {name: quantizing(t) for name, t in tensors}
    runs: dict[str, Callable[[Values], Values]] = {
        "float": lambda xs: _run_float(network, xs, np.float32),
        "weights": _run_with(
            network, network.ops(lambda op, x: on_ideal_grid(x.weights, op.quantized))
        ),
        "scales": _run_with(network, network.ops(lambda op, x: on_grid(x.weights, op.quantized))),
        "fitting": _run_with(network, fitted),
        "activations": _run_with(network, fitted, rounded),
        "clipping": _run_with(network, fitted, clipped),
        "integers": lambda xs: run_integers(graph, xs),
    }
    return _with_losses(_measure(network, runs, progress))


def _run_with(
    network: Network, ops: Mapping[str, Op], effects: Mapping[str, Effect] | None = None
) -> Callable[[Values], Values]:
    return lambda xs: simulate(network.twin, _in_double(xs), ops, effects or {})


def _in_double(xs: Values) -> Values:
    return {name: x.astype(np.float64) for name, x in xs.items()}


def _run_float(network: Network, xs: Values, kind: type) -> Values:
    """The float model's outputs under the names of the integer graph's."""
    graph, floats = network.graph, network.floats
    named = zip(floats.inputs, graph.inputs, strict=True)
    values = executor.run_float(floats, {f: xs[g].astype(kind) for f, g in named})
    return {g: values[f] for g, f in zip(graph.outputs, floats.outputs, strict=True)}


def run_integers(graph: Graph, xs: Values) -> Values:
    """Real values of what the integer graph computes."""
    values = executor.run(graph, {n: graph.tensors[n].quantize(x) for n, x in xs.items()})
    return {name: graph.tensors[name].dequantize(values[name]) for name in graph.outputs}


def _measure(
    network: Network, runs: Mapping[str, Callable[[Values], Values]], progress: Progress
) -> list[Stage]:
    outputs = network.graph.outputs
    meters = {cause: NoiseMeter(outputs) for cause in runs}
    first: dict[str, list[Array]] = {cause: [] for cause in runs}
    done, total = 0, len(next(iter(network.inputs.values())))
    for xs in executor.batches(network.inputs, network.batch):
        progress("causes", done, total)
        reference = _run_float(network, xs, np.float64)
        for cause, run in runs.items():
            values = run(xs)
            meters[cause].add(values, reference)
            first[cause].append(values[outputs[0]])
        done += len(next(iter(xs.values())))
    progress("causes", total, total)
    return [Stage(c, meters[c].noise, network.score(np.concatenate(first[c]))) for c in runs]


def _with_losses(stages: list[Stage]) -> tuple[Stage, ...]:
    final = max(stages[-1].noise, 1e-30)
    result = stages[:1]
    if stages[0].score.accuracy is not None:
        result = [replace(stages[0], accuracy_lost=0.0)]
    for before, stage in pairwise(stages):
        was, now = before.score.accuracy, stage.score.accuracy
        result.append(
            replace(
                stage,
                sqnr_lost=before.sqnr - stage.sqnr,
                accuracy_lost=None if was is None or now is None else was - now,
                noise_share=(stage.noise - before.noise) / final,
            )
        )
    return tuple(result)
