# SPDX-License-Identifier: Apache-2.0
"""Graphs of many small layers side by side, one for every kind of kernel, on inputs of their own.

Shapes are awkward on purpose: odd channels, one pixel, windows of one row, asymmetric padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from graphs import GraphBuilder

from tinyq.cores import Core
from tinyq.encodings import ENCODINGS, encode_image
from tinyq.errors import TinyqError
from tinyq.graph import Graph, validate
from tinyq.kernels.program import PORTABLE, Program, Target, compile_graph
from tinyq.ops import AveragePool2D, GlobalMean, LinearOp, MaxPool2D, Reshape, Softmax

#: what ``layers_graph`` can be made of: encoding of the weights, bits of the activations
FORMS = (("int8", 8), ("int4", 8), ("lut4", 8), ("int4", 4), ("pot4", 8))
#: the same with weights so few and small that 16-bit sums suffice
THIN = "thin"

Layer = Callable[[GraphBuilder, str], str]


def convolution(filters: int, kernel, strides=(1, 1), padding="same", activation="relu") -> Layer:
    return lambda g, x: g.conv(x, filters, kernel, strides, padding, activation)


def depthwise(multiplier=1, kernel=(3, 3), strides=(1, 1), padding="same") -> Layer:
    return lambda g, x: g.depthwise(x, multiplier, kernel, strides, padding)


def dense(units: int, activation: str = "linear") -> Layer:
    return lambda g, x: g.dense(g.flatten(x), units, activation)


def residual(filters: int) -> Layer:
    """A convolution and the addition of its input's other reader."""

    def build(g: GraphBuilder, x: str) -> str:
        skip = g.conv(x, filters, (1, 1), activation="relu")
        branch = g.conv(skip, filters, (3, 3), activation="linear")
        return g.add(skip, branch, "relu")

    return build


def lone_addition(g: GraphBuilder, x: str) -> str:
    """An addition that no convolution can take along."""
    return g.add(x, g.apply(MaxPool2D((3, 3), (1, 1), (1, 1, 1, 1)), [x]), "relu")


def global_mean(g: GraphBuilder, x: str) -> str:
    """A mean of 4 bits, finer than its input."""
    return g.apply(GlobalMean(), [x], bits=4, exponent=g.tensors[x].exponent - 3)


#: shape of the input, layer
WEIGHTED: tuple[tuple[tuple[int, ...], Layer], ...] = (
    ((6, 5, 4), convolution(8, (3, 3))),
    ((5, 6, 3), convolution(5, (3, 3), (2, 2))),
    ((4, 7, 8), convolution(12, (1, 1), activation="linear")),
    ((3, 9, 5), convolution(4, (1, 3))),
    ((9, 4, 1), convolution(8, (7, 3), (2, 2))),
    ((5, 4, 6), convolution(3, (3, 2), (1, 1), (0, 1, 1, 0), "linear")),
    ((1, 1, 9), convolution(6, (1, 1))),
    ((6, 5, 16), convolution(16, (3, 3))),
    ((6, 6, 8), depthwise()),
    ((7, 5, 3), depthwise(1, (3, 3), (2, 2))),
    ((5, 5, 4), depthwise(2, (3, 3), (1, 1), (0, 1, 0, 1))),
    ((4, 6, 7), depthwise(1, (1, 5))),
    ((33,), dense(7)),
    ((64,), dense(16, "relu")),
    ((5, 5, 8), residual(8)),
)
PLAIN: tuple[tuple[tuple[int, ...], Layer], ...] = (
    ((6, 6, 5), lambda g, x: g.apply(AveragePool2D((6, 6), (1, 1), (0, 0, 0, 0)), [x])),
    ((5, 6, 4), lambda g, x: g.apply(AveragePool2D((2, 3), (2, 1), (0, 1, 1, 0)), [x])),
    ((7, 6, 3), lambda g, x: g.apply(MaxPool2D((3, 3), (2, 2), (1, 0, 0, 1)), [x])),
    ((5, 3, 7), lone_addition),
    ((10,), lambda g, x: g.apply(Softmax(), [x], dtype="uint8", bits=8, exponent=-8)),
    ((5, 4, 13), lambda g, x: g.apply(MaxPool2D((2, 3), (1, 2), (1, 0, 0, 1)), [x])),
    ((5, 7, 9), global_mean),
    ((10, 6, 23), lambda g, x: g.apply(AveragePool2D((4, 3), (1, 1), (0, 1, 1, 0)), [x])),
)


def layers_graph(form: tuple[str, int], seed: int = 0, thin: bool = False) -> Graph:
    """All of ``WEIGHTED`` with one encoding and width of activations, and all of ``PLAIN``."""
    encoding, bits = form
    rng = np.random.default_rng(seed)
    g, outputs = GraphBuilder(rng, (encoding,)), []
    for index, (shape, layer) in enumerate((*WEIGHTED, *PLAIN)):
        dtype = "int8" if rng.integers(2) or len(shape) == 1 else "uint8"
        x = g.input(shape, dtype)
        weighted = index < len(WEIGHTED)
        g.tensors[x] = replace(g.tensors[x], bits=bits if weighted else 8)
        outputs.append(layer(g, x))
    graph = g.build(f"layers_{encoding}_{bits}", outputs)
    return thinned(graph, rng) if thin else graph


def thinned(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph with seven of eight weights zero and the rest small."""
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, LinearOp):
            image = np.clip(op.quantized.image(), -3, 3) * (rng.random(op.weights.shape) < 0.125)
            kind = ENCODINGS[op.quantized.encoding]
            table = np.arange(-3, 2**kind.bits - 3) if kind.uses_table else None
            weights = encode_image(image, kind, op.quantized.exponents, table)
            node = replace(node, op=replace(op, weights=weights, bias=op.bias // 8))
        nodes.append(node)
    return validate(replace(graph, nodes=tuple(nodes)))


def graphs(seed: int = 0) -> dict[str, Graph]:
    """One graph for each of ``FORMS``, and thin ones."""
    plain = {f"{e}-{bits}": layers_graph((e, bits), seed) for e, bits in FORMS}
    thin = {f"{e}-{THIN}": layers_graph((e, 8), seed, thin=True) for e in ("int8", "int4")}
    return plain | thin


def forced(graph: Graph, core: Core, stem: str) -> Program | None:
    """The program in which every layer that can has this kernel; ``None`` where none can."""
    overrides = {}
    for node in graph.nodes:
        if isinstance(node.op, Reshape):
            continue  # no call, so that any kernel is accepted
        trial = Target(core, {node.name: stem, "*": PORTABLE})
        try:
            program = compile_graph(graph, trial)
        except TinyqError:
            continue
        if stem in stems(program):
            overrides[node.name] = stem
    return compile_graph(graph, Target(core, {**overrides, "*": PORTABLE})) if overrides else None


def stems(program: Program) -> Iterator[str]:
    """Kernels of a program."""
    for step in program.steps:
        yield from step.stems


def counts(programs: Mapping[str, Program]) -> dict[str, int]:
    """How many steps use each kernel."""
    found: dict[str, int] = {}
    for program in programs.values():
        for stem in stems(program):
            found[stem] = found.get(stem, 0) + 1
    return found
