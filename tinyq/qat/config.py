# SPDX-License-Identifier: Apache-2.0
"""What to train: a specification for every layer.  Presets by name.

A layer's options come from, in this order: the first override whose pattern matches its name, the
rules for outer and standalone layers, the configuration itself.

The same as a dictionary or a YAML file, with an optional preset to start from:

    preset: w4a8_lut
    scale: per_tensor
    overrides:
      stem: int8
      "*_depthwise": {weights: apot4, scale: per_channel, activation_bits: 6}
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tinyq.errors import InputError
from tinyq.quantizers.spec import LayerSpec

FIRST_LAST: Final = ("same", "int8")
#: folded batch normalizations that stand alone have few weights: always 8 bits
STANDALONE_ENCODING: Final = "int8"
#: methods that bound accumulators; they leave the means of the first and the last layer alone
BOUNDING: Final = ("a2q", "a2q_plus")
_LAYER_OPTIONS: Final = tuple(f.name for f in fields(LayerSpec))

#: options that only some weights have: which, as text and as a function of (method, kind)
_MATTERS: Final[Mapping[str, tuple[str, Callable[[str, str], bool]]]] = MappingProxyType(
    {
        "accumulator_bits": ("method a2q or a2q_plus", lambda method, kind: method in BOUNDING),
        "zero_center": ("method a2q_plus", lambda method, kind: method == "a2q_plus"),
        "table_learning": ("table weights (lut4, lut3, lut2)", lambda method, kind: kind == "lut"),
        "learn_exponents": ("table weights (lut4, lut3, lut2)", lambda method, kind: kind == "lut"),
        "pot_rounding": ("weights pot4 or pot3", lambda method, kind: kind == "pot"),
    }
)

Override = str | Mapping[str, Any]


@dataclass(frozen=True)
class QuantConfig(LayerSpec):
    """How a model is quantized: what layers have in common, and where they differ.

    Attributes (besides those of ``LayerSpec``):
        first_last: "same", or "int8" for the first and last layer with weights.
        input_bits, output_bits: of the model's input and of its last layers.
        constrain_first_last: bound the accumulators of the first and the last layer with weights
            as well, where the method bounds any.
        overrides: by pattern of the user's layer name (``fnmatch``), an encoding (quantized in its
            own way) or a mapping from options of ``LayerSpec`` to values; the first match wins, the
            rest stays as configured.  A batch normalization or ReLU that is folded into the layer
            before it has that layer's options.
    """

    first_last: str = "same"
    input_bits: int = 8
    output_bits: int = 8
    constrain_first_last: bool = False
    overrides: Mapping[str, Override] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("input_bits", "output_bits"):
            if not 2 <= getattr(self, name) <= 8:
                raise InputError(f"{name}={getattr(self, name)}: activations have 2 to 8 bits")
        if self.first_last not in FIRST_LAST:
            raise InputError(f"first_last='{self.first_last}' is unknown; use same or int8")
        for pattern, override in self.overrides.items():
            self._overridden(pattern, override)

    def base(self) -> LayerSpec:
        """The options of a layer that nothing else is said about."""
        return LayerSpec(**{name: getattr(self, name) for name in _LAYER_OPTIONS})

    def _overridden(self, pattern: str, override: Override) -> dict[str, Any]:
        """The options that an override sets, checked."""
        plain = {"weights": override, "method": ""}
        options = plain if isinstance(override, str) else dict(override)
        bounded = self.method in BOUNDING and "accumulator_bits" in options
        try:
            _check_options(options, LayerSpec())
            if bounded:  # whoever names a width wants it, on an outer layer as well
                options.setdefault("method", self.method)
            _check_effect(options, [replace(self.base(), **options)])
        except InputError as error:
            raise InputError(f"override '{pattern}': {error}") from error
        return options

    def specs(self) -> list[LayerSpec]:
        """What layers may be made of: the configuration's own options and every override's."""
        changes = [self._overridden(*item) for item in self.overrides.items()]
        return [self.base(), *(replace(self.base(), **options) for options in changes)]


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
        kept = spec.method if role.standalone and spec.method in BOUNDING else ""
        spec = replace(spec, weights=STANDALONE_ENCODING, method=kept)
    if role.outer and spec.method in BOUNDING:
        method = spec.method if config.constrain_first_last else ""
        spec = replace(spec, method=method, zero_center=False)
    for pattern, override in config.overrides.items():
        if fnmatch.fnmatchcase(source, pattern):
            return replace(spec, **config._overridden(pattern, override))
    return spec


def check_patterns(config: QuantConfig, names: Iterable[str]) -> None:
    """InputError for an override that matches none of the layers that have options, ``names``."""
    known = sorted(names)
    for pattern in config.overrides:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in known):
            raise InputError(
                f"override '{pattern}' matches no layer that has options of its own; those are "
                f"{', '.join(known)}"
            )


def _check_options(options: Mapping[str, Any], example: LayerSpec, *more: str) -> None:
    """InputError for keys that ``example`` has no attribute for, and for values of other types."""
    known = [f.name for f in fields(example)]
    for key, value in options.items():
        if key in more:
            continue
        if key not in known:
            raise InputError(f"option '{key}' is unknown; choose from {', '.join([*more, *known])}")
        kind = type(getattr(example, key))
        fits = type(value) is kind or (kind is float and type(value) is int)
        if kind in (bool, int, float, str) and not fits:
            raise InputError(f"option {key}={value!r} is no {kind.__name__}")


def _check_effect(options: Mapping[str, Any], specs: Iterable[LayerSpec]) -> None:
    """InputError for an option that was given but changes none of ``specs``."""
    made_of = [(spec.method, spec.weights.rstrip("0123456789")) for spec in specs]
    for name, (what, matters) in _MATTERS.items():
        if name in options and not any(matters(method, kind) for method, kind in made_of):
            raise InputError(f"{name}={options[name]} has no effect without {what}")


def _a2q_plus4(bits: int) -> QuantConfig:
    return QuantConfig("int4", activation_bits=4, method="a2q_plus", accumulator_bits=bits)


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
        "w4a8_pot": QuantConfig("pot4"),
        "w3a8_pot": QuantConfig("pot3"),
        "w4a8_apot": QuantConfig("apot4"),
        "w3a8_apot": QuantConfig("apot3"),
        "w8a8_a2q20": QuantConfig("int8", method="a2q", accumulator_bits=20),
        "w8a8_a2q18": QuantConfig("int8", method="a2q", accumulator_bits=18),
        "w8a8_a2q16": QuantConfig("int8", method="a2q"),
        "w8a8_a2q_plus16": QuantConfig("int8", method="a2q_plus"),
        "w4a4_a2q16": QuantConfig("int4", activation_bits=4, method="a2q"),
        "w4a4_a2q14": QuantConfig("int4", activation_bits=4, method="a2q", accumulator_bits=14),
        "w4a4_a2q12": QuantConfig("int4", activation_bits=4, method="a2q", accumulator_bits=12),
        "w4a4_a2q_plus16": _a2q_plus4(16),
        "w4a4_a2q_plus14": _a2q_plus4(14),
        "w4a4_a2q_plus12": _a2q_plus4(12),
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


def read_config(source: QuantConfig | Mapping[str, Any] | str | os.PathLike[str]) -> QuantConfig:
    """A configuration from a dictionary or a YAML file (see the module); others pass unchanged.

    Raises:
        InputError: no such file, no YAML, or an option or value that is unknown.
    """
    if isinstance(source, QuantConfig):
        return source
    if isinstance(source, Mapping):
        return _from_mapping(source)
    try:
        return _from_mapping(_read_yaml(Path(source)))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _from_mapping(options: Any) -> QuantConfig:
    if not isinstance(options, Mapping):
        raise InputError(f"a configuration maps options to values; got {type(options).__name__}")
    _check_options(options, QuantConfig(), "preset")
    _check_overrides(options.get("overrides", {}))
    start = preset(options["preset"]) if "preset" in options else QuantConfig()
    config = replace(start, **{k: v for k, v in options.items() if k != "preset"})
    _check_effect(options, config.specs())
    return config


def _check_overrides(overrides: Any) -> None:
    if not isinstance(overrides, Mapping):
        raise InputError("overrides must map patterns of layer names to encodings or options")
    for pattern, override in overrides.items():
        if not isinstance(pattern, str) or not isinstance(override, str | Mapping):
            raise InputError(f"override {pattern!r}: {override!r} is no encoding and no options")


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read as YAML: {' '.join(str(error).split())}") from error
