# SPDX-License-Identifier: Apache-2.0
"""Which figure fits which labels."""

from __future__ import annotations

import numpy as np
import pytest

from tinyq.errors import DataError
from tinyq.evaluate import score

SCORES = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.2], [0.0, 0.1, 0.2], [0.9, 0.0, 0.1]])


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_class_numbers(shape: tuple[int, ...]) -> None:
    labels = np.array([1, 0, 2, 2], np.uint8).reshape(shape)
    assert score(SCORES, labels).accuracy == 0.75


def test_ties_go_to_the_first() -> None:
    assert score(SCORES[1:2], np.array([0])).accuracy == 1.0
    assert score(SCORES[1:2], np.array([1])).accuracy == 0.0


def test_one_hot() -> None:
    assert score(SCORES, np.eye(3)[[1, 0, 2, 2]]).accuracy == 0.75


def test_spatial_outputs_are_flattened() -> None:
    assert score(SCORES.reshape(4, 1, 1, 3), np.array([1, 0, 2, 0])).accuracy == 1.0


def test_sigmoid() -> None:
    assert score(np.array([[0.5], [0.4], [0.9]]), np.array([1, 1, 1])).accuracy == 2 / 3


def test_regression() -> None:
    result = score(SCORES, SCORES + 0.5)
    assert (result.accuracy, result.mse) == (None, pytest.approx(0.25))


def test_reconstruction() -> None:
    assert score(SCORES, None, SCORES + 2).mse == pytest.approx(4.0)
    assert score(SCORES, None, SCORES[:, :2]) == score(SCORES, None)
    assert score(SCORES, None).mse is None


@pytest.mark.parametrize("labels", [np.array([0, 1, 2, 3]), np.array([0, 1, 2, -1])])
def test_classes_that_the_model_lacks(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"labels must lie in 0\.\.2"):
        score(SCORES, labels)


def test_labels_of_another_shape() -> None:
    with pytest.raises(DataError, match=r"labels have shape \(4, 2\)"):
        score(SCORES, np.zeros((4, 2)))
