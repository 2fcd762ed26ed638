# SPDX-License-Identifier: Apache-2.0
"""The Cortex-M0's assembly against the executor: exact, aligned, inside its buffers, steady."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from available import skip_unless_available
from kernels.harness import Case
from kernels.test_conv2d_m0 import full_lanes_case, window
from kernels.test_conv2d_m0 import random_case as random_conv2d
from kernels.test_dense_m0 import random_case as random_dense
from kernels.test_depthwise_m0 import full_case
from kernels.test_depthwise_m0 import random_case as random_depthwise

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.emulators import RunRequest, RunResult, emulator
from tinyq.graph import Graph, Node, validate

SAMPLES = 4
ENCODINGS = ("int8", "int4", "lut4", "int3", "lut2", "apot4")
Codes = dict[str, np.ndarray]


def joined(cases: list[Case]) -> tuple[Graph, Codes]:
    """Layers side by side in one graph, each with its own input, and their samples."""
    tensors, nodes, codes = {}, [], {}
    for i, case in enumerate(cases):
        x, y = replace(case.ins[0], name=f"x{i}"), replace(case.out, name=f"y{i}")
        tensors |= {x.name: x, y.name: y}
        nodes.append(Node(f"n{i}", case.op, (x.name,), (y.name,), (f"n{i}",)))
        codes[x.name] = np.resize(case.xs[0], (SAMPLES, *x.shape)).astype(x.numpy_dtype)
    inputs = tuple(n.inputs[0] for n in nodes)
    outputs = tuple(n.output for n in nodes)
    return validate(Graph("layers", tensors, tuple(nodes), inputs, outputs)), codes


def admitted(draw: Callable[[], Case]) -> Case:
    """The first of the layers drawn that has a kernel of this core (extreme shifts have none)."""
    drawn = (draw() for _ in range(100))
    return next(case for case in drawn if case.layer().stem.endswith("_m0"))


def convolutions(rng: np.random.Generator) -> list[Case]:
    """Windows of every kind."""
    none, around = (0, 0, 0, 0), (1, 1, 1, 1)
    windows = [
        ((5, 4, 17), 6, window((1, 1), (1, 1), none)),
        ((6, 5, 3), 5, window((3, 3), (2, 2), (0, 1, 0, 1))),
        ((4, 5, 16), 9, window((3, 3), (1, 1), around)),
        ((1, 9, 2), 4, window((1, 5), (1, 2), (0, 0, 2, 1))),
        ((9, 6, 1), 40, window((5, 2), (2, 2), (2, 2, 0, 1))),
        ((3, 2, 33), 1, window((2, 2), (1, 1), (3, 2, 2, 2))),
    ]
    return [
        admitted(lambda e=e, form=form: random_conv2d(rng, e, *form))
        for e in ENCODINGS
        for form in windows
    ]


def depthwise(rng: np.random.Generator) -> list[Case]:
    """Windows of every kind."""
    forms = [
        ((5, 7, 3), (1, 1), (1, 1, 1, 1), 1),
        ((6, 5, 2), (2, 2), (0, 1, 0, 1), 2),
        ((4, 3, 5), (1, 1), (0, 0, 2, 2), 1),
        ((3, 9, 1), (3, 2), (4, 1, 1, 3), 1),
    ]
    return [
        admitted(lambda e=e, form=form: random_depthwise(rng, e, *form))
        for e in ENCODINGS
        for form in forms
    ]


def dense(rng: np.random.Generator) -> list[Case]:
    """Sizes that are multiples of nothing."""
    sizes = [(1, 1), (7, 9), (40, 5), (129, 35)]
    return [
        admitted(lambda e=e, size=size: random_dense(rng, e, *size))
        for e in ("int8", "int4", "lut4", "apot4")
        for size in sizes
    ]


def full(rng: np.random.Generator) -> list[Case]:
    """Lanes filled to the last unit."""
    del rng
    forms = [(e, d, a) for e in ENCODINGS for d in ("uint8", "int8") for a in ("linear", "relu")]
    return [*(full_lanes_case(*f) for f in forms), *(full_case(*f) for f in forms)]


GROUPS = {"conv2d": convolutions, "depthwise": depthwise, "dense": dense, "full": full}


@cache
def run(group: str, machine: str, profile: bool = False) -> tuple[Graph, Codes, RunResult]:
    """All layers of a group on an emulator, their accesses checked where it can."""
    skip_unless_available(machine)
    graph, codes = joined(GROUPS[group](np.random.default_rng(8)))
    backend = EmulatedBackend(machine)
    kernels = {step.kernel.stem for step in backend.program(graph).steps}
    # small layers whose weights are shifts are code
    assert all(stem.endswith("_m0") for stem in kernels - {"conv2d_pot_code"}), kernels
    request = RunRequest(
        backend.image(graph),
        pack_samples(graph, codes),
        SAMPLES,
        profile=profile,
        check_memory=machine.startswith("unicorn"),
    )
    return graph, codes, emulator(machine).run(request)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("machine", ["qemu-m0", pytest.param("unicorn-m0", marks=pytest.mark.slow)])
def test_layers_are_exact(group: str, machine: str) -> None:
    """Unicorn also proves that every access is aligned and inside the program's memory."""
    graph, codes, result = run(group, machine)
    expected = executor.run(graph, codes)
    for i, found in enumerate(result.outputs):
        start = 0
        for name in graph.outputs:
            want = np.ascontiguousarray(expected[name][i]).tobytes()
            assert found[start : start + len(want)] == want, (name, i, graph.producer(name).op)
            start += len(want)


@pytest.mark.parametrize("group", GROUPS)
def test_counts_do_not_depend_on_the_data(group: str) -> None:
    """Random, smallest and greatest inputs."""
    graph, _, result = run(group, "qemu-m0", profile=True)
    for i, node in enumerate(graph.nodes):
        counts = {profile.layers[i] for profile in result.profiles}
        assert len(counts) == 1, (node.op, counts)
