# SPDX-License-Identifier: Apache-2.0
"""Poolings and additions of the DSP extension on emulated cores, in their own instructions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from available import skip_unless_available
from kernels import test_add_dsp, test_average_pool2d_dsp, test_max_pool2d_dsp
from kernels.chosen import KernelCase, together

from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.emulators import RunRequest, emulator

CORES = ("m4", *(pytest.param(core, marks=pytest.mark.slow) for core in ("m33", "m7", "m55")))


def poolings() -> list[KernelCase]:
    """Channels round the blocks, any window, lanes at their ends, ties."""
    rng = np.random.default_rng(12)
    cases = []
    for kind in (test_max_pool2d_dsp, test_average_pool2d_dsp):
        cases += [kind.random_pool(rng, channels) for channels in (*range(4, 14), 16, 21)]
        cases += [kind.whole(rng, (257, 1, 5)), kind.whole(rng, (8, 8, 12))]
    ties = test_average_pool2d_dsp.ties
    return [*cases, *(ties(d, count) for d in ("int8", "uint8") for count in (2, 7, 10))]


def additions() -> list[KernelCase]:
    """Both types, rounding or not, remainders."""
    rng = np.random.default_rng(13)
    signs = [("int8", "uint8"), ("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8")]
    exponents = ((0, 1, 3), (0, 14, 8), (0, 0, 0), (-2, 1, -1))
    cases = [
        test_add_dsp.case(s, e, i) for i, (s, e) in enumerate(zip(signs, exponents, strict=True))
    ]
    return [*(thinned(case) for case in cases), *(test_add_dsp.short(rng, n) for n in (17, 18, 19))]


def thinned(case: KernelCase) -> KernelCase:
    """Every fifth row and column of the pairs."""
    xs = tuple(x[:, ::5, ::5] for x in case.xs)
    ins = tuple(replace(x, shape=xs[0].shape[1:]) for x in case.ins)
    return replace(case, ins=ins, out=replace(case.out, shape=ins[0].shape), xs=xs)


def in_samples(case: KernelCase, count: int) -> KernelCase:
    """As many samples as the others of a graph have."""
    return replace(case, xs=tuple(np.resize(x, (count, *x.shape[1:])) for x in case.xs))


def check(cases: list[KernelCase], core: str) -> None:
    """Every layer runs in its kernel, and computes what ``op.evaluate`` does."""
    skip_unless_available(f"qemu-{core}")
    cases = [replace(in_samples(case, 4), core=core) for case in cases]
    graph, codes = together(cases)
    backend = EmulatedBackend(f"qemu-{core}")
    forced = backend.with_target(core, {f"n{i}": case.stem for i, case in enumerate(cases)}, None)
    assert [s.kernel.stem for s in forced.program(graph).steps] == [case.stem for case in cases]
    got = forced.run(graph, codes, keep_all=False)
    for i, case in enumerate(cases):
        np.testing.assert_array_equal(got[f"y{i}"], case.expected(), case.label)


@pytest.mark.parametrize("core", CORES)
def test_on_the_core(core: str) -> None:
    check([*poolings(), *additions()], core)


def test_instructions_do_not_depend_on_the_data() -> None:
    skip_unless_available("qemu-m4")
    rng = np.random.default_rng(14)
    cases = [
        test_max_pool2d_dsp.whole(rng, (3, 4, 13)),
        test_average_pool2d_dsp.whole(rng, (8, 25, 51)),
        in_samples(test_add_dsp.short(rng, 21), 4),
    ]
    graph, codes = together(cases)
    image = EmulatedBackend("qemu-m4").image(graph)
    request = RunRequest(image, pack_samples(graph, codes), 4, profile=True)
    assert len({p.layers for p in emulator("qemu-m4").run(request).profiles}) == 1
