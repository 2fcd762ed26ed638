# SPDX-License-Identifier: Apache-2.0
"""An inference takes as many instructions whatever the data: worst case = best case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from available import skip_unless_available
from graphs import random_inputs
from kernel_graphs import graphs

from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.boards import core_boards
from tinyq.cores import CORES
from tinyq.elf import foreign_instructions
from tinyq.emulators import Profile, RunRequest, emulator
from tinyq.graph import Graph
from tinyq.kernels.program import Program

GRAPHS = graphs()
#: of an inference's instructions
SPREAD = 0.001
#: kernels whose count depends on the data, by core, and why
VARYING = {
    "m0": {
        "average_pool2d": "the Cortex-M0 divides in software, in as many steps as the sum has bits",
        "max_pool2d": "the Cortex-M0 has no conditional instruction: comparisons branch",
    }
}
#: on cores that multiply in software, kernels that do not multiply
WITHOUT_PRODUCTS = ("conv2d_pot_code",)


def extreme_inputs(graph: Graph) -> dict[str, np.ndarray]:
    """Random codes, all greatest, all smallest, all zero, and greatest and smallest in turn."""
    codes = random_inputs(graph, 4)
    for name in graph.inputs:
        t = graph.tensors[name]
        turn = np.where(np.arange(t.size) % 2, t.lo, t.hi).reshape(t.shape)
        more = np.stack([np.zeros(t.shape, np.int64), turn]).astype(t.numpy_dtype)
        codes[name] = np.concatenate([codes[name], more])
    return codes


def measure(core: str, graph: Graph) -> tuple[Program, tuple[Profile, ...]]:
    backend = EmulatedBackend(f"qemu-{core}")
    codes = extreme_inputs(graph)
    count = len(codes[graph.inputs[0]])
    request = RunRequest(backend.image(graph), pack_samples(graph, codes), count, profile=True)
    return backend.program(graph), emulator(backend.name).run(request).profiles


def counts_of(core: str, graph: Graph, steady: Callable[[str], bool]) -> np.ndarray:
    """Instructions ``[sample, layer]`` of the layers whose kernel is ``steady``."""
    program, profiles = measure(core, graph)
    kept = [steady(step.kernel.stem) for step in program.steps]
    assert any(kept)
    return np.array([profile.layers for profile in profiles])[:, kept]


@pytest.mark.parametrize("core", [c for c in core_boards() if CORES[c].multiplier])
@pytest.mark.parametrize("name", ["int8-8", "lut4-8", "int4-4"])
def test_counts_do_not_depend_on_the_data(name: str, core: str) -> None:
    skip_unless_available(f"qemu-{core}")
    varying = VARYING.get(core, {})
    counts = counts_of(core, GRAPHS[name], lambda stem: stem not in varying)
    spread = (counts.max(0) - counts.min(0)).sum()
    assert spread <= SPREAD * counts.sum(1).min()


@pytest.mark.slow
def test_counts_of_weights_as_code_do_not_depend_on_the_data_without_a_multiplier() -> None:
    skip_unless_available("qemu-rv32ec")
    counts = counts_of("rv32ec", GRAPHS["pot4-8"], WITHOUT_PRODUCTS.__contains__)
    spread = (counts.max(0) - counts.min(0)).sum()
    assert spread <= SPREAD * counts.sum(1).min()


@pytest.mark.parametrize("core", ["m0", "m3"])
def test_no_object_of_the_library_holds_an_instruction_that_the_core_lacks(core: str) -> None:
    """Kernels that a program does not use are dropped from its image: look at all objects."""
    skip_unless_available(f"qemu-{core}")
    image = EmulatedBackend(f"qemu-{core}").image(GRAPHS["int4-8"])
    assert image.board is not None
    objects = [Path(path) for path, (part, _) in image.objects.items() if part == "library"]
    assert len(objects) > 20
    for path in objects:
        assert not foreign_instructions(path, image.board.instruction_set), path.name


def test_the_check_of_objects_sees_the_dsp_instructions_of_an_m4() -> None:
    skip_unless_available("qemu-m4")
    image = EmulatedBackend("qemu-m4").image(GRAPHS["int4-8"])
    library = [Path(path) for path, (part, _) in image.objects.items() if part == "library"]
    found = [i.text for path in library for i in foreign_instructions(path, "armv7-m")]
    assert any(text.startswith("smlad") for text in found)
