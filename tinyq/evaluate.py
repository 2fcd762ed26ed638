# SPDX-License-Identifier: Apache-2.0
"""How good the outputs of a model are, against the labels of a data file.

Which figure applies follows from the labels:

* integers ``[N]``, outputs of more than one value: top-1 accuracy (the first of equal scores wins);
* integers 0 and 1 ``[N]``, one output value with a sigmoid: accuracy at 1/2;
* one-hot rows of the outputs' shape: top-1 accuracy;
* any other labels of the outputs' shape: mean squared error in real units;
* no labels, and outputs shaped as the inputs: mean squared error of the reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.errors import DataError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Score:
    """Top-1 accuracy (0..1) or mean squared error; both ``None`` where nothing is known."""

    accuracy: float | None = None
    mse: float | None = None


def score(outputs: Array, labels: Array | None, model_input: Array | None = None) -> Score:
    """Judge the first output of a model.

    Args:
        outputs: real values ``[N, ...]``.
        labels: ``[N]`` or ``[N, ...]``; ``None`` when the file has none.
        model_input: real values ``[N, ...]`` that the model saw, for reconstruction.

    Raises:
        DataError: labels of another shape than the outputs, or classes that the model lacks.
    """
    if labels is None:
        return _score_reconstruction(outputs, model_input)
    values = outputs.reshape(len(outputs), -1)
    truth = labels.reshape(len(labels), -1)
    if truth.shape[1] == 1 and np.issubdtype(truth.dtype, np.integer):
        return Score(accuracy=_class_accuracy(values, truth[:, 0]))
    if truth.shape != values.shape:
        raise DataError(
            f"labels have shape {labels.shape}, the model's output {outputs.shape}; give class "
            "numbers or one value per output"
        )
    if truth.shape[1] > 1 and _is_one_hot(truth):
        return Score(accuracy=float(np.mean(values.argmax(1) == truth.argmax(1))))
    return Score(mse=float(np.mean((values - truth.astype(np.float64)) ** 2)))


def _class_accuracy(values: Array, truth: Array) -> float:
    classes = values.shape[1] if values.shape[1] > 1 else 2
    if truth.min() < 0 or truth.max() >= classes:
        raise DataError(
            f"labels go from {truth.min()} to {truth.max()}, the model has {classes} classes; "
            f"labels must lie in 0..{classes - 1}"
        )
    chosen = values.argmax(1) if values.shape[1] > 1 else values[:, 0] >= 0.5
    return float(np.mean(chosen == truth))


def _is_one_hot(truth: Array) -> bool:
    return bool(np.isin(truth, (0, 1)).all() and (truth.sum(1) == 1).all())


def _score_reconstruction(outputs: Array, model_input: Array | None) -> Score:
    if model_input is None or model_input.shape != outputs.shape:
        return Score()
    return Score(mse=float(np.mean((outputs - model_input.astype(np.float64)) ** 2)))
