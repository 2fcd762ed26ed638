# SPDX-License-Identifier: Apache-2.0
"""Conv2D in C against tinyq.ops: every encoding, any window, extremes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.harness import Case, Check
from kernels.random_layers import codes, label, linear_parameters, random_input, random_window
from tinyq.encodings import ENCODINGS
from tinyq.ops import Conv2D
from tinyq.tensors import Shape


def conv2d(
    rng: np.random.Generator, encoding: str, shape: Shape, outputs: int, window: dict[str, object]
) -> Case:
    """A convolution of random numbers; ``window``: kernel, strides, padding."""
    x = random_input(rng, shape)
    kernel = window["kernel"]
    parameters, y = linear_parameters(rng, encoding, (outputs, *kernel, shape[2]), x)
    op = Conv2D(**parameters, strides=window["strides"], padding=window["padding"])
    y = replace(y, shape=op.infer_shape([shape]))
    return Case(op, (x,), y, (codes(rng, x),), label=label(op, x))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(1)
    cases = []
    for _ in range(30):
        size, window = random_window(rng, 5)
        channels, outputs = rng.choice([1, 2, 3, 4, 5, 8, 9]), rng.choice([1, 2, 3, 5, 8, 33])
        cases.append(conv2d(rng, encoding, (*size, int(channels)), int(outputs), window))
    check(cases)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_windows_gathered_in_parts(encoding: str, check: Check) -> None:
    """More elements under the kernel than fit the buffer on the stack (256)."""
    rng = np.random.default_rng(2)
    cases = []
    for channels, kernel in ((29, (3, 3)), (57, (3, 3)), (7, (1, 40)), (300, (2, 1)), (32, (2, 4))):
        for padding in ((0, 0, 0, 0), (1, 0, 0, 0)):
            window = {"kernel": kernel, "strides": (1, 1), "padding": padding}
            size = (kernel[0] + 1, kernel[1] + 1)
            outputs = int(rng.choice([1, 2, 35]))
            cases.append(conv2d(rng, encoding, (*size, channels), outputs, window))
    check(cases)


def test_windows_read_in_place(check: Check) -> None:
    """Pointwise, and kernels as wide as the image: nothing is gathered."""
    rng = np.random.default_rng(3)
    shapes = [((5, 4, 9), (1, 1), (2, 1)), ((6, 4, 3), (2, 4), (1, 1)), ((1, 9, 8), (1, 3), (1, 2))]
    cases = [
        conv2d(rng, e, shape, 7, {"kernel": kernel, "strides": strides, "padding": (0, 0, 0, 0)})
        for e in ENCODINGS
        for shape, kernel, strides in shapes
    ]
    check(cases)


def test_windows_in_the_padding(check: Check) -> None:
    """Windows that lie wholly in the padding are the bias; strides leap over elements."""
    rng = np.random.default_rng(4)
    windows = [
        ((2, 2, 3), {"kernel": (2, 2), "strides": (1, 1), "padding": (4, 3, 2, 5)}),
        ((2, 2, 4), {"kernel": (2, 2), "strides": (1, 1), "padding": (4, 4, 3, 3)}),
        ((1, 1, 2), {"kernel": (5, 5), "strides": (2, 3), "padding": (4, 4, 4, 4)}),
        ((7, 9, 1), {"kernel": (1, 2), "strides": (5, 4), "padding": (0, 1, 1, 0)}),
    ]
    check([conv2d(rng, e, shape, 4, w) for e in ("int8", "lut3") for shape, w in windows])
