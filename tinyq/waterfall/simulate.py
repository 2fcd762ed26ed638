# SPDX-License-Identifier: Apache-2.0
"""A float graph with some operators replaced and some tensors rounded or clipped.

Noise of outputs y against y0, and its decibels:

    r = mean over outputs of sum((y - y0)**2) / sum(y0**2),    SQNR = -10 log10(r).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.graph import Graph
from tinyq.ops import Op
from tinyq.tensors import Tensor

Array = npt.NDArray[Any]
Effect = Callable[[Array], Array]
NOTHING: Final[Mapping[str, Any]] = {}
#: noise below this share of the signal is float64's own
LEAST_NOISE: Final = 1e-15


def simulate(
    graph: Graph,
    base: Mapping[str, Array],
    ops: Mapping[str, Op] = NOTHING,
    effects: Mapping[str, Effect] = NOTHING,
) -> dict[str, Array]:
    """Every tensor of ``graph`` after a change; what the change does not reach is not recomputed.

    Args:
        graph: with float weights.
        base: values ``[N, *shape]`` of the inputs, and of any tensors of the unchanged graph.
        ops: operators in place of the graph's, by node name.
        effects: what happens to tensors, by tensor name.
    """
    values = {n: effects[n](base[n]) if n in effects else base[n] for n in graph.inputs}
    changed = {name for name in graph.inputs if name in effects}
    for node in graph.nodes:
        out = node.output
        untouched = node.name not in ops and out not in effects and changed.isdisjoint(node.inputs)
        if untouched and out in base:
            values[out] = base[out]
            continue
        y = ops.get(node.name, node.op).evaluate_float([values[name] for name in node.inputs])
        values[out] = effects[out](y) if out in effects else y
        changed.add(out)
    return values


def rounding(tensor: Tensor) -> Effect:
    """x -> 2**e * floor(x / 2**e + 1/2), without limits."""
    return lambda x: np.ldexp(np.floor(np.ldexp(x, -tensor.exponent) + 0.5), tensor.exponent)


def clipping(tensor: Tensor) -> Effect:
    """x -> x limited to 2**e * [lo, hi]."""
    low, high = (float(np.ldexp(float(q), tensor.exponent)) for q in (tensor.lo, tensor.hi))
    return lambda x: np.clip(x, x.dtype.type(low), x.dtype.type(high))


def quantizing(tensor: Tensor) -> Effect:
    """Rounding, then clipping."""
    rounded, clipped = rounding(tensor), clipping(tensor)
    return lambda x: clipped(rounded(x))


class NoiseMeter:
    """Adds up errors and signal of every output over batches."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.outputs = tuple(outputs)
        self.errors = np.zeros(len(self.outputs))
        self.signal = np.zeros(len(self.outputs))

    def add(self, values: Mapping[str, Array], reference: Mapping[str, Array]) -> None:
        """One batch; both by name of output."""
        for i, name in enumerate(self.outputs):
            y, y0 = values[name].astype(np.float64), reference[name].astype(np.float64)
            self.errors[i] += ((y - y0) ** 2).sum()
            self.signal[i] += (y0**2).sum()

    @property
    def noise(self) -> float:
        """r of the module's docstring."""
        return float((self.errors / np.maximum(self.signal, 1e-30)).mean())


def decibels(noise: float) -> float:
    """SQNR in dB of a noise r, at most 150."""
    return float(-10 * np.log10(max(noise, LEAST_NOISE)))
