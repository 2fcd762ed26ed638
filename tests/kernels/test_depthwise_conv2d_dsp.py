# SPDX-License-Identifier: Apache-2.0
"""Depthwise planes for the DSP extension against tinyq.ops: any window, bands, in place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Case, Check
from kernels.random_layers import codes, label, random_window, tensor
from kernels.test_depthwise_conv2d import depthwise
from tinyq.cores import CORES
from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels import KERNELS
from tinyq.ops import DepthwiseConv2D
from tinyq.tensors import Shape

STEM = "depthwise_conv2d_dsp"
SAME = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 18, 35)


def chosen(case: Case) -> KernelCase:
    """In the kernel; in place where it may be."""
    found = in_kernel(case, STEM)
    return replace(found, in_place=0) if found.layer().in_place else found


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(25)
    cases = []
    for _ in range(16):
        size, window = random_window(rng, 5)
        shape = (*size, int(rng.choice(CHANNELS)))
        cases.append(chosen(depthwise(rng, encoding, shape, 1, window)))
    check(cases)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_windows_of_three(strides: tuple[int, int], check: Check) -> None:
    """Odd and even sizes, one pixel, all paddings."""
    rng = np.random.default_rng(26)
    cases = []
    for size in [(1, 1), (1, 2), (2, 1), (3, 3), (4, 5), (5, 6), (6, 7), (7, 8), (25, 5), (9, 30)]:
        for padding in [(1, 1, 1, 1), (0, 1, 0, 1), (2, 2, 2, 2), (0, 0, 0, 0)]:
            if min(size) + (padding[0] + padding[1]) >= 3:
                window = {"kernel": (3, 3), "strides": strides, "padding": padding}
                shape = (*size, int(rng.choice(CHANNELS)))
                cases.append(chosen(depthwise(rng, "int8", shape, 1, window)))
    check(cases)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (1, 1), (2, 5), (1, 3), (3, 1), (16, 16)])
def test_bands(kernel: tuple[int, int], check: Check) -> None:
    """Images of more rows than fit at a time, in place where shapes are equal."""
    rng = np.random.default_rng(27)
    high, wide = kernel
    same = ((high - 1) // 2, high // 2, (wide - 1) // 2, wide // 2)
    windows = [
        {"kernel": kernel, "strides": strides, "padding": padding}
        for strides in [(1, 1), (2, 2), (3, 1)]
        for padding in [same, (0, high - 1, wide - 1, 0)]
    ]
    cases = [chosen(depthwise(rng, "int4", (61, 33, 5), 1, window)) for window in windows]
    assert any(case.in_place == 0 for case in cases)
    check(cases)


def relu_layer(rng: np.random.Generator, shape: Shape, n: np.ndarray, strides: int) -> Case:
    """A 3x3 layer with the shifts ``n`` whose codes fill 8 bits."""
    x = tensor("x", shape, str(rng.choice(["int8", "uint8"])))
    image = rng.integers(-127, 128, (shape[2], 3, 3)).astype(np.int8)
    weights = Weights("int8", image, (-9 - n).astype(np.int32))
    bias = rng.integers(-20000, 20000, shape[2]).astype(np.int32)
    op = DepthwiseConv2D(weights, bias, "relu", strides=(strides, strides), padding=(1, 1, 1, 1))
    y = tensor("y", op.infer_shape([shape]), "uint8", x.exponent - 9)
    return Case(op, (x,), y, (codes(rng, x),), label=label(op, x))


@pytest.mark.parametrize("strides", [1, 2])
def test_common_shift(strides: int, check: Check) -> None:
    """Shifts that are folded into the weights, and some beyond that are not."""
    rng = np.random.default_rng(28)
    cases = []
    for width in [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 23, 24, 48, 61]:
        for low, high in [(5, 12), (5, 16)]:
            shape = (int(rng.integers(1, 30)), width, int(rng.choice(CHANNELS)))
            n = rng.integers(low, high, shape[2])
            cases.append(chosen(relu_layer(rng, shape, n, strides)))
    assert all(case.layer().fields["fold_from"] == 0 for case in cases)
    check(cases)


def test_weights_that_would_not_fit_stay(check: Check) -> None:
    rng = np.random.default_rng(29)
    case = relu_layer(rng, (5, 5, 3), np.array([8, 3, 12]), 1)
    image = case.op.quantized.codes.copy()
    image[1, 0, 0] = 127  # 127 * 2**9 > 32767
    weights = replace(case.op.quantized, codes=image)
    case = chosen(replace(case, op=replace(case.op, weights=weights)))
    assert case.layer().fields["fold_from"] == 4
    check([case])


def test_what_it_leaves_to_others() -> None:
    rng = np.random.default_rng(30)
    doubled = depthwise(rng, "int8", (5, 5, 2), 2, SAME)
    wide = depthwise(rng, "int8", (3, 127, 1), 1, SAME)
    assert in_kernel(doubled, STEM).choice() is None
    assert in_kernel(wide, STEM).choice() is None
    case = in_kernel(depthwise(rng, "int8", (3, 126, 1), 1, SAME), STEM)
    for core in CORES.values():
        applies = KERNELS[STEM](replace(case.request(), core=core)) is not None
        assert applies == core.dsp
