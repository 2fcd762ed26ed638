# SPDX-License-Identifier: Apache-2.0
"""AveragePool2D in Helium vectors against tinyq.ops: any window that 16 bits can add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Case, Check
from kernels.random_layers import codes, random_input, random_window
from tinyq.ops import AveragePool2D
from tinyq.tensors import Shape


def pool(rng: np.random.Generator, op: AveragePool2D, shape: Shape) -> KernelCase:
    """A pooling of random numbers."""
    x = random_input(rng, shape)
    y = replace(x, name="y", shape=op.infer_shape([shape]))
    case = Case(op, (x,), y, (codes(rng, x),), label=f"{op} on {x}")
    return in_kernel(case, "average_pool2d_mve", "m55")


def test_random_windows(check: Check) -> None:
    rng = np.random.default_rng(9)
    cases = []
    for _ in range(40):
        size, window = random_window(rng, 5)
        op = AveragePool2D(
            pool=window["kernel"],
            strides=window["strides"],
            padding=window["padding"],
            activation=str(rng.choice(["linear", "relu", "relu6"])),
        )
        cases.append(pool(rng, op, (*size, int(rng.integers(1, 20)))))
    check(cases)


def test_the_largest_windows(check: Check) -> None:
    rng = np.random.default_rng(10)
    shapes = [(25, 5, 64), (1, 257, 3), (8, 8, 64), (1, 1, 9)]
    check([pool(rng, AveragePool2D(pool=s[:2], strides=s[:2]), s) for s in shapes for _ in "ab"])


def test_larger_windows_stay_away() -> None:
    rng = np.random.default_rng(11)
    large = pool(rng, AveragePool2D(pool=(6, 43), strides=(1, 1)), (6, 43, 2))
    assert large.choice() is None
    small = pool(rng, AveragePool2D(pool=(2, 2), strides=(1, 1)), (6, 43, 2))
    assert in_kernel(small, "average_pool2d_mve", "m4").choice() is None
