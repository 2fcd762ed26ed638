# SPDX-License-Identifier: Apache-2.0
"""Keras quantizers: pure functions with their gradients, and thin classes for tfmot.

``weight_quantizer`` maps the name of an encoding to the quantizer that trains it.  Another family
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
from tinyq.quantizers.uniform import Uniform

__all__ = [
    "WEIGHT_QUANTIZERS",
    "Activation",
    "Lut",
    "Uniform",
    "WeightQuantizer",
    "weight_quantizer",
]

#: (bits, scale, scale_learning, channel_axes) -> quantizer, by the letters of the encoding's name
WEIGHT_QUANTIZERS: Final[
    Mapping[str, Callable[[int, str, str, Sequence[int]], WeightQuantizer]]
] = {
    "int": Uniform,
    "lut": lambda bits, scale, _, axes: Lut(bits, scale, axes),
}


def weight_quantizer(
    encoding: str,
    scale: str = "per_channel",
    scale_learning: str = "tqt",
    channel_axes: Sequence[int] = (-1,),
) -> WeightQuantizer:
    """The quantizer for weights stored as ``encoding`` (key of ``encodings.ENCODINGS``).

    Raises:
        InputError: an encoding that is unknown or cannot be trained.
    """
    make = WEIGHT_QUANTIZERS.get(encoding.rstrip("0123456789"))
    if make is None or encoding not in ENCODINGS:
        trainable = [e for e in ENCODINGS if e.rstrip("0123456789") in WEIGHT_QUANTIZERS]
        raise InputError(
            f"weights='{encoding}' cannot be trained; choose one of {', '.join(trainable)}"
        )
    return make(ENCODINGS[encoding].bits, scale, scale_learning, channel_axes)
