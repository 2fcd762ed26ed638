# SPDX-License-Identifier: Apache-2.0
"""What the exponent of a class of tensors costs: the error that its readers see.

The tensors of the class are quantized, all else stays float, and the error is taken where the class
ends: after weighted layers (without its mean, which the bias correction removes), sums, softmax and
sigmoid, and at the network's outputs, each relative to the variance there.  The squared error of
the tensor itself misleads where its parts differ in scale (a loud and useless feature beside quiet
ones) and where averages keep the exponent of the large values that they average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.graph import Graph, Node
from tinyq.ops import Add, LinearOp
from tinyq.ptq.observe import Observation
from tinyq.tensors import Tensor

Array = npt.NDArray[Any]

_TINY: Final = 1e-30


@dataclass(frozen=True)
class Sensitivity:
    """The float network on a few samples, and the types of the tensors to be."""

    graph: Graph
    seen: Mapping[str, Observation]
    types: Mapping[str, Tensor]

    def error(self, members: tuple[str, ...], exponent: int) -> float:
        """Sum over the class's readers of squared error / variance."""
        values = self._quantized(members, exponent)
        total = sum(
            self._relative(values[name] - self.seen[name].sample, name)
            for name in self.graph.outputs
            if name in values
        )
        for node in self.graph.nodes:
            if not node.op.keeps_exponent and not values.keys().isdisjoint(node.inputs):
                total += self._relative(self._reader_error(node, values), node.output)
        return total

    def _quantized(self, members: tuple[str, ...], exponent: int) -> dict[str, Array]:
        """Values of the class's tensors on the grid of ``exponent``, in order."""
        values: dict[str, Array] = {}
        for name in members:
            node = self.graph.producer(name)
            x = self.seen[name].sample
            if node is not None and node.op.keeps_exponent:
                x = node.op.evaluate_float([values[source] for source in node.inputs])
            tensor = replace(self.types[name], exponent=exponent)
            values[name] = tensor.dequantize(tensor.quantize(x)).astype(np.float32)
        return values

    def _reader_error(self, node: Node, values: Mapping[str, Array]) -> Array:
        xs = [values.get(name, self.seen[name].sample) for name in node.inputs]
        if isinstance(node.op, LinearOp):
            difference = xs[0] - self.seen[node.inputs[0]].sample
            error = node.op.accumulate(difference, node.op.real)
            centred: Array = error - error.mean(tuple(range(error.ndim - 1)))
            return centred
        if isinstance(node.op, Add):
            first, second = (self.seen[name].sample for name in node.inputs)
            both: Array = (xs[0] - first) + (xs[1] - second)
            return both
        return node.op.evaluate_float(xs) - self.seen[node.output].sample

    def _relative(self, error: Array, name: str) -> float:
        variance = float(np.var(self.seen[name].sample, dtype=np.float64))
        return float(np.mean(np.square(error), dtype=np.float64)) / (variance + _TINY)
