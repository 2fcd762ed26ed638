# SPDX-License-Identifier: Apache-2.0
"""What a model costs on a core: memory from the linked image, instructions from the emulator.

Flash counts model and kernel library: code, constants, start values.  RAM counts their .data and
.bss: the arena with inputs, outputs and scratch, and state.  The harness that feeds the model, the
start-up code and the C runtime do not belong to the product and are reported apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.backends.sources import MODEL_SYMBOL, model_parts
from tinyq.cores import find_core
from tinyq.elf import SizeReport, Usage, size_report
from tinyq.emulators import RunRequest, emulator
from tinyq.errors import InputError
from tinyq.graph import Graph
from tinyq.kernels.program import Target, compile_graph
from tinyq.toolchain import build_image
from tinyq.verification import random_codes

PRODUCT = ("model", "library")


@dataclass(frozen=True)
class Size:
    """Memory of a model built for a core, in bytes.

    Attributes:
        core: what it was built for.
        compiler: its version.
        flash_bytes, ram_bytes: of model and library.
        arena_bytes: the part of the RAM that is the arena.
        parts: (flash, RAM) of model, library, and apart from these harness and runtime.
        files: (part, source file, flash, RAM), largest flash first.
        sections: bytes of every section of the whole image.
    """

    core: str
    compiler: str
    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    parts: Mapping[str, tuple[int, int]]
    files: tuple[tuple[str, str, int, int], ...]
    sections: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        parts = {name: _usage(*usage) for name, usage in self.parts.items()}
        files = [{"part": p, "file": f, **_usage(flash, ram)} for p, f, flash, ram in self.files]
        return {**asdict(self), "parts": parts, "files": files}


def _usage(flash: int, ram: int) -> dict[str, int]:
    return {"flash_bytes": flash, "ram_bytes": ram}


def measure_size(graph: Graph, core: str, target: Target | None = None) -> Size:
    """Build a model for a core, with its kernels or those of ``target``, and count.

    Raises:
        InputError: no such core; ToolMissing: no compiler.
    """
    target = target or Target(find_core(core))
    image = build_image(model_parts(graph, target), MODEL_SYMBOL, core)
    if image.map_file is None:
        raise InputError(f"{core} has no linker map; choose an emulated core")
    report = size_report(image.path, image.map_file, image.objects)
    total = report.total(*PRODUCT)
    return Size(
        core,
        image.compiler.version,
        total.flash,
        total.ram,
        compile_graph(graph, target).plan.arena_bytes,
        {name: (usage.flash, usage.ram) for name, usage in sorted(report.parts.items())},
        _files(report),
        dict(report.sections),
    )


def _files(report: SizeReport) -> tuple[tuple[str, str, int, int], ...]:
    def order(item: tuple[tuple[str, str], Usage]) -> tuple[int, tuple[str, str]]:
        return -item[1].flash, item[0]

    found = sorted(report.objects.items(), key=order)
    return tuple((part, file, usage.flash, usage.ram) for (part, file), usage in found)


@dataclass(frozen=True)
class LayerCost:
    """Instructions and multiply-accumulates of one layer in one inference.

    ``name`` is the user's, ``node`` tinyq's: one Keras layer may be two operators.  ``kernel`` is
    the stem of what ran.
    """

    name: str
    node: str
    kernel: str
    instructions: int
    macs: int


@dataclass(frozen=True)
class Cost:
    """Instructions of one inference, counted by an emulator (not cycles).

    Attributes:
        instructions: of a whole inference without hooks.
        layers: in the order of the schedule; their sum leaves out entry and exit.
    """

    core: str
    backend: str
    instructions: int
    macs: int
    layers: tuple[LayerCost, ...]

    def to_json(self) -> dict[str, Any]:
        """For scripts: ``core``, ``instructions``, ``macs``, ``layers``."""
        ratio = self.instructions / self.macs if self.macs else None
        return {**asdict(self), "instructions_per_mac": ratio}


def measure_cost(
    graph: Graph, core: str, emulator_name: str = "qemu", target: Target | None = None
) -> Cost:
    """Count the instructions of one inference on random codes, in a core's kernels or ``target``'s.

    Raises:
        InputError: no such core; ToolMissing: no compiler or emulator.
    """
    name = f"{emulator_name}-{core}"
    codes = random_codes(graph, 1)
    machine = emulator(name)
    backend = EmulatedBackend(name, target)
    image = backend.image(graph)
    request = RunRequest(image, pack_samples(graph, codes), 1, profile=True)
    profile = machine.run(request).profiles[0]
    layers = tuple(
        LayerCost(step.label, step.name, step.kernel.stem, count, _macs(graph, step.name))
        for step, count in zip(backend.program(graph).steps, profile.layers, strict=True)
    )
    return Cost(core, name, profile.instructions, sum(x.macs for x in layers), layers)


def _macs(graph: Graph, name: str) -> int:
    node = graph.node(name)
    return node.op.macs([t.shape for t in graph.ins(node)], graph.out(node).shape)
