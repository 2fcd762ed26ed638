# SPDX-License-Identifier: Apache-2.0
"""What users give, in any form that the API accepts: Keras models, samples in files or in memory.

A model becomes a float graph, samples become a ``Dataset``; whatever is wrong with them is said
here.  Quantizing and running them is the callers' business.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.archive import is_graph_file
from tinyq.data import (
    Dataset,
    as_dataset,
    choose,
    load_calibration_data,
    load_test_data,
    load_training_data,
)
from tinyq.errors import DataError, InputError
from tinyq.graph import Graph, Preprocess

Array = npt.NDArray[Any]
Data = str | os.PathLike[str] | Array | Sequence[Array] | Dataset


def import_model(
    model: Any,
    name: str | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    drop_softmax: bool = False,
) -> Graph:
    """The float graph of a Keras model, its preprocessing noted."""
    from tinyq.frontends.importer import to_float_graph
    from tinyq.passes.drop_identities import drop_final_softmax

    _check_preprocessing(scale, offset)
    if isinstance(model, str | os.PathLike) and is_graph_file(Path(model)):
        raise InputError(f"{model} is quantized already; give the Keras model it was made from")
    graph = to_float_graph(model, name)
    if drop_softmax:
        graph = drop_final_softmax(graph)
    return replace(graph, preprocess=(Preprocess(scale, offset),) * len(graph.inputs))


def _check_preprocessing(scale: float, offset: float) -> None:
    """Both must be numbers in float32, in which they are applied."""
    with np.errstate(over="ignore"):
        single = np.float32(scale)
        finite = np.isfinite(single) and np.isfinite(np.float32(offset))
    if not finite or single == 0:
        raise InputError(
            f"scale {scale} and offset {offset} must be finite, the scale not 0 (as float32)"
        )


def calibration_data(graph: Graph, data: Data, samples: int, seed: int) -> Dataset:
    """At most ``samples`` calibration samples of a file or of arrays."""
    if isinstance(data, str | os.PathLike):
        return load_calibration_data(Path(data), graph.inputs, samples, seed)
    return choose(_in_memory(data), samples, seed)


def training_data(graph: Graph, data: Data, labels: Array | None = None) -> Dataset:
    """All training samples of a file or of arrays, with labels where there are any."""
    if isinstance(data, str | os.PathLike):
        return load_training_data(Path(data), graph.inputs)
    return data if isinstance(data, Dataset) else as_dataset(data, labels)


def test_data(graph: Graph, data: Data, count: int | None = None) -> Dataset:
    """The first ``count`` test samples of a file or of arrays."""
    if isinstance(data, str | os.PathLike):
        return load_test_data(Path(data), graph.inputs, count)
    if count is not None and count < 1:
        raise DataError(f"{count} samples asked for; give a number of at least 1")
    return _in_memory(data).take(slice(0, count))


def _in_memory(data: Any) -> Dataset:
    return data if isinstance(data, Dataset) else as_dataset(data)
