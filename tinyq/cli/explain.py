# SPDX-License-Identifier: Apache-2.0
"""The command that says where a quantized model loses accuracy: explain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from tinyq import api
from tinyq.cli import options
from tinyq.cli.console import check_writable, console, progress_bar, say, write_json
from tinyq.cli.tables import new_table
from tinyq.files import write_atomic
from tinyq.plotting import require_plotting
from tinyq.waterfall import CAUSES, Explanation, LayerLoss, Stage
from tinyq.waterfall.plot import draw


def explain(
    model: options.Model,
    float_model: Annotated[
        Path,
        typer.Option("--float", metavar="MODEL", help="The Keras model that M.tq was made from."),
    ],
    data: options.NeededData,
    count: Annotated[
        int, typer.Option(metavar="N", help="Only the first N test samples.")
    ] = api.EXPLAIN_SAMPLES,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it (.png, .svg, .pdf).")
    ] = None,
    json: options.Json = None,
) -> None:
    """Show what each cause and each layer costs, and the cheapest remedies.

    Causes are switched on one by one, so that their losses add up to the whole loss.  Layers are
    quantized one at a time.  SQNR is the signal-to-noise ratio of the outputs against float, in dB.
    """
    check_writable(plot, json, keep=(model, float_model, data))
    if plot is not None:
        require_plotting(plot)
    with progress_bar() as progress:
        result = api.explain(model, float_model, data, count, progress)
    if plot is not None:
        write_atomic(plot, draw(result, plot.suffix[1:].lower()))
    write_json(json, result.to_json())
    for table in tables(result):
        console().print(table)
    if result.removed_channels:
        say(
            f"{result.removed_channels} input channels became constant and are gone; what that "
            "costs counts as weight rounding"
        )
    say(_summary(result))


def tables(result: Explanation) -> Iterator[Table]:
    """Causes, layers, remedies."""
    yield _stage_table(result)
    yield _layer_table(result)
    if result.remedies:
        yield _remedy_table(result)


def _stage_table(result: Explanation) -> Table:
    judged = _judged(result)
    table = new_table(
        f"{result.model}: causes, one by one, on {result.samples} samples",
        *("cause", *judged, "SQNR, dB>", "lost, dB>", "noise share>"),
    )
    for stage in result.stages:
        cells = _stage_cells(stage) if judged else ()
        table.add_row(CAUSES[stage.cause], *cells, *_noise_cells(stage))
    table.add_section()
    noise = f"{sum(stage.noise_share for stage in result.stages):.1%}"
    totals = ("", _points(result.accuracy_lost))[: len(judged)]
    table.add_row("total", *totals, "", f"{result.sqnr_lost:.1f}", noise)
    return table


def _judged(result: Explanation) -> tuple[str, ...]:
    """Columns that the labels allow."""
    if result.accuracy_lost is not None:
        return ("accuracy>", "lost, points>")
    return () if result.stages[-1].score.mse is None else ("mean squared error>",)


def _stage_cells(stage: Stage) -> tuple[str, ...]:
    if stage.score.mse is not None:
        return (f"{stage.score.mse:.4g}",)
    lost = "" if stage.cause == "float" else _points(stage.accuracy_lost)
    return f"{stage.score.accuracy:.4f}", lost


def _noise_cells(stage: Stage) -> tuple[str, str, str]:
    if stage.cause == "float":
        return f"{stage.sqnr:.1f}", "", ""
    return f"{stage.sqnr:.1f}", f"{stage.sqnr_lost:.1f}", f"{stage.noise_share:.1%}"


def _points(lost: float | None) -> str:
    return "" if lost is None else f"{100 * lost:.2f}"


#: columns of the table of layers: weights rounded with real scales, with powers of two, as stored;
#: outputs rounded, clipped; ties and tables of integer arithmetic; all
_TITLES: Final = {
    "rounding": "rounded",
    "scales": "2^e",
    "weights": "stored",
    "activations": "outputs",
    "clipping": "clipping",
    "integers": "integers",
    "all": "all",
}


def _layer_table(result: Explanation) -> Table:
    table = new_table(
        "one layer at a time: output SQNR, dB",
        *("layer", "operator", "stored as", *(f"{title}>" for title in _TITLES.values())),
        *("noise share>", "lost, points>"),
    )
    for layer in result.layers:
        cells = (_decibels(layer, part) for part in _TITLES)
        points = _points(layer.accuracy_lost)
        table.add_row(layer.name, layer.op, layer.stored, *cells, f"{layer.share:.1%}", points)
    return table


def _decibels(layer: LayerLoss, part: str) -> str:
    if part not in layer.noise:
        return ""
    return "-" if layer.noise[part] == 0 else f"{layer.sqnr[part]:.1f}"


def _remedy_table(result: Explanation) -> Table:
    table = new_table(
        "cheapest remedies, each alone; SQNR of the whole is an estimate",
        *("layer", "cause", "remedy", "bytes>", "noise left>", "SQNR then, dB>"),
    )
    for remedy in result.remedies:
        table.add_row(
            remedy.layer,
            CAUSES[remedy.cause],
            remedy.action,
            f"{remedy.bytes:+,}" if remedy.bytes else "0",
            f"{remedy.remaining:.0%}",
            f"{remedy.output_sqnr:.1f}",
        )
    return table


def _summary(result: Explanation) -> str:
    groups = {
        "weights": ("weights", "scales", "fitting"),
        "activations": ("activations",),
        "clipping": ("clipping",),
        "integer arithmetic": ("integers",),
    }
    share = {stage.cause: stage.noise_share for stage in result.stages}
    sums = {title: sum(share[cause] for cause in causes) for title, causes in groups.items()}
    worst = max(sums, key=lambda title: sums[title])
    layer = max(result.layers, key=lambda found: found.share)
    text = f"most noise: {worst} ({sums[worst]:.0%}) by cause, '{layer.name}' by layer"
    best = next((remedy for remedy in result.remedies if remedy.remaining < 1), None)
    if best is not None:
        text += f"; first remedy: '{best.layer}': {best.action} ({best.bytes:+,} bytes)"
    return text
