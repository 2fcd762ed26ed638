# SPDX-License-Identifier: Apache-2.0
"""What to train: encodings, scales, widths; and how: rates and schedule.  Presets by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tinyq.errors import InputError

FIRST_LAST: Final = ("same", "int8")
#: folded batch normalizations that stand alone have few weights: always 8 bits
STANDALONE_ENCODING: Final = "int8"


@dataclass(frozen=True)
class QuantConfig:
    """How a model is quantized.

    Attributes:
        weights: encoding of the weights, key of ``encodings.ENCODINGS``.
        scale: "per_channel" or "per_tensor" exponents of the weights.
        scale_learning: "tqt" learns exponents, "mse" and "minmax" choose them once.
        first_last: "same", or "int8" for the first and last layer with weights.
        activation_bits: 2..8 bits of layer outputs.
        input_bits, output_bits: of the model's input and of its last layers.
        rounding: of convolution and dense layers, "tflite" or "half_up".
        overrides: encoding by pattern of the user's layer name (``fnmatch``); the first match wins.
    """

    weights: str = "int8"
    scale: str = "per_channel"
    scale_learning: str = "tqt"
    first_last: str = "same"
    activation_bits: int = 8
    input_bits: int = 8
    output_bits: int = 8
    rounding: str = "tflite"
    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.first_last not in FIRST_LAST:
            raise InputError(f"first_last='{self.first_last}' is unknown; use same or int8")
        if self.rounding not in ("tflite", "half_up"):
            raise InputError(f"rounding='{self.rounding}' is unknown; use tflite or half_up")


@dataclass(frozen=True)
class TrainConfig:
    """How a quantized model is trained.

    Attributes:
        epochs, batch_size: passes over the data and samples a step.
        learning_rate: of kernels, biases and batch normalization (Adam, cosine to zero).
        scale_rate: of the exponents' theta.
        table_rate: of table entries, which are numbers up to 127.
        freeze_scales: fraction of the steps after which exponents stay; they would flip otherwise.
        batch_statistics: fraction of the steps that normalize by batch statistics; 0 keeps the
            statistics of the trained model throughout.
        seed: of shuffling and dropout.
    """

    epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-3
    scale_rate: float = 1e-2
    table_rate: float = 0.2
    freeze_scales: float = 0.7
    batch_statistics: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1:
            raise InputError(f"epochs={self.epochs}, batch_size={self.batch_size}: use 0.., 1..")
        for name in ("freeze_scales", "batch_statistics"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)} is no fraction from 0 to 1")


PRESETS: Final[Mapping[str, QuantConfig]] = MappingProxyType(
    {
        "w8a8": QuantConfig("int8"),
        "w4a8": QuantConfig("int4"),
        "w4a8_lut": QuantConfig("lut4"),
        "w3a8_lut": QuantConfig("lut3"),
        "w2a8_lut": QuantConfig("lut2"),
    }
)


def preset(name: str) -> QuantConfig:
    """The configuration of that name.

    Raises:
        InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"preset '{name}' is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
