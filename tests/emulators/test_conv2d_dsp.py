# SPDX-License-Identifier: Apache-2.0
"""Convolutions with DSP instructions on emulated cores: the assembly, not its C twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from available import skip_unless_available
from kernels.chosen import together
from kernels.harness import Case
from kernels.test_conv2d_dsp import (
    POINT,
    SAME,
    AddCase,
    DspCase,
    bound_case,
    random_case,
    random_sum,
)

from tinyq.backends.emulated import EmulatedBackend
from tinyq.cores import CORES
from tinyq.graph import Graph, Node, validate
from tinyq.kernels.program import Target

#: the assembly is the same for all; the emulators differ
NAMES = ["m4", pytest.param("m33", marks=pytest.mark.slow)]


def convolutions() -> list[Case]:
    """Words of a segment round the unrolled loop, tails of channels, odd pixels, the bound."""
    rng = np.random.default_rng(51)
    cases: list[DspCase | None] = []
    for encoding in ("int8", "lut4", "int4", "lut3", "pot4"):
        for channels in (1, 2, 3, 8, 11, 30, 32, 34, 64, 66):
            outputs = int(rng.choice([1, 4, 7, 12]))
            window = POINT if channels > 10 else SAME
            cases.append(random_case(rng, encoding, (5, 3, channels), outputs, window))
        wide = {"kernel": (10, 4), "strides": (2, 2), "padding": (4, 5, 1, 1)}
        cases.append(random_case(rng, encoding, (13, 10, 1), 20, wide))
        cases.append(random_case(rng, encoding, (1, 9, 12), 5, POINT | {"kernel": (1, 5)}))
    for n, activation in [(0, "relu"), (9, "relu"), (9, "linear"), (22, "linear")]:
        op, x, y = bound_case(n, activation, 0)
        ends = np.stack([np.full(x.shape, value) for value in (x.hi, x.lo, x.hi, x.lo)])
        cases.append(DspCase(op, (x,), y, (ends,), label=f"bound {n} {activation}"))
    return [case for case in cases if case is not None]


@pytest.mark.parametrize("core", NAMES)
def test_convolutions_on_the_core(core: str) -> None:
    skip_unless_available(f"qemu-{core}")
    cases = convolutions()
    graph, codes = together(cases)
    target = Target(CORES[core], {"n*": "conv2d_dsp"})
    backend = EmulatedBackend(f"qemu-{core}", target)
    got = backend.run(graph, codes)
    for i, case in enumerate(cases):
        np.testing.assert_array_equal(got[f"y{i}"], case.expected(), case.label)


def sums_graph(cases: list[AddCase]) -> tuple[Graph, dict[str, np.ndarray]]:
    """All the cases in one graph: tensors ``x<i>``, ``o<i>`` (added), ``m<i>``, ``z<i>``."""
    tensors, nodes, codes = {}, [], {}
    for i, case in enumerate(cases):
        parts = dict(zip("xomz", (*case.ins, case.middle, case.out), strict=True))
        tensors |= {f"{key}{i}": replace(t, name=f"{key}{i}") for key, t in parts.items()}
        for key, x, values in zip("xo", case.ins, case.xs, strict=True):
            codes[f"{key}{i}"] = values.astype(x.numpy_dtype)
        nodes.append(Node(f"conv{i}", case.op, (f"x{i}",), (f"m{i}",)))
        nodes.append(Node(f"add{i}", case.add, case.order(f"m{i}", f"o{i}"), (f"z{i}",)))
    outputs = tuple(f"z{i}" for i in range(len(cases)))
    return validate(Graph("sums", tensors, tuple(nodes), tuple(codes), outputs)), codes


@pytest.mark.parametrize("core", NAMES)
def test_additions_on_the_core(core: str) -> None:
    skip_unless_available(f"qemu-{core}")
    rng = np.random.default_rng(52)
    cases = [random_sum(rng, "int8", is_usual=index % 3 > 0) for index in range(24)]
    graph, codes = sums_graph(cases)
    target = Target(CORES[core], {"conv*": "conv2d_dsp_add"})
    backend = EmulatedBackend(f"qemu-{core}", target)
    steps = backend.program(graph).steps
    assert len(steps) == len(cases)
    assert any("pass" in step.kernel.fields for step in steps)
    got = backend.run(graph, codes)
    for i, case in enumerate(cases):
        np.testing.assert_array_equal(got[f"z{i}"], case.expected(), case.label)
