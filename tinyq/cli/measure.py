# SPDX-License-Identifier: Apache-2.0
"""Commands that look at a model: inspect, size, profile."""

from __future__ import annotations

from tinyq import api
from tinyq.cli import options
from tinyq.cli.console import check_writable, console, progress_bar, say, write_json
from tinyq.cli.tables import cost_table, files_table, graph_table, size_table, totals


def inspect(model: options.AnyModel, json: options.Json = None) -> None:
    """Show the layers of a Keras model or of a quantized model.

    A Keras model that tinyq cannot take is refused with the layer that is in the way.
    """
    check_writable(json, keep=(model,))
    report = api.inspect(model)
    write_json(json, report.to_json())
    console().print(graph_table(report))
    for direction, tensors in (("input", report.inputs), ("output", report.outputs)):
        for tensor in tensors:
            say(f"{direction}: {tensor}")
    say(totals(report))
    if report.sha256 is not None:
        say(f"SHA-256 {report.sha256}")


def size(model: options.Model, core: options.Core = "m4", json: options.Json = None) -> None:
    """Build for a core and show flash and RAM of the model and the kernel library."""
    check_writable(json, keep=(model,))
    with progress_bar() as progress:
        progress(f"build for {core}", 0, 1)
        result = api.size(model, core)
        progress(f"build for {core}", 1, 1)
    write_json(json, result.to_json())
    console().print(files_table(result))
    console().print(size_table(result))
    say(
        f"flash {result.flash_bytes:,} bytes, RAM {result.ram_bytes:,} bytes "
        f"(arena {result.arena_bytes:,}), {result.compiler}"
    )


def profile(model: options.Model, core: options.Core = "m4", json: options.Json = None) -> None:
    """Count the instructions of one inference and of every layer under QEMU."""
    check_writable(json, keep=(model,))
    with progress_bar() as progress:
        progress(f"count on {core}", 0, 1)
        result = api.profile(model, core)
        progress(f"count on {core}", 1, 1)
    write_json(json, result.to_json())
    console().print(cost_table(result))
    ratio = f", {result.instructions / result.macs:.2f} per MAC" if result.macs else ""
    say(f"{result.instructions:,} instructions, {result.macs:,} MACs{ratio}")
