# SPDX-License-Identifier: Apache-2.0
"""Convolutions of two pixels in a 16-bit lane against tinyq.ops; lanes filled to the last unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernels.chosen import KernelCase
from kernels.four_bit_layers import (
    FITTING,
    Unsegmented,
    inputs,
    random_conv,
    segments_of,
    summing_case,
)
from kernels.harness import Check, run_program
from kernels.random_layers import random_window, tensor
from tinyq.kernels import four_bits
from tinyq.kernels.conv2d_nibbles import LOWER

STEM = "conv2d_nibbles"
POINT = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}


@pytest.mark.parametrize("encoding", FITTING)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(4)
    cases = []
    while len(cases) < 24:
        size, window = random_window(rng, 4)
        channels, outputs = (int(rng.choice([1, 2, 3, 4, 5, 8, 17])) for _ in range(2))
        x = inputs(rng, (*size, channels))
        case = random_conv(rng, encoding, x, outputs, window, STEM)
        if case.out.size > outputs:
            cases.append(case)
    check(cases)


@pytest.mark.parametrize("tile", [1, 2, 5])
def test_tiles(tile: int, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "choose_tile", lambda *_: tile)
    rng = np.random.default_rng(3)
    window = {"kernel": (3, 3), "strides": (2, 2), "padding": (0, 1, 0, 1)}
    x = tensor("x", (10, 14, 24), "uint8", bits=4)
    cases = [random_conv(rng, "int4", x, 6, window, STEM) for _ in range(4)]
    assert cases[0].layer().fields["tile"] == tile
    assert len(segments_of(cases[0].choice())) > 1
    check(cases)


def full_case(total: int, dtype: str = "uint8", bits: int = 1) -> KernelCase:
    """A 1x1 layer whose first channel's weights are positive and sum to ``total``."""
    x = tensor("x", (3, 3, 300), dtype, bits=bits)
    flat = np.minimum(7, np.maximum(0, total - 7 * np.arange(300)))
    image = np.stack([flat, -flat, flat // 2, -flat])[:, None, None]
    return summing_case(image, x, (0, 0, 0, 0), STEM)


def test_lanes_that_are_full(check: Check) -> None:
    full, over = full_case(LOWER - 1), full_case(LOWER)
    assert int(full.op.quantized.image().astype(int)[0].sum()) == LOWER - 1
    assert len(segments_of(full.choice())) == 1
    assert len(segments_of(over.choice())) == 2
    check([full, over])


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_ranges_of_four_bits_that_fill_a_lane(dtype: str, check: Check) -> None:
    cases = [full_case(total, dtype, 4) for total in ((LOWER - 1) // 15, (LOWER - 1) // 15 + 1)]
    assert [len(segments_of(case.choice())) for case in cases] == [1, 2]
    check(cases)


def test_any_weights_have_segments(check: Check) -> None:
    image = np.full((4, 1, 1, 48), -8)
    image[1] = 7
    x = tensor("x", (3, 3, 48), "uint8", bits=4)
    case = summing_case(image, x, (0, 0, 0, 0), STEM)
    assert segments_of(case.choice()) == [8, 8, 8]
    check([case])


def test_a_lane_beyond_its_bound_would_be_wrong(library: Path, tmp_path: Path) -> None:
    case = full_case(LOWER + 7)
    wrong = Unsegmented(case.op, case.ins, case.out, case.xs, None, case.label, STEM)
    (got,) = run_program([wrong], library, tmp_path)
    assert not np.array_equal(got.astype(np.int64), case.expected())


def test_where_it_does_not_apply() -> None:
    rng = np.random.default_rng(5)
    x = tensor("x", (2, 2, 5), "uint8", bits=4)
    fitting = random_conv(rng, "int4", x, 2, POINT, STEM)
    others = [
        random_conv(rng, "int4", replace(x, bits=5), 2, POINT, STEM),
        random_conv(rng, "int8", x, 2, POINT, STEM),
        random_conv(rng, "int4", replace(x, shape=(1, 1, 5)), 2, POINT, STEM),
        replace(fitting, core="m3"),
    ]
    assert fitting.choice() is not None
    assert [case.choice() for case in others] == [None] * len(others)
