# SPDX-License-Identifier: Apache-2.0
"""Commands that look at a model: inspect, size, profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinyq import api
from tinyq.cli import options
from tinyq.cli.console import check_writable, console, progress_bar, say, write_json
from tinyq.cli.cost_plot import draw_cost
from tinyq.cli.tables import (
    cost_table,
    cycles_text,
    files_table,
    functions_table,
    graph_table,
    size_table,
    totals,
)
from tinyq.files import write_atomic
from tinyq.measurement import Cost
from tinyq.plotting import require_plotting


def inspect(
    model: options.AnyModel,
    core: options.AnyCore = "generic",
    kernel: options.Kernel = None,
    kernels: options.Kernels = "fast",
    ram: options.Ram = None,
    json: options.Json = None,
) -> None:
    """Show the layers of a Keras model or of a quantized model.

    A Keras model that tinyq cannot take is refused with the layer that is in the way.  Kernels,
    their scratch memory and the arena are those of the core.
    """
    check_writable(json, keep=(model,))
    report = api.inspect(model, core, options.overrides(kernel, kernels), ram)
    write_json(json, report.to_json())
    console().print(graph_table(report))
    for direction, tensors in (("input", report.inputs), ("output", report.outputs)):
        for tensor in tensors:
            say(f"{direction}: {tensor}")
    say(totals(report))
    if report.sha256 is not None:
        say(f"SHA-256 {report.sha256}")


def size(
    model: options.Model,
    core: options.Core = "m4",
    kernel: options.Kernel = None,
    kernels: options.Kernels = "fast",
    ram: options.Ram = None,
    json: options.Json = None,
) -> None:
    """Build for a core and show flash and RAM of the model and the kernel library."""
    check_writable(json, keep=(model,))
    with progress_bar() as progress:
        progress(f"build for {core}", 0, 1)
        result = api.size(model, core, options.overrides(kernel, kernels), ram)
        progress(f"build for {core}", 1, 1)
    write_json(json, result.to_json())
    console().print(files_table(result))
    console().print(size_table(result))
    say(
        f"flash {result.flash_bytes:,} bytes, RAM {result.ram_bytes:,} bytes "
        f"(arena {result.arena_bytes:,}), {result.compiler}"
    )


def profile(
    model: options.Model,
    on: Annotated[
        str,
        typer.Option(
            "--on", "--core", metavar="BACKEND", help="qemu-m4, unicorn-m0, ...; m4: qemu-m4."
        ),
    ] = "qemu-m4",
    kernel: options.Kernel = None,
    kernels: options.Kernels = "fast",
    ram: options.Ram = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it (.png, .svg, .pdf).")
    ] = None,
    json: options.Json = None,
) -> None:
    """Count the instructions of one inference, layer by layer; cycles, stack, flash, RAM.

    Cycles are a range modelled from the core's published timing table (M0, M3, M4), with memory
    that never waits, not validated on silicon.
    """
    check_writable(plot, json, keep=(model,))
    if plot is not None:
        require_plotting(plot)
    with progress_bar() as progress:
        progress(f"count on {on}", 0, 1)
        result = api.profile(model, on, options.overrides(kernel, kernels), ram)
        progress(f"count on {on}", 1, 1)
    if plot is not None:
        write_atomic(plot, draw_cost(result, plot.suffix[1:].lower()))
    write_json(json, result.to_json())
    console().print(cost_table(result))
    if result.size is not None:
        console().print(functions_table(result.size))
    _say_cost(result)


def _say_cost(result: Cost) -> None:
    ratio = f", {result.instructions / result.macs:.2f} per MAC" if result.macs else ""
    say(f"{result.instructions:,} instructions, {result.macs:,} MACs{ratio}")
    if result.cycles is None:
        say(result.cycles_note)
    else:
        say(f"{cycles_text(result.cycles)} cycles, {result.cycles_note}")
    stack = "" if result.stack_bytes is None else f", stack {result.stack_bytes:,} bytes"
    if result.size is not None:
        flash, ram = result.size.flash_bytes, result.size.ram_bytes
        say(f"flash {flash:,} bytes, RAM {ram:,} bytes{stack}")
