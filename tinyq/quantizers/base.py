# SPDX-License-Identifier: Apache-2.0
"""What the folded layers ask of a weight quantizer, on top of tfmot's ``Quantizer``.

tfmot's interface (build, call, get_config) returns real numbers.  Export needs the integers behind
them, so ``codes`` and ``exponent`` are separate here and the call is their product.  A new weight
quantizer is one file with a subclass: ``build``, ``exponent``, ``codes``, ``initialize``, and
``table`` and ``penalty`` where it needs them.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import Quantizer

from tinyq.quantizers.functions import Tensor, exp2
from tinyq.quantizers.scales import MAX_SPREAD, SCALES, check_choice

Variables = Mapping[str, Any]
IntArray = npt.NDArray[np.int64]


class Accumulator(NamedTuple):
    """What a layer's accumulator must hold beside the products, in its own integer units.

    low, high: smallest and largest input code, low <= 0 <= high; bias: float32 integers ``[O]``;
    margin: what rounding may add, float32 scalar.
    """

    low: int
    high: int
    bias: Tensor
    margin: Tensor


class WeightQuantizer(Quantizer, abc.ABC):
    """Codes times a power of two: w^ = codes(w) * 2**exponent.

    Attributes:
        scale: "per_tensor" or "per_channel".
        channel_axes: axes of the kernel that number its output channels, (-1,) for Conv2D and
            Dense, (-2, -1) for DepthwiseConv2D.
        groups: for each variable that ``build`` makes, its learning-rate group in training:
            "scale", "gain" (like scales, but never frozen), "table" or "weight".
        accumulator_bits: width that no accumulator of the layer may exceed, or None: the codes
            are then free, and the proof at export finds the width.
    """

    groups: ClassVar[Mapping[str, str]] = {}
    accumulator_bits: int | None = None

    def __init__(self, scale: str, channel_axes: Sequence[int]) -> None:
        check_choice("scale", scale, SCALES)
        self.scale = scale
        self.channel_axes = tuple(channel_axes)

    @property
    def scale_axes(self) -> tuple[int, ...]:
        """Axes along which exponents differ."""
        return self.channel_axes if self.scale == "per_channel" else ()

    @property
    @abc.abstractmethod
    def encoding(self) -> str:
        """Key of ``encodings.ENCODINGS`` in which the codes are stored."""

    @abc.abstractmethod
    def exponent(self, weights: Variables) -> Tensor:
        """Exponents, float32 integers, broadcastable to the kernel."""

    @abc.abstractmethod
    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        """The int8 image of every weight as float32 integers, with its gradient."""

    @abc.abstractmethod
    def initialize(
        self, values: npt.NDArray[np.float32], weights: Variables
    ) -> npt.NDArray[np.float32] | None:
        """Set the variables from a trained (folded) kernel; a kernel to start from, or None."""

    def adopt(
        self,
        exponents: npt.NDArray[np.float64],
        table: npt.NDArray[np.int8] | None,
        weights: Variables,
    ) -> bool:
        """Set the variables to those of stored weights of the same encoding; False: it cannot.

        Args:
            exponents: ``[O]`` or ``[1]``; table: of table encodings.
        """
        return False

    def refresh(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        """Adapt variables that no gradient trains to the folded kernel of now; between epochs."""
        return

    def table(self, weights: Variables) -> IntArray | None:
        """The distinct images that codes can take, int64, for encodings with a table."""
        return None

    def bounded_codes(
        self, inputs: Tensor, weights: Variables, exponent: Tensor, accumulator: Accumulator
    ) -> Tensor:
        """``codes`` in a layer whose accumulator is known; the same where none is bounded."""
        return self.codes(inputs, weights, exponent)

    def initialize_bounded(
        self,
        values: npt.NDArray[np.float32],
        weights: Variables,
        accumulator: Accumulator,
        source: float,
    ) -> npt.NDArray[np.float32] | None:
        """``initialize`` in a layer whose accumulator is known.

        ``accumulator.bias`` is real here, float32 ``[O]``; ``source`` is the input's exponent.
        """
        return self.initialize(values, weights)

    def penalty(
        self, inputs: Tensor, weights: Variables, exponent: Tensor, accumulator: Accumulator
    ) -> Tensor | None:
        """A loss term of the quantizer's own, or None."""
        return None

    def __call__(self, inputs: Tensor, training: Any, weights: Variables, **kwargs: Any) -> Tensor:
        """The quantized weights; ``exponent`` among ``kwargs`` replaces the quantizer's own."""
        exponent = kwargs.get("exponent", self.exponent(weights))
        return self.codes(inputs, weights, exponent) * exp2(exponent)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "channel_axes": list(self.channel_axes)}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]


def bounded_spread(exponent: Tensor) -> Tensor:
    """Exponents raised to at most ``MAX_SPREAD`` below the largest one of the layer."""
    return tf.maximum(exponent, tf.reduce_max(exponent) - float(MAX_SPREAD))
