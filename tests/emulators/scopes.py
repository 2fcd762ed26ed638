# SPDX-License-Identifier: Apache-2.0
"""What every call of a program may touch, as regions of an image's memory."""

from __future__ import annotations

from collections.abc import Iterator

from tinyq.boards import Region
from tinyq.elf import SizeReport, Symbol, size_report
from tinyq.emulators.base import Scope
from tinyq.kernels.program import Address, Call, Program, Step
from tinyq.measurement import PRODUCT
from tinyq.toolchain import Image


def memory_of(image: Image) -> SizeReport:
    """Symbols of an image with the part that they belong to."""
    assert image.map_file is not None
    return size_report(image.path, image.map_file, image.objects)


def symbol(report: SizeReport, name: str) -> Symbol:
    """The product's symbol of that name."""
    (found,) = (s for s in report.symbols if s.name == name and s.part in PRODUCT)
    return found


def constants(report: SizeReport, board_flash: Region) -> tuple[Region, ...]:
    """Constant tables of model and library one by one, and all code for its literals."""
    tables = (
        Region(s.address, s.size)
        for s in report.symbols
        if s.part in PRODUCT and s.section == ".rodata"
    )
    return (*tables, Region(board_flash.origin, report.sections[".vectors"] + _text(report)))


def _text(report: SizeReport) -> int:
    return report.sections[".text"] + 8


def scopes(program: Program, report: SizeReport) -> tuple[Scope, ...]:
    """One for each call, in their order."""
    arena = symbol(report, "own_arena").address
    return tuple(
        _scope(program, step, call, report, arena) for step in program.steps for call in step.calls
    )


def _scope(program: Program, step: Step, call: Call, report: SizeReport, arena: int) -> Scope:
    function = symbol(report, f"tq_run_{call.kernel.stem}").address
    written = list(_regions(program, step, (call.output,), arena))
    if call.scratch is not None:
        start = arena + program.plan.scratch[step.name] + call.scratch.offset
        written.append(Region(start, call.kernel.scratch))
    read = _regions(program, step, call.inputs, arena)
    return Scope(function, (*read, *written), tuple(written), f"{step.name} ({call.kernel.stem})")


def _regions(
    program: Program, step: Step, places: tuple[Address, ...], arena: int
) -> Iterator[Region]:
    plan = program.plan
    for place in places:
        if place.tensor is None:
            base, size = plan.scratch[step.name], step.memory.scratch
        else:
            base, size = plan.offsets[place.tensor], program.graph.tensors[place.tensor].size
        yield Region(arena + base + place.offset, size - place.offset)
