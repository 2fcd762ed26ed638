# SPDX-License-Identifier: Apache-2.0
"""Every kernel that applies, on seven layers, per core and weight encoding, beside portable C.

    python benchmarks/kernels.py [--cores m0,m3,m4] [--shapes C1,P1] [--weights int8,int4,lut4]
        [-o benchmarks/results]

Instructions are counted under QEMU.  Each kernel also runs, on the emulated core, random and
extreme data, and a second layer whose bias is as large as the kernel's own conditions admit, driven
to that bound; every output is compared with the executor.  Cycles are a modelled range, see
``tinyq.cycles``.  Prints a table and writes ``kernels.json`` and ``kernels.md``; exits with 1 where
anything differed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend
from tinyq.cores import find_core
from tinyq.encodings import ENCODINGS, Weights, encode_image
from tinyq.errors import TinyqError
from tinyq.graph import Graph, Node, validate
from tinyq.kernels import KERNELS
from tinyq.kernels.program import PORTABLE, Program, Target, compile_graph
from tinyq.measurement import measure_profile
from tinyq.ops import Conv2D, Dense, DepthwiseConv2D, LinearOp
from tinyq.ops.windows import same_padding
from tinyq.tensors import Tensor

CORES = "m0,m3,m4,m7,m33,m55,rv32ec"
X_EXPONENT = -5
W_EXPONENT = -7


@dataclass(frozen=True)
class Shape:
    """One layer: input, weights ``[O, ...]``, strides; padding keeps the size (SAME)."""

    name: str
    what: str
    kind: type[LinearOp]
    input: tuple[int, ...]
    weights: tuple[int, ...]
    strides: tuple[int, int] = (1, 1)
    dtype: str = "uint8"
    activation: str = "relu"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("C1", "conv 3x3 16 to 16 on 32x32", Conv2D, (32, 32, 16), (16, 3, 3, 16)),
        Shape("C2", "conv 3x3 64 to 64 on 8x8", Conv2D, (8, 8, 64), (64, 3, 3, 64)),
        Shape("P1", "conv 1x1 64 to 64 on 25x5", Conv2D, (25, 5, 64), (64, 1, 1, 64)),
        Shape("D1", "depthwise 3x3, 64 on 25x5", DepthwiseConv2D, (25, 5, 64), (64, 3, 3)),
        Shape("F0", "conv 10x4 1 to 64 /2", Conv2D, (49, 10, 1), (64, 10, 4, 1), (2, 2), "int8"),
        Shape("A1", "dense 640 to 128", Dense, (640,), (128, 640), dtype="int8"),
        Shape("A2", "dense 64 to 12", Dense, (64,), (12, 64), activation="linear"),
    )
}  # fmt: skip

#: instructions a MAC of CMSIS-NN 99f736a's int8 kernels at -Ofast, GCC 12.2, counted under QEMU 7.2
CMSIS_NN = {
    "m4": (2.28, 1.75, 1.98, 7.46, 3.31, 1.95, 2.84),
    "m3": (3.33, 2.67, 3.11, 9.37, 4.26, 3.44, 4.15),
    "m0": (7.56, 6.33, 7.56, 35.6, 9.41, 6.19, 7.92),
    "m55": (0.388, 0.206, 0.396, 2.32, 0.903, 0.491, 0.924),
}


# --- layers --------------------------------------------------------------------------------------


def random_weights(
    rng: np.random.Generator, shape: tuple[int, ...], encoding: str, exponents: np.ndarray
) -> Weights:
    """Normal weights as training gives them; a table's entries lie where weights are."""
    kind = ENCODINGS[encoding]
    drawn = rng.normal(size=shape) * kind.max_level / 3.5
    if not kind.uses_table:
        image = np.clip(np.rint(drawn), -kind.max_level, kind.max_level).astype(np.int64)
        return encode_image(image, kind, exponents)
    table = np.rint(np.quantile(drawn, np.linspace(0, 1, kind.table_entries)))
    table = np.unique(np.clip(table, -127, 127)).astype(np.int64)
    nearest = np.abs(drawn[..., None] - table).argmin(-1)
    return encode_image(table[nearest], kind, exponents, table)


def layer_graph(shape: Shape, weights: Weights, bias: np.ndarray, shift: int) -> Graph:
    """The layer alone: x to y, accumulators shifted right by about ``shift``."""
    x = Tensor("x", shape.input, shape.dtype, exponent=X_EXPONENT)
    parameters: dict[str, Any] = {}
    if shape.kind is not Dense:
        padding = same_padding(shape.input, shape.weights[1:3], shape.strides)
        parameters = {"strides": shape.strides, "padding": padding}
    op = shape.kind(weights, bias.astype(np.int32), shape.activation, **parameters)
    dtype = "int8" if shape.activation == "linear" else "uint8"
    exponent = X_EXPONENT + W_EXPONENT + shift
    y = Tensor("y", op.infer_shape([shape.input]), dtype, exponent=exponent)
    node = Node("layer", op, ("x",), ("y",), (shape.name,))
    return validate(Graph(shape.name.lower(), {"x": x, "y": y}, (node,), ("x",), ("y",)))


def usual_graph(shape: Shape, encoding: str) -> Graph:
    """Weights with an exponent per channel, moderate biases, outputs that fill their range."""
    rng = np.random.default_rng(0)
    rows = shape.weights[0]
    exponents = W_EXPONENT + rng.integers(-1, 2, rows)
    weights = random_weights(rng, shape.weights, encoding, exponents)
    sums = np.sqrt((weights.image().astype(float) ** 2).reshape(rows, -1).sum(1)).max() * 80
    bias = rng.integers(-int(sums), int(sums) + 1, rows)
    return layer_graph(shape, weights, bias, int(np.log2(sums)) - 5)


def edge_graph(shape: Shape, encoding: str, core: str, stem: str) -> tuple[Graph, int]:
    """The layer with the largest biases with which the kernel is still chosen, and its bound.

    The second channel is the first one negated, where there is one.
    """
    rng = np.random.default_rng(1)
    weights = random_weights(rng, shape.weights, encoding, np.array([W_EXPONENT]))
    if not ENCODINGS[encoding].uses_table and len(weights.codes) > 1:
        codes = weights.codes.copy()
        codes[1] = -codes[0]
        weights = replace(weights, codes=codes)
    best = _largest_bias(shape, weights, core, stem, 8)
    program = best if best is not None else _program(shape, weights, core, stem, 0, 8)
    if program is None:
        raise TinyqError(f"{stem} does not take {shape.name} without a bias")
    # Once more with a shift after which the bound is neither 0 nor far beyond the output's range.
    shift = max(1, program.proof["layer"].magnitude.bit_length() - 8)
    program = _largest_bias(shape, weights, core, stem, shift) or program
    return program.graph, program.proof["layer"].magnitude


def _program(
    shape: Shape, weights: Weights, core: str, stem: str, bias: int, shift: int
) -> Program | None:
    """The layer's program with this kernel; ``None`` where the kernel does not apply."""
    biases = np.zeros(shape.weights[0], np.int64)
    biases[0], biases[-1] = bias, -bias
    try:
        graph = layer_graph(shape, weights, biases, shift)
        return compile_graph(graph, Target(find_core(core), {"*": stem}))
    except TinyqError:
        return None


def _largest_bias(
    shape: Shape, weights: Weights, core: str, stem: str, shift: int
) -> Program | None:
    best, low, high = None, 0, 2**31 - 2
    while low <= high:
        middle = (low + high) // 2
        program = _program(shape, weights, core, stem, middle, shift)
        if program is None:
            high = middle - 1
        else:
            best, low = program, middle + 1
    return best


# --- data ----------------------------------------------------------------------------------------


def usual_inputs(graph: Graph) -> np.ndarray:
    """Two random samples, all greatest codes, all smallest."""
    t = graph.tensors["x"]
    drawn = np.random.default_rng(2).integers(t.lo, t.hi + 1, (2, *t.shape))
    ends = [np.full((1, *t.shape), value) for value in (t.hi, t.lo)]
    return np.concatenate([drawn, *ends]).astype(t.numpy_dtype)


def edge_inputs(shape: Shape, graph: Graph) -> np.ndarray:
    """The usual ones, and those that drive the first and last channel to both ends of their sums,
    windows in the middle of the image."""
    t, op = graph.tensors["x"], graph.node("layer").op
    assert isinstance(op, LinearOp)
    image = op.quantized.image().astype(np.int64)
    more = [
        _driven(shape, t, graph.tensors["y"].shape, image, channel, sign)
        for channel in (0, -1)
        for sign in (1, -1)
    ]
    return np.concatenate([usual_inputs(graph), np.stack(more).astype(t.numpy_dtype)])


def _driven(
    shape: Shape, t: Tensor, out: tuple[int, ...], image: np.ndarray, channel: int, sign: int
) -> np.ndarray:
    wanted = np.where(sign * image[channel] > 0, t.hi, t.lo)
    if shape.kind is Dense:
        return np.asarray(wanted)
    if shape.kind is DepthwiseConv2D:
        wanted = np.where(sign * image.transpose(1, 2, 0) > 0, t.hi, t.lo)
    top, _, left, _ = same_padding(shape.input, shape.weights[1:3], shape.strides)
    row = out[0] // 2 * shape.strides[0] - top
    col = out[1] // 2 * shape.strides[1] - left
    x = np.full(t.shape, t.lo)
    part = x[max(row, 0) : row + wanted.shape[0], max(col, 0) : col + wanted.shape[1]]
    part[:] = wanted[max(-row, 0) :, max(-col, 0) :][: part.shape[0], : part.shape[1]]
    return x


# --- measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One kernel on one layer.  Cycles are modelled; ``None`` where no table is published.

    ``bound``: magnitude of the accumulator, rounding included, in the layer at the kernel's edge.
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


def applying(graph: Graph, core: str) -> Iterator[str]:
    """The kernels that this layer can have, the portable one last."""
    for stem in KERNELS:
        try:
            compile_graph(graph, Target(find_core(core), {"*": stem}))
        except TinyqError:
            continue
        yield stem
    yield PORTABLE


def mismatches(graph: Graph, core: str, stem: str, x: np.ndarray) -> int:
    """Codes that differ from the executor's, on the emulated core."""
    backend = EmulatedBackend(f"qemu-{core}", Target(find_core(core), {"*": stem}))
    got = backend.run(graph, {"x": x}, keep_all=False)["y"]
    expected = executor.predict(graph, {"x": x})["y"]
    return int((got.astype(np.int64) != expected).sum())


def measure(shape: Shape, encoding: str, core: str, stem: str, graph: Graph) -> Row:
    """Count, and compare on usual data and at the edge."""
    cost = measure_profile(graph, f"qemu-{core}", {"*": stem})
    assert cost.size is not None
    program = compile_graph(graph, Target(find_core(core), {"*": stem}))
    edge, bound = edge_graph(shape, encoding, core, stem)
    return Row(
        shape.name,
        core,
        encoding,
        cost.layers[0].kernel,
        cost.macs,
        cost.layers[0].instructions,
        None if cost.cycles is None else cost.cycles.least,
        None if cost.cycles is None else cost.cycles.most,
        cost.size.flash_bytes,
        cost.size.ram_bytes,
        program.steps[0].memory.scratch,
        cost.stack_bytes,
        mismatches(graph, core, stem, usual_inputs(graph)),
        bound,
        mismatches(edge, core, stem, edge_inputs(shape, edge)),
    )


def rows(cores: Sequence[str], shapes: Sequence[str], encodings: Sequence[str]) -> Iterator[Row]:
    """Every kernel that applies."""
    for core in cores:
        for name in shapes:
            for encoding in encodings:
                graph = usual_graph(SHAPES[name], encoding)
                for stem in applying(graph, core):
                    yield measure(SHAPES[name], encoding, core, stem, graph)


# --- tables --------------------------------------------------------------------------------------

HEADER = (
    "| shape | weights | kernel | instructions/MAC | cycles/MAC, modelled | portable ÷ it "
    "| CMSIS-NN int8 | flash | scratch | mismatches | bound of the sums | mismatches there |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def table_row(row: Row, portable: Mapping[tuple[str, str, str], Row]) -> str:
    """One line of the Markdown table."""
    plain = portable.get((row.core, row.shape, row.weights))
    reference = CMSIS_NN.get(row.core, ())
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
        f"{reference[list(SHAPES).index(row.shape)]}" if reference else "-",
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
    "the kernel's conditions admit, driven to that bound. CMSIS-NN: 99f736a, its int8 kernels at "
    "-Ofast, GCC 12.2, QEMU 7.2."
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
    parser.add_argument("--weights", default="int8,int4,lut4")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    found: list[Row] = []
    lists = (options.cores, options.shapes, options.weights)
    for row in rows(*(text.split(",") for text in lists)):
        found.append(row)
        print(
            f"{row.core:6} {row.shape} {row.weights:5} {row.kernel:18} {row.per_mac:8.3f}/MAC "
            f"{row.mismatches} and {row.edge_mismatches} mismatches, bound {row.bound:,}",
            flush=True,
        )
        write(options.output, found)
    return int(any(row.mismatches or row.edge_mismatches for row in found))


if __name__ == "__main__":
    raise SystemExit(main())
