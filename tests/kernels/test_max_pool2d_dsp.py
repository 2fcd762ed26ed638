# SPDX-License-Identifier: Apache-2.0
"""MaxPool2D in words of four channels against tinyq.ops: any window, both types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Check
from kernels.random_layers import random_window, tensor
from kernels.test_pool2d import pool
from tinyq.ops import MaxPool2D
from tinyq.tensors import Shape


def random_pool(rng: np.random.Generator, channels: int) -> KernelCase:
    """A pooling with a random window."""
    size, window = random_window(rng, 5)
    op = MaxPool2D(window["kernel"], window["strides"], window["padding"])
    return in_kernel(pool(rng, op, (*size, channels)), "max_pool2d_dsp")


def whole(rng: np.random.Generator, shape: Shape) -> KernelCase:
    """The greatest of all pixels."""
    return in_kernel(pool(rng, MaxPool2D(shape[:2], (1, 1)), shape), "max_pool2d_dsp")


def every_pair(dtype: str) -> KernelCase:
    """The greater of two codes, for all pairs, in each byte of a word."""
    lo = -128 if dtype == "int8" else 0
    pairs = np.stack(np.meshgrid(*[np.arange(lo, lo + 256)] * 2, indexing="ij"), -1)
    image = np.stack([np.roll(pairs, turn, 0) for turn in range(0, 8, 2)], -1)
    x = tensor("x", (256, 512, 4), dtype)
    y = replace(x, name="y", shape=(256, 256, 4))
    op, xs = MaxPool2D((1, 2), (1, 2)), image.reshape(1, *x.shape)
    return KernelCase(op, (x,), y, (xs,), None, f"pairs of {dtype}", "max_pool2d_dsp")


def test_random_windows(check: Check) -> None:
    rng = np.random.default_rng(9)
    check([random_pool(rng, channels) for channels in range(4, 24) for _ in range(4)])


def test_whole_images(check: Check) -> None:
    rng = np.random.default_rng(10)
    shapes = [(1, 1, 4), (1, 1, 11), (40, 50, 5), (1, 300, 6), (300, 1, 8), (7, 7, 64)]
    check([whole(rng, shape) for shape in shapes])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_pair(dtype: str, check: Check) -> None:
    check([every_pair(dtype)])


def test_where_it_does_not_apply() -> None:
    rng = np.random.default_rng(11)
    assert whole(rng, (3, 3, 3)).choice() is None
    assert whole(rng, (3, 3, 4)).choice() is not None
    assert replace(whole(rng, (3, 3, 4)), core="m3").choice() is None
