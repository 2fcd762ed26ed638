# SPDX-License-Identifier: Apache-2.0
"""Activations added up by code against tinyq.ops: any window, lanes that fill, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from available import skip_unless_available

from kernels.chosen import KernelCase, together
from kernels.harness import Check
from kernels.random_layers import codes, label, linear_parameters, random_window, tensor
from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend
from tinyq.cores import CORES
from tinyq.encodings import ENCODINGS, encode_image
from tinyq.kernels.conv2d_buckets import MAX_WORDS, levels_of, signed_digits
from tinyq.kernels.program import Target
from tinyq.ops import Conv2D
from tinyq.tensors import Tensor

STEM, CORE = "conv2d_buckets", "rv32ec"
FOUR_BITS = tuple(name for name, kind in ENCODINGS.items() if kind.bits == 4)


def layer_case(
    rng: np.random.Generator, encoding: str, x: Tensor, outputs: int, window: dict[str, object]
) -> KernelCase:
    """Random weights, shifts, biases, activation and rounding."""
    shape = (outputs, *window["kernel"], x.shape[2])
    parameters, y = linear_parameters(rng, encoding, shape, x)
    op = Conv2D(**parameters, strides=window["strides"], padding=window["padding"])
    y = replace(y, shape=op.infer_shape([x.shape]))
    return KernelCase(op, (x,), y, (codes(rng, x),), label=label(op, x), stem=STEM, core=CORE)


def layer_cases(encoding: str, count: int) -> Iterator[KernelCase]:
    """Windows of any form; odd channels; more outputs than are finished at a time."""
    rng = np.random.default_rng(2)
    point = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    yield layer_case(rng, encoding, tensor("x", (1, 3, 101), "uint8"), 35, point)
    for _ in range(count):
        size, window = random_window(rng, 4)
        dtype = ("uint8", "int8")[int(rng.integers(2))]
        x = tensor("x", (*size, int(rng.choice([1, 3, 6]))), dtype, bits=int(rng.choice([8, 4])))
        case = layer_case(rng, encoding, x, int(rng.choice([1, 5, 33])), window)
        if case.out.shape[0] * case.out.shape[1] > 1:
            yield case


def full_case(sign: int, over: int = 0) -> KernelCase:
    """Sums of both digits as large as lanes hold, at 128 taps of 255, or ``over`` taps beyond."""
    x = tensor("x", (1, 3, 128 + over), "uint8")
    image = np.full((1, 1, 1, 128 + over), 7 * sign)  # its digits: 8 - 1
    weights = encode_image(image, ENCODINGS["int4"], np.array([-10]))
    op = Conv2D(weights, np.zeros(1, np.int32), "linear")
    ends = np.zeros((4, *x.shape), np.int64)
    ends[0, :, ::2], ends[1, :, 1::2], ends[2] = 255, 255, 255
    y = tensor("y", (1, 3, 1), "int8", 2)
    return KernelCase(op, (x,), y, (ends,), label=f"full {sign}", stem=STEM, core=CORE)


@pytest.mark.parametrize("encoding", FOUR_BITS)
def test_random_windows(encoding: str, check: Check) -> None:
    cases = list(layer_cases(encoding, 24))
    assert len(cases) > 12
    check([*cases, full_case(1), full_case(-1)])


def test_on_the_core() -> None:
    skip_unless_available(f"qemu-{CORE}")
    cases = [case for encoding in FOUR_BITS for case in layer_cases(encoding, 8)]
    graph, inputs = together([*cases, full_case(1), full_case(-1)])
    backend = EmulatedBackend(f"qemu-{CORE}", Target(CORES[CORE], {"*": STEM}))
    got, expected = backend.run(graph, inputs), executor.run(graph, inputs)
    for name in graph.outputs:
        assert np.array_equal(got[name], expected[name]), name


def test_what_is_refused() -> None:
    case = full_case(1)
    assert case.choice() is not None
    assert replace(case, core="m4").choice() is None
    assert full_case(1, over=1).choice() is None
    assert full_case(-1, over=1).choice() is None
    rng = np.random.default_rng(0)
    point = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    x = tensor("x", (2, 2, MAX_WORDS + 1), "uint8", bits=4)
    assert layer_case(rng, "int4", x, 2, point).choice() is None
    assert layer_case(rng, "int3", tensor("x", (2, 2, 5)), 2, point).choice() is None
    assert layer_case(rng, "int4", tensor("x", (1, 1, 5)), 2, point).choice() is None


@pytest.mark.parametrize("encoding", FOUR_BITS)
def test_levels_are_the_images_of_the_codes(encoding: str) -> None:
    case = next(layer_cases(encoding, 1))
    weights = case.op.quantized
    assert np.array_equal(levels_of(weights)[weights.codes & 15], weights.image())


def test_signed_digits() -> None:
    values = np.arange(-128, 129)
    digits = signed_digits(values)
    assert np.array_equal((digits << np.arange(len(digits))[:, None]).sum(0), values)
    assert set(np.unique(digits)) == {-1, 0, 1}
    assert not (digits[1:] * digits[:-1]).any()
