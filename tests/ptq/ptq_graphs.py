# SPDX-License-Identifier: Apache-2.0
"""Small float networks with calibration data, for post-training quantization."""

from __future__ import annotations

from dataclasses import replace

import float_graphs as fg
import numpy as np

from tinyq.graph import Graph
from tinyq.ops import Add, AveragePool2D, Concat, MaxPool2D, Pad2D, Reshape, Softmax


def samples(graph: Graph, count: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal inputs, float32."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=(count, *graph.tensors[name].shape)).astype(np.float32)
        for name in graph.inputs
    }


def residual() -> Graph:
    """Every operator that ties exponents, an Add, both kinds of convolution, a softmax."""
    same = {"padding": (1, 1, 1, 1)}
    return fg.make(
        {"x": (6, 6, 3)},
        [
            ("stem", fg.conv(3, 8, activation="relu", **same), ["x"]),
            ("left", fg.conv(8, 8, kernel=1), ["stem"]),
            ("right", fg.depthwise(8, activation="relu6", **same), ["stem"]),
            ("sum", Add("relu"), ["left", "right"]),
            ("branch", fg.conv(8, 4, kernel=1), ["sum"]),
            ("both", Concat(2), ["sum", "branch"]),
            ("max", MaxPool2D((2, 2), (2, 2)), ["both"]),
            ("pad", Pad2D((0, 1, 0, 1)), ["max"]),
            ("mean", AveragePool2D((4, 4), (1, 1)), ["pad"]),
            ("flat", Reshape((12,)), ["mean"]),
            ("logits", fg.dense(12, 5), ["flat"]),
            ("softmax", Softmax(), ["logits"]),
        ],
        ["softmax"],
    )


def perceptron(inputs: int = 10, hidden: int = 12, outputs: int = 4) -> Graph:
    """Three dense layers."""
    return fg.chain(
        (inputs,),
        ("first", fg.dense(inputs, hidden, activation="relu")),
        ("second", fg.dense(hidden, hidden, activation="relu")),
        ("last", fg.dense(hidden, outputs)),
    )


def with_op(graph: Graph, name: str, **fields: object) -> Graph:
    """The graph with fields of one node's operator changed."""
    nodes = tuple(
        replace(node, op=replace(node.op, **fields)) if node.name == name else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
