# SPDX-License-Identifier: Apache-2.0
"""A Keras model as plain data: layers, their calls, their weights.

Every source (tf_keras, Keras 3; objects, ``.h5``, ``.keras``, SavedModel) becomes one ``Network``:
flat (nested models are opened), functional (a Sequential model is a chain of calls), checked
against the table of supported layers, float32, finite.  No framework is imported here.

A layer that is called twice is one ``Layer`` and two ``Call``s.  Every layer has one output, so a
call is also the name of a tensor: ``Call.inputs`` are indices of earlier calls.

Absent on purpose: initializers, regularizers, constraints, dtype policies and optimizers; a
network is what inference needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.errors import InputError, UnsupportedError

FloatArray = npt.NDArray[np.float32]
Shape = tuple[int | None, ...]

#: Class name of the calls that feed a network; ``options["shape"]`` is the shape without batch.
INPUT = "InputLayer"


@dataclass(frozen=True)
class Layer:
    """One Keras layer.

    name: unique in the network; path: as the user sees it, ``outer/inner`` in nested models;
    kind: the Keras class; options: constructor arguments; weights: float32 arrays in Keras order.
    """

    name: str
    path: str
    kind: str
    options: Mapping[str, Any]
    weights: tuple[FloatArray, ...] = ()


@dataclass(frozen=True)
class Call:
    """One use of a layer: indices into ``Network.layers`` and of earlier ``Network.calls``."""

    layer: int
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Network:
    """Layers and their calls in topological order; inputs and outputs are indices of calls."""

    name: str
    layers: tuple[Layer, ...]
    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def layer_of(self, call: int) -> Layer:
        """The layer behind a call."""
        return self.layers[self.calls[call].layer]


def describe(layer: Layer) -> str:
    """How messages name a layer: ``layer 'conv1' (Conv2D)``."""
    return f"layer '{layer.path}' ({layer.kind})"


def checked_weights(
    path: str, kind: str, names: Sequence[str], arrays: Sequence[Any]
) -> tuple[FloatArray, ...]:
    """Arrays of one layer as float32, one per name in ``names``.

    Raises:
        UnsupportedError: more or fewer arrays than the layer class has.
        InputError: NaN or infinity.
    """
    if len(arrays) != len(names):
        raise UnsupportedError(
            f"layer '{path}' ({kind}) holds {len(arrays)} weight arrays where {len(names)} "
            f"({', '.join(names) or 'none'}) are expected; save the model again with Keras"
        )
    return tuple(
        _finite(path, kind, name, np.asarray(array))
        for name, array in zip(names, arrays, strict=True)
    )


def _finite(path: str, kind: str, name: str, array: npt.NDArray[Any]) -> FloatArray:
    values = np.array(array, np.float32)
    bad = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise InputError(
            f"layer '{path}' ({kind}): {bad} of {values.size} values of {name} are NaN or "
            "infinite; retrain the model or load an earlier checkpoint"
        )
    values.setflags(write=False)
    return values
