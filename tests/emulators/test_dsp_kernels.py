# SPDX-License-Identifier: Apache-2.0
"""Dense and depthwise kernels of the DSP extension on emulated cores, in their own instructions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from available import skip_unless_available
from kernels.chosen import together
from kernels.harness import Case
from kernels.test_dense import dense
from kernels.test_dense_dsp import full_layer
from kernels.test_depthwise_conv2d import depthwise
from kernels.test_depthwise_conv2d_dsp import relu_layer

from tinyq.backends.emulated import EmulatedBackend
from tinyq.kernels import dense_lut_dsp


def dense_cases() -> list[Case]:
    """Lengths and numbers of channels round the blocks; sums at the bound."""
    rng = np.random.default_rng(41)
    sizes = [(1, 1), (5, 3), (16, 8), (31, 12), (64, 10), (100, 23), (7, 65)]
    random = [dense(rng, e, i, o) for e in ("int8", "int4", "lut4", "apot4") for i, o in sizes]
    full = [full_layer(e, d, 0) for e in ("int8", "int4") for d in ("int8", "uint8")]
    return [*random, *(replace_count(case) for case in full)]


def replace_count(case: Case) -> Case:
    """Four samples, as the others have."""
    return Case(case.op, case.ins, case.out, (np.repeat(case.xs[0], 2, axis=0),), None, case.label)


def depthwise_cases() -> list[Case]:
    """Widths round the pairs, bands, a common shift, shifts beyond it, other windows."""
    rng = np.random.default_rng(42)
    cases = []
    for width in (1, 2, 3, 4, 5, 6, 7, 9, 12, 30, 61):
        for strides in (1, 2):
            shape = (int(rng.integers(1, 30)), width, int(rng.choice([1, 3, 4, 9, 18])))
            cases.append(relu_layer(rng, shape, rng.integers(5, 14, shape[2]), strides))
    for kernel, strides in [((3, 3), (1, 1)), ((3, 3), (2, 2)), ((1, 4), (1, 2)), ((5, 5), (1, 1))]:
        window = {"kernel": kernel, "strides": strides, "padding": (0, 0, 0, 0)}
        cases += [depthwise(rng, e, (26, 11, 5), 1, window) for e in ("int8", "lut4", "int3")]
    return cases


@pytest.mark.parametrize("core", ["m4", "m7", "m33"])
@pytest.mark.parametrize("make", [dense_cases, depthwise_cases])
def test_kernels_on_the_core(
    core: str, make: Callable[[], list[Case]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_lut_dsp, "LEAST_WEIGHTS", 1)
    skip_unless_available(f"qemu-{core}")
    cases = make()
    graph, codes = together(cases)
    backend = EmulatedBackend(f"qemu-{core}")
    kernels = [step.kernel.stem for step in backend.program(graph).steps]
    assert sum(kernel.endswith("_dsp") for kernel in kernels) > len(cases) // 2
    got = backend.run(graph, codes)
    for i, case in enumerate(cases):
        np.testing.assert_array_equal(got[f"y{i}"], case.expected(), case.label)
