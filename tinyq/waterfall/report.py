# SPDX-License-Identifier: Apache-2.0
"""The whole explanation of a quantized model: stages, layers, remedies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import passes
from tinyq.errors import InputError
from tinyq.graph import Graph
from tinyq.progress import Progress, silent
from tinyq.ptq.scales import with_recorded_scales
from tinyq.waterfall.layers import LayerLoss, measure_layers
from tinyq.waterfall.pairing import (
    Match,
    align_outputs,
    check_weights_agree,
    float_layers,
    float_twin,
    match_layers,
)
from tinyq.waterfall.remedies import Remedy, find_remedies
from tinyq.waterfall.simulate import NoiseMeter, simulate
from tinyq.waterfall.stages import Network, Stage, make_stages

Array = npt.NDArray[Any]
BATCH: Final = 64
#: the two graphs differ by float rounding only where no channel was removed
SAME_NOISE: Final = 1e-6


@dataclass(frozen=True)
class Explanation:
    """Where a model loses accuracy.

    Attributes:
        model: its name.
        samples: of the data.
        removed_channels: input channels of weighted layers that are constant and gone.
        stages: the waterfall, in the order of ``CAUSES``.
        layers: what every layer alone costs, in network order.
        remedies: those that win most dB a byte first.
    """

    model: str
    samples: int
    removed_channels: int
    stages: tuple[Stage, ...]
    layers: tuple[LayerLoss, ...]
    remedies: tuple[Remedy, ...]

    @property
    def sqnr_lost(self) -> float:
        """dB from the float model to the integer one: the sum over the stages."""
        return self.stages[0].sqnr - self.stages[-1].sqnr

    @property
    def accuracy_lost(self) -> float | None:
        """The sum over the stages; ``None`` without labels."""
        first, last = self.stages[0].score.accuracy, self.stages[-1].score.accuracy
        return None if first is None or last is None else first - last

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "model": self.model,
            "samples": self.samples,
            "removed_channels": self.removed_channels,
            "stages": [stage.to_json() for stage in self.stages],
            "total": {"sqnr_lost_db": self.sqnr_lost, "accuracy_lost": self.accuracy_lost},
            "layers": [layer.to_json() for layer in self.layers],
            "remedies": [remedy.to_json() for remedy in self.remedies],
        }


def explain(
    graph: Graph,
    floats: Graph,
    inputs: Mapping[str, Array],
    labels: Array | None = None,
    progress: Progress = silent,
) -> Explanation:
    """Explain an integer graph by the float graph that it was made from.

    Args:
        graph: the integer graph.
        floats: the float graph as imported, batch normalization and all.
        inputs: what the model sees, float ``[N, *shape]`` by input of ``graph``.
        labels: as for ``evaluate.score``.

    Raises:
        InputError: the float graph is not the one that the integer graph was made from.
    """
    folded = align_outputs(passes.apply(floats, passes.FLOAT_PIPELINE), graph)
    match_layers(graph, folded)  # refuses a float model of another network
    folded = with_recorded_scales(folded, graph.meta)
    matches = match_layers(graph, folded)
    named = dict(zip(folded.inputs, (inputs[name] for name in graph.inputs), strict=True))
    layers = float_layers(folded, matches, named, BATCH)
    check_weights_agree(graph, matches, layers)
    network = Network(graph, folded, float_twin(graph, layers), layers, inputs, labels, BATCH)
    removed = sum(_removed(match) for match in matches.values())
    if removed == 0:
        _check_same(network)
    stages = make_stages(network, progress)
    losses = measure_layers(network, progress)
    remedies = find_remedies(network, losses, stages[-1].sqnr, progress)
    count = len(next(iter(inputs.values())))
    return Explanation(graph.name, count, removed, stages, losses, remedies)


def _removed(match: Match) -> int:
    if match.columns is None:
        return 0
    return int(match.source.op.weights.shape[-1]) - len(match.columns)  # type: ignore[attr-defined]


def _check_same(network: Network) -> None:
    """Refuse a float graph that computes something else with the same weights."""
    graph, floats = network.graph, network.floats
    xs = {name: x[:4].astype(np.float64) for name, x in network.inputs.items()}
    ours = simulate(network.twin, xs)
    theirs = simulate(floats, dict(zip(floats.inputs, xs.values(), strict=True)))
    meter = NoiseMeter(graph.outputs)
    pairs = zip(graph.outputs, floats.outputs, strict=True)
    meter.add(ours, {mine: theirs[other] for mine, other in pairs})
    if meter.noise > SAME_NOISE:
        raise InputError(
            f"the float model's layers fit '{graph.name}' but are connected otherwise (its float "
            f"outputs differ by {meter.noise:.2g} of their power); give the Keras model that it "
            "was made from"
        )
