# SPDX-License-Identifier: Apache-2.0
"""Softmax and sigmoid against stock TFLM; the primitives against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyq import fixedpoint as fp
from tinyq.graph import Graph, Node, Tensor, validate
from tinyq.ops import Op, Sigmoid, Softmax
from tinyq.tflite import run_tflm, write_tflite

INT32 = st.integers(-(2**31), 2**31 - 1)
EXPONENTS = [*range(-10, 4), -25, -16, 4, 5, 12]


def half_away(x: Fraction) -> int:
    return floor(abs(x) + Fraction(1, 2)) * (1 if x >= 0 else -1)


def run_op(op: Op, codes: np.ndarray, exponent: int) -> np.ndarray:
    """What TFLM computes for rows of codes ``[n, k]``; the rows are one sample."""
    pytest.importorskip("tflite_micro", reason="stock TFLM is not installed")
    x = Tensor("x", codes.shape, codes.dtype.name, 8, exponent)
    y = Tensor("y", codes.shape, "uint8", 8, -8)
    node = Node("n", op, ("x",), ("y",))
    graph = validate(Graph("m", {"x": x, "y": y}, (node,), ("x",), ("y",)))
    return run_tflm(write_tflite(graph), {"x": codes[None]})["y"][0]


@given(INT32, INT32 | st.just(2**30) | st.just(-(2**31)))
def test_doubling_high_mul(a: int, b: int) -> None:
    exact = Fraction(a * b, 2**31)
    want = min(floor(exact + Fraction(1, 2)), 2**31 - 1)
    assert fp.doubling_high_mul(np.array([a]), b)[0] == want


@given(INT32, st.integers(1, 31), st.integers(-1, 1))
def test_divide_by_pot(x: int, exponent: int, beside: int) -> None:
    tie = (x >> exponent << exponent) + 2 ** (exponent - 1)
    for value in (x, tie, tie + beside):
        want = half_away(Fraction(value, 2**exponent))
        assert fp.divide_by_pot(np.array([value]), exponent)[0] == want


@given(INT32, st.integers(1, 5))
def test_multiply_by_pot_saturates(x: int, exponent: int) -> None:
    got = fp.multiply_by_pot(np.array([x]), exponent)[0]
    assert abs(got - np.clip(x * 2**exponent, -(2**31), 2**31 - 1)) <= 2**exponent
    if abs(x) < 2 ** (31 - exponent) - 1:
        assert got == x * 2**exponent


def test_exp_and_reciprocal_are_near_the_real_functions() -> None:
    raw = -np.arange(0, 2**31, 2**31 // 5001)
    exact = np.exp(np.ldexp(raw.astype(float), -26)) * 2**31
    assert np.abs(fp.exp_on_negative_values(raw) - exact).max() < 2**11
    x = np.arange(2**19, 2**31 - 1, 2**20 + 7)
    scale, bits = fp.reciprocal(x)
    quotient = np.ldexp(scale.astype(float), -31 - bits)
    assert np.abs(quotient * np.ldexp(x.astype(float), -19) - 1).max() < 2**-27


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_softmax_equals_tflm(exponent: int, dtype: str) -> None:
    rng = np.random.default_rng(exponent & 63)
    pairs = np.stack([np.full(256, 255), np.arange(256)], axis=1)
    near = np.clip(rng.integers(0, 256, (300, 1)) + rng.integers(-7, 8, (300, 10)), 0, 255)
    for rows in (pairs, near, rng.integers(0, 256, (100, 35)), rng.integers(0, 256, (4, 511))):
        codes = rows.astype(np.uint8) if dtype == "uint8" else (rows - 128).astype(np.int8)
        expected = fp.softmax(codes, exponent)
        np.testing.assert_array_equal(run_op(Softmax(), codes, exponent), expected)


@pytest.mark.parametrize("exponent", [*EXPONENTS, -27, 31])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_sigmoid_equals_tflm_for_every_code(exponent: int, dtype: str) -> None:
    codes = np.arange(256, dtype=np.uint8).view(dtype).reshape(1, 256)
    table = fp.sigmoid_table(exponent, dtype == "int8")
    np.testing.assert_array_equal(run_op(Sigmoid(), codes, exponent)[0], table)


def test_softmax_of_many_equal_classes_is_zero() -> None:
    """Above 511 classes TFLM would abort; each probability is below half a code."""
    assert not fp.softmax(np.zeros((1, 4095), np.int8), -4).any()
    assert (fp.softmax(np.zeros((1, 256), np.int8), -4) == 1).all()


def test_distances_that_do_not_count() -> None:
    """exp stops at a distance of 15.5, and with it the table."""
    assert [len(fp.softmax_exp_table(e)) for e in (-10, -5, -4, 0, 3, 4, 31)] == [
        256, 256, 249, 16, 2, 1, 1,
    ]  # fmt: skip
    assert fp.softmax_exp_table(-4)[0] == 2**31 - 1


@pytest.mark.parametrize("function", [fp.softmax_exp_table, lambda e: fp.sigmoid_table(e, True)])
@pytest.mark.parametrize("exponent", [-28, 32])
def test_exponents_outside_the_format(function: object, exponent: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        function(exponent)  # type: ignore[operator]
