# SPDX-License-Identifier: Apache-2.0
"""Activations of a graph and the ranges of their codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.numerics import FloatArray, IntArray, quantize_real

Shape = tuple[int, ...]
DTYPES: Final = ("float32", "int8", "uint8")


@dataclass(frozen=True)
class Tensor:
    """One activation; real value = (q - zero) * 2**exponent.

    Attributes:
        name: unique in its graph.
        shape: without the batch dimension; channels last.
        dtype: "float32" before quantization, then "int8" or "uint8".
        bits: 1..8, the width that the codes use of the byte.
        exponent: power of two of one code.
        zero: zero point; 0 today, kept so that imported models need no new field.
        state: the tensor survives from one inference to the next (outside the overlaid arena).
        channels: for each kept channel its index in the user's model; ``None`` when all are kept.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    bits: int = 8
    exponent: int = 0
    zero: int = 0
    state: bool = False
    channels: tuple[int, ...] | None = None

    @property
    def is_float(self) -> bool:
        """True before quantization."""
        return self.dtype == "float32"

    @property
    def signed(self) -> bool:
        """True for int8 codes."""
        return self.dtype == "int8"

    @property
    def lo(self) -> int:
        """Smallest code."""
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest code."""
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    @property
    def size(self) -> int:
        """Elements, which are bytes as well: a code occupies one byte."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def numpy_dtype(self) -> npt.DTypeLike:
        """The NumPy type of its codes or values."""
        return np.dtype(self.dtype)

    def quantize(self, x: FloatArray) -> IntArray:
        """Codes of real values ``[N, *shape]``, rounded half up and clipped."""
        return quantize_real(x, self.exponent, self.lo, self.hi).astype(self.numpy_dtype)

    def dequantize(self, q: IntArray) -> npt.NDArray[np.float64]:
        """Real values of codes, float64."""
        return np.ldexp(q.astype(np.float64) - self.zero, self.exponent)


@dataclass(frozen=True)
class Interval:
    """Bounds of the codes of a tensor, per channel (last axis): int64 ``[C]`` each, inclusive."""

    lo: npt.NDArray[np.int64]
    hi: npt.NDArray[np.int64]

    def with_zero(self) -> Interval:
        """The interval widened to hold 0, as padding does."""
        return Interval(np.minimum(self.lo, 0), np.maximum(self.hi, 0))

    def clip(self, lo: int, hi: int) -> Interval:
        """The interval after a clamp."""
        return Interval(np.clip(self.lo, lo, hi), np.clip(self.hi, lo, hi))


def full_interval(tensor: Tensor) -> Interval:
    """What the type of a tensor admits."""
    count = tensor.shape[-1] if tensor.shape else 1
    return Interval(np.full(count, tensor.lo, np.int64), np.full(count, tensor.hi, np.int64))
