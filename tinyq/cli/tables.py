# SPDX-License-Identifier: Apache-2.0
"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from tinyq.compare import shown_tensors
from tinyq.cycles import Cycles
from tinyq.graph import Graph
from tinyq.measurement import PRODUCT, Cost, Size
from tinyq.report import GraphReport
from tinyq.verification import BackendCheck


def new_table(title: str, *columns: str) -> Table:
    """A table; columns whose name ends with ``>`` are numbers."""
    table = Table(title=title, title_justify="left")
    for name in columns:
        right = name.endswith(">")
        table.add_column(name.rstrip(">"), justify="right" if right else "left", no_wrap=True)
    return table


def graph_table(report: GraphReport) -> Table:
    """One row per layer."""
    columns = ("layer", "operator", "output", "type", "weights>", "stored as", "bytes>", "MACs>")
    more = ("zeros>", "accumulator>", "kernel", "scratch>", "arena") if report.quantized else ()
    table = new_table(f"{report.name}", *columns, *more)
    for layer in report.layers:
        row = [
            layer.name,
            layer.op,
            "x".join(map(str, layer.shape)),
            layer.type,
            _count(layer.weights),
            layer.encoding or ("float32" if layer.weights else ""),
            _count(layer.weight_bytes),
            _count(layer.macs),
        ]
        if report.quantized:
            bits, sizes = layer.accumulator_bits, layer.compression
            row.append("" if sizes is None else f"{sizes.sparsity:.0%}")
            row.append("" if bits is None else f"{bits} bits")
            row += [layer.kernel, _count(layer.scratch)]
            row.append("" if layer.arena is None else f"{layer.arena[0]}..{layer.arena[1]}")
        table.add_row(*row)
    return table


def _count(value: int) -> str:
    return f"{value:,}" if value else ""


def totals(report: GraphReport) -> str:
    """The sums, in one line."""
    parts = [f"{report.weights:,} weights", f"{report.constant_bytes:,} bytes of constants"]
    parts.append(f"{report.macs:,} MACs")
    if report.arena_bytes is not None:
        parts.append(f"arena {report.arena_bytes:,} bytes")
        proved = [layer.fits_int16 for layer in report.layers if layer.fits_int16 is not None]
        parts.append(f"{sum(proved)} of {len(proved)} accumulators fit 16 bits")
        sizes = report.compression
        parts.append(f"{sizes.sparsity:.1%} of the weights are zero")
        parts.append(f"{sizes.ratio:.1f}x smaller than float32 if entropy-coded")
    return ", ".join(parts)


def check_tables(graph: Graph, checks: Sequence[BackendCheck]) -> Iterator[Table]:
    """Equality per backend, and per layer and backend."""
    table = new_table(
        f"{graph.name} against the NumPy executor",
        "backend",
        "machine",
        "inputs>",
        "tensors>",
        "codes compared>",
        "mismatches>",
        "self-test",
        "",
    )
    for check in checks:
        elements = sum(t.elements for t in check.tensors)
        table.add_row(
            check.name,
            check.tools.get("machine", ""),
            f"{check.inputs:,}",
            str(len(check.tensors)),
            f"{elements:,}",
            f"{check.mismatches:,}",
            _selftest(check.selftest),
            "equal" if check.passed else "DIFFERENT",
        )
    yield table
    yield _layer_table(graph, checks)


def _selftest(result: int | None) -> str:
    if result is None:
        return "-"
    return "passed" if result == 0 else f"failed ({result})"


def _layer_table(graph: Graph, checks: Sequence[BackendCheck]) -> Table:
    table = new_table("mismatches per layer", "layer", "tensor", *(f"{c.name}>" for c in checks))
    found = [{t.tensor: t.mismatches for t in check.tensors} for check in checks]
    for layer, tensor in shown_tensors(graph):
        if any(tensor in by_tensor for by_tensor in found):
            table.add_row(layer, tensor, *(str(by_tensor.get(tensor, "-")) for by_tensor in found))
    return table


def size_table(result: Size) -> Table:
    """Flash and RAM by part, the product first."""
    table = new_table(f"memory on {result.core}", "part", "flash>", "RAM>")
    for name, (flash, ram) in result.parts.items():
        if name in PRODUCT:
            table.add_row(name, f"{flash:,}", f"{ram:,}")
    table.add_section()
    table.add_row("model + library", f"{result.flash_bytes:,}", f"{result.ram_bytes:,}")
    table.add_section()
    for name, (flash, ram) in result.parts.items():
        if name not in PRODUCT:
            table.add_row(f"({name})", f"{flash:,}", f"{ram:,}")
    return table


def files_table(result: Size) -> Table:
    """Flash and RAM by source file of the product, largest first."""
    table = new_table("by source file", "part", "file", "flash>", "RAM>")
    for part, file, flash, ram in result.files:
        if part in PRODUCT:
            table.add_row(part, file, f"{flash:,}", f"{ram:,}")
    return table


def cost_table(cost: Cost) -> Table:
    """Instructions per layer, and modelled cycles where there are any."""
    modelled = () if cost.cycles is None else ("cycles, modelled>",)
    table = new_table(
        f"one inference on {cost.backend}",
        *("layer", "kernel", "instructions>", "MACs>", "per MAC>", "share>", *modelled),
    )
    for layer in cost.layers:
        table.add_row(
            layer.name,
            layer.kernel,
            f"{layer.instructions:,}",
            _count(layer.macs),
            f"{layer.instructions / layer.macs:.2f}" if layer.macs else "",
            f"{layer.instructions / cost.instructions:.1%}",
            *([cycles_text(layer.cycles)] if modelled else []),
        )
    return table


def cycles_text(cycles: Cycles | None) -> str:
    """``1,200..1,800``."""
    return "" if cycles is None else f"{cycles.least:,}..{cycles.most:,}"


def functions_table(result: Size) -> Table:
    """Flash by function of the product, and its constants."""
    table = new_table("flash by function", "part", "function", "bytes>")
    for part, name, size in result.functions:
        table.add_row(part, name, f"{size:,}")
    rest = result.flash_bytes - sum(size for _, _, size in result.functions)
    table.add_section()
    table.add_row("", "constants and padding", f"{rest:,}")
    return table
