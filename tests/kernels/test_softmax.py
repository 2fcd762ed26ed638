# SPDX-License-Identifier: Apache-2.0
"""Softmax in C against tinyq.ops, which equals TFLM's int8 kernel."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.harness import Case, Check
from kernels.random_layers import codes, tensor

from tinyq.ops import Softmax


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
