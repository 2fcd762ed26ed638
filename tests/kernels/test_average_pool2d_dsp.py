# SPDX-License-Identifier: Apache-2.0
"""AveragePool2D in 16-bit lanes against tinyq.ops: windows whose sums 16 bits hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Case, Check
from kernels.random_layers import random_window, tensor
from kernels.test_pool2d import pool
from tinyq.kernels.average_pool2d_dsp import LEAST_ADDITIONS
from tinyq.ops import AveragePool2D
from tinyq.tensors import Shape


def random_pool(rng: np.random.Generator, channels: int) -> KernelCase:
    """A pooling with a random window."""
    size, window = random_window(rng, 5)
    activation = str(rng.choice(["linear", "relu", "relu6"]))
    op = AveragePool2D(window["kernel"], window["strides"], window["padding"], activation)
    return forced(pool(rng, op, (*size, channels)))


def forced(case: Case) -> KernelCase:
    """In the kernel, however little there is to add."""
    return replace(in_kernel(case, "average_pool2d_dsp"), forced=True)


def whole(rng: np.random.Generator, shape: Shape) -> KernelCase:
    """The average of all pixels."""
    return forced(pool(rng, AveragePool2D(shape[:2], (1, 1)), shape))


def ties(dtype: str, count: int) -> KernelCase:
    """Sums half way between two averages, all there are, and one more, one less: by channel."""
    lo = -128 if dtype == "int8" else 0
    image = np.empty((255, count, 4), np.int64)
    image[:] = np.arange(lo, lo + 255)[:, None, None]
    for channel, more in enumerate((count // 2, count // 2 - 1, count // 2 + 1, 0)):
        image[:, :more, channel] += 1
    x = tensor("x", image.shape, dtype)
    y = replace(x, name="y", shape=(255, 1, 4))
    op = AveragePool2D((1, count), (1, 1))
    return forced(Case(op, (x,), y, (image[None],), label=f"ties of {count} {dtype}"))


def test_random_windows(check: Check) -> None:
    rng = np.random.default_rng(9)
    check([random_pool(rng, channels) for channels in range(4, 24) for _ in range(4)])


def test_the_largest_windows(check: Check) -> None:
    """All greatest and all smallest among the codes: the ends of the lanes."""
    rng = np.random.default_rng(10)
    shapes = [(1, 257, 5), (257, 1, 4), (25, 5, 64), (16, 16, 9), (1, 1, 4), (1, 1, 11)]
    check([whole(rng, shape) for shape in shapes for _ in range(4)])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_tie(dtype: str, check: Check) -> None:
    check([ties(dtype, count) for count in (2, 3, 4, 6, 10, 30, 64, 125, 254, 256, 257)])


def test_where_it_does_not_apply() -> None:
    rng = np.random.default_rng(11)
    assert whole(rng, (6, 43, 4)).choice() is None
    assert whole(rng, (1, 257, 4)).choice() is not None
    assert whole(rng, (1, 257, 3)).choice() is None
    assert replace(whole(rng, (2, 2, 4)), core="m3").choice() is None
    for width, applies in ((10, True), (9, False)):
        case = replace(whole(rng, (25, width, LEAST_ADDITIONS // 250)), forced=False)
        assert (case.choice() is not None) is applies
