# SPDX-License-Identifier: Apache-2.0
"""AveragePool2D and MaxPool2D in C against tinyq.ops: any window, both types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.harness import Case, Check
from kernels.random_layers import codes, random_input, random_window
from tinyq.ops import AveragePool2D, MaxPool2D, Op
from tinyq.tensors import Shape


def pool(rng: np.random.Generator, op: Op, shape: Shape) -> Case:
    """A pooling of random numbers."""
    x = random_input(rng, shape)
    y = replace(x, name="y", shape=op.infer_shape([shape]))
    return Case(op, (x,), y, (codes(rng, x),), label=f"{op} on {x}")


def random_pool(rng: np.random.Generator, kind: type[Op]) -> Case:
    """A pooling with a random window."""
    size, window = random_window(rng, 5)
    extra = {"activation": str(rng.choice(["linear", "relu", "relu6"]))}
    op = kind(
        pool=window["kernel"],
        strides=window["strides"],
        padding=window["padding"],
        **(extra if kind is AveragePool2D else {}),
    )
    return pool(rng, op, (*size, int(rng.integers(1, 6))))


@pytest.mark.parametrize("kind", [AveragePool2D, MaxPool2D])
def test_random_windows(kind: type[Op], check: Check) -> None:
    rng = np.random.default_rng(9)
    check([random_pool(rng, kind) for _ in range(100)])


@pytest.mark.parametrize("kind", [AveragePool2D, MaxPool2D])
def test_global(kind: type[Op], check: Check) -> None:
    """Windows as large as the image, up to sums that need 23 bits."""
    rng = np.random.default_rng(10)
    shapes = [(25, 5, 64), (1, 1, 3), (200, 200, 1), (7, 7, 2)]
    check([pool(rng, kind(pool=s[:2], strides=s[:2]), s) for s in shapes])


def test_every_average_of_two(check: Check) -> None:
    """All pairs of codes of both types: every tie there is."""
    cases = []
    for dtype, lo in (("int8", -128), ("uint8", 0)):
        pairs = np.stack(np.meshgrid(*[np.arange(lo, lo + 256)] * 2), -1).reshape(1, 65536, 2, 1)
        op = AveragePool2D(pool=(1, 2), strides=(1, 2))
        x = replace(random_input(np.random.default_rng(), (65536, 2, 1)), dtype=dtype, bits=8)
        x = replace(x, shape=(32768, 4, 1))
        y = replace(x, name="y", shape=(32768, 2, 1))
        cases.append(Case(op, (x,), y, (pairs.reshape(1, 32768, 4, 1),), label=f"average {dtype}"))
    check(cases)
