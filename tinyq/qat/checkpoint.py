# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training: everything that its next step depends on, in one file.

Shuffling, noise, augmentation, rates and phases are functions of seed and step, so that a
checkpoint is the step, the losses so far, the model's and the optimizers' arrays.  It carries a
fingerprint of the model, the start, the data and the schedule: a file of another training is
refused instead of continued.

Files appear whole or not at all; a kill at any moment leaves the previous checkpoint.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import InputError, ModelFileError
from tinyq.files import write_atomic

Array = npt.NDArray[Any]

FILE_NAME: Final = "training.npz"
#: what a fingerprint names that differs
Fingerprint = Mapping[str, str]


@dataclass(frozen=True)
class State:
    """A training between two steps.

    step: steps done; losses: of each of them; arrays: of model and optimizers, in their order.
    """

    step: int
    losses: tuple[float, ...]
    arrays: tuple[Array, ...]


def digest(*parts: Any) -> str:
    """A short hash of arrays and of what ``json`` can write."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).tobytes())
        else:
            total.update(json.dumps(part, sort_keys=True, default=str).encode())
    return total.hexdigest()[:16]


def save_state(folder: Path, state: State, fingerprint: Fingerprint) -> None:
    """Replace the checkpoint in ``folder``, which is made if it does not exist.

    Raises:
        OutputError: it cannot be written.
    """
    arrays: dict[str, Any] = {f"array_{i}": array for i, array in enumerate(state.arrays)}
    arrays["step"] = np.int64(state.step)
    arrays["losses"] = np.array(state.losses, np.float64)
    arrays["fingerprint"] = np.array(json.dumps(dict(fingerprint)))
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_atomic(folder / FILE_NAME, stream.getvalue())


def load_state(folder: Path, fingerprint: Fingerprint) -> State | None:
    """The checkpoint in ``folder``, or None without one.

    Raises:
        ModelFileError: a damaged file.
        InputError: the checkpoint of another training.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            known = json.loads(str(file["fingerprint"]))
            arrays = [file[f"array_{i}"] for i in range(len(file.files) - 3)]
            state = State(int(file["step"]), tuple(file["losses"].tolist()), tuple(arrays))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"checkpoint {path} is damaged; delete it to start anew") from error
    different = [name for name, value in fingerprint.items() if known.get(name) != value]
    if different:
        raise InputError(
            f"checkpoint {path} belongs to another training: {', '.join(different)} differ; "
            "delete it or choose another folder"
        )
    return state


def check_arrays(path: Path, arrays: Sequence[Array], variables: Sequence[Any]) -> None:
    """ModelFileError where the arrays of a checkpoint do not fit the variables."""
    shapes = [tuple(a.shape) for a in arrays]
    if shapes != [tuple(v.shape) for v in variables]:
        raise ModelFileError(f"checkpoint {path / FILE_NAME} does not fit the model; delete it")
