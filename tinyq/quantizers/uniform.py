# SPDX-License-Identifier: Apache-2.0
"""Uniform weights: q = clip(floor(w / 2**e + 1/2), -m, m) with m = 2**(bits-1) - 1.

Symmetric and narrow range.  The exponent is learned as in TQT, or fixed (see ``scales``).
Gradient to w: 1 inside the range, 0 outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.errors import InputError
from tinyq.quantizers import scales
from tinyq.quantizers.base import Variables, WeightQuantizer, bounded_spread
from tinyq.quantizers.functions import Tensor, exp2, round_half_up


@tf_keras.utils.register_keras_serializable("tinyq")
class Uniform(WeightQuantizer):
    """Uniform codes of 8, 4, 3 or 2 bits."""

    groups = {"theta": "scale"}  # noqa: RUF012
    learnings: ClassVar[Sequence[str]] = scales.PLAIN_LEARNING

    def __init__(
        self,
        bits: int = 8,
        scale: str = "per_channel",
        scale_learning: str = "tqt",
        channel_axes: Sequence[int] = (-1,),
    ) -> None:
        super().__init__(scale, channel_axes)
        if bits not in (8, 4, 3, 2):
            raise InputError(f"uniform weights have 8, 4, 3 or 2 bits, not {bits}")
        scales.check_choice("scale_learning", scale_learning, self.learnings)
        self.bits = bits
        self.scale_learning = scale_learning

    @property
    def limit(self) -> int:
        """Largest code."""
        return 2 ** (self.bits - 1) - 1

    @property
    def encoding(self) -> str:
        return f"int{self.bits}"

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        shape = scales.scale_shape(list(tensor_shape), self.scale_axes)
        learned = self.scale_learning not in scales.FIXED
        theta = layer.add_weight(
            name=f"{name}_theta", shape=shape, initializer="zeros", trainable=learned
        )
        return {"theta": theta}

    def exponent(self, weights: Variables) -> Tensor:
        return bounded_spread(scales.exponent_of_theta(weights["theta"], self.bits - 1))

    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        limit = float(self.limit)
        return tf.clip_by_value(round_half_up(inputs / exp2(exponent)), -limit, limit)

    def initialize(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        cols = scales.columns(values, self.scale_axes)
        if self.scale_learning == "minmax":
            found = scales.covering_exponents(cols, self.limit)
        else:
            found = scales.best_exponents(cols, self.limit, self._codes_of)
        theta = scales.theta_of_exponent(found, self.bits - 1, self.scale_learning == "tqt")
        weights["theta"].assign(theta.reshape(weights["theta"].shape))

    def adopt(
        self,
        exponents: npt.NDArray[np.float64],
        table: npt.NDArray[np.int8] | None,
        weights: Variables,
    ) -> bool:
        learned = self.scale_learning == "tqt"
        theta = scales.theta_of_exponent(exponents, self.bits - 1, learned)
        return scales.assign_per_channel(weights["theta"], theta)

    def _codes_of(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.clip(np.floor(x + 0.5), -self.limit, self.limit)

    def get_config(self) -> dict[str, Any]:
        own = {"bits": self.bits, "scale_learning": self.scale_learning}
        return {**super().get_config(), **own}
