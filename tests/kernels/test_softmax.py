# SPDX-License-Identifier: Apache-2.0
"""Softmax in C against tinyq.ops, which equals TFLM's int8 kernel."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.harness import LIBRARY, Case, Check, build_shared
from kernels.random_layers import codes, tensor
from tinyq import fixedpoint
from tinyq.ops import Softmax

#: the private steps, whose last bit seldom reaches the 8 bits of an output
EXPORTS = f"""
#include "{LIBRARY / "src" / "softmax.c"}"
int32_t divide(int32_t x, uint32_t n) {{ return divide_by_power(x, n); }}
int32_t multiply(int32_t a, int32_t b) {{ return multiply_high(a, b); }}
int32_t shift_left(int32_t x, uint32_t n) {{ return shift_left_saturating(x, n); }}
int32_t invert(int32_t m) {{ return reciprocal_of_one_plus(m); }}
"""
INT32 = st.integers(-(2**31), 2**31 - 1)


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions above."""
    return build_shared(EXPORTS, tmp_path_factory.mktemp("softmax"))


@given(INT32, st.integers(0, 31))
def test_divide(c: ctypes.CDLL, x: int, n: int) -> None:
    assert c.divide(x, n) == int(fixedpoint.divide_by_pot(np.int64(x), n))


@given(INT32, st.integers(1 - 2**31, 2**31 - 1))
def test_multiply(c: ctypes.CDLL, a: int, b: int) -> None:
    assert c.multiply(a, b) == int(fixedpoint.doubling_high_mul(np.int64(a), b))


@given(INT32, st.integers(1, 2))
def test_shift_left(c: ctypes.CDLL, x: int, n: int) -> None:
    assert c.shift_left(x, n) == int(fixedpoint.multiply_by_pot(np.int64(x), n))


@given(st.integers(0, 2**31 - 1))
def test_reciprocal(c: ctypes.CDLL, m: int) -> None:
    assert c.invert(m) == int(fixedpoint.one_over_one_plus_x(np.int64(m)))


def softmax(rng: np.random.Generator, dtype: str, exponent: int, rows: int, classes: int) -> Case:
    """Rows of random logits, of equal ones, and of a single large one."""
    x = tensor("x", (rows, classes), dtype, exponent)
    y = tensor("y", (rows, classes), "uint8", -8)
    winner = np.full((1, rows, classes), x.lo)
    winner[..., 0] = x.hi
    near = x.hi - rng.integers(0, 4, (1, rows, classes))
    xs = np.concatenate([codes(rng, x), winner, near])
    in_place = 0 if rows % 2 else None
    return Case(Softmax(), (x,), y, (xs,), in_place, f"softmax {dtype} {exponent} {rows}x{classes}")


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_exponents(dtype: str, check: Check) -> None:
    rng = np.random.default_rng(13)
    check([softmax(rng, dtype, e, 20, 12) for e in (-20, -12, *range(-9, 6), 12, 31)])


def test_class_counts(check: Check) -> None:
    """Up to the sum's 12 integer bits; from 512 classes on the last shift may exceed 31."""
    rng = np.random.default_rng(14)
    counts = (1, 2, 3, 4, 7, 8, 10, 100, 255, 256, 257, 511, 512, 1000, 2048, 4095)
    check([softmax(rng, "int8", e, 3, n) for n in counts for e in (-5, -9, -25)])
