# SPDX-License-Identifier: Apache-2.0
"""Dense in Helium vectors against tinyq.ops: any number of inputs and outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Case, Check
from kernels.random_layers import codes, label, linear_parameters, random_input
from tinyq.ops import Dense

SIZES = ((1, 1), (16, 4), (17, 5), (15, 3), (40, 2), (64, 12), (3, 9))


def random_case(rng: np.random.Generator, encoding: str, inputs: int, outputs: int) -> KernelCase:
    """A layer of that size."""
    x = random_input(rng, (inputs,))
    parameters, y = linear_parameters(rng, encoding, (outputs, inputs), x)
    op = Dense(**parameters)
    case = Case(op, (x,), replace(y, shape=(outputs,)), (codes(rng, x),), label=label(op, x))
    return in_kernel(case, "dense_mve", "m55")


@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4", "pot4", "apot4"])
def test_random_layers(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(1)
    check([random_case(rng, encoding, *size) for size in SIZES for _ in range(3)])


def test_every_form_has_a_routine_for_either_rounding() -> None:
    rng = np.random.default_rng(2)
    names = {
        random_case(rng, encoding, 8, 4).layer().fields["run"]
        for encoding in ("int8", "int4", "lut4")
        for _ in range(60)
    }
    forms = ("int8", "int4", "table")
    assert names == {f"tq_mve_dense_{form}{end}" for form in forms for end in ("", "_nudge")}


def test_codes_of_other_sizes_stay_away() -> None:
    rng = np.random.default_rng(3)
    assert random_case(rng, "int3", 8, 4).choice() is None
    assert in_kernel(random_case(rng, "int8", 8, 4), "dense_mve", "m7").choice() is None
