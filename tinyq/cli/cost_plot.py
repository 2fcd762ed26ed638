# SPDX-License-Identifier: Apache-2.0
"""The cost of an inference as a picture: one bar a layer."""

from __future__ import annotations

from typing import Any, Final

from tinyq.measurement import Cost, LayerCost
from tinyq.plotting import new_figure, saved

_INSTRUCTIONS: Final = "#4477aa"
_CYCLES: Final = "#ee6677"


def draw_cost(cost: Cost, form: str) -> bytes:
    """Instructions of every layer, and its range of modelled cycles where there is one.

    Args:
        form: "png", "svg" or "pdf", the type of the file returned.
    """
    figure = new_figure(1.6 + 0.32 * len(cost.layers))
    figure.suptitle(f"{cost.instructions:,} instructions an inference on {cost.backend}")
    axes = figure.subplots()
    rows = range(len(cost.layers))
    counts = [layer.instructions for layer in cost.layers]
    axes.barh(rows, counts, color=_INSTRUCTIONS, label="instructions")
    for row, layer in zip(rows, cost.layers, strict=True):
        _annotate(axes, row, layer)
    if cost.cycles is not None:
        axes.plot([], [], color=_CYCLES, linewidth=3, label=f"cycles, {cost.cycles_note}")
        axes.legend(loc="lower right", fontsize=8)
    axes.set_yticks(rows, [f"{x.name} ({x.kernel})" for x in cost.layers], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    return saved(figure, form)


def _annotate(axes: Any, row: int, layer: LayerCost) -> None:
    """The layer's cycles as a line from the least to the most, and its instructions a MAC."""
    end = layer.instructions
    if layer.cycles is not None:
        axes.plot([layer.cycles.least, layer.cycles.most], [row, row], color=_CYCLES, linewidth=3)
        end = max(end, layer.cycles.most)
    if layer.macs:
        text = f" {layer.instructions / layer.macs:.2f}/MAC"
        axes.annotate(text, (end, row), va="center", fontsize=8)
