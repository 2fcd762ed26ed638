# SPDX-License-Identifier: Apache-2.0
"""Keras ``.h5`` files written without Keras: configuration and weights as Keras 2 lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CONV = {
    "filters": 4, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same",
    "activation": "relu", "use_bias": True, "dilation_rate": [1, 1], "groups": 1,
    "data_format": "channels_last",
}  # fmt: skip
DENSE = {"units": 3, "activation": "softmax", "use_bias": True}


def write_h5(
    path: Path,
    layers: Sequence[tuple[str, str, Mapping[str, Any]]],
    weights: Mapping[str, Mapping[str, np.ndarray]],
    shape: Sequence[int] = (8, 8, 1),
) -> Path:
    """A Sequential model of (class, name, configuration) and ``{layer: {weight: array}}``."""
    first = {"batch_input_shape": [None, *shape], "name": "image", "dtype": "float32"}
    entries = [{"class_name": "InputLayer", "config": first}]
    entries += [{"class_name": k, "config": {"name": n, **c}} for k, n, c in layers]
    config = {"class_name": "Sequential", "config": {"name": "tiny", "layers": entries}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
        group = file.create_group("model_weights")
        for layer, arrays in weights.items():
            stored = group.create_group(layer)
            stored.attrs["weight_names"] = [f"{layer}/{key}:0".encode() for key in arrays]
            for key, array in arrays.items():
                stored[f"{layer}/{key}:0"] = np.asarray(array, np.float32)
    return path


def small_weights(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Weights of ``small_h5``."""
    rng = np.random.default_rng(seed)
    return {
        "conv": {"kernel": rng.normal(size=(3, 3, 1, 4)) * 0.4, "bias": rng.normal(size=4) * 0.1},
        "classes": {"kernel": rng.normal(size=(64, 3)) * 0.2, "bias": np.zeros(3)},
    }


def small_h5(path: Path, extra: Sequence[tuple[str, str, Mapping[str, Any]]] = ()) -> Path:
    """Convolution, ``extra``, flatten, dense with softmax: 8x8x1 images, 3 classes."""
    layers = [
        ("Conv2D", "conv", CONV),
        *extra,
        ("Flatten", "flat", {}),
        ("Dense", "classes", DENSE),
    ]
    return write_h5(path, layers, small_weights())
