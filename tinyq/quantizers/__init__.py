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
from tinyq.quantizers.a2q import A2q
from tinyq.quantizers.activation import Activation
from tinyq.quantizers.apot import Apot
from tinyq.quantizers.base import WeightQuantizer
from tinyq.quantizers.llsq import LlsqActivation, LlsqWeights
from tinyq.quantizers.lsq import LsqActivation, LsqWeights
from tinyq.quantizers.lut import Lut
from tinyq.quantizers.pot import Pot
from tinyq.quantizers.spec import LayerSpec
from tinyq.quantizers.uniform import Uniform

__all__ = [
    "WEIGHT_QUANTIZERS",
    "A2q",
    "Activation",
    "Apot",
    "LayerSpec",
    "Lut",
    "Pot",
    "Uniform",
    "WeightQuantizer",
    "activation_quantizer",
    "weight_quantizer",
]

#: uniform weights and activations by the way their steps are learned; ``Uniform`` and
#: ``Activation`` know the others
LEARNED_STEPS: Final[Mapping[str, tuple[type[Uniform], type[Activation]]]] = {
    "lsq": (LsqWeights, LsqActivation),
    "llsq": (LlsqWeights, LlsqActivation),
}
PLAIN_STEPS: Final = (Uniform, Activation)


def _uniform(spec: LayerSpec, axes: Sequence[int]) -> Uniform:
    make, _ = LEARNED_STEPS.get(spec.scale_learning, PLAIN_STEPS)
    return make(_bits(spec), spec.scale, spec.scale_learning, axes)


def _bounded(spec: LayerSpec, axes: Sequence[int]) -> A2q:
    if not ENCODINGS[spec.weights].is_uniform:
        raise InputError(
            f"method='{spec.method}' bounds uniform weights, not weights='{spec.weights}'; choose "
            "int8, int4, int3 or int2"
        )
    bits, width = _bits(spec), spec.accumulator_bits
    return A2q(bits, width, spec.method, spec.scale, axes, spec.zero_center)


#: makes the quantizer of a layer, by the letters of its encoding's name or by ``LayerSpec.method``
WEIGHT_QUANTIZERS: Final[Mapping[str, Callable[[LayerSpec, Sequence[int]], WeightQuantizer]]] = {
    "int": _uniform,
    "lut": lambda spec, axes: Lut(
        _bits(spec), spec.scale, axes, spec.table_learning, spec.learn_exponents
    ),
    "pot": lambda spec, axes: Pot(
        _bits(spec), spec.scale, spec.scale_learning, spec.pot_rounding, axes
    ),
    "apot": lambda spec, axes: Apot(_bits(spec), spec.scale, spec.scale_learning, axes),
    "a2q": _bounded,
    "a2q_plus": _bounded,
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


def activation_quantizer(spec: LayerSpec) -> Activation:
    """The quantizer of a layer's output as ``spec`` says; signed until the structure is known."""
    _, make = LEARNED_STEPS.get(spec.scale_learning, PLAIN_STEPS)
    return make(spec.activation_bits, True, spec.scale_learning)


def _letters(encoding: str) -> str:
    return encoding.rstrip("0123456789")


def _bits(spec: LayerSpec) -> int:
    return ENCODINGS[spec.weights].bits
