# SPDX-License-Identifier: Apache-2.0
"""No kernel touches anything but its call's inputs, output, scratch, constants and stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from available import skip_unless_available
from graphs import random_inputs
from kernel_graphs import forced, graphs, stems
from scopes import constants, memory_of, scopes

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.boards import Region
from tinyq.cores import CORES
from tinyq.emulators import RunError, RunRequest, emulator
from tinyq.graph import Graph
from tinyq.kernels import KERNELS
from tinyq.kernels.program import Program, Target, compile_graph

GRAPHS = graphs()
CHECKED = ("m0", "m3", "m4", "m33")


def request_of(program: Program, core: str, shrink: int = 0) -> RunRequest:
    """An inference under guard; ``shrink`` takes bytes from the end of every output."""
    backend = EmulatedBackend(f"unicorn-{core}", program.target)
    image = backend.image(program.graph)
    assert image.board is not None
    report = memory_of(image)
    found = scopes(program, report)
    if shrink:
        found = tuple(
            replace(s, writable=(_shrunk(s.writable[0], shrink), *s.writable[1:])) for s in found
        )
    return RunRequest(
        image,
        pack_samples(program.graph, random_inputs(program.graph, 1)),
        1,
        check_memory=True,
        scopes=found,
        constants=constants(report, image.board.flash),
    )


def _shrunk(region: Region, shrink: int) -> Region:
    return Region(region.origin, region.size - shrink)


def check(program: Program, core: str) -> None:
    skip_unless_available(f"unicorn-{core}")
    result = emulator(f"unicorn-{core}").run(request_of(program, core))
    expected = executor.predict(program.graph, random_inputs(program.graph, 1))
    codes = (np.ascontiguousarray(expected[name]).tobytes() for name in program.graph.outputs)
    assert b"".join(result.outputs) == b"".join(codes)


@pytest.mark.parametrize("core", CHECKED)
@pytest.mark.parametrize("name", ["int8-8", "lut4-8", "int4-4"])
def test_chosen_kernels_stay_in_their_buffers(name: str, core: str) -> None:
    check(compile_graph(GRAPHS[name], Target(CORES[core])), core)


@pytest.mark.slow
@pytest.mark.parametrize("core", CHECKED)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_kernel_stays_in_its_buffers(name: str, core: str) -> None:
    programs = [forced(GRAPHS[name], CORES[core], stem) for stem in KERNELS]
    found = [program for program in programs if program is not None]
    assert found
    for program in found:
        check(program, core)


def test_every_kernel_is_chosen_by_some_core() -> None:
    programs = (
        compile_graph(graph, Target(core)) for core in CORES.values() for graph in GRAPHS.values()
    )
    assert {stem for program in programs for stem in stems(program)} >= set(KERNELS)


def test_an_output_one_byte_too_small_is_noticed() -> None:
    skip_unless_available("unicorn-m4")
    program = compile_graph(GRAPHS["int8-8"], Target(CORES["m4"]))
    first = program.steps[0].name
    with pytest.raises(RunError, match=rf"store of \d bytes .* outside the buffers of {first}"):
        emulator("unicorn-m4").run(request_of(program, "m4", shrink=1))


def test_calls_that_do_not_happen_are_noticed() -> None:
    skip_unless_available("unicorn-m4")
    graph: Graph = GRAPHS["int8-8"]
    request = request_of(compile_graph(graph, Target(CORES["m4"])), "m4")
    more = replace(request, scopes=(*request.scopes, request.scopes[0]))
    with pytest.raises(RunError, match="calls of those that were to be checked"):
        emulator("unicorn-m4").run(more)
