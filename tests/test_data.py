# SPDX-License-Identifier: Apache-2.0
"""Which arrays of a data file are taken, and in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyq import data
from tinyq.errors import DataError


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path / "d.npz", **arrays)
    return path / "d.npz"


def numbered(count: int, start: int = 0) -> np.ndarray:
    """Samples of shape [2] that hold their own number."""
    return np.repeat(np.arange(start, start + count)[:, None], 2, axis=1)


def test_halves(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        x_train=numbered(5), y_train=np.arange(5),
        x_test=numbered(3, 100), y_test=np.arange(100, 103),
    )  # fmt: skip
    test = data.load_test_data(path, ["image"])
    train = data.load_training_data(path, ["image"])
    np.testing.assert_array_equal(test.labels, [100, 101, 102])
    np.testing.assert_array_equal(test.inputs[0][:, 0], test.labels)
    np.testing.assert_array_equal(train.labels, np.arange(5))
    assert len(data.load_test_data(path, ["image"], 2)) == 2


def test_one_half_serves_both(tmp_path: Path) -> None:
    path = save(tmp_path, x=numbered(4), y=np.arange(4))
    for load in (data.load_test_data, data.load_training_data, data.load_calibration_data):
        np.testing.assert_array_equal(load(path, ["image"]).labels, np.arange(4))


def test_no_labels(tmp_path: Path) -> None:
    assert data.load_test_data(save(tmp_path, x=numbered(4)), ["image"]).labels is None


@pytest.mark.parametrize("names", [("x0", "x1"), ("left", "right")])
def test_several_inputs_by_number_or_name(tmp_path: Path, names: tuple[str, str]) -> None:
    arrays = {f"{names[0]}_test": numbered(3), f"{names[1]}_test": numbered(3, 50)}
    loaded = data.load_test_data(save(tmp_path, **arrays), ["left", "right"])
    assert [int(x[0, 0]) for x in loaded.inputs] == [0, 50]


def test_inputs_of_different_length(tmp_path: Path) -> None:
    path = save(tmp_path, x0=numbered(3), x1=numbered(4))
    with pytest.raises(DataError, match="3 samples of x0 but 4 of x1"):
        data.load_test_data(path, ["left", "right"])


def test_calibration_samples_are_chosen_by_seed(tmp_path: Path) -> None:
    path = save(tmp_path, x=numbered(1000), y=np.arange(1000))
    first, again, other = (
        data.load_calibration_data(path, ["image"], 100, seed).labels for seed in (0, 0, 1)
    )
    assert len(set(first)) == 100
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    everything = data.load_calibration_data(path, ["image"], 1000, 3).labels
    np.testing.assert_array_equal(everything, np.arange(1000))


def test_calibration_never_sees_the_test_half(tmp_path: Path) -> None:
    path = save(tmp_path, x_train=numbered(50), x_test=numbered(50, 100))
    assert data.load_calibration_data(path, ["image"], 50).inputs[0].max() < 50


def test_arrays_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    path = save(tmp_path, x=numbered(3), notes=np.array([{}], dtype=object))
    assert len(data.load_test_data(path, ["image"])) == 3


def test_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_ARRAY_BYTES", 100)
    with pytest.raises(DataError, match="over the limit of 100"):
        data.load_test_data(save(tmp_path, x=numbered(300)), ["image"])


def test_arrays_in_memory() -> None:
    assert len(data.as_dataset(numbered(4))) == 4
    assert len(data.as_dataset([numbered(4), numbered(4)]).inputs) == 2
    with pytest.raises(DataError, match="4 samples but labels of shape \\(3,\\)"):
        data.as_dataset(numbered(4), np.arange(3))
