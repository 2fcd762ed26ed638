# SPDX-License-Identifier: Apache-2.0
"""DepthwiseConv2D in C against tinyq.ops: every encoding, any window, multipliers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.harness import Case, Check
from kernels.random_layers import codes, label, linear_parameters, random_input, random_window
from tinyq.encodings import ENCODINGS
from tinyq.errors import UnsupportedError
from tinyq.ops import DepthwiseConv2D
from tinyq.tensors import Shape


def depthwise(
    rng: np.random.Generator,
    encoding: str,
    shape: Shape,
    multiplier: int,
    window: dict[str, object],
) -> Case:
    """A depthwise convolution of random numbers."""
    x = random_input(rng, shape)
    outputs = shape[2] * multiplier
    parameters, y = linear_parameters(rng, encoding, (outputs, *window["kernel"]), x)
    op = DepthwiseConv2D(
        **parameters,
        strides=window["strides"],
        padding=window["padding"],
        multiplier=multiplier,
    )
    y = replace(y, shape=op.infer_shape([shape]))
    return Case(op, (x,), y, (codes(rng, x),), label=label(op, x))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(5)
    cases = []
    for _ in range(30):
        size, window = random_window(rng, 5)
        channels, multiplier = (
            int(rng.choice([1, 2, 3, 5, 8, 33])),
            int(rng.choice([1, 1, 2, 3, 4])),
        )
        cases.append(depthwise(rng, encoding, (*size, channels), multiplier, window))
    check(cases)


@pytest.mark.parametrize("kernel", [(16, 16), (1, 255), (10, 13), (25, 5), (3, 17)])
def test_large_kernels(kernel: tuple[int, int], check: Check) -> None:
    """Few channels' weights fit the buffer on the stack, at least two."""
    rng = np.random.default_rng(6)
    window = {"kernel": kernel, "strides": (1, 1), "padding": (0, 1, 1, 0)}
    shape = (kernel[0] + 1, kernel[1] + 1, 5)
    check([depthwise(rng, e, shape, m, window) for e in ("int8", "lut3") for m in (1, 2)])


def test_larger_kernel_is_refused() -> None:
    rng = np.random.default_rng(7)
    window = {"kernel": (1, 257), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    case = depthwise(rng, "int8", (1, 257, 1), 1, window)
    with pytest.raises(UnsupportedError, match="more than 256 taps"):
        case.op.to_c(case.ins, case.out)
