# SPDX-License-Identifier: Apache-2.0
"""3x3 convolutions in polynomial products against tinyq.ops; lanes filled to the last unit."""

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
from kernels.random_layers import tensor
from tinyq.kernels import four_bits
from tinyq.kernels.conv2d_smlal import LANE, TOP_LANE
from tinyq.tensors import Tensor

STEM = "conv2d_smlal"
WINDOW = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}


@pytest.mark.parametrize("encoding", FITTING)
def test_random_layers(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(2)
    cases = []
    for _ in range(24):
        padding = tuple(int(n) for n in rng.integers(0, 3, 4))
        least = [max(1, 3 - sum(padding[:2])), max(1, 3 - sum(padding[2:]))]
        height, width = (int(rng.integers(n, n + 9)) for n in least)
        channels, outputs = (int(rng.choice([1, 2, 3, 4, 5, 8, 17])) for _ in range(2))
        x = inputs(rng, (height, width, channels))
        cases.append(random_conv(rng, encoding, x, outputs, WINDOW | {"padding": padding}, STEM))
    check(cases)


@pytest.mark.parametrize("tile", [1, 2, 5])
def test_tiles(tile: int, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "choose_tile", lambda *_: tile)
    rng = np.random.default_rng(3)
    x = tensor("x", (7, 8, 40), "uint8", bits=4)
    cases = [random_conv(rng, "int4", x, 6, WINDOW, STEM) for _ in range(4)]
    assert cases[0].layer().fields["tile"] == tile
    assert len(segments_of(cases[0].choice())) > 1
    check(cases)


def image_of(values: np.ndarray) -> np.ndarray:
    """Four output channels, 3x3xI: the values (of the order of the steps), negated, halves."""
    steps = four_bits.pad_axis(values.reshape(-1, 3), 0, 3)
    first = steps.reshape(3, -1, 3).transpose(0, 2, 1)
    return np.stack([first, -first, first // 2, -first])


def flat_weights(total: int, count: int, width: int) -> np.ndarray:
    """Weights of 7 and a rest that sum to ``total``, in the first ``width`` taps of every step."""
    values = np.zeros((count, 3), np.int64)
    flat = np.minimum(7, np.maximum(0, total - 7 * np.arange(count * width)))
    values[:, :width] = flat.reshape(count, width)
    return values


def bit_input(channels: int) -> Tensor:
    """Codes 0 and 1: a lane's sum is a sum of weights."""
    return tensor("x", (4, 5, channels), "uint8", bits=1)


def full_case(total: int, width: int, x: Tensor | None = None) -> KernelCase:
    x = x or bit_input(100)
    image = image_of(flat_weights(total, 3 * x.shape[2], width))
    return summing_case(image, x, (1, 1, 1, 1), STEM)


@pytest.mark.parametrize(("limit", "width"), [(LANE - 1, 3), (TOP_LANE - 1, 1)])
def test_lanes_that_are_full(limit: int, width: int, check: Check) -> None:
    full, over = full_case(limit, width), full_case(limit + 1, width)
    assert int(full.op.quantized.image().astype(int)[0].sum()) == limit
    assert len(segments_of(full.choice())) == 1
    assert len(segments_of(over.choice())) == 2
    check([full, over])


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_ranges_of_four_bits_that_fill_a_lane(dtype: str, check: Check) -> None:
    x = tensor("x", (3, 4, 30), dtype, bits=4)
    reach = max(x.hi, -x.lo)
    cases = [full_case(total, 3, x) for total in ((LANE - 1) // reach, LANE // reach + 8)]
    assert [len(segments_of(case.choice())) for case in cases] == [1, 2]
    check(cases)


def test_any_weights_have_segments(check: Check) -> None:
    image = np.full((4, 3, 3, 20), -8)
    image[1] = 7
    x = tensor("x", (3, 3, 20), "uint8", bits=4)
    case = summing_case(image, x, (1, 1, 1, 1), STEM)
    assert segments_of(case.choice()) == [6] * 10
    check([case])


def test_a_lane_beyond_its_bound_would_be_wrong(library: Path, tmp_path: Path) -> None:
    case = full_case(LANE + 7, 3)
    wrong = Unsegmented(case.op, case.ins, case.out, case.xs, None, case.label, STEM)
    (got,) = run_program([wrong], library, tmp_path)
    assert not np.array_equal(got.astype(np.int64), case.expected())


def test_where_it_does_not_apply() -> None:
    rng = np.random.default_rng(5)
    x = tensor("x", (6, 6, 2), "uint8", bits=4)
    fitting = random_conv(rng, "int4", x, 2, WINDOW, STEM)
    others = [
        random_conv(rng, "int4", replace(x, bits=5), 2, WINDOW, STEM),
        random_conv(rng, "int8", x, 2, WINDOW, STEM),
        random_conv(rng, "int4", x, 2, WINDOW | {"strides": (1, 2)}, STEM),
        random_conv(rng, "int4", x, 2, WINDOW | {"kernel": (3, 2)}, STEM),
        replace(fitting, core="m3"),
    ]
    assert fitting.choice() is not None
    assert [case.choice() for case in others] == [None] * len(others)
