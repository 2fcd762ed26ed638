# SPDX-License-Identifier: Apache-2.0
"""Additive powers of two: sums of two powers, so that a product is two shifts and an addition.

After Li, Dong and Wang, *Additive Powers-of-Two Quantization* (ICLR 2020, arXiv 1909.13144), in
the comparison of Przewlocka-Rus et al. (arXiv 2203.05025).  With clipping threshold alpha

    Q(w) = 2**e * nearest level to clip(w / 2**e, -m, m),   alpha = m * 2**e,
    4 bits: {0, 8, 4, 1} + {0, 2} = 0, 1, 2, 3, 4, 6, 8, 10 with a sign,  m = 10,
    3 bits: {0, 2} + {0, 1}       = 0, 1, 2, 3 with a sign,               m = 3.

(At 3 bits these levels are uniform.)  Ties go to the smaller level.

Gradient to w: 1 everywhere (straight through, also where clipped, so that no weight is stuck).
Gradient to theta, where e = ceil(theta) with a straight-through gradient, is that of the paper's
reparameterized clipping, d alpha / d theta = alpha ln 2:

    dQ/dtheta = 2**e * ln 2 * (level - w / 2**e   where |w| <= alpha,
                               +-m                elsewhere).

Our choices: alpha is a level times a power of two, because every scale is (the paper divides by
the largest sum and keeps alpha real); exponents are chosen first by the squared error, then learned
with scale_learning="tqt", else kept.  The paper's weight normalization is absent: batch
normalization is folded before quantization, and a mean subtracted here would need a zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.encodings import ENCODINGS, fixed_levels
from tinyq.errors import InputError
from tinyq.quantizers import scales
from tinyq.quantizers.base import Variables, WeightQuantizer, bounded_spread
from tinyq.quantizers.functions import Tensor, ceil_through, nearest_entry, scale_clipped
from tinyq.quantizers.lut import nearest


@tf_keras.utils.register_keras_serializable("tinyq")
class Apot(WeightQuantizer):
    """Additive power-of-two weights of 4 or 3 bits with learned clipping."""

    groups = {"theta": "scale"}  # noqa: RUF012

    def __init__(
        self,
        bits: int = 4,
        scale: str = "per_channel",
        scale_learning: str = "tqt",
        channel_axes: Sequence[int] = (-1,),
    ) -> None:
        super().__init__(scale, channel_axes)
        if bits not in (4, 3):
            raise InputError(f"additive power-of-two weights have 4 or 3 bits, not {bits}")
        scales.check_choice("scale_learning", scale_learning, scales.SCALE_LEARNING)
        self.bits = bits
        self.scale_learning = scale_learning

    @property
    def levels(self) -> npt.NDArray[Any]:
        """Sorted images, int64."""
        found = fixed_levels(ENCODINGS[self.encoding])
        assert found is not None
        return found

    @property
    def learned(self) -> bool:
        """True where training moves the exponents."""
        return self.scale_learning == "tqt"

    @property
    def encoding(self) -> str:
        return f"apot{self.bits}"

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        shape = scales.scale_shape(list(tensor_shape), self.scale_axes)
        theta = layer.add_weight(
            name=f"{name}_theta", shape=shape, initializer="zeros", trainable=self.learned
        )
        return {"theta": theta}

    def exponent(self, weights: Variables) -> Tensor:
        return bounded_spread(ceil_through(weights["theta"]))

    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        levels = self.levels
        x = scale_clipped(inputs, exponent, float(levels[0]), float(levels[-1]))
        return nearest_entry(x, tf.constant(levels, tf.float32))

    def initialize(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        cols, levels = scales.columns(values, self.scale_axes), self.levels.astype(np.float64)
        steps = range(1 if self.scale_learning == "minmax" else scales.SEARCH_DEPTH)
        found = scales.best_exponents(
            cols, levels[-1], lambda x: nearest(x, levels), [-step for step in steps]
        )
        theta = scales.theta_of_exponent(found, 0, self.learned)
        weights["theta"].assign(theta.reshape(weights["theta"].shape))

    def adopt(
        self,
        exponents: npt.NDArray[np.float64],
        table: npt.NDArray[np.int8] | None,
        weights: Variables,
    ) -> bool:
        theta = scales.theta_of_exponent(exponents, 0, self.learned)
        return scales.assign_per_channel(weights["theta"], theta)

    def get_config(self) -> dict[str, Any]:
        own = {"bits": self.bits, "scale_learning": self.scale_learning}
        return {**super().get_config(), **own}
