# SPDX-License-Identifier: Apache-2.0
"""Everything that can be chosen for one layer; quantizers are made from it.

One place to add an option: it is then a field of ``qat.QuantConfig``, a key of its overrides and of
YAML files, and part of what a saved model knows about its layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tinyq.encodings import ENCODINGS
from tinyq.errors import InputError
from tinyq.quantizers.scales import SCALE_LEARNING, SCALES, check_choice

TABLE_LEARNING: Final = ("gradient", "recluster", "fixed:nf4", "fixed:laplace")
POT_ROUNDINGS: Final = ("log", "nearest")
ROUNDINGS: Final = ("tflite", "half_up")


@dataclass(frozen=True)
class LayerSpec:
    """How one layer is quantized.

    Attributes:
        weights: encoding of the weights, key of ``encodings.ENCODINGS``.
        scale: "per_channel" or "per_tensor" exponents of the weights.
        scale_learning: of uniform weights and of activations: "tqt" and "lsq" learn exponents by
            the loss, "llsq" by the quantization error; "mse" and "minmax" choose them once; PoT and
            table weights choose them once under "tqt" too (see there).
        activation_bits: 2..8 bits of the layer's output.
        rounding: of convolution and dense layers, "tflite" or "half_up".
        method: key of ``quantizers.WEIGHT_QUANTIZERS`` for a quantizer other than the encoding's
            own; "" for its own.  "a2q" and "a2q_plus" bound the accumulators of uniform weights.
        table_learning: of table weights: by "gradient", by k-means at each epoch ("recluster"), or
            not at all ("fixed:nf4", "fixed:laplace": quantiles of a distribution).
        learn_exponents: train the exponents of table weights as well (TQT).
        pot_rounding: of power-of-two weights: to the nearest exponent ("log") or "nearest" level.
        accumulator_bits: of the methods "a2q" and "a2q_plus": width that no sum may exceed.
        zero_center: of "a2q_plus": let it subtract the mean of each channel's weights.
    """

    weights: str = "int8"
    scale: str = "per_channel"
    scale_learning: str = "tqt"
    activation_bits: int = 8
    rounding: str = "tflite"
    method: str = ""
    table_learning: str = "gradient"
    learn_exponents: bool = False
    pot_rounding: str = "log"
    accumulator_bits: int = 16
    zero_center: bool = True

    def __post_init__(self) -> None:
        check_choice("weights", self.weights, tuple(ENCODINGS))
        check_choice("scale", self.scale, SCALES)
        check_choice("scale_learning", self.scale_learning, SCALE_LEARNING)
        check_choice("rounding", self.rounding, ROUNDINGS)
        check_choice("table_learning", self.table_learning, TABLE_LEARNING)
        check_choice("pot_rounding", self.pot_rounding, POT_ROUNDINGS)
        if not 2 <= self.activation_bits <= 8:
            raise InputError(
                f"activation_bits={self.activation_bits}: activations have 2 to 8 bits"
            )
