# SPDX-License-Identifier: Apache-2.0
"""What a model costs on a core: memory from the linked image, instructions from the emulator.

Cycles are modelled from the blocks that ran (``tinyq.cycles``), the stack is measured by painting.

Flash counts model and kernel library: code, constants, start values.  RAM counts their .data and
.bss: the arena with inputs, outputs and scratch, and state.  The harness that feeds the model, the
start-up code and the C runtime do not belong to the product and are reported apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Final

from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.backends.sources import MODEL_SYMBOL, model_parts
from tinyq.cores import find_core
from tinyq.cycles import LABEL, TIMINGS, Cycles, count_cycles
from tinyq.elf import SizeReport, Usage, segments, size_report
from tinyq.emulators import BACKENDS, Profile, RunRequest, emulator
from tinyq.errors import EmulatorMissing, InputError
from tinyq.graph import Graph, Node
from tinyq.kernels.program import Target, compile_graph
from tinyq.toolchain import build_image
from tinyq.verification import random_codes

PRODUCT = ("model", "library")
#: emulators that count instructions
COUNTING: Final = ("qemu", "unicorn")


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
        functions: (part, function, bytes of its code) of the product, largest first.
        sections: bytes of every section of the whole image.
    """

    core: str
    compiler: str
    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    parts: Mapping[str, tuple[int, int]]
    files: tuple[tuple[str, str, int, int], ...]
    functions: tuple[tuple[str, str, int], ...]
    sections: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        parts = {name: _usage(*usage) for name, usage in self.parts.items()}
        files = [{"part": p, "file": f, **_usage(flash, ram)} for p, f, flash, ram in self.files]
        functions = [{"part": p, "name": name, "bytes": n} for p, name, n in self.functions]
        return {**asdict(self), "parts": parts, "files": files, "functions": functions}


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
        _functions(report),
        dict(report.sections),
    )


def _functions(report: SizeReport) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        (symbol.part, symbol.name, symbol.size)
        for symbol in report.symbols
        if symbol.part in PRODUCT and symbol.section == ".text" and symbol.size
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
    the stem of what ran, several joined with ``+``.  ``cycles`` is ``None`` where none are known.
    """

    name: str
    node: str
    kernel: str
    instructions: int
    macs: int
    cycles: Cycles | None = None


@dataclass(frozen=True)
class Cost:
    """What one inference costs.

    Attributes:
        instructions: of a whole inference without hooks, counted by an emulator.
        layers: in the order of the schedule; their sum leaves out entry and exit.
        cycles: a modelled range; ``None`` where none is known.
        cycles_note: what the range is, or why there is none.
        stack_bytes: that invoke takes at most.
        size: of the program built for the core.
    """

    core: str
    backend: str
    instructions: int
    macs: int
    layers: tuple[LayerCost, ...]
    cycles: Cycles | None = None
    cycles_note: str = ""
    stack_bytes: int | None = None
    size: Size | None = None

    def to_json(self) -> dict[str, Any]:
        """For scripts: ``core``, ``instructions``, ``macs``, ``cycles``, ``layers`` and more."""
        layers = [{**asdict(x), "instructions_per_mac": _ratio(x)} for x in self.layers]
        size = self.size.to_json() if self.size else None
        ratio = _ratio(self)
        return {**asdict(self), "instructions_per_mac": ratio, "layers": layers, "size": size}


def _ratio(cost: Cost | LayerCost) -> float | None:
    return cost.instructions / cost.macs if cost.macs else None


def measure_cost(
    graph: Graph, core: str, emulator_name: str = "qemu", target: Target | None = None
) -> Cost:
    """Count the instructions of one inference on random codes, in a core's kernels or ``target``'s.

    Raises:
        InputError: no such core; ToolMissing: no compiler or emulator.
    """
    backend = EmulatedBackend(f"{emulator_name}-{core}", target)
    return _cost(graph, core, backend, _profile(graph, backend))


def _profile(graph: Graph, backend: EmulatedBackend) -> Profile:
    machine = emulator(backend.name)
    return machine.run(_request(graph, backend, profile=True)).profiles[0]


def _request(graph: Graph, backend: EmulatedBackend, profile: bool) -> RunRequest:
    codes = pack_samples(graph, random_codes(graph, 1))
    return RunRequest(backend.image(graph), codes, 1, profile=profile)


def _cost(graph: Graph, core: str, backend: EmulatedBackend, profile: Profile) -> Cost:
    layers = tuple(
        LayerCost(step.label, step.name, "+".join(step.stems), count, _macs(graph, step.nodes))
        for step, count in zip(backend.program(graph).steps, profile.layers, strict=True)
    )
    macs = sum(layer.macs for layer in layers)
    return Cost(core, backend.name, profile.instructions, macs, layers)


def _macs(graph: Graph, nodes: Sequence[Node]) -> int:
    shapes = ((n.op, [t.shape for t in graph.ins(n)], graph.out(n).shape) for n in nodes)
    return sum(op.macs(ins, out) for op, ins, out in shapes)


def measure_profile(
    graph: Graph, on: str, kernels: Mapping[str, str] | None = None, ram: int | None = None
) -> Cost:
    """Everything about one inference: instructions, modelled cycles, stack and memory.

    Args:
        on: an emulator that counts, ``qemu-m4``; a core's name alone means QEMU's.
        kernels, ram: see ``Target.overrides`` and ``Target.ram``.

    Raises:
        InputError: it counts nothing; ToolMissing: no compiler or emulator.
    """
    name = on if on in BACKENDS else f"qemu-{on}"
    kind, _, core = name.partition("-")
    if name not in BACKENDS or kind not in COUNTING:
        known = [backend for backend in BACKENDS if backend.startswith(COUNTING)]
        raise InputError(f"'{on}' counts no instructions; choose one of {', '.join(known)}")
    backend = EmulatedBackend(name).with_target(core, kernels or {}, ram)
    profile = _profile(graph, backend)
    cost = _cost(graph, core, backend, profile)
    plain = emulator(name).run(_request(graph, backend, profile=False))
    return replace(
        _with_cycles(graph, cost, backend, profile),
        stack_bytes=plain.invoke_stack_bytes,
        size=measure_size(graph, core, backend.kernels),
    )


def _with_cycles(graph: Graph, cost: Cost, backend: EmulatedBackend, profile: Profile) -> Cost:
    """The cost with modelled cycles; Unicorn tells which blocks ran, QEMU does not."""
    core = cost.core
    if core not in TIMINGS:
        note = f"no cycles: no timing table is published for {core}, only for {', '.join(TIMINGS)}"
        return replace(cost, cycles_note=note)
    if not profile.edges:
        try:
            profile = _profile(graph, EmulatedBackend(f"unicorn-{core}", backend.kernels))
        except EmulatorMissing as error:
            return replace(cost, cycles_note=f"no cycles: {error}")
    image = segments(backend.image(graph).path)

    @cache
    def read(address: int, size: int) -> bytes:
        found = (data[address - start :][:size] for start, data in image if start <= address)
        return next(code for code in found if len(code) == size)

    whole, *layers = (count_cycles(core, edges, read) for edges in profile.edges)
    costs = tuple(replace(x, cycles=c) for x, c in zip(cost.layers, layers, strict=True))
    return replace(cost, layers=costs, cycles=whole, cycles_note=LABEL)
