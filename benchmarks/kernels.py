# SPDX-License-Identifier: Apache-2.0
"""Every kernel that applies, on fifteen layers, per core and weight encoding, beside portable C.

    python benchmarks/kernels.py [--cores m0,m3,m4] [--shapes C1,P1] [--weights int8,int4,none]
        [-o benchmarks/results]

Instructions are counted under QEMU.  Each kernel also runs, on the emulated core, random and
extreme data, a second layer at the edge of the kernel's own conditions, driven to that bound, and a
third one whose biases cancel what windows are driven to (``kernel_layers``); every output is
compared with the executor.  Cycles are a modelled range, see ``tinyq.cycles``.  Prints a table and
writes ``kernels.json`` and ``kernels.md``; exits with 1 where anything differed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from kernel_layers import (
    SHAPES,
    WEIGHTLESS,
    Inputs,
    Shape,
    driven_graph,
    driven_inputs,
    edge_graph,
    edge_inputs,
    find_program,
    macs_of,
    overrides,
    usual_graph,
    usual_inputs,
)

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend
from tinyq.cores import find_core
from tinyq.graph import Graph
from tinyq.kernels import KERNELS
from tinyq.kernels.program import PORTABLE, Target
from tinyq.measurement import measure_profile

#: the M7 and the M33 run the M4's kernels
CORES = "m0,m3,m4,m55,rv32ec"
WEIGHTS = f"int8,int4,lut4,pot4,{WEIGHTLESS}"

#: instructions a MAC of CMSIS-NN 99f736a's int8 kernels at -Ofast, GCC 12.2, counted under QEMU 7.2
CMSIS_NN = {
    "m4": (2.28, 1.75, 1.98, 7.46, 3.31, 1.95, 2.84),
    "m3": (3.33, 2.67, 3.11, 9.37, 4.26, 3.44, 4.15),
    "m0": (7.56, 6.33, 7.56, 35.6, 9.41, 6.19, 7.92),
    "m55": (0.388, 0.206, 0.396, 2.32, 0.903, 0.491, 0.924),
}
#: the layers of that table
REFERENCE = tuple(SHAPES)[:7]


# --- measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One kernel on one layer.  Cycles are modelled; ``None`` where no table is published.

    ``macs``: without weights, elements of the output.  ``bound``: magnitude of the sums, rounding
    included, in the layer at the kernel's edge.
    """

    shape: str
    core: str
    weights: str
    kernel: str
    macs: int
    instructions: int
    cycles_least: int | None
    cycles_most: int | None
    flash_bytes: int
    ram_bytes: int
    scratch_bytes: int
    stack_bytes: int | None
    mismatches: int
    bound: int
    edge_mismatches: int

    @property
    def per_mac(self) -> float:
        """Instructions a MAC."""
        return self.instructions / self.macs


@dataclass(frozen=True)
class Case:
    """A layer, its weights' encoding, and a core."""

    core: str
    shape: Shape
    weights: str


def cases(cores: Sequence[str], shapes: Sequence[str], encodings: Sequence[str]) -> Iterator[Case]:
    """What there is to measure."""
    for core in cores:
        for shape in (SHAPES[name] for name in shapes):
            if not shape.cores or core in shape.cores:
                yield from (Case(core, shape, e) for e in encodings if e in shape.encodings)


def applying(graph: Graph, core: str) -> Iterator[str]:
    """The kernels that this layer can have, the portable one last."""
    yield from (stem for stem in (*KERNELS, PORTABLE) if find_program(graph, core, stem))


def mismatches(graph: Graph, core: str, stem: str, x: Inputs) -> int:
    """Codes that differ from the executor's, on the emulated core."""
    backend = EmulatedBackend(f"qemu-{core}", Target(find_core(core), overrides(stem)))
    got = backend.run(graph, x, keep_all=False)
    expected = executor.predict(graph, x)
    return sum(int((got[n].astype(np.int64) != expected[n]).sum()) for n in graph.outputs)


def measure(case: Case, stem: str, graph: Graph) -> Row:
    """Count, and compare on usual data and at the edge."""
    cost = measure_profile(graph, f"qemu-{case.core}", overrides(stem))
    program = find_program(graph, case.core, stem)
    assert cost.size is not None
    assert program is not None
    bound, differing = at_the_edge(case, stem)
    return Row(
        case.shape.name,
        case.core,
        case.weights,
        "+".join(layer.kernel for layer in cost.layers),
        macs_of(program),
        sum(layer.instructions for layer in cost.layers),
        None if cost.cycles is None else cost.cycles.least,
        None if cost.cycles is None else cost.cycles.most,
        cost.size.flash_bytes,
        cost.size.ram_bytes,
        max(step.memory.scratch for step in program.steps),
        cost.stack_bytes,
        mismatches(graph, case.core, stem, usual_inputs(graph)),
        bound,
        differing,
    )


def at_the_edge(case: Case, stem: str) -> tuple[int, int]:
    """The bound, and the mismatches there and where windows are driven."""
    shape, core = case.shape, case.core
    edge, bound = edge_graph(shape, case.weights, core, stem)
    differing = mismatches(edge, core, stem, edge_inputs(shape, edge))
    if shape.weights:
        driven = driven_graph(shape, case.weights, core, stem)
        differing += mismatches(driven, core, stem, driven_inputs(shape, driven))
    return bound, differing


def rows(found: Iterator[Case]) -> Iterator[Row]:
    """Every kernel that applies."""
    for case in found:
        graph = usual_graph(case.shape, case.weights)
        for stem in applying(graph, case.core):
            yield measure(case, stem, graph)


# --- tables --------------------------------------------------------------------------------------

HEADER = (
    "| shape | weights | kernel | instructions/MAC | cycles/MAC, modelled | portable ÷ it "
    "| CMSIS-NN int8 | flash | scratch | mismatches | bound of the sums | mismatches there |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def table_row(row: Row, portable: Mapping[tuple[str, str, str], Row]) -> str:
    """One line of the Markdown table."""
    plain = portable.get((row.core, row.shape, row.weights))
    reference = dict(zip(REFERENCE, CMSIS_NN.get(row.core, ()), strict=False)).get(row.shape)
    cycles = (
        "-"
        if row.cycles_least is None or row.cycles_most is None
        else f"{row.cycles_least / row.macs:.2f}..{row.cycles_most / row.macs:.2f}"
    )
    cells = [
        row.shape,
        row.weights,
        row.kernel,
        f"{row.per_mac:.3f}",
        cycles,
        "-" if plain is None else f"{plain.instructions / row.instructions:.1f}",
        "-" if reference is None else f"{reference}",
        f"{row.flash_bytes:,}",
        f"{row.scratch_bytes:,}",
        str(row.mismatches),
        f"{row.bound:,}",
        str(row.edge_mismatches),
    ]
    return "| " + " | ".join(cells) + " |"


def markdown(found: Sequence[Row]) -> str:
    """All tables, one a core."""
    stems = set(KERNELS)
    portable = {(r.core, r.shape, r.weights): r for r in found if r.kernel not in stems}
    legend = "; ".join(f"{shape.name} {shape.what}" for shape in SHAPES.values())
    parts = [f"# Kernels, layer by layer\n\n{legend}.\n\n{_NOTE}"]
    for core in dict.fromkeys(row.core for row in found):
        lines = [table_row(row, portable) for row in found if row.core == core]
        parts.append("\n".join([f"## {core}\n", HEADER, *lines]))
    return "\n\n".join(parts) + "\n"


_NOTE = (
    "Instructions executed under QEMU. Cycles are modelled from the cores' published timing tables "
    "with memory that never waits, not validated on silicon. Mismatches are codes that differ from "
    "the NumPy executor: on random and extreme data, and in a layer whose bias is the largest that "
    "the kernel's conditions admit (whose window is the longest, whose inputs' exponents lie "
    "furthest apart), driven to that bound; there counts as well a layer whose biases cancel the "
    "largest sums of its windows, so that hardly a bit is shifted out. Layers without weights: per "
    "element of the output, not per MAC; C1 with an addition is counted as a whole. The M7 and the "
    "M33 run the M4's kernels. CMSIS-NN: 99f736a, its int8 kernels at -Ofast, GCC 12.2, QEMU 7.2."
    "\n\nRegenerate with `python benchmarks/kernels.py`."
)


def write(folder: Path, found: Sequence[Row]) -> None:
    """``kernels.json`` and ``kernels.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = [{**asdict(row), "instructions_per_mac": round(row.per_mac, 4)} for row in found]
    (folder / "kernels.json").write_text(json.dumps({"rows": content}, indent=1) + "\n")
    (folder / "kernels.md").write_text(markdown(found))


def main() -> int:
    """Measure, print and write; 1 where a kernel differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", default=CORES)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--weights", default=WEIGHTS)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    found: list[Row] = []
    lists = (options.cores, options.shapes, options.weights)
    for row in rows(cases(*(text.split(",") for text in lists))):
        found.append(row)
        print(
            f"{row.core:6} {row.shape} {row.weights:5} {row.kernel:24} {row.per_mac:8.3f}/MAC "
            f"{row.mismatches} and {row.edge_mismatches} mismatches, bound {row.bound:,}",
            flush=True,
        )
        write(options.output, found)
    return int(any(row.mismatches or row.edge_mismatches for row in found))


if __name__ == "__main__":
    raise SystemExit(main())
