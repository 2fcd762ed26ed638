# SPDX-License-Identifier: Apache-2.0
"""Add in words of four elements against tinyq.ops: all pairs of bytes, in place, any remainder."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from kernels.chosen import KernelCase
from kernels.harness import Check
from kernels.random_layers import codes, tensor
from kernels.test_add_mve import all_pairs
from tinyq.ops import Add

#: of the inputs and the output; up to the factors and shifts that 16 bits admit
EXPONENTS = (
    *((0, 0, 0), (0, 0, 1), (-2, 1, -1), (3, -1, 2), (0, -5, 0), (0, 6, 6), (0, 0, 14)),
    *((0, 14, 8), (14, 0, 19), (0, 14, 14), (6, 0, 0)),
)


def case(signs: tuple[str, str], exponents: tuple[int, int, int], index: int) -> KernelCase:
    """All pairs of codes, and one element more than whole words."""
    ea, eb, ey = exponents
    shape = (256, 257)
    a, b = tensor("a", shape, signs[0], ea), tensor("b", shape, signs[1], eb)
    y = tensor("y", shape, ("int8", "uint8")[index % 2], ey, (8, 8, 4)[index % 3])
    activation = ("linear", "relu", "relu6")[index % 3] if y.dtype == "uint8" else "linear"
    in_place = (None, 0, 1)[index % 3]
    xs, label = all_pairs(a, b), f"{activation} add {a} {b} {y}"
    return KernelCase(Add(activation), (a, b), y, xs, in_place, label, "add_dsp", "m4")


def short(rng: np.random.Generator, count: int) -> KernelCase:
    """Few elements, with every remainder."""
    a, b = tensor("a", (count,), "int8", -3), tensor("b", (count,), "uint8", -4)
    y = tensor("y", (count,), "int8", -2)
    xs = (codes(rng, a), codes(rng, b))
    return KernelCase(
        Add(), (a, b), y, xs, count % 3 - 1 if count % 3 else None, f"{count}", "add_dsp"
    )


def test_all_pairs(check: Check) -> None:
    types = itertools.product(("int8", "uint8"), repeat=2)
    products = enumerate(itertools.product(types, EXPONENTS))
    check([case(signs, exponents, index) for index, (signs, exponents) in products])


def test_all_forms_of_outputs(check: Check) -> None:
    """Halves below zero round otherwise only where the output keeps them."""
    check([case(("int8", "int8"), (0, 1, 3), index) for index in range(6)])


def test_remainders(check: Check) -> None:
    rng = np.random.default_rng(3)
    check([short(rng, count) for count in range(16, 24)])


def test_where_it_does_not_apply() -> None:
    assert case(("int8", "uint8"), (0, 15, 15), 0).choice() is None
    assert case(("int8", "uint8"), (0, 8, 0), 0).choice() is None
    assert case(("int8", "uint8"), (0, 7, 0), 0).choice() is None
    assert case(("int8", "uint8"), (0, 6, 0), 0).choice() is not None
    assert replace(case(("int8", "uint8"), (0, 0, 0), 0), core="m3").choice() is None
    assert short(np.random.default_rng(0), 15).choice() is None
