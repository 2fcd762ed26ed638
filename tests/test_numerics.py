# SPDX-License-Identifier: Apache-2.0
"""The rounding rules against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyq import numerics

ACC = st.integers(-(2**31) + 2**30, 2**31 - 2**30)
SHIFT = st.integers(0, 30)


def half_away(value: Fraction) -> int:
    return int(math.copysign(math.floor(abs(value) + Fraction(1, 2)), value))


@given(ACC, SHIFT)
def test_half_up_is_floor_of_value_plus_half(acc: int, n: int) -> None:
    expected = math.floor(Fraction(acc, 2**n) + Fraction(1, 2)) if n else acc
    assert numerics.shift_half_up(np.int64(acc), np.int64(n)) == expected


@given(ACC, SHIFT)
def test_half_away_rounds_ties_from_zero(acc: int, n: int) -> None:
    expected = half_away(Fraction(acc, 2**n)) if n else acc
    assert numerics.shift_half_away(np.int64(acc), np.int64(n)) == expected


@given(ACC, SHIFT)
def test_tflite_is_two_roundings(acc: int, n: int) -> None:
    """TFLM doubles the high half of acc * 2**30 with rounding, then divides by 2**(n-1)."""
    doubled = (acc * 2**30 + (2**30 if acc >= 0 else 1 - 2**30)) / Fraction(2**31)
    high = math.trunc(doubled)
    left = max(1 - n, 0)
    rounded = half_away(Fraction(high, 2 ** (n - 1))) if n > 1 else high
    expected = rounded if n else acc
    assert left == (1 if n == 0 else 0)
    assert numerics.shift_tflite(np.int64(acc), np.int64(n)) == expected


@given(st.lists(ACC, min_size=1, max_size=20), SHIFT, st.sampled_from(["tflite", "half_up"]))
def test_rounding_folds_into_the_bias_before_a_relu(accs: list[int], n: int, rule: str) -> None:
    acc = np.array(accs, np.int64)
    folded = (acc + numerics.rounding_constant(np.int64(n), rule)) >> n
    rounded = numerics.ROUNDINGS[rule](acc, np.int64(n))
    assert np.array_equal(np.maximum(folded, 0), np.maximum(rounded, 0))


@given(st.integers(-(10**6), 10**6), st.integers(1, 1000))
def test_average_rounds_half_away(total: int, count: int) -> None:
    got = numerics.divide_half_away(np.int64(total), np.int64(count))
    assert got == half_away(Fraction(total, count))


@pytest.mark.parametrize("n", [-1, 32])
def test_shift_outside_the_range_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.31"):
        numerics.requantize(np.array([1]), n, "tflite", -128, 127)


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_bits_signed_is_the_smallest_width(lo: int, span: int) -> None:
    hi = lo + span
    bits = numerics.bits_signed(lo, hi)
    assert -(2 ** (bits - 1)) <= lo and hi < 2 ** (bits - 1)
    if bits > 1:
        smaller = 2 ** (bits - 2)
        assert not (-smaller <= lo and hi < smaller)


@given(st.floats(1e-30, 1e30))
def test_ceil_log2_brackets_its_argument(x: float) -> None:
    e = int(numerics.ceil_log2(x))
    assert Fraction(2) ** (e - 1) < Fraction(x) <= Fraction(2) ** e


def test_quantize_real_rounds_half_up_and_clips() -> None:
    x = np.array([-3.0, -0.75, -0.25, 0.25, 0.75, 9.0])
    assert numerics.quantize_real(x, -1, -4, 4).tolist() == [-4, -1, 0, 1, 2, 4]
