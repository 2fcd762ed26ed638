# SPDX-License-Identifier: Apache-2.0
"""Keras quantizers: pure functions with their gradients, and thin classes for tfmot.

``weight_quantizer`` makes the quantizer that a layer's ``LayerSpec`` asks for.  Another family
is one more file and one more entry of ``WEIGHT_QUANTIZERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tinyq.encodings import ENCODINGS
from tinyq.errors import InputError
from tinyq.quantizers.activation import Activation
from tinyq.quantizers.base import WeightQuantizer
from tinyq.quantizers.lut import Lut
from tinyq.quantizers.spec import LayerSpec
from tinyq.quantizers.uniform import Uniform

__all__ = [
    "WEIGHT_QUANTIZERS",
    "Activation",
    "LayerSpec",
    "Lut",
    "Uniform",
    "WeightQuantizer",
    "weight_quantizer",
]

#: makes the quantizer of a layer, by the letters of its encoding's name or by ``LayerSpec.method``
WEIGHT_QUANTIZERS: Final[Mapping[str, Callable[[LayerSpec, Sequence[int]], WeightQuantizer]]] = {
    "int": lambda spec, axes: Uniform(_bits(spec), spec.scale, spec.scale_learning, axes),
    "lut": lambda spec, axes: Lut(_bits(spec), spec.scale, axes),
}


def weight_quantizer(spec: LayerSpec, channel_axes: Sequence[int] = (-1,)) -> WeightQuantizer:
    """The quantizer that trains weights as ``spec`` says.

    Raises:
        InputError: a method that is unknown, or an encoding that cannot be trained.
    """
    make = WEIGHT_QUANTIZERS.get(spec.method or _letters(spec.weights))
    if make is None:
        trainable = [e for e in ENCODINGS if _letters(e) in WEIGHT_QUANTIZERS]
        methods = [m for m in WEIGHT_QUANTIZERS if m not in {_letters(e) for e in ENCODINGS}]
        known = f"choose one of {', '.join(trainable)}; methods are {', '.join(methods) or 'none'}"
        chosen = f"method='{spec.method}', " if spec.method else ""
        raise InputError(f"{chosen}weights='{spec.weights}' cannot be trained; {known}")
    return make(spec, channel_axes)


def _letters(encoding: str) -> str:
    return encoding.rstrip("0123456789")


def _bits(spec: LayerSpec) -> int:
    return ENCODINGS[spec.weights].bits
