# SPDX-License-Identifier: Apache-2.0
"""The Cortex-M0's fully connected layer against tinyq.ops: every encoding, extremes, segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lanes import weights_of

from kernels.harness import Check
from kernels.m0_cases import M0Case, request_of
from kernels.random_layers import codes, label, linear_parameters, random_input
from tinyq.encodings import ENCODINGS
from tinyq.kernels import dense_m0
from tinyq.kernels.blocks_m0 import LANE_RANGE
from tinyq.ops import Dense
from tinyq.tensors import Tensor


def random_case(rng: np.random.Generator, encoding: str, inputs: int, outputs: int) -> M0Case:
    """A layer of random numbers."""
    x = random_input(rng, (inputs,))
    parameters, y = linear_parameters(rng, encoding, (outputs, inputs), x)
    op = Dense(**parameters)
    y = replace(y, shape=(outputs,))
    return M0Case(op, (x,), y, (codes(rng, x),), label=label(op, x), choose=dense_m0.choose)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_layers(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(1)
    sizes = [1, 2, 3, 7, 8, 9, 16, 40, 61, 129]
    cases = [
        random_case(rng, encoding, int(rng.choice(sizes)), int(rng.choice(sizes)))
        for _ in range(40)
    ]
    chosen = [case.layer().stem for case in cases].count("dense_m0")
    assert chosen > 15 if ENCODINGS[encoding].bits in (4, 8) else chosen == 0
    check(cases)


def case_of(image: np.ndarray, encoding: str, dtype: str) -> M0Case:
    """Weights ``[O, I]``, and inputs that drive the first output to both ends."""
    x = Tensor("x", (image.shape[1],), dtype, exponent=-3)
    op = Dense(weights_of(image, encoding), np.arange(len(image), dtype=np.int32) * 100 - 200)
    y = Tensor("y", (len(image),), "int8", exponent=-3 - 5 + 9)
    ends = [np.where(image[0] > 0, x.hi, x.lo), np.where(image[0] > 0, x.lo, x.hi)]
    xs = np.concatenate([np.stack(ends), codes(np.random.default_rng(0), x)]).astype(np.int64)
    return M0Case(op, (x,), y, (xs,), label=f"{encoding} {dtype}", choose=dense_m0.choose)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_segments_that_fill_16_bits(dtype: str, check: Check) -> None:
    """Sums of magnitudes 257 a segment, and one more: 257 * 255 is what 16 bits span."""
    flat = np.array([7] * 36 + [5], np.int64)
    full = np.stack([flat, -flat, np.where(np.arange(37) % 2, flat, -flat)] * 3)
    more = full.copy()
    more[:, -1] += np.sign(more[:, -1])
    assert int(np.abs(full[0]).sum()) * 255 == LANE_RANGE
    cases = [case_of(image, "int4", dtype) for image in (full, more)]
    assert [case.layer().fields["segment_count"] for case in cases] == [1, 2]
    check(cases)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_greatest_pairs_of_int8(dtype: str, check: Check) -> None:
    """Pairs w0 + 256 * w1 whose second sum is just below 2^23; one input more is not chosen."""
    inputs = (dense_m0.PAIR_LIMIT - 1) // (255 * 127)
    signs = np.array([[1, 1, -1, -1, 1], [1, -1, 1, -1, 1]]).T
    image = np.repeat(signs, [inputs - 3, 3], axis=1) * 127
    assert case_of(image, "int8", dtype).layer().stem == "dense_m0"
    larger = np.pad(image, ((0, 0), (0, 1)), constant_values=127)
    assert case_of(larger, "int8", dtype).layer().stem == "dense"
    check([case_of(image, "int8", dtype)])


def test_other_cores_have_other_kernels() -> None:
    case = random_case(np.random.default_rng(3), "lut4", 9, 5)
    small = replace(case, op=replace(case.op, bias=np.zeros(5, np.int32)))
    assert dense_m0.choose(request_of(small, "m3")) is None
