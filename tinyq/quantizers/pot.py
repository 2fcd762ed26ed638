# SPDX-License-Identifier: Apache-2.0
"""Power-of-two weights: zero or +-2**k for k in emin..emax, so that a product is a shift.

After Przewlocka-Rus et al., *Power-of-Two Quantization for Low Bitwidth and Hardware Compliant
Neural Networks* (arXiv 2203.05025).  With b bits there are L = (2**b - 1) // 2 magnitudes
(7 for 4 bits, 3 for 3 bits) and, with emax = ceil(log2(max|w|)) and emin = emax - L + 1,

    Q(w) = 0                                             where |w| < 2**(emin - 1)
         = sgn(w) * 2**clip(round(log2|w|), emin, emax)  elsewhere.

In units of the stored exponent emin the image is 0, +-1, +-2, ... +-2**(L-1).

Rounding: "log" rounds log2|w|, so levels change at sqrt(2) * 2**k, the geometric mean; "nearest"
takes the nearest level, they change at 1.5 * 2**k, ties going to the larger magnitude.  Zero ends
at half the smallest level under both, where that level begins.

Gradient to w: 1 everywhere (the paper: straight through).

Our choices, where the paper leaves them open: one emax per output channel or per layer; it is fixed
at the start, as ceil(log2(max|w|)) with scale_learning="minmax", and else as that or up to two
below, by the squared error (rounding leaves the top level empty where max|w| is below
2**(emax - 1/2)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.errors import InputError
from tinyq.quantizers import scales
from tinyq.quantizers.base import Variables, WeightQuantizer, bounded_spread
from tinyq.quantizers.functions import Tensor, exp2, straight_through
from tinyq.quantizers.spec import POT_ROUNDINGS

_ONE: Final = 1 << 23
#: the least significand, as a float32's 23 bits below its leading one, that rounds up
_ROUNDS_UP: Final = {"log": 0x3504F4, "nearest": 0x400000}
#: exponents tried below the one that covers the largest weight
SEARCH: Final = range(0, -3, -1)


def round_log2(x: Tensor, rounding: str) -> Tensor:
    """The k whose level 2**k is the rounded |x|, int32, read from the bits of float32.

    Exact: 0x3504F4 is the first significand above sqrt(2), which no float equals.  Zero and
    subnormal numbers give -127 or -126.
    """
    bits = tf.bitcast(tf.abs(x), tf.int32)
    return tf.bitwise.right_shift(bits + (_ONE - _ROUNDS_UP[rounding]), 23) - 127


def round_to_powers(x: Tensor, rounding: str, levels: int) -> Tensor:
    """Nearest of 0, +-1, +-2, ... +-2**(levels-1), float32; gradient to x: 1."""
    k = tf.clip_by_value(round_log2(x, rounding), 0, levels - 1)
    magnitude = tf.bitcast(tf.bitwise.left_shift(k + 127, 23), tf.float32)
    kept = tf.cast(tf.abs(x) >= 0.5, tf.float32)
    return straight_through(x, tf.sign(x) * magnitude * kept)


@tf_keras.utils.register_keras_serializable("tinyq")
class Pot(WeightQuantizer):
    """Power-of-two weights of 4 or 3 bits with zero; exponents chosen once."""

    def __init__(
        self,
        bits: int = 4,
        scale: str = "per_channel",
        scale_learning: str = "mse",
        rounding: str = "log",
        channel_axes: Sequence[int] = (-1,),
    ) -> None:
        super().__init__(scale, channel_axes)
        if bits not in (4, 3):
            raise InputError(f"power-of-two weights have 4 or 3 bits, not {bits}")
        scales.check_choice("scale_learning", scale_learning, scales.SCALE_LEARNING)
        scales.check_choice("pot_rounding", rounding, POT_ROUNDINGS)
        self.bits = bits
        self.scale_learning = scale_learning
        self.rounding = rounding

    @property
    def levels(self) -> int:
        """Number of magnitudes."""
        return (2**self.bits - 1) // 2

    @property
    def encoding(self) -> str:
        return f"pot{self.bits}"

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        shape = scales.scale_shape(list(tensor_shape), self.scale_axes)
        return {
            "exponent": layer.add_weight(
                name=f"{name}_exponent", shape=shape, initializer="zeros", trainable=False
            )
        }

    def exponent(self, weights: Variables) -> Tensor:
        return bounded_spread(weights["exponent"])

    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        return round_to_powers(inputs / exp2(exponent), self.rounding, self.levels)

    def initialize(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        cols = scales.columns(values, self.scale_axes)
        steps = range(1) if self.scale_learning == "minmax" else SEARCH
        largest = 2.0 ** (self.levels - 1)
        found = scales.best_exponents(cols, largest, self._codes_of, steps)
        weights["exponent"].assign(found.reshape(weights["exponent"].shape))

    def adopt(
        self,
        exponents: npt.NDArray[np.float64],
        table: npt.NDArray[np.int8] | None,
        weights: Variables,
    ) -> bool:
        return scales.assign_per_channel(weights["exponent"], exponents)

    def _codes_of(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rounded = round_to_powers(tf.constant(x, tf.float32), self.rounding, self.levels)
        return rounded.numpy().astype(np.float64)

    def get_config(self) -> dict[str, Any]:
        own = {"scale_learning": self.scale_learning, "rounding": self.rounding}
        return {**super().get_config(), "bits": self.bits, **own}
