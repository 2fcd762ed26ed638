# SPDX-License-Identifier: Apache-2.0
"""Weights as code against tinyq.ops, in the C twin: any window, full lanes, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.chosen import KernelCase
from kernels.harness import Check
from kernels.pot_layers import SHIFTING, STEM, WINDOWS, full_case, layer_case, layer_cases
from kernels.random_layers import tensor
from tinyq.kernels import choose_kernel, conv2d_pot_code
from tinyq.kernels.conv2d_pot_code import ASSEMBLERS, make_plan
from tinyq.kernels.pot_code.plan import Bounds, Plan, blocks, cut
from tinyq.kernels.pot_code.share import share

CORES = tuple(ASSEMBLERS)


def plan_of(case: KernelCase) -> Plan:
    found = make_plan(case.request(), case.op)
    assert found is not None
    return found


@pytest.mark.slow
def test_random_windows(check: Check) -> None:
    cases = list(layer_cases("m0"))
    assert {case.op.quantized.encoding for case in cases} == set(SHIFTING)
    assert {len(plan_of(case).bases) for case in cases} >= {1, 2, 3}
    assert any(case.layer().fields["is_copied"] for case in cases)
    assert any(
        "x[" in line and "] = x[" in line for c in cases for line in c.layer().code.split("\n")
    )
    check(cases)


@pytest.mark.parametrize("core", CORES)
def test_sums_that_fill_a_lane(core: str, check: Check) -> None:
    check([full_case(sign, core) for sign in (1, -1)])


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_beyond_a_lane_keep_another_kernel(sign: int) -> None:
    assert full_case(sign, "m0").choice() is not None
    assert full_case(sign, "m0", over=1).choice() is None


def small_case(encoding: str = "pot4") -> KernelCase:
    rng = np.random.default_rng(3)
    return layer_case(rng, encoding, tensor("x", (3, 3, 8), "uint8"), 6, WINDOWS[0], "m0")


def test_what_is_refused() -> None:
    case = small_case()
    assert case.choice() is not None
    assert replace(case, core="m4").choice() is None
    linear = replace(case.op, activation="linear", rounding="tflite")
    assert replace(case, op=linear, out=replace(case.out, dtype="int8")).choice() is None
    one = replace(case, ins=(tensor("x", (1, 1, 8), "uint8"),), out=tensor("y", (1, 1, 6), "uint8"))
    assert one.choice() is None
    x = tensor("x", (2, 2, 80), "uint8")
    rng = np.random.default_rng(1)
    large = layer_case(rng, "pot4", x, conv2d_pot_code.MAX_WEIGHTS // 80 + 1, WINDOWS[0], "m0")
    assert large.choice() is None
    assert choose_kernel(large.request(), STEM).stem == STEM  # but who asks for it gets it
    deep = layer_case(rng, "pot3", tensor("x", (2, 2, 250), "uint8"), 2, WINDOWS[0], "m0")
    assert deep.choice() is None  # more words than the stack pointer reaches
    assert replace(deep, core="rv32ec").choice() is not None


def image_of(plan: Plan) -> np.ndarray:
    """The weights that a plan's terms add up to, derived words resolved."""
    words = np.zeros((plan.all_words, plan.words), np.int64)
    words[: plan.words] = np.eye(plan.words)
    for index, how in enumerate(plan.derived):
        right = words[how.right] << how.shift
        words[plan.words + index] = words[how.left] + (-right if how.negative else right)
    image = np.zeros((plan.channels, plan.words), np.int64)
    for channel, terms in enumerate(plan.terms):
        for term in terms:
            image[channel] += (-1 if term.negative else 1) * (words[term.word] << term.exponent)
    return image


@pytest.mark.parametrize("encoding", SHIFTING)
def test_shared_sums_change_no_weight(encoding: str) -> None:
    rng = np.random.default_rng(8)
    case = layer_case(rng, encoding, tensor("x", (2, 2, 20), "uint8"), 60, WINDOWS[0], "m0")
    plan = plan_of(case)
    shared = share(plan, 50, 4)
    expected = case.op.quantized.image().reshape(60, -1)
    assert np.array_equal(image_of(plan), expected)
    assert np.array_equal(image_of(shared), expected)
    assert 10 < len(shared.derived) <= 50
    count = sum(map(len, shared.terms))
    assert count + 4 * len(shared.derived) <= sum(map(len, plan.terms))
    assert len(share(plan, 3, 4).derived) == 3
    assert share(plan, 0, 4).terms == tuple(tuple(sorted(t, key=order)) for t in plan.terms)


def order(term: object) -> tuple[int, int]:
    return term.exponent, term.word


def bounds_of(*reach: int) -> Bounds:
    """One channel; exponent e's sum is between -reach[e] and reach[e]."""
    hi = np.array(reach, np.int64)[:, None]
    return Bounds(-hi, hi)


def test_few_groups_are_preferred() -> None:
    zero, nine = np.zeros(1, np.int64), np.array([9])
    bases, constants = cut(bounds_of(100, 200, 400), zero, nine)
    assert (bases, constants.tolist()) == ((0,), [[1 << 15]])
    assert cut(bounds_of(10_000, 20_000, 40_000), zero, nine)[0] == (0, 2)
    assert cut(bounds_of(10_000, 20_000, 40_000), zero, np.array([1])) is None
    assert cut(bounds_of(30_000, 60_000, 120_000), zero, nine) is None


def test_a_large_bias_is_divided() -> None:
    for bias in (60_000, -60_000, 65_537):
        bases, constants = cut(bounds_of(1000, 2000, 4000), np.array([bias]), np.array([5]))
        scaled = [int(c) << b for b, c in zip(bases, constants[:, 0], strict=True)]
        assert sum(scaled) - (1 << 15 << bases[-1]) == bias


def test_blocks_cover_all_channels() -> None:
    for channels in range(1, 80):
        for accumulators in (1, 7, 11):
            found = blocks(channels, accumulators)
            assert [c for block in found for c in block] == list(range(channels))
            assert max(map(len, found)) <= accumulators


@pytest.mark.parametrize("core", CORES)
def test_zero_weights_cost_nothing(core: str) -> None:
    case = replace(small_case(), core=core)
    codes = case.op.quantized.codes.copy()
    codes[:, :, :, 3] = 0
    thin = replace(case, op=replace(case.op, weights=replace(case.op.quantized, codes=codes)))
    full = replace(case, op=replace(case.op, weights=replace(case.op.quantized, codes=codes | 1)))
    assert thin.layer().assembly.count("\n") < full.layer().assembly.count("\n")
