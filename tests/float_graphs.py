# SPDX-License-Identifier: Apache-2.0
"""Small float graphs made by hand, for the float passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyq.executor import run_float
from tinyq.graph import Graph, Node, Tensor, validate
from tinyq.ops import BatchNorm, Conv2D, Dense, DepthwiseConv2D, Op

#: name, op, inputs
Step = tuple[str, Op, Sequence[str]]
RNG = np.random.default_rng(7)


def make(
    inputs: dict[str, tuple[int, ...]], steps: Sequence[Step], outputs: Sequence[str]
) -> Graph:
    """A validated float graph; each step's tensor and layer carry its name."""
    tensors = {name: Tensor(name, shape) for name, shape in inputs.items()}
    nodes = []
    for name, op, sources in steps:
        tensors[name] = Tensor(name, op.infer_shape([tensors[s].shape for s in sources]))
        nodes.append(Node(name, op, tuple(sources), (name,), (name,)))
    return validate(Graph("net", tensors, tuple(nodes), tuple(inputs), tuple(outputs)))


def chain(shape: tuple[int, ...], *steps: tuple[str, Op]) -> Graph:
    """A graph in which every step reads the one before; the last is the output."""
    names = ["x", *(name for name, _ in steps)]
    linked = [(name, op, [before]) for (name, op), before in zip(steps, names, strict=False)]
    return make({"x": shape}, linked, [names[-1]])


def outputs(graph: Graph, seed: int = 3, dtype: type = np.float64) -> list[np.ndarray]:
    """The outputs for random inputs that depend on shapes and seed only."""
    rng = np.random.default_rng(seed)
    x = {name: rng.normal(size=(4, *graph.tensors[name].shape)) for name in graph.inputs}
    values = run_float(graph, {name: v.astype(dtype) for name, v in x.items()})
    return [values[name] for name in graph.outputs]


def ops(graph: Graph) -> list[str]:
    """Operator names in order."""
    return [type(node.op).__name__ for node in graph.nodes]


def _normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def norm(count: int) -> BatchNorm:
    """A batch normalization with a scale of either sign and an offset."""
    return BatchNorm(_normal(count) + 0.5, _normal(count))


def conv(inputs: int, count: int, kernel: int = 3, **parameters: object) -> Conv2D:
    """A convolution with random weights and bias."""
    return Conv2D(_normal(count, kernel, kernel, inputs), _normal(count), **parameters)


def depthwise(inputs: int, multiplier: int = 1, kernel: int = 3, **parameters) -> DepthwiseConv2D:
    """A depthwise convolution with random weights and bias."""
    count = inputs * multiplier
    weights, bias = _normal(count, kernel, kernel), _normal(count)
    return DepthwiseConv2D(weights, bias, multiplier=multiplier, **parameters)


def dense(inputs: int, count: int, **parameters: object) -> Dense:
    """A dense layer with random weights and bias."""
    return Dense(_normal(count, inputs), _normal(count), **parameters)
