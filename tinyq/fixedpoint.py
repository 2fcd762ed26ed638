# SPDX-License-Identifier: Apache-2.0
"""Fixed point that int8 Softmax and Logistic of TensorFlow Lite Micro are made of, in NumPy.

A raw number r of type Qm.f (m integer bits, f = 31 - m) stands for r * 2**-f.  Products keep the
high half (``doubling_high_mul``), exp is a Taylor series of degree 4 round -1/8 followed by a
product of constants exp(-2**k), division is three Newton steps from 48/17 - 32/17 d.  Arrays are
int64 and hold values of 32 bits.

Both functions reduce to tables, because their inputs are 8-bit codes of a power-of-two exponent:
softmax to exp as a function of the distance to the largest code, sigmoid to 256 bytes.

Absent on purpose: 16-bit types, multipliers that are not powers of two, a beta other than 1.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.numerics import INT32_MAX, IntArray

INT32_MIN: Final = -(2**31)
SOFTMAX_EXPONENTS: Final = range(-25, 32)
SIGMOID_EXPONENTS: Final = range(-27, 32)
#: Exponent of softmax and sigmoid outputs: codes 0..255 stand for 0..255/256.
UNIT_EXPONENT: Final = -8
#: Sums of exponentials are Q12.19: with more elements than this they may not fit 32 bits.
SOFTMAX_MAX_ELEMENTS: Final = 4095
#: From 512 on a sum may ask for a last shift above 31: TFLM aborts there, every output is 0 here.
SOFTMAX_MAX_TFLM_ELEMENTS: Final = 511

_SCALED_DIFF_BITS: Final = 5
_ACCUMULATION_BITS: Final = 12
_LOGISTIC_BITS: Final = 4
_EXP_MINUS_EIGHTH: Final = 1895147668
_ONE_THIRD: Final = 715827883
#: Q0.31 of exp(-2**k) for k = -2, -1, ... 4.
_EXP_MINUS_POWERS: Final = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
#: Q2.29 of 48/17 and -32/17.
_NEWTON_START: Final = 1515870810
_NEWTON_SLOPE: Final = -1010580540


def _truncated_division(a: IntArray, b: int) -> IntArray:
    """Quotient rounded toward zero, as C divides."""
    quotient: IntArray = np.sign(a) * (np.abs(a) // b)
    return quotient


def doubling_high_mul(a: IntArray, b: IntArray | int) -> IntArray:
    """SaturatingRoundingDoublingHighMul: a * b / 2**31, ties toward plus infinity, saturated."""
    product = np.asarray(a, np.int64) * b
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    return np.minimum(_truncated_division(product + nudge, 1 << 31), INT32_MAX)


def divide_by_pot(x: IntArray, exponent: int) -> IntArray:
    """RoundingDivideByPOT: x / 2**exponent, ties away from zero; exponent in 0..31."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


def multiply_by_pot(x: IntArray, exponent: int) -> IntArray:
    """SaturatingRoundingMultiplyByPOT: x * 2**exponent, rounded or saturated to 32 bits."""
    if exponent <= 0:
        return divide_by_pot(x, -exponent)
    limit = (1 << (31 - exponent)) - 1
    scaled = np.where(x > limit, INT32_MAX, np.asarray(x, np.int64) << exponent)
    return np.where(x < -limit, INT32_MIN, scaled)


def multiply_by_quantized(x: IntArray, multiplier: int, shift: int) -> IntArray:
    """MultiplyByQuantizedMultiplier: x * multiplier * 2**(shift - 31) with two roundings."""
    left = np.asarray(x, np.int64) << max(shift, 0)
    return divide_by_pot(doubling_high_mul(left, multiplier), max(-shift, 0))


def _half_sum_with_one(a: IntArray) -> IntArray:
    """RoundingHalfSum of a Q0.31 number >= 0 and one (2**31 - 1)."""
    return (a + INT32_MAX + 1) >> 1


def _exp_near_zero(a: IntArray) -> IntArray:
    """exp(a) for a in [-1/4, 0), Q0.31 in and out: a Taylor series round -1/8."""
    x = a + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4 = doubling_high_mul(x2, x2)
    third = doubling_high_mul(divide_by_pot(x4, 2) + x3, _ONE_THIRD)
    tail = divide_by_pot(third + x2, 1)
    return _EXP_MINUS_EIGHTH + doubling_high_mul(x + tail, _EXP_MINUS_EIGHTH)


def exp_on_negative_values(raw: IntArray, integer_bits: int = _SCALED_DIFF_BITS) -> IntArray:
    """exp of numbers <= 0: Q``integer_bits`` (at most 5) in, Q0.31 out; exp(0) = 2**31 - 1."""
    raw = np.asarray(raw, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    offset = (raw & (quarter - 1)) - quarter
    result = _exp_near_zero(multiply_by_pot(offset, integer_bits))
    remainder = offset - raw
    for power, factor in enumerate(_EXP_MINUS_POWERS, start=-2):
        if power < integer_bits:
            is_set = (remainder >> (fraction_bits + power)) & 1
            result = np.where(is_set == 1, doubling_high_mul(result, factor), result)
    return np.where(raw == 0, INT32_MAX, result)


def one_over_one_plus_x(a: IntArray) -> IntArray:
    """1 / (1 + a) for a in [0, 1), Q0.31 in and out: Newton's division."""
    half = _half_sum_with_one(np.asarray(a, np.int64))
    x = _NEWTON_START + doubling_high_mul(half, _NEWTON_SLOPE)
    for _ in range(3):
        rest = (1 << 29) - doubling_high_mul(half, x)
        x = x + multiply_by_pot(doubling_high_mul(x, rest), 2)
    return multiply_by_pot(x, 1)


def reciprocal(x: IntArray, integer_bits: int = _ACCUMULATION_BITS) -> tuple[IntArray, IntArray]:
    """GetReciprocal: for x > 0 in Q``integer_bits`` the pair (s, b) with 1/x = s * 2**-(31 + b).

    Returns:
        s, Q0.31, and b, the bits over unit: x lies in [2**b, 2**(b+1)).
    """
    x = np.asarray(x, np.int64)
    leading_zeros = 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)
    scale = one_over_one_plus_x((x << leading_zeros) - (1 << 31))
    return scale, integer_bits - leading_zeros


def _logistic(raw: IntArray) -> IntArray:
    """1 / (1 + exp(-x)): Q4.27 in, Q0.31 out."""
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(raw), _LOGISTIC_BITS))
    both = np.where(raw > 0, positive, INT32_MAX - positive)
    return np.where(raw == 0, 1 << 30, both)


def _check_exponent(exponent: int, allowed: range) -> None:
    if exponent not in allowed:
        raise ValueError(f"input exponent {exponent} outside {allowed[0]}..{allowed[-1]}")


def softmax_exp_table(exponent: int) -> npt.NDArray[np.int32]:
    """exp of every distance to the largest code that counts, int32 ``[n]`` in Q0.31, n <= 256.

    Entry d is exp(-d * 2**exponent).  A distance of n or more contributes nothing, and its output
    is 0: TFLM leaves out distances beyond 15.5.

    Raises:
        ValueError: exponent outside ``SOFTMAX_EXPONENTS``.
    """
    _check_exponent(exponent, SOFTMAX_EXPONENTS)
    # floor(31 * 2**26 / 2**(exponent + 27)), the largest distance that counts.
    radius = (31 << 30) >> (31 + exponent)
    distance = np.arange(min(radius, 255) + 1, dtype=np.int64)
    scaled = distance << (exponent + 31 - _SCALED_DIFF_BITS)
    return exp_on_negative_values(-scaled).astype(np.int32)


def softmax(codes: IntArray, exponent: int) -> npt.NDArray[np.uint8]:
    """Softmax over the last axis, equal to TFLM's int8 kernel.

    Args:
        codes: int8 or uint8 codes ``[..., n]`` of the given exponent, n <= 4095 (TFLM: 511).

    Returns:
        uint8 codes of exponent -8, same shape.
    """
    table = softmax_exp_table(exponent).astype(np.int64)
    codes = np.asarray(codes, np.int64)
    distance = codes.max(axis=-1, keepdims=True) - codes
    counts = distance < len(table)
    exps = np.where(counts, table[np.minimum(distance, len(table) - 1)], 0)
    total = divide_by_pot(exps, _ACCUMULATION_BITS).sum(axis=-1, keepdims=True)
    scale, bits_over_unit = reciprocal(total)
    product = doubling_high_mul(exps, scale)
    return np.clip(_divide_by_pots(product, bits_over_unit + 31 - 8), 0, 255).astype(np.uint8)


def _divide_by_pots(x: IntArray, exponents: IntArray) -> IntArray:
    """``divide_by_pot`` of x >= 0, an exponent (1..35) a row; 0 for all exponents above 31."""
    quotient: IntArray = (x + (np.int64(1) << (exponents - 1))) >> exponents
    return quotient


def sigmoid_table(exponent: int, signed: bool) -> npt.NDArray[np.uint8]:
    """TFLM's int8 LOGISTIC of every input code, uint8 ``[256]`` of exponent -8.

    Entry b belongs to the code whose byte is b: the code itself for uint8, its two's complement
    byte for int8 (entry 255 is code -1).

    Raises:
        ValueError: exponent outside ``SIGMOID_EXPONENTS``.
    """
    _check_exponent(exponent, SIGMOID_EXPONENTS)
    code = np.arange(256, dtype=np.int64)
    if signed:
        code = code.astype(np.uint8).view(np.int8).astype(np.int64)
    # floor(15 * 2**27 / 2**(exponent + 28)): at and beyond it the output saturates.
    radius = (15 << 30) >> (31 + exponent)
    shift = exponent + 31 - _LOGISTIC_BITS + 1
    inside = np.abs(code) < radius
    raw = multiply_by_quantized(np.where(inside, code, 0), 1 << 30, shift)
    value = np.clip(divide_by_pot(_logistic(raw), 31 - 8), 0, 255)
    table = np.where(code <= -radius, 0, np.where(code >= radius, 255, value))
    return table.astype(np.uint8)
