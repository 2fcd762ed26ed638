# SPDX-License-Identifier: Apache-2.0
"""Activations: codes of 2..8 bits, unsigned where values cannot be negative, one exponent a tensor.

q = clip(round(y / 2**e), lo, hi) with the rounding of the operator that produced y, and
e = ceil(theta) - (bits - 1), or - bits for unsigned codes (TQT, see ``scales``).
Gradient to y: 1 inside the range, 0 outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import Quantizer

from tinyq.errors import InputError
from tinyq.quantizers import scales
from tinyq.quantizers.base import Variables
from tinyq.quantizers.functions import Tensor, exp2, requantize

#: exponents tried below the one that clips nothing
SEARCH = range(0, -4, -1)


@tf_keras.utils.register_keras_serializable("tinyq")
class Activation(Quantizer):
    """Quantizer of a layer's output."""

    groups = {"theta": "scale"}  # noqa: RUF012
    learnings: ClassVar[Sequence[str]] = scales.PLAIN_LEARNING

    def __init__(self, bits: int = 8, signed: bool = True, scale_learning: str = "tqt") -> None:
        if not 2 <= bits <= 8:
            raise InputError(f"activations have 2 to 8 bits, not {bits}")
        scales.check_choice("scale_learning", scale_learning, self.learnings)
        self.bits = bits
        self.signed = signed
        self.scale_learning = scale_learning

    @property
    def low(self) -> int:
        """Smallest code."""
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest code."""
        return 2**self.magnitude_bits - 1

    @property
    def magnitude_bits(self) -> int:
        """Bits without the sign."""
        return self.bits - 1 if self.signed else self.bits

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        learned = self.scale_learning not in scales.FIXED
        theta = layer.add_weight(
            name=f"{name}_theta", shape=[], initializer="zeros", trainable=learned
        )
        return {"theta": theta}

    def exponent(self, weights: Variables) -> Tensor:
        """The exponent of one code, float32 scalar."""
        return scales.exponent_of_theta(weights["theta"], self.magnitude_bits)

    def learn(self, exponent: Tensor, values: Tensor, weights: Variables) -> Tensor:
        """The exponent with which real ``values`` are requantized, as theta is to learn from it.

        TQT learns by the derivative of the requantization itself, so it passes unchanged.
        ``exponent`` may be another layer's, where layers share one.
        """
        return exponent

    def set_exponent(self, exponent: float, weights: Variables) -> None:
        """Move theta so that ``exponent`` results."""
        learned = self.scale_learning == "tqt"
        theta = scales.theta_of_exponent(
            np.array(exponent, np.float64), self.magnitude_bits, learned
        )
        weights["theta"].assign(theta)

    def initialize(self, values: npt.NDArray[Any], weights: Variables) -> None:
        """Choose the exponent by the squared error over samples of the layer's output."""
        cols = np.asarray(values, np.float64).reshape(-1, 1)
        steps = range(1) if self.scale_learning == "minmax" else SEARCH
        found = scales.best_exponents(cols, self.high, self._codes_of, steps)
        self.set_exponent(float(found[0]), weights)

    def _codes_of(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.clip(np.floor(x + 0.5), self.low, self.high)

    def __call__(self, inputs: Tensor, training: Any, weights: Variables, **kwargs: Any) -> Tensor:
        """Quantized values, rounded half up; layers call ``requantize`` with their own rule."""
        exponent = self.learn(self.exponent(weights), inputs, weights)
        codes = requantize(inputs, exponent, 0.0, (self.low, self.high), "half_up")
        return codes * exp2(exponent)

    def get_config(self) -> dict[str, Any]:
        return {"bits": self.bits, "signed": self.signed, "scale_learning": self.scale_learning}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]
