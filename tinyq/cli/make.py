# SPDX-License-Identifier: Apache-2.0
"""Commands that make files: quantize, qat, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tinyq import api
from tinyq.archive import is_graph_file
from tinyq.cli import options
from tinyq.cli.console import check_folder, check_writable, console, progress_bar, say, write_json
from tinyq.cli.tables import graph_table, totals
from tinyq.data import CALIBRATION_SAMPLES
from tinyq.errors import InputError
from tinyq.graph import Graph
from tinyq.report import report_graph


def quantize(
    model: options.KerasModel,
    output: options.Output,
    data: options.Data = None,
    data_free: options.DataFree = False,
    scale: options.Scale = 1.0,
    offset: options.Offset = 0.0,
    weights: options.Weights = "int8",
    first_last: options.FirstLast = "same",
    per_channel: options.PerChannel = True,
    samples: options.Samples = CALIBRATION_SAMPLES,
    seed: options.Seed = 0,
    drop_softmax: options.DropSoftmax = False,
    name: options.Name = None,
    json: options.Json = None,
) -> None:
    """Quantize a trained Keras model in seconds, without training."""
    check_data_options(data, data_free)
    check_writable(output, json, keep=(model, data))
    with progress_bar() as progress:
        graph = api.quantize(
            model,
            data,
            weights=weights,
            first_last=first_last,
            per_channel=per_channel,
            scale=scale,
            offset=offset,
            samples=samples,
            seed=seed,
            name=model.stem if name is None else name,
            drop_softmax=drop_softmax,
            progress=progress,
        )
    save(graph, output, json)


def check_data_options(data: Path | None, data_free: bool) -> None:
    """At most one source of calibration; none is data-free, and says so."""
    if data is not None and data_free:
        raise InputError("--data and --data-free exclude each other; drop one")
    if data is None and not data_free:
        say("no --data: calibrating on batch-norm statistics (--data-free)")


def save(graph: Graph, output: Path, json: Path | None) -> None:
    """Write and show a quantized model."""
    report = report_graph(graph)
    api.save(graph, output)
    write_json(json, report.to_json())
    console().print(graph_table(report))
    say(totals(report))
    say(f"wrote {output}")


def qat(
    model: options.KerasModel,
    output: options.Output,
    data: options.NeededData,
    epochs: Annotated[
        int, typer.Option(metavar="N", help="Passes over the training data.")
    ] = api.QAT_EPOCHS,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="w8a8, w4a8_lut, w4a8_pot, w4a8_apot, w4a4_llsq, w8a8_a2q16 ... (a wrong name "
            "lists all).",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="NAME", help="int8, int4, lut4, pot4, apot4 ...")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="A preset and options, for all and single layers."),
    ] = None,
    first_last: Annotated[
        str | None,
        typer.Option(metavar="same|int8", help="Encoding of the first and the last layers."),
    ] = None,
    per_channel: Annotated[
        bool | None,
        typer.Option(
            "--per-channel/--per-tensor",
            help="One weight exponent per output channel, or per layer.",
        ),
    ] = None,
    scale: options.Scale = 1.0,
    offset: options.Offset = 0.0,
    batch: Annotated[int, typer.Option(metavar="N", help="Samples of one step.")] = 64,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="At the start of training; other rates follow."),
    ] = None,
    warmup: Annotated[
        float, typer.Option(metavar="F", help="Fraction of the steps in which rates rise.")
    ] = 0.0,
    gradual: Annotated[
        float, typer.Option(metavar="F", help="Fraction of the steps with 8-bit weights.")
    ] = 0.0,
    distill: Annotated[
        float | None,
        typer.Option(metavar="W", help="Learn from MODEL too, with this weight (0 to 1)."),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            metavar="rounded|least_squares",
            help="First codes: nearest ones, or those of `tinyq quantize`.",
        ),
    ] = "rounded",
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save each epoch here; resume from it.")
    ] = None,
    log_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write TensorBoard's events here.")
    ] = None,
    distribute: Annotated[
        str | None,
        typer.Option(metavar="mirrored|workers", help="All devices, or TF_CONFIG's processes."),
    ] = None,
    seed: options.Seed = 0,
    name: options.Name = None,
    json: options.Json = None,
) -> None:
    """Train on with quantization in the loop, then write the integer model."""
    check_writable(output, json, keep=(model, data))
    for folder in (checkpoint, log_dir):
        if folder is not None:
            check_folder(folder)
    with progress_bar() as progress:
        graph = api.train(
            model,
            data,
            epochs=epochs,
            preset=preset,
            weights=weights,
            config=config,
            first_last=first_last,
            per_channel=per_channel,
            scale=scale,
            offset=offset,
            batch=batch,
            learning_rate=learning_rate,
            warmup=warmup,
            gradual=gradual,
            distill=distill,
            start=start,
            checkpoint_dir=checkpoint,
            log_dir=log_dir,
            distribute=distribute,
            seed=seed,
            name=model.stem if name is None else name,
            progress=progress,
        )
    save(graph, output, json)


def export(
    model: options.AnyModel,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write into.")
    ],
    name: options.Name = None,
    form: Annotated[
        str, typer.Option("--format", metavar="c|platformio|tflite", help="What to write.")
    ] = "c",
    core: Annotated[
        str, typer.Option(metavar="CORE", help="generic, m0, m3, m4, m7, m33, m55 or rv32ec.")
    ] = "generic",
    kernel: options.Kernel = None,
    kernels: options.Kernels = "fast",
    ram: options.Ram = None,
    compressed: Annotated[
        bool, typer.Option("--compressed", help="tflite: store 4-bit weights for TFLM's DECODE.")
    ] = False,
    data: options.Data = None,
    data_free: options.DataFree = False,
    scale: options.Scale = 1.0,
    offset: options.Offset = 0.0,
    weights: options.Weights = "int8",
    json: options.Json = None,
) -> None:
    """Write a model as C sources, as a PlatformIO library or as a .tflite file."""
    check_folder(output)
    check_writable(json, keep=(model, data))
    graph: Graph
    if is_graph_file(model):
        graph = api.as_graph(model)
    else:
        check_data_options(data, data_free)
        with progress_bar() as progress:
            graph = api.quantize(
                model, data, weights=weights, scale=scale, offset=offset, progress=progress,
                name=model.stem if name is None else name,
            )  # fmt: skip
    files = api.export(
        graph, output, name=name, format=form, core=core, compressed=compressed,
        kernels=options.overrides(kernel, kernels),
        ram=ram,
    )  # fmt: skip
    result: dict[str, Any] = {
        "name": graph.name if name is None else name,
        "format": form,
        "core": core,
    }
    write_json(json, {**result, "files": list(files)})
    for file in files:
        say(f"wrote {output / file}")
