# SPDX-License-Identifier: Apache-2.0
"""Weights as code on the cores that it is made for: random layers, full lanes, what it costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from available import skip_unless_available
from kernels.chosen import KernelCase
from kernels.pot_layers import NONE, STEM, WINDOWS, full_case, layer_case, layer_cases
from kernels.random_layers import codes, tensor

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.cores import CORES
from tinyq.emulators import Profile, RunRequest, emulator
from tinyq.encodings import ENCODINGS, encode_image
from tinyq.graph import Graph, Node, validate
from tinyq.kernels.program import Target
from tinyq.ops import Conv2D

#: core to executed instructions per multiplication of a layer of 64 x 64 weights, at most
COSTS = {"m0": 1.0, "rv32ec": 1.2}


def joined(cases: list[KernelCase]) -> Graph:
    """All layers side by side."""
    nodes, tensors = [], {}
    for i, case in enumerate(cases):
        names = f"x{i}", f"y{i}"
        for t, name in zip((case.ins[0], case.out), names, strict=True):
            tensors[name] = type(t)(name, t.shape, t.dtype, t.bits, t.exponent)
        nodes.append(Node(f"n{i}", case.op, names[:1], names[1:], (f"n{i}",)))
    ends = tuple(n.inputs[0] for n in nodes), tuple(n.output for n in nodes)
    return validate(Graph("g", tensors, tuple(nodes), *ends))


@pytest.mark.slow
@pytest.mark.parametrize("core", COSTS)
def test_layers_on_a_core(core: str) -> None:
    skip_unless_available(f"qemu-{core}")
    cases = [*layer_cases(core, ("pot4", "apot3")), full_case(1, core), full_case(-1, core)]
    graph = joined(cases)
    inputs = {f"x{i}": c.xs[0].astype(c.ins[0].numpy_dtype) for i, c in enumerate(cases)}
    backend = EmulatedBackend(f"qemu-{core}")
    assert {step.kernel.stem for step in backend.program(graph).steps} == {STEM}
    got, expected = backend.run(graph, inputs), executor.run(graph, inputs)
    for name in graph.outputs:
        assert np.array_equal(got[name], expected[name]), name


def square_layer() -> KernelCase:
    """1x1, 64 x 64 weights of a bell curve, on 25 x 5 pixels."""
    rng = np.random.default_rng(0)
    x = tensor("x", (25, 5, 64), "uint8")
    kind = ENCODINGS["pot4"]
    levels = np.unique(np.array(kind.levels))
    drawn = np.clip(rng.normal(0, 24, (64, 1, 1, 64)), -64, 64)
    image = levels[np.abs(drawn[..., None] - levels).argmin(-1)]
    shifts = rng.integers(5, 8, 64)
    op = Conv2D(
        encode_image(image, kind, 2 - x.exponent - shifts),
        rng.integers(-2000, 2000, 64).astype(np.int32),
        "relu",
        padding=NONE,
    )
    y = tensor("y", (25, 5, 64), "uint8", 2)
    return KernelCase(op, (x,), y, (codes(rng, x, 1),), label="square", stem=STEM)


def profiles(core: str, case: KernelCase) -> tuple[Profile, ...]:
    graph = joined([case])
    backend = EmulatedBackend(f"qemu-{core}")
    inputs = {"x0": case.xs[0].astype(case.ins[0].numpy_dtype)}
    samples = pack_samples(graph, inputs)
    request = RunRequest(backend.image(graph), samples, case.count, profile=True)
    return emulator(backend.name).run(request).profiles


@pytest.mark.parametrize("core", COSTS)
def test_cost_is_low_and_does_not_depend_on_the_data(core: str) -> None:
    skip_unless_available(f"qemu-{core}")
    case = square_layer()
    counts = {profile.layers for profile in profiles(core, case)}
    assert len(counts) == 1
    ((count,),) = counts
    assert count <= COSTS[core] * case.op.macs([case.ins[0].shape], case.out.shape)


@pytest.mark.parametrize("backend", ["host", "qemu-m0"])
def test_bands_of_a_layer_share_its_code(backend: str) -> None:
    skip_unless_available(backend)
    rng = np.random.default_rng(1)
    x = tensor("x", (24, 24, 4), "uint8")
    first = layer_case(rng, "pot4", x, 8, WINDOWS[1], "m0")
    second = layer_case(rng, "pot4", first.out, 6, WINDOWS[2], "m0")
    tensors = {"x": x, "y": first.out, "z": replace(second.out, name="z")}
    nodes = Node("a", first.op, ("x",), ("y",)), Node("b", second.op, ("y",), ("z",))
    graph = validate(Graph("g", tensors, nodes, ("x",), ("z",)))
    chosen = EmulatedBackend(backend, Target(CORES["m0"], ram=7000))
    (step,) = chosen.program(graph).steps
    assert len(step.calls) > 2
    inputs = {"x": rng.integers(0, 256, (2, 24, 24, 4)).astype(np.uint8)}
    assert np.array_equal(chosen.run(graph, inputs)["z"], executor.run(graph, inputs)["z"])
