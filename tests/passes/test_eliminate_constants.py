# SPDX-License-Identifier: Apache-2.0
"""What is left after elimination equals the original, channel by channel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import GraphBuilder, every_op_graph, random_inputs

from tinyq import executor
from tinyq.encodings import ENCODINGS, encode_image
from tinyq.graph import Graph, validate
from tinyq.ops import AveragePool2D, Concat, LinearOp, MaxPool2D
from tinyq.passes import finalize


def assert_equal_on_kept_channels(graph: Graph, seed: int = 0) -> Graph:
    final = finalize(graph)
    codes = random_inputs(graph, 6, seed)
    before, after = executor.run(graph, codes), executor.run(final, codes)
    for name, t in final.tensors.items():
        x = before[name] if t.channels is None else before[name][..., list(t.channels)]
        assert np.array_equal(x, after[name]), name
    return final


def deaden(graph: Graph, rng: np.random.Generator) -> Graph:
    """Zero some filters and saturate some biases, so that channels become constant."""
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, LinearOp) and node.output not in graph.outputs:
            image = op.quantized.image().astype(np.int64).copy()
            bias = op.bias.copy()
            dead = rng.random(len(bias)) < 0.4
            image[dead] = 0
            bias[dead] = rng.choice([-(2**24), 0, 3000, 2**24], dead.sum())
            w = op.quantized
            levels = None if w.table is None else np.append(w.table[1:].astype(np.int64), 0)
            op = replace(
                op,
                weights=encode_image(image, ENCODINGS[w.encoding], w.exponents, levels)
                if levels is None or np.isin(image, levels).all()
                else w,
                bias=bias,
            )
        nodes.append(replace(node, op=op))
    return validate(replace(graph, nodes=tuple(nodes)))


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_stay_equal(seed: int) -> None:
    graph = deaden(every_op_graph(seed, ("int8", "int4", "int2")), np.random.default_rng(seed))
    assert_equal_on_kept_channels(graph, seed)


def chain(bias: list[int], kernel: tuple[int, int], padding: str) -> Graph:
    """A layer whose channel 1 is constant, read by a convolution."""
    g = GraphBuilder(np.random.default_rng(5))
    x = g.input((5, 5, 2))
    a = g.conv(x, 3, (1, 1))
    d = g.depthwise(a, 1, (1, 1), padding="valid")
    b = g.conv(d, 4, kernel, padding=padding, activation="linear")
    graph = g.build("chain", [b])
    op = graph.nodes[0].op
    image = op.quantized.image().astype(np.int64).copy()
    image[1] = 0
    weights = encode_image(image, ENCODINGS["int8"], op.quantized.exponents)
    first = replace(graph.nodes[0], op=replace(op, weights=weights, bias=np.array(bias, np.int32)))
    return validate(replace(graph, nodes=(first, *graph.nodes[1:])))


def test_constant_channels_go_through_depthwise_layers() -> None:
    final = assert_equal_on_kept_channels(chain([10, 5000, -20], (1, 1), "valid"))
    assert final.tensors["conv2d0"].channels == (0, 2)
    assert final.nodes[2].op.quantized.shape == (4, 1, 1, 2)


def test_nonzero_constant_before_padding_stays() -> None:
    graph = chain([10, 5000, -20], (3, 3), "same")
    depthwise = graph.nodes[1]
    bias = depthwise.op.bias.copy()
    bias[1] = 30000
    node = replace(depthwise, op=replace(depthwise.op, bias=bias))
    graph = validate(replace(graph, nodes=(graph.nodes[0], node, graph.nodes[2])))
    assert assert_equal_on_kept_channels(graph).tensors["conv2d0"].channels is None


def test_zero_constant_before_padding_goes() -> None:
    graph = chain([10, -(2**20), -20], (3, 3), "same")
    depthwise = graph.nodes[1]
    bias = depthwise.op.bias.copy()
    bias[1] = -5
    node = replace(depthwise, op=replace(depthwise.op, bias=bias))
    graph = validate(replace(graph, nodes=(graph.nodes[0], node, graph.nodes[2])))
    assert assert_equal_on_kept_channels(graph).tensors["conv2d0"].channels == (0, 2)


def test_an_addition_keeps_what_one_side_needs() -> None:
    g = GraphBuilder(np.random.default_rng(2))
    x = g.input((4, 4, 2))
    a, b = g.conv(x, 4, (1, 1)), g.conv(x, 4, (1, 1))
    s = g.add(a, b, "relu")
    o = g.conv(s, 3, (1, 1), activation="linear")
    graph = g.build("sum", [o])
    nodes = list(graph.nodes)
    for index, dead in ((0, [1, 2]), (1, [2, 3])):
        op = nodes[index].op
        bias = op.bias.copy()
        bias[dead] = -(2**24)
        nodes[index] = replace(nodes[index], op=replace(op, bias=bias))
    graph = validate(replace(graph, nodes=tuple(nodes)))
    final = assert_equal_on_kept_channels(graph)
    assert final.tensors[s].channels == final.tensors[a].channels == (0, 1, 3)


def test_flatten_and_concat_follow_channels() -> None:
    g = GraphBuilder(np.random.default_rng(2))
    x = g.input((4, 4, 2))
    a = g.conv(x, 4, (1, 1))
    p, q = g.apply(MaxPool2D((2, 2), (2, 2)), [a]), g.apply(AveragePool2D((2, 2), (2, 2)), [a])
    k = g.apply(Concat(2), [p, q])
    o = g.dense(g.flatten(k), 3)
    graph = g.build("flat", [o])
    op = graph.nodes[0].op
    bias = op.bias.copy()
    bias[2] = -(2**24)
    first = replace(graph.nodes[0], op=replace(op, bias=bias))
    graph = validate(replace(graph, nodes=(first, *graph.nodes[1:])))
    final = assert_equal_on_kept_channels(graph)
    assert final.tensors[k].channels == (0, 1, 3, 4, 5, 7)
    assert final.nodes[-1].op.quantized.shape == (3, 4 * 6)


def test_a_graph_without_constants_is_returned_as_it_is() -> None:
    g = GraphBuilder(np.random.default_rng(0))
    graph = g.build("plain", [g.conv(g.input((5, 5, 2)), 3, activation="linear")])
    assert finalize(graph) is graph
