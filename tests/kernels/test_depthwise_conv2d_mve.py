# SPDX-License-Identifier: Apache-2.0
"""DepthwiseConv2D in Helium vectors against tinyq.ops: any window that fits, any channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Case, Check
from kernels.random_layers import codes, label, linear_parameters, random_input, random_window
from tinyq.kernels import depthwise_conv2d_mve
from tinyq.ops import DepthwiseConv2D
from tinyq.tensors import Shape


def random_case(
    rng: np.random.Generator, encoding: str, shape: Shape, window: dict[str, object], multiplier=1
) -> KernelCase:
    """A depthwise convolution of an image ``shape``."""
    x = random_input(rng, shape)
    filters = (shape[2] * multiplier, *window["kernel"])
    parameters, y = linear_parameters(rng, encoding, filters, x)
    if rng.random() < 0.5:  # the commonest output has a routine of its own
        parameters |= {"activation": "relu"}
        y = replace(y, dtype="uint8", bits=8)
    op = DepthwiseConv2D(
        **parameters,
        strides=window["strides"],
        padding=window["padding"],
        multiplier=multiplier,
    )
    out = replace(y, shape=op.infer_shape([shape]))
    case = Case(op, (x,), out, (codes(rng, x),), label=label(op, x))
    return in_kernel(case, "depthwise_conv2d_mve", "m55")


def fitting_window(rng: np.random.Generator) -> tuple[Shape, dict[str, object]]:
    """A random window of at most 3 x 4, upright or not."""
    while True:
        size, window = random_window(rng, 4)
        if min(window["kernel"]) <= 3:
            return size, window


@pytest.mark.parametrize("budget", [4096, 600])
@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4", "pot4", "apot4"])
def test_random_windows(
    encoding: str, budget: int, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depthwise_conv2d_mve, "BUDGET", budget)
    rng = np.random.default_rng(budget)
    cases = []
    for channels in (1, 3, 4, 8, 15, 16, 17, 37):
        size, window = fitting_window(rng)
        cases.append(random_case(rng, encoding, (*size, channels), window))
    same = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
    cases.append(random_case(rng, encoding, (7, 5, 20), same))
    cases.append(random_case(rng, encoding, (1, 1, 2), same))
    cases.append(random_case(rng, encoding, (6, 7, 8), same | {"strides": (2, 2)}))
    check(cases)


def test_others_stay_away() -> None:
    rng = np.random.default_rng(3)
    window = {"kernel": (3, 3), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    for kernel in ((4, 4), (1, 5), (5, 1)):
        wide = window | {"kernel": kernel}
        assert random_case(rng, "int8", (9, 9, 4), wide).choice() is None
    assert random_case(rng, "int8", (9, 9, 4), window, 2).choice() is None
    assert random_case(rng, "int3", (9, 9, 4), window).choice() is None
    assert random_case(rng, "int8", (300, 300, 1), window).choice() is None
    other = random_case(rng, "int8", (9, 9, 4), window)
    assert in_kernel(other, "depthwise_conv2d_mve", "m33").choice() is None
