# SPDX-License-Identifier: Apache-2.0
"""What to train: a specification for every layer; and how: rates and schedule.  Presets by name.

A layer's options come from, in this order: the first override whose pattern matches its name, the
rules for outer and standalone layers, the configuration itself.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from tinyq.errors import InputError
from tinyq.quantizers.spec import LayerSpec

FIRST_LAST: Final = ("same", "int8")
#: folded batch normalizations that stand alone have few weights: always 8 bits
STANDALONE_ENCODING: Final = "int8"
_LAYER_OPTIONS: Final = tuple(f.name for f in fields(LayerSpec))

Override = str | Mapping[str, Any]


@dataclass(frozen=True)
class QuantConfig(LayerSpec):
    """How a model is quantized: what layers have in common, and where they differ.

    Attributes (besides those of ``LayerSpec``):
        first_last: "same", or "int8" for the first and last layer with weights.
        input_bits, output_bits: of the model's input and of its last layers.
        overrides: by pattern of the user's layer name (``fnmatch``), an encoding or a mapping from
            options of ``LayerSpec`` to values; the first match wins, the rest stays as configured.
    """

    first_last: str = "same"
    input_bits: int = 8
    output_bits: int = 8
    overrides: Mapping[str, Override] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first_last not in FIRST_LAST:
            raise InputError(f"first_last='{self.first_last}' is unknown; use same or int8")
        for pattern, override in self.overrides.items():
            self._overridden(pattern, override)

    def base(self) -> LayerSpec:
        """The options of a layer that nothing else is said about."""
        return LayerSpec(**{name: getattr(self, name) for name in _LAYER_OPTIONS})

    def _overridden(self, pattern: str, override: Override) -> dict[str, Any]:
        """The options that an override sets, checked."""
        options = {"weights": override} if isinstance(override, str) else dict(override)
        try:
            check_keys("option", options, _LAYER_OPTIONS)
            replace(self.base(), **options)
        except InputError as error:
            raise InputError(f"override '{pattern}': {error}") from error
        return options


@dataclass(frozen=True)
class Role:
    """A layer's place: first or last with weights, last of all, a batch norm on its own."""

    outer: bool = False
    final: bool = False
    standalone: bool = False


def layer_spec(config: QuantConfig, source: str, role: Role) -> LayerSpec:
    """The specification of the user's layer ``source``."""
    spec = config.base()
    if role.final:
        spec = replace(spec, activation_bits=config.output_bits)
    if role.standalone or (role.outer and config.first_last == "int8"):
        spec = replace(spec, weights=STANDALONE_ENCODING, method="")
    for pattern, override in config.overrides.items():
        if fnmatch.fnmatchcase(source, pattern):
            return replace(spec, **config._overridden(pattern, override))
    return spec


def check_keys(what: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """InputError for a key that is not one of ``known``."""
    for key in given:
        if key not in known:
            raise InputError(f"{what} '{key}' is unknown; choose from {', '.join(known)}")


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


#: w<bits>a<bits>_<method>: options of ``QuantConfig``
PRESETS: Final[Mapping[str, QuantConfig]] = MappingProxyType(
    {
        "w8a8": QuantConfig("int8"),
        "w4a8": QuantConfig("int4"),
        "w4a4": QuantConfig("int4", activation_bits=4),
        "w4a4_llsq": QuantConfig("int4", scale_learning="llsq", activation_bits=4),
        "w3a3_llsq": QuantConfig("int3", scale_learning="llsq", activation_bits=3),
        "w2a2_llsq": QuantConfig("int2", scale_learning="llsq", activation_bits=2),
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
