# SPDX-License-Identifier: Apache-2.0
"""What the exponent of a class of tensors costs: the error that it makes at the network's outputs.

The tensors of the class are quantized, all else stays float and is computed to the end, on a few
calibration samples.  The error is the mean squared difference of each output (before softmax or
sigmoid), relative to its variance.  Weighted layers that read the class get their mean output back,
as the bias correction will do.

The squared error of the tensor itself misleads where its parts differ in scale (a loud and useless
feature beside quiet ones) and where an average keeps the exponent of the large values it averages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.graph import Graph, Node
from tinyq.ops import LinearOp, Sigmoid, Softmax, apply_activation
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
        """Sum over the network's outputs of squared error / variance."""
        values = self._quantized(members, exponent)
        for node in self.graph.nodes:
            if node.output not in values and not values.keys().isdisjoint(node.inputs):
                read_directly = not set(members).isdisjoint(node.inputs)
                values[node.output] = self._evaluate(node, values, read_directly)
        return sum(
            relative_error(values[name], self.seen[name].sample)
            for name in ends(self.graph)
            if name in values
        )

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

    def _evaluate(self, node: Node, values: Mapping[str, Array], read_directly: bool) -> Array:
        xs = [values.get(name, self.seen[name].sample) for name in node.inputs]
        if read_directly and isinstance(node.op, LinearOp):
            return _with_mean_of(node.op, xs[0], self.seen[node.inputs[0]].sample)
        return node.op.evaluate_float(xs)


def ends(graph: Graph) -> tuple[str, ...]:
    """Where errors are taken: the outputs, before a softmax or sigmoid that hides them."""
    makers = [(name, graph.producer(name)) for name in graph.outputs]
    return tuple(
        node.inputs[0] if node and isinstance(node.op, Softmax | Sigmoid) else name
        for name, node in makers
    )


def relative_error(value: Array, wanted: Array) -> float:
    """Mean squared difference / variance of what is wanted."""
    variance = float(np.var(wanted, dtype=np.float64))
    difference = np.subtract(value, wanted, dtype=np.float64)
    return float(np.mean(np.square(difference))) / (variance + _TINY)


def _with_mean_of(op: LinearOp, x: Array, original: Array) -> Array:
    """The layer's output for ``x``, shifted to the channel means that ``original`` gives."""
    y = op.accumulate(x, op.real) + op.bias
    lost = op.accumulate(np.asarray(x - original), op.real)
    axes: Sequence[int] = range(lost.ndim - 1)
    return apply_activation(y - lost.mean(tuple(axes)), op.activation)
