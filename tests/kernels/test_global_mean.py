# SPDX-License-Identifier: Apache-2.0
"""GlobalMean in C against tinyq.ops: any image, both types, every shift; and what it is made of."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.harness import Case, Check
from kernels.random_layers import codes, random_input, tensor
from tinyq.errors import GraphError
from tinyq.ops.global_mean import MAX_COUNT, GlobalMean, as_depthwise, reciprocal
from tinyq.tensors import Interval, Shape, Tensor


def mean(rng: np.random.Generator, shape: Shape, shift: int | None = None) -> Case:
    """A mean of random numbers, to an exponent that keeps some of its bits."""
    x = random_input(rng, shape)
    exponent = reciprocal(shape[0] * shape[1])[1]
    e_out = x.exponent + int(rng.integers(max(exponent, -4), 2))
    if shift is not None:
        e_out = x.exponent + exponent + shift
    y = tensor("y", (1, 1, shape[2]), "int8" if x.signed else "uint8", e_out)
    y = replace(y, bits=int(rng.choice([8, 4, 2])))
    return Case(GlobalMean(), (x,), y, (codes(rng, x),), label=f"mean of {x} as {y}")


def test_random_images(check: Check) -> None:
    rng = np.random.default_rng(21)
    check([mean(rng, tuple(map(int, rng.integers(1, 12, 3)))) for _ in range(100)])


def test_every_shift(check: Check) -> None:
    rng = np.random.default_rng(22)
    check([mean(rng, (5, 7, 3), shift) for shift in range(32)])


def test_largest_image(check: Check) -> None:
    """Sums up to 255 * MAX_COUNT, at the greatest shift as well."""
    rng = np.random.default_rng(23)
    check([mean(rng, (MAX_COUNT // 128, 128, 2), shift) for shift in (0, 15, 21, 31)])


def test_equals_the_depthwise_convolution() -> None:
    rng = np.random.default_rng(24)
    for _ in range(50):
        case = mean(rng, tuple(map(int, rng.integers(1, 9, 3))))
        same = as_depthwise(case.ins[0])
        np.testing.assert_array_equal(same.evaluate(case.xs, case.ins, case.out), case.expected())


@given(st.integers(1, MAX_COUNT))
def test_reciprocal_is_the_nearest_and_fits_its_field(count: int) -> None:
    factor, exponent = reciprocal(count)
    assert 1 <= factor <= 127
    assert factor % 2 == 1
    assert 255 * factor * count < 2**30
    found, wanted = factor * Fraction(2) ** exponent, Fraction(1, count)
    assert abs(found / wanted - 1) <= Fraction(1, 128)
    step = Fraction(2) ** (-(count - 1).bit_length() - 6)
    assert abs(found - wanted) <= step / 2


@pytest.mark.parametrize("count", [1, 2, 64, 4096, MAX_COUNT])
def test_powers_of_two_are_exact(count: int) -> None:
    factor, exponent = reciprocal(count)
    assert factor == 1
    assert 2**-exponent == count


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (Tensor("x", (256, 129, 1), "uint8"), Tensor("y", (1, 1, 1), "uint8"), "33024 elements"),
        (Tensor("x", (2, 2, 1), "uint8"), Tensor("y", (1, 1, 1), "uint8", 8, -3), "shift -1"),
        (Tensor("x", (2, 2, 1), "uint8"), Tensor("y", (1, 1, 1), "uint8", 8, 30), "shift 32"),
    ],
    ids=["too many elements", "too fine", "too coarse"],
)
def test_limits(x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        GlobalMean().check((x,), y)
    with pytest.raises(GraphError, match="3 dimensions"):
        GlobalMean().infer_shape([(4,)])


@given(st.integers(0, 2**32 - 1))
def test_intervals_hold_every_mean(seed: int) -> None:
    case = mean(np.random.default_rng(seed), (3, 5, 4))
    x = case.ins[0]
    rows = case.xs[0].reshape(-1, 4)
    known = Interval(rows.min(0), rows.max(0))
    bounds = GlobalMean().output_interval([known], (x,), case.out)
    found = case.expected().reshape(-1, 4)
    assert (bounds.lo <= found).all()
    assert (found <= bounds.hi).all()
