# SPDX-License-Identifier: Apache-2.0
"""Calibration data: their check, and what every tensor of the float network does on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import DataError
from tinyq.executor import batches, reshape_samples, run_float
from tinyq.graph import Graph

Array = npt.NDArray[Any]
Inputs = Mapping[str, npt.NDArray[np.float32]]

BATCH: Final = 64
#: samples of which all values are kept, to choose exponents by
SAMPLES: Final = 64


@dataclass(frozen=True)
class Observation:
    """Range of a tensor over all samples, and its values ``[S, *shape]`` for a few of them."""

    low: float
    high: float
    sample: npt.NDArray[np.float32]


def check_calibration(graph: Graph, calibration: Mapping[str, Array]) -> Inputs:
    """The calibration arrays as float32 ``[N, *shape]``, one for each input of the graph.

    Raises:
        DataError: an input is missing or unknown, a shape, a count or a value is wrong.
    """
    if set(calibration) != set(graph.inputs):
        raise DataError(
            f"calibration data for inputs {sorted(calibration)}, but the model's are "
            f"{sorted(graph.inputs)}"
        )
    shapes = {name: graph.tensors[name].shape for name in graph.inputs}
    inputs = {n: reshape_samples(np.asarray(calibration[n]), shapes[n], n) for n in graph.inputs}
    counts = {name: len(x) for name, x in inputs.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"calibration data have different numbers of samples: {counts}")
    return inputs


def observe(graph: Graph, inputs: Inputs, rng: np.random.Generator) -> dict[str, Observation]:
    """Run the float graph; range and some values of every tensor.

    Raises:
        DataError: a tensor becomes NaN or infinite.
    """
    count = len(next(iter(inputs.values())))
    order = rng.permutation(count)
    shuffled = {name: x[order] for name, x in inputs.items()}
    seen: dict[str, Observation] = {}
    for chunk in batches(shuffled, BATCH):
        for name, values in run_float(graph, chunk).items():
            low, high = float(values.min()), float(values.max())
            if name in seen:
                first = seen[name]
                seen[name] = replace(first, low=min(low, first.low), high=max(high, first.high))
            else:
                seen[name] = Observation(low, high, values[:SAMPLES].copy())
    for name, found in seen.items():
        _check_finite(graph, name, found)
    return seen


def _check_finite(graph: Graph, name: str, seen: Observation) -> None:
    if not np.isfinite([seen.low, seen.high]).all():
        node = graph.producer(name)
        raise DataError(
            f"layer '{node.label if node else name}' gives {seen.low}..{seen.high} on the "
            "calibration data; check the model's weights and the scale of the data"
        )
