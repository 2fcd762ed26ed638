# SPDX-License-Identifier: Apache-2.0
"""The explanation as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tinyq.plotting import new_figure, saved
from tinyq.waterfall.report import Explanation
from tinyq.waterfall.stages import CAUSES

_COLOURS: Final = {"weights": "#4477aa", "activations": "#ee6677", "clipping": "#ccbb44"}


def draw(result: Explanation, form: str) -> bytes:
    """Accuracy (where known) and SQNR cause by cause, then the layers' noise.

    Args:
        form: "png", "svg" or "pdf", the type of the file returned.
    """
    panels = [_draw_sqnr, _draw_layers]
    if result.accuracy_lost is not None:
        panels.insert(0, _draw_accuracy)
    heights = [2.8] * (len(panels) - 1) + [1.2 + 0.28 * len(result.layers)]
    figure = new_figure(sum(heights) + 0.4)
    figure.suptitle(f"{result.model}: what quantization costs ({result.samples} samples)")
    rows = figure.subplots(len(panels), 1, height_ratios=heights)
    for panel, axes in zip(panels, rows, strict=True):
        panel(axes, result)
    return saved(figure, form)


def _draw_accuracy(axes: Any, result: Explanation) -> None:
    """Bars from the accuracy before a cause to that after it, red where it falls."""
    values = [100 * (stage.score.accuracy or 0.0) for stage in result.stages]
    for i, value in enumerate(values):
        before = values[max(i - 1, 0)]
        colour = "#bb4433" if value < before else "#228833"
        axes.bar(i, abs(value - before), bottom=min(value, before), color=colour)
        axes.plot([i - 0.4, i + 0.4], [value, value], color="black")
        axes.annotate(f"{value:.1f}", (i, max(value, before)), ha="center", va="bottom")
    axes.set_ylabel("accuracy, %")
    _name_causes(axes, [stage.cause for stage in result.stages])


def _draw_sqnr(axes: Any, result: Explanation) -> None:
    """SQNR after each cause; that of the float model itself is off the scale."""
    for i, stage in enumerate(result.stages[1:]):
        axes.bar(i, stage.sqnr, color="#4477aa")
        axes.annotate(f"{stage.sqnr:.1f}", (i, max(stage.sqnr, 0)), ha="center", va="bottom")
    axes.set_ylabel("output SQNR, dB")
    _name_causes(axes, [stage.cause for stage in result.stages[1:]])


def _name_causes(axes: Any, causes: Sequence[str]) -> None:
    titles = [CAUSES[cause].replace(" ", "\n", 1) for cause in causes]
    axes.set_xticks(range(len(titles)), titles, fontsize=8)
    axes.use_sticky_edges = False
    axes.margins(y=0.2)


def _draw_layers(axes: Any, result: Explanation) -> None:
    total = max(sum(layer.noise["all"] for layer in result.layers), 1e-30)
    left = [0.0] * len(result.layers)
    rows = range(len(result.layers))
    for part in _COLOURS:
        widths = [100 * layer.noise.get(part, 0.0) / total for layer in result.layers]
        axes.barh(rows, widths, left=left, color=_COLOURS[part], label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(rows, [layer.name for layer in result.layers], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("noise of this layer alone, % of all layers'")
    axes.legend()
