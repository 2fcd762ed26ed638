# SPDX-License-Identifier: Apache-2.0
"""Add in Helium vectors against tinyq.ops: all pairs of bytes, as far as 16 bits hold them."""

from __future__ import annotations

import itertools

import numpy as np

from kernels.chosen import KernelCase
from kernels.harness import Check
from kernels.random_layers import tensor
from tinyq.ops import Add
from tinyq.tensors import Tensor

EXPONENTS = ((0, 0, 0), (0, 0, 1), (-2, 1, -1), (3, -1, 2), (0, -5, 0), (0, 6, 6), (0, 0, 14))


def all_pairs(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of codes, ``[1, 256, 257]`` each: the last column is a second look at 0."""
    pairs = np.meshgrid(np.arange(a.lo, a.hi + 1), [*range(b.lo, b.hi + 1), 0], indexing="ij")
    return pairs[0][None], pairs[1][None]


def case(signs: tuple[str, str], exponents: tuple[int, int, int], index: int) -> KernelCase:
    ea, eb, ey = exponents
    a, b = tensor("a", (256, 257), signs[0], ea), tensor("b", (256, 257), signs[1], eb)
    y = tensor("y", (256, 257), ("int8", "uint8")[index % 2], ey, (8, 8, 4)[index % 3])
    activation = ("linear", "relu", "relu6")[index % 3] if y.dtype == "uint8" else "linear"
    in_place = (None, 0, 1)[index % 3]
    xs, label = all_pairs(a, b), f"add {a} {b} {y}"
    return KernelCase(Add(activation), (a, b), y, xs, in_place, label, "add_mve", "m55")


def test_all_pairs(check: Check) -> None:
    types = itertools.product(("int8", "uint8"), repeat=2)
    products = enumerate(itertools.product(types, EXPONENTS))
    check([case(signs, exponents, index) for index, (signs, exponents) in products])


def test_sums_beyond_16_bits_stay_away() -> None:
    assert case(("int8", "uint8"), (0, 7, 7), 0).choice() is None
    assert case(("int8", "uint8"), (0, 0, 15), 0).choice() is None
    one = case(("uint8", "uint8"), (0, 0, 1), 0)
    assert KernelCase(one.op, one.ins, one.out, one.xs, None, "", "add_mve", "m3").choice() is None


def test_the_largest_sum_that_16_bits_hold(check: Check) -> None:
    """15 + 15 * 2**11 and a rounding constant: the next power of two does not fit."""
    a, b = tensor("a", (16, 16), "uint8", 0, 4), tensor("b", (16, 16), "uint8", 11, 4)
    pairs = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    for exponent in (0, 10):
        y = tensor("y", (16, 16), "uint8", exponent)
        xs = (pairs[0][None], pairs[1][None])
        check([KernelCase(Add(), (a, b), y, xs, None, "edge", "add_mve", "m55")])
