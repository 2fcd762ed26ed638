# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware training with tfmot: a Keras model that equals the integer executor.

    model = quantize(float_model, preset("w4a8_lut"), calibration_inputs)
    train(model, x, y, TrainConfig(epochs=3))
    graph = to_graph(model, "net")

``tensor_codes(model, x)`` gives what the Keras model computes, by the graph's tensor names.
Equality holds on a CPU, in eager mode, in graphs and in ``predict``; XLA may change the last bit of
a folded weight, and a GPU the order and precision of sums.  Importing this package imports
TensorFlow.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import tf_keras

from tinyq.errors import ModelFileError
from tinyq.qat.adopt import adopt
from tinyq.qat.calibrate import calibrate
from tinyq.qat.config import PRESETS, QuantConfig, preset, read_config
from tinyq.qat.export import tensor_codes, to_graph
from tinyq.qat.forward import logits_model, set_batch_statistics
from tinyq.qat.quantize import apply_scheme, quantize
from tinyq.qat.replicas import strategy_scope
from tinyq.qat.schedule import TrainConfig
from tinyq.qat.scheme import LayerConfig, Scheme
from tinyq.qat.sources import first_samples, is_dataset, preprocessed
from tinyq.qat.train import Progress, train

__all__ = [
    "PRESETS",
    "LayerConfig",
    "Progress",
    "QuantConfig",
    "Scheme",
    "TrainConfig",
    "adopt",
    "apply_scheme",
    "calibrate",
    "first_samples",
    "is_dataset",
    "load",
    "logits_model",
    "preprocessed",
    "preset",
    "quantize",
    "read_config",
    "save",
    "set_batch_statistics",
    "strategy_scope",
    "tensor_codes",
    "to_graph",
    "train",
]


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Save a quantized model as ``.keras`` (``.h5`` cannot be read back)."""
    if Path(path).suffix != ".keras":
        raise ModelFileError(f"quantized models are saved as .keras, not as '{path}'")
    model.save(path)


def load(path: str | os.PathLike[str]) -> Any:
    """Load a quantized model that ``save`` wrote.

    Raises:
        ModelFileError: no such file, or not one of ours.
    """
    try:
        return tf_keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"cannot load quantized model '{path}': {reason}") from error
