# SPDX-License-Identifier: Apache-2.0
"""Commands that run a model: run, verify."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from tinyq import api
from tinyq.certificate import save_certificate
from tinyq.cli import options
from tinyq.cli.console import (
    CHECK_FAILED,
    check_writable,
    console,
    progress_bar,
    say,
    write_json,
)
from tinyq.cli.tables import check_tables
from tinyq.errors import InputError
from tinyq.files import write_atomic
from tinyq.graph import Graph

#: codes that the JSON of ``run`` holds at most; further samples are left out
MAX_JSON_CODES: Final = 1_000_000


def run(
    model: options.Model,
    data: options.NeededData,
    on: Annotated[
        str, typer.Option(metavar="BACKEND", help="numpy, host, tflm, qemu-m4, unicorn-m4, ...")
    ] = "numpy",
    count: options.Count = None,
    outputs: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Write the codes of all outputs to this file."),
    ] = None,
    json: options.Json = None,
) -> None:
    """Run the test samples; accuracy where the data have labels.

    The JSON's "outputs" has one entry per sample: the codes of the output, nested as its shape (a
    list of these for a model with several outputs); value = code * 2**exponent, and the exponents
    stand in "output_tensors".  At most a million codes are written: "outputs_complete" tells.
    """
    check_writable(outputs, json, keep=(model, data))
    graph = api.as_graph(model)
    with progress_bar() as progress:
        result = api.run(graph, data, on, count, progress)
    if outputs is not None:
        write_atomic(outputs, _npz(result))
    write_json(json, _run_json(graph, result))
    say(f"{result.count} samples on {result.backend}")
    if result.score.accuracy is not None:
        say(f"accuracy {result.score.accuracy:.4f}")
    if result.score.mse is not None:
        say(f"mean squared error {result.score.mse:.6g}")


def _npz(result: api.Run) -> bytes:
    stream = io.BytesIO()
    arrays: dict[str, Any] = dict(result.codes)
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _run_json(graph: Graph, result: api.Run) -> dict[str, Any]:
    per_sample = max(1, sum(graph.tensors[name].size for name in graph.outputs))
    shown = min(result.count, max(1, MAX_JSON_CODES // per_sample))
    lists = [result.codes[name][:shown].tolist() for name in graph.outputs]
    samples = lists[0] if len(lists) == 1 else [list(parts) for parts in zip(*lists, strict=True)]
    return {
        "backend": result.backend,
        "count": result.count,
        "accuracy": result.score.accuracy,
        "mse": result.score.mse,
        "output_tensors": [
            {"name": name, "shape": list(t.shape), "dtype": t.dtype, "exponent": t.exponent}
            for name, t in ((name, graph.tensors[name]) for name in graph.outputs)
        ],
        "outputs": samples,
        "outputs_complete": shown == result.count,
    }


def verify(
    model: options.Model,
    data: options.Data = None,
    on: Annotated[
        str, typer.Option(metavar="A,B,...", help="Backends: host, tflm, qemu-m0, unicorn-m4, ...")
    ] = "host",
    count: Annotated[int, typer.Option(metavar="N", help="Samples to compare.")] = 32,
    seed: options.Seed = 0,
    core: options.AnyCore = "generic",
    kernel: options.Kernel = None,
    kernels: options.Kernels = "fast",
    ram: options.Ram = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: M.certificate.json beside the model."),
    ] = None,
    json: options.Json = None,
) -> None:
    """Compare every tensor of every backend with the NumPy executor: equal, or exit code 1.

    Without --data the inputs are random codes of their whole range.  Emulated cores run their own
    kernels, this computer (host) those of --core.  When everything is equal a certificate is
    written.
    """
    target = certificate or model.with_suffix(".certificate.json")
    check_writable(target, json, keep=(model, data))
    graph = api.as_graph(model)
    names = [name.strip() for name in on.split(",") if name.strip()]
    if not names:
        raise InputError("--on names no backend; give at least one, for example --on host")
    chosen = options.overrides(kernel, kernels)
    with progress_bar() as progress:
        result = api.verify(graph, data, names, count, seed, core, chosen, ram, progress)
    if result.certificate is not None:
        save_certificate(result.certificate, target)
    write_json(json, verify_json(graph, result, target))
    for table in check_tables(graph, result.checks):
        console().print(table)
    _say_verdict(model, data, seed, result, target)
    if not result.passed:
        raise typer.Exit(CHECK_FAILED)


def verify_json(graph: Graph, result: api.Verification, target: Path) -> dict[str, Any]:
    """For scripts: ``backends.<name>.{inputs,tensors,mismatches}`` and more."""
    return {
        "model": graph.name,
        "passed": result.passed,
        "backends": {check.name: check.to_json() for check in result.checks},
        "certificate": str(target) if result.certificate is not None else None,
    }


def _say_verdict(
    model: Path, data: Path | None, seed: int, result: api.Verification, target: Path
) -> None:
    if result.passed:
        say(f"all equal; wrote {target}")
        return
    source = f"--seed {seed}" if data is None else f"--data {data}"
    for check in result.checks:
        if check.passed:
            continue
        if check.first is not None:
            say(f"{check.name}: {check.mismatches} mismatches; the first: {check.first}")
            needed = check.first.sample + 1
        else:
            say(f"{check.name}: self-test returned {check.selftest}")
            needed = 1
        say(f"  again: tinyq verify {model} {source} --on {check.name} --count {needed}")
