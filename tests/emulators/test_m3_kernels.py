# SPDX-License-Identifier: Apache-2.0
"""Kernels for Cortex-M3 on the emulated core: the assembly itself, on random and end codes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from available import skip_unless_available
from kernels import test_conv2d_pairs, test_dense_words
from kernels.harness import Case
from kernels.random_layers import linear_parameters, random_window, tensor

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend
from tinyq.cores import CORES
from tinyq.graph import Graph, Node, validate
from tinyq.kernels.program import Target, compile_graph
from tinyq.ops import Conv2D, Dense, DepthwiseConv2D, LinearOp
from tinyq.tensors import Shape, Tensor

BACKEND = "qemu-m3"


class Net:
    """Layers that all read one of the inputs: what each computes is an output."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []

    def layer(self, kind: Any, encoding: str, weights: Shape, shape: Shape, **more: Any) -> None:
        """A layer of random weights on an input of its own."""
        name = f"n{len(self.nodes)}"
        x = tensor(f"x{name}", shape, str(self.rng.choice(["int8", "uint8"])))
        parameters, y = self.parameters(encoding, weights, x)
        op: LinearOp = kind(**parameters, **more)
        out = replace(y, name=f"y{name}", shape=op.infer_shape([shape]))
        self.tensors |= {x.name: x, out.name: out}
        self.inputs.append(x.name)
        self.nodes.append(Node(name, op, (x.name,), (out.name,)))

    def parameters(self, encoding: str, weights: Shape, x: Tensor) -> tuple[dict[str, Any], Tensor]:
        """Of a layer whose sums are small: every kernel of its kind applies."""
        while True:
            found, y = linear_parameters(self.rng, encoding, weights, x)
            if max(y.exponent - x.exponent - found["weights"].exponents) <= 15:
                return found | {"bias": found["bias"] % 2001 - 1000}, y

    def graph(self) -> Graph:
        outputs = tuple(node.output for node in self.nodes)
        net = Graph("net", self.tensors, tuple(self.nodes), tuple(self.inputs), outputs)
        return validate(net)


def end_codes(graph: Graph, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random codes, all at an end, and those of each first channel's signs."""
    codes = {}
    for node, _ in graph.linear_nodes():
        x = graph.tensors[node.inputs[0]]
        random = rng.integers(x.lo, x.hi + 1, (2, *x.shape))
        ends = rng.choice([x.lo, x.hi], (2, *x.shape))
        full = [np.full((1, *x.shape), value) for value in (x.lo, x.hi)]
        codes[x.name] = np.concatenate([random, ends, *full]).astype(x.numpy_dtype)
    return codes


def check(graph: Graph, stem: str, codes: dict[str, np.ndarray]) -> None:
    """Every layer runs in the kernel ``stem``, on M3, as Python computes it."""
    skip_unless_available(BACKEND)
    steps = compile_graph(graph, Target(CORES["m3"])).steps
    assert {step.kernel.stem for step in steps} == {stem}
    expected = executor.run(graph, codes)
    got = EmulatedBackend(BACKEND).run(graph, codes)
    for name in graph.outputs:
        assert np.array_equal(got[name], expected[name]), graph.producer(name)


def check_net(net: Net, stem: str) -> None:
    """Random codes and ends through layers of their own."""
    graph = net.graph()
    check(graph, stem, end_codes(graph, net.rng))


@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4", "apot3"])
def test_convolutions(encoding: str) -> None:
    net = Net(41)
    for channels, outputs in [(1, 9), (3, 8), (4, 17), (16, 5), (40, 12)]:
        size, window = random_window(net.rng, 4)
        kernel = window.pop("kernel")
        weights = (outputs, *kernel, channels)
        net.layer(Conv2D, encoding, weights, (*size, channels), **window)
    net.layer(Conv2D, encoding, (9, 1, 1, 35), (3, 3, 35))
    check_net(net, "conv2d_pairs")


@pytest.mark.parametrize("encoding", ["int8", "int4", "lut3"])
def test_depthwise_convolutions(encoding: str) -> None:
    net = Net(42)
    for width in (1, 2, 3, 4, 5, 6, 7, 12, 30, 61):
        strides = (int(net.rng.integers(1, 3)), 1 + width % 2)
        size = (int(net.rng.integers(1, 8)), (width - 1) * strides[1] + 1, 5)
        padding = (1, 1, 1, 1)
        net.layer(DepthwiseConv2D, encoding, (5, 3, 3), size, strides=strides, padding=padding)
    check_net(net, "depthwise_conv2d_planes")


@pytest.mark.parametrize("encoding", ["int8", "int4", "apot4"])
def test_dense_layers(encoding: str) -> None:
    net = Net(43)
    for inputs, outputs in [(1, 1), (2, 8), (17, 9), (31, 130), (64, 7), (200, 16)]:
        net.layer(Dense, encoding, (outputs, inputs), (inputs,))
    check_net(net, "dense_words")


def of_case(case: Case) -> tuple[Graph, dict[str, np.ndarray]]:
    """The one layer of a kernel test, and its codes."""
    (x,), out = case.ins, case.out
    node = Node("n", case.op, (x.name,), (out.name,))
    graph = Graph("g", {x.name: x, out.name: out}, (node,), node.inputs, node.outputs)
    return graph, {x.name: case.xs[0]}


def test_segments_of_convolutions_fill_their_lanes() -> None:
    """64 weights of 4 times -128 are -2**15 exactly; beside them the other end and both signs."""
    image = np.array([[4, -4, 4, 4, -4, 4, 4, 4, 4]] * 320).T
    xs = np.stack([np.full((1, 2, 320), v) for v in (-128, 127)])
    xs = np.concatenate([xs, np.stack([xs[:, :, 0], xs[::-1, :, 0]], axis=2)])
    for bias in (0, 163840, -163840):
        check_case(test_conv2d_pairs.dot_case(image, bias, "int8", xs), "conv2d_pairs")


def test_segments_of_dense_layers_fill_their_lanes() -> None:
    image = np.array([[4, -4, 4, 4, -4, 4, 4, 4, 4]] * 320).T
    xs = np.stack([np.full(320, v) for v in (-128, 127)])
    for bias in (0, 163840, -163840):
        check_case(test_dense_words.dot_case(image, bias, "int4", xs), "dense_words")


def check_case(case: Case, stem: str) -> None:
    """A kernel test's case, on the emulated core."""
    graph, codes = of_case(case)
    check(graph, stem, codes)
