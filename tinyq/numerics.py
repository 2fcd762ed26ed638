# SPDX-License-Identifier: Apache-2.0
"""Integer arithmetic that every backend shares; the twin of ``arith.h``.

A real value is ``q * 2**e`` with an integer code q and an integer exponent e.  An accumulator of
exponent ``e_acc`` becomes a code of exponent ``e_out`` by a right shift of ``n = e_out - e_acc``
bits, rounded by the rule of the operator (NUMERICS.md), then clamped.

Absent on purpose: multipliers, zero points and left shifts.  An ``n`` outside 0..31 is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# NumPy's stubs lose the element type in most arithmetic, so these names document, not check, it.
IntArray = npt.NDArray[Any]
FloatArray = npt.NDArray[Any]

MAX_SHIFT: Final = 31
INT32_MAX: Final = 2**31 - 1
INT16_MAX: Final = 2**15 - 1
#: float32 holds every integer up to this magnitude; the certificate of the Keras model.
FLOAT32_EXACT: Final = 2**24


def shift_tflite(acc: IntArray, n: IntArray) -> IntArray:
    """Round ``acc / 2**n`` as TFLM does for a power-of-two multiplier (two roundings).

    n = 0: acc; n = 1: (acc + 1) >> 1; n >= 2: (acc + 2**(n-1) + sgn(acc)) >> n.
    """
    half = np.where(n > 0, np.int64(1) << np.maximum(n - 1, 0), 0)
    return (acc + half + np.where(n >= 2, np.sign(acc), 0)) >> n


def shift_half_up(acc: IntArray, n: IntArray) -> IntArray:
    """Round ``acc / 2**n`` to nearest, ties toward plus infinity: (acc + 2**(n-1)) >> n."""
    return (acc + np.where(n > 0, np.int64(1) << np.maximum(n - 1, 0), 0)) >> n


def shift_half_away(acc: IntArray, n: IntArray) -> IntArray:
    """Round ``acc / 2**n`` to nearest, ties away from zero: TFLM's rule for ADD."""
    half = np.where(n > 0, np.int64(1) << np.maximum(n - 1, 0), 0)
    return np.sign(acc) * ((np.abs(acc) + half) >> n)


ROUNDINGS: Final[dict[str, Callable[[IntArray, IntArray], IntArray]]] = {
    "tflite": shift_tflite,
    "half_up": shift_half_up,
    "half_away": shift_half_away,
}


def requantize(acc: IntArray, n: IntArray | int, rounding: str, lo: int, hi: int) -> IntArray:
    """Shift ``acc`` (int64, any shape) right by ``n`` (0..31, broadcast) and clamp to [lo, hi]."""
    shift = np.asarray(n, np.int64)
    if shift.size and (shift.min() < 0 or shift.max() > MAX_SHIFT):
        raise ValueError(f"shift {shift.min()}..{shift.max()} outside 0..{MAX_SHIFT}")
    rounded = ROUNDINGS[rounding](np.asarray(acc, np.int64), shift)
    return np.clip(rounded, lo, hi)


def rounding_constant(n: IntArray, rounding: str) -> IntArray:
    """The constant c with ``max(round(acc), 0) == max((acc + c) >> n, 0)`` for each n.

    Exact for every rule, because the rules differ for negative accumulators only.
    """
    shift = np.asarray(n, np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    if rounding == "tflite":
        return half + (shift >= 2)
    return half


def rounding_margin(n: IntArray | int) -> int:
    """What rounding may add to an accumulator before the shift: 2**(n-1) + 1 for the largest n."""
    top = int(np.max(n, initial=0))
    return (1 << (top - 1)) + 1 if top > 0 else 0


def divide_half_away(total: IntArray, count: IntArray | int) -> IntArray:
    """Average ``total / count`` rounded to nearest, ties away from zero (TFLM's AVERAGE_POOL)."""
    return np.sign(total) * ((2 * np.abs(total) + count) // (2 * np.asarray(count, np.int64)))


def quantize_real(x: FloatArray, exponent: int, lo: int, hi: int) -> IntArray:
    """Codes of real values: clip(floor(x / 2**exponent + 1/2), lo, hi); computed in float64."""
    return np.clip(np.floor(np.ldexp(np.asarray(x, np.float64), -exponent) + 0.5), lo, hi).astype(
        np.int64
    )


def bits_signed(lo: int, hi: int) -> int:
    """Bits of the smallest two's complement type that holds every integer in [lo, hi]."""
    above = int(hi).bit_length() if hi > 0 else 0
    below = int(-lo - 1).bit_length() if lo < 0 else 0
    return max(above, below) + 1


def ceil_log2(x: FloatArray | float) -> IntArray:
    """Smallest integer e with 2**e >= x, exact for every positive float (no logarithm involved)."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.where(mantissa == 0.5, exponent - 1, exponent).astype(np.int64)
