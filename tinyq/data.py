# SPDX-License-Identifier: Apache-2.0
"""Data files: ``.npz`` archives with samples and, where there are any, labels.

Names: ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``.  A model with several
inputs has ``x0``, ``x1``, ... (``x0_train``, ...) or arrays that bear the names of its inputs.
Calibration takes the training half where there is one, everything else the test half.

Absent on purpose: pickled objects, images, audio, CSV: one NumPy call makes an ``.npz`` of them.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import DataError

Array = npt.NDArray[Any]

#: one array of a data file may have so many bytes; a limit against damaged or hostile headers
MAX_ARRAY_BYTES: Final = 4 * 2**30
CALIBRATION_SAMPLES: Final = 256


@dataclass(frozen=True)
class Dataset:
    """Samples of every input of a model, ``[N, ...]`` each, and their labels ``[N, ...]``."""

    inputs: tuple[Array, ...]
    labels: Array | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, index: slice | npt.NDArray[np.int64]) -> Dataset:
        """The samples at ``index``."""
        labels = None if self.labels is None else self.labels[index]
        return Dataset(tuple(x[index] for x in self.inputs), labels)


def load_test_data(path: Path | str, names: Sequence[str], count: int | None = None) -> Dataset:
    """The first ``count`` samples of ``x_test``/``y_test``, or of ``x``/``y``.

    Args:
        path: the ``.npz`` file.
        names: the model's input names.
        count: how many samples; ``None`` for all.

    Raises:
        DataError: the file, an array or the count cannot be used; the message says which and why.
    """
    if count is not None and count < 1:
        raise DataError(f"{count} samples asked for; give a number of at least 1")
    data = _load(Path(path), names, ("_test", ""))
    return data if count is None else data.take(slice(0, count))


def load_calibration_data(
    path: Path | str, names: Sequence[str], samples: int = CALIBRATION_SAMPLES, seed: int = 0
) -> Dataset:
    """At most ``samples`` samples of ``x_train`` (or ``x``), chosen at random by ``seed``."""
    return choose(_load(Path(path), names, ("_train", "")), samples, seed)


def load_training_data(path: Path | str, names: Sequence[str]) -> Dataset:
    """All of ``x_train``/``y_train``, or of ``x``/``y``."""
    return _load(Path(path), names, ("_train", ""))


def as_dataset(inputs: object, labels: object = None) -> Dataset:
    """A data set from arrays in memory: one array, or a sequence of one per input."""
    parts = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    arrays = tuple(np.asarray(part) for part in parts)
    return checked(Dataset(arrays, None if labels is None else np.asarray(labels)), "the data")


def choose(data: Dataset, samples: int, seed: int) -> Dataset:
    """At most ``samples`` samples in their order, chosen at random by ``seed``."""
    if samples < 1:
        raise DataError(f"{samples} calibration samples asked for; give at least 1")
    if len(data) <= samples:
        return data
    chosen = np.random.default_rng(seed).choice(len(data), samples, replace=False)
    return data.take(np.sort(chosen))


def checked(data: Dataset, source: str) -> Dataset:
    """The data set, after the checks that need no model.

    Raises:
        DataError: no sample, counts that differ, a type that is no number, NaN or infinity.
    """
    for position, x in enumerate(data.inputs):
        what = f"x{position}" if len(data.inputs) > 1 else "x"
        if x.ndim < 1 or len(x) == 0:
            raise DataError(f"{source}: {what} holds no samples (shape {x.shape})")
        _check_numbers(x, f"{source}: {what}")
        if len(x) != len(data):
            raise DataError(f"{source}: {len(data)} samples of x0 but {len(x)} of {what}")
    if data.labels is not None:
        _check_numbers(data.labels, f"{source}: y")
        if data.labels.ndim < 1 or len(data.labels) != len(data):
            raise DataError(
                f"{source}: {len(data)} samples but labels of shape {data.labels.shape}"
            )
    return data


def _check_numbers(array: Array, what: str) -> None:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} has type {array.dtype}; integers or floats are needed")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.isfinite(array).reshape(len(array), -1).all(1).argmin()
        raise DataError(f"{what} holds NaN or infinity, first in sample {bad}; clean the data")


def _load(path: Path, names: Sequence[str], suffixes: Sequence[str]) -> Dataset:
    """The first of ``suffixes`` under which the file has every input."""
    arrays = _Archive(path)
    for suffix in suffixes:
        for keys in _keys(names, suffix):
            if all(key in arrays.names for key in keys):
                return checked(_dataset(arrays, keys, suffix), str(path))
    wanted = " or ".join(", ".join(keys) for s in suffixes for keys in _keys(names, s)[:1])
    raise DataError(f"{path} has no {wanted}; it holds {', '.join(arrays.names) or 'nothing'}")


def _keys(names: Sequence[str], suffix: str) -> list[list[str]]:
    """The ways in which the arrays of all inputs may be called."""
    numbered = [f"x{i}{suffix}" for i in range(len(names))]
    named = [f"{name}{suffix}" for name in names]
    return [[f"x{suffix}"], numbered, named] if len(names) == 1 else [numbered, named]


def _dataset(arrays: _Archive, keys: Iterable[str], suffix: str) -> Dataset:
    label = f"y{suffix}"
    return Dataset(
        tuple(arrays.read(key) for key in keys),
        arrays.read(label) if label in arrays.names else None,
    )


class _Archive:
    """An ``.npz`` file of which only the arrays that are asked for are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.sizes = {
                    info.filename.removesuffix(".npy"): info.file_size
                    for info in archive.infolist()
                }
        except FileNotFoundError as error:
            raise DataError(f"data file {path} does not exist; check the path") from error
        except OSError as error:
            raise DataError(f"cannot read data file {path}: {error.strerror or error}") from error
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            raise DataError(
                f"data file {path} is truncated or not an .npz file; write it with numpy.savez"
            ) from error

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sizes)

    def read(self, name: str) -> Array:
        """One array; pickled objects are refused."""
        if self.sizes[name] > MAX_ARRAY_BYTES:
            raise DataError(
                f"{self.path}: array '{name}' has {self.sizes[name]} bytes, over the limit of "
                f"{MAX_ARRAY_BYTES}; split the file"
            )
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                array = archive[name]
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.path}: array '{name}' cannot be read ({reason})") from error
        if not isinstance(array, np.ndarray):
            raise DataError(f"{self.path}: member '{name}' is not an array")
        return array
