# SPDX-License-Identifier: Apache-2.0
"""The MLPerf Tiny models on every core with every weight encoding, beside other systems.

    python benchmarks/models.py --models DIR --data DIR --json OUT
        [--cores m0,m3,m4,m7,m33,m55] [--weights int8,int4,lut4] [--only ic,kws,vww,ad]
        [--quantized DIR] [--more FILE.tq ...] [--count 2]

DIR of the models and of the data as in ``mlperf_tiny.py``.  Each row: instructions of an inference
(QEMU), RAM (arena with inputs, outputs and scratch, and static data), flash (model and kernels),
codes that differ from the NumPy executor, in every tensor that the core shows, on ``--count``
samples.  ``vww_all_channels`` is vww with the channels that are constant left in, on the M4 alone.
``--quantized`` keeps quantized models in a folder and takes those that are there; ``--more`` adds
models that are quantized already.  Writes OUT, and ``models.md`` into benchmarks/results; exits
with 1 where anything differed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from field import FIELD, Figure
from mlperf_tiny import Task, tasks

from tinyq import api, executor, passes, ptq
from tinyq.archive import load_graph, save_graph
from tinyq.backends.emulated import EmulatedBackend
from tinyq.data import CALIBRATION_SAMPLES
from tinyq.files import write_atomic
from tinyq.graph import Graph
from tinyq.measurement import measure_cost, measure_size
from tinyq.verification import check_backend, random_codes

CORES = "m0,m3,m4,m7,m33,m55"
ALL_CHANNELS = "_all_channels"


@dataclass(frozen=True)
class Row:
    """One model on one core.

    ``samples`` were compared; ``kernels``: how many layers run each.
    """

    model: str
    core: str
    weights: str
    macs: int
    instructions: int
    ram_bytes: int
    arena_bytes: int
    flash_bytes: int
    mismatches: int
    samples: int
    kernels: Mapping[str, int]


@dataclass(frozen=True)
class Source:
    """A quantized model, its test data where there are any, and the cores to measure."""

    name: str
    weights: str
    graph: Graph
    data: Path | None
    cores: Sequence[str]


# --- models --------------------------------------------------------------------------------------


def option(task: Task, name: str, default: float) -> float:
    """A number among the options that ``mlperf_tiny`` gives to the command line."""
    found = dict(zip(task.options, task.options[1:], strict=False))
    return float(found.get(name, default))


def quantize(task: Task, model: Path, weights: str) -> Graph:
    """As ``tinyq quantize`` does."""
    return api.quantize(
        model,
        None if "--data-free" in task.options else task.data,
        weights=weights,
        scale=option(task, "--scale", 1.0),
        offset=option(task, "--offset", 0.0),
        name=task.name,
    )


def quantize_all_channels(task: Task, model: Path, weights: str) -> Graph:
    """The same without the pass that removes constant channels."""
    graph = api.import_model(
        model, task.name, option(task, "--scale", 1.0), option(task, "--offset", 0.0)
    )
    chosen = api.calibration_data(graph, task.data, CALIBRATION_SAMPLES, 0)
    inputs = executor.preprocess_inputs(graph, chosen.inputs)
    prepared = passes.apply(graph, passes.FLOAT_PIPELINE)
    return ptq.quantize(prepared, inputs, ptq.PtqConfig(weights))


def kept(path: Path, make: Callable[[], Graph]) -> Graph:
    """The graph in a file, made where it is not there."""
    if not path.exists():
        save_graph(make(), path)
    return load_graph(path)


def sources(options: argparse.Namespace, scratch: Path) -> Iterator[Source]:
    """Every model and encoding."""
    folder = options.quantized or scratch
    folder.mkdir(parents=True, exist_ok=True)
    cores = options.cores.split(",")
    wanted = [task for task in tasks(options.data, scratch) if task.name in options.only.split(",")]
    for task, weights in itertools.product(wanted, options.weights.split(",")):
        model, path = options.models / task.model, folder / f"{task.name}_{weights}.tq"
        graph = kept(path, partial(quantize, task, model, weights))
        yield Source(task.name, weights, graph, task.data, cores)
        if task.name == "vww" and "m4" in cores:
            path = folder / f"{task.name}{ALL_CHANNELS}_{weights}.tq"
            graph = kept(path, partial(quantize_all_channels, task, model, weights))
            yield Source(f"{task.name}{ALL_CHANNELS}", weights, graph, task.data, ("m4",))
    for path in options.more:
        graph = load_graph(path)
        found = dict.fromkeys(op.quantized.encoding for _, op in graph.linear_nodes())
        yield Source(path.stem, "+".join(found), graph, None, cores)


# --- measuring -----------------------------------------------------------------------------------


def measure(source: Source, core: str, count: int) -> Row:
    """One model on one core in that core's kernels."""
    graph = source.graph
    cost = measure_cost(graph, core)
    size = measure_size(graph, core)
    if source.data is None:
        codes = random_codes(graph, count)
    else:
        codes = executor.quantize_inputs(graph, api.test_data(graph, source.data, count).inputs)
    check = check_backend(graph, EmulatedBackend(f"qemu-{core}"), codes)
    kernels: dict[str, int] = {}
    for layer in cost.layers:
        kernels[layer.kernel] = kernels.get(layer.kernel, 0) + 1
    return Row(
        source.name,
        core,
        source.weights,
        cost.macs,
        cost.instructions,
        size.ram_bytes,
        size.arena_bytes,
        size.flash_bytes,
        check.mismatches + int(check.selftest != 0),
        check.inputs,
        kernels,
    )


# --- tables --------------------------------------------------------------------------------------

HEADER = (
    "| model | weights | system | instructions | per MAC | RAM | flash | mismatches |\n"
    "|---|---|---|---|---|---|---|---|"
)
_NOTE = (
    "Instructions executed under QEMU 7.2 with `-icount`, one inference. RAM: arena with inputs, "
    "outputs and scratch, and static data; flash: model and kernels (of others: model and code). "
    "Mismatches: codes of any tensor that differ from the NumPy executor on the samples compared, "
    "plus 1 where the self-test failed."
)


def table_row(row: Row) -> str:
    """tinyq's line."""
    cells = [
        row.model,
        row.weights,
        "**tinyq**",
        f"{row.instructions:,}",
        f"{row.instructions / row.macs:.2f}",
        f"{row.ram_bytes:,}",
        f"{row.flash_bytes:,}",
        f"{row.mismatches} ({row.samples} samples)",
    ]
    return "| " + " | ".join(cells) + " |"


def field_row(figure: Figure, macs: int) -> str:
    """Another system's line."""
    cells = [
        figure.model,
        figure.weights,
        figure.system,
        f"{figure.instructions:,}",
        f"{figure.instructions / macs:.2f}",
        f"{figure.ram_bytes:,}" if figure.ram_bytes else "",
        f"{figure.flash_bytes:,}" if figure.flash_bytes else "",
        "",
    ]
    return "| " + " | ".join(cells) + " |"


#: multiply-accumulates of the models as they were drawn
FULL_MACS = {"ic": 12_501_632, "kws": 2_656_768, "vww": 7_489_664, "ad": 264_192}


def markdown(rows: Sequence[Row]) -> str:
    """One table a core, tinyq and the field, and the sources."""
    parts = [f"# MLPerf Tiny models\n\n{_NOTE}"]
    for core in dict.fromkeys(row.core for row in rows):
        lines = [f"## {core}\n", HEADER]
        for model in dict.fromkeys(row.model for row in rows if row.core == core):
            lines += [table_row(r) for r in rows if (r.core, r.model) == (core, model)]
            base = model.removesuffix(ALL_CHANNELS)
            others = (f for f in FIELD if (f.core, f.model) == (core, model))
            lines += [field_row(figure, FULL_MACS[base]) for figure in others]
        parts.append("\n".join(lines))
    systems = dict.fromkeys((figure.system, figure.source) for figure in FIELD)
    parts.append("\n".join(f"- {system}: {source}." for system, source in systems))
    return "\n\n".join(parts) + "\n"


def write(path: Path, folder: Path, rows: Sequence[Row]) -> None:
    """The JSON and ``models.md``."""
    content = {"rows": [asdict(row) for row in rows], "field": [asdict(f) for f in FIELD]}
    write_atomic(path, json.dumps(content, indent=1) + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "models.md", markdown(rows))


def main() -> int:
    """Measure, print and write; 1 where a backend differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--cores", default=CORES)
    parser.add_argument("--weights", default="int8,int4,lut4")
    parser.add_argument("--only", default="ic,kws,vww,ad")
    parser.add_argument("--quantized", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    parser.add_argument("--count", type=int, default=2)
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for source in sources(options, Path(folder)):
            for core in source.cores:
                rows.append(measure(source, core, options.count))
                print(f"{core:5} {table_row(rows[-1])}", flush=True)
                write(options.json, options.output, rows)
    return int(any(row.mismatches for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
