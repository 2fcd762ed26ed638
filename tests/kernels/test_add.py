# SPDX-License-Identifier: Apache-2.0
"""Add in C against tinyq.ops: all pairs of bytes, every signedness, gaps and shifts, in place."""

from __future__ import annotations

import itertools

import numpy as np

from kernels.harness import Case, Check
from kernels.random_layers import tensor
from tinyq.ops import Add
from tinyq.tensors import Tensor


def all_pairs(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of codes, ``[1, 256, 256]`` each."""
    pairs = np.meshgrid(np.arange(a.lo, a.hi + 1), np.arange(b.lo, b.hi + 1), indexing="ij")
    return pairs[0][None], pairs[1][None]


def test_all_pairs(check: Check) -> None:
    cases = []
    exponents = [(0, 0, 0), (0, 0, 1), (-2, 1, -1), (3, -1, 2), (0, -5, 0), (0, 18, 18), (-9, 0, 9)]
    for index, (signs, (ea, eb, ey)) in enumerate(
        itertools.product(itertools.product(("int8", "uint8"), repeat=2), exponents)
    ):
        a, b = tensor("a", (256, 256), signs[0], ea), tensor("b", (256, 256), signs[1], eb)
        y = tensor("y", (256, 256), ("int8", "uint8")[index % 2], ey, (8, 8, 4)[index % 3])
        activation = ("linear", "relu", "relu6")[index % 3] if y.dtype == "uint8" else "linear"
        in_place = (None, 0, 1)[index % 3]
        cases.append(
            Case(Add(activation), (a, b), y, all_pairs(a, b), in_place, f"add {a} {b} {y}")
        )
    check(cases)


def test_twice_the_same_tensor(check: Check) -> None:
    a = tensor("a", (256,))
    codes = np.arange(-128, 128)[None]
    check([Case(Add(), (a, a), tensor("y", (256,), exponent=-2), (codes, codes), 0, "a + a")])
