# SPDX-License-Identifier: Apache-2.0
"""Random integer graphs that every stage of tinyq must agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinyq.encodings import ENCODINGS, Weights, encode_image, fixed_levels
from tinyq.graph import Graph, Node, validate
from tinyq.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalMean,
    MaxPool2D,
    Op,
    Pad2D,
    Relu,
    Reshape,
    Sigmoid,
    Softmax,
)
from tinyq.ops.base import LinearOp
from tinyq.ops.windows import same_padding
from tinyq.tensors import Tensor


def random_weights(
    rng: np.random.Generator,
    shape: Sequence[int],
    encoding: str = "int8",
    per_channel: bool = False,
    exponent: int = -7,
) -> Weights:
    """Weights whose codes use the whole range of the encoding, the extremes included."""
    form = ENCODINGS[encoding]
    rows = shape[0]
    exponents = exponent + (rng.integers(-2, 3, rows) if per_channel else np.zeros(1, np.int64))
    if form.uses_table:
        table = rng.choice(np.arange(-127, 128), form.table_entries, replace=False)
        table[0], table[-1] = -127, 127
        image = rng.choice(table, shape)
        return encode_image(image, form, exponents, table)
    image = rng.choice(fixed_levels(form), shape)
    return encode_image(image, form, exponents)


@dataclass
class GraphBuilder:
    """Appends random operators and chooses output exponents that keep the values alive."""

    rng: np.random.Generator
    encodings: Sequence[str] = ("int8",)
    rounding: str = "tflite"
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def input(self, shape: tuple[int, ...], dtype: str = "int8", exponent: int = -5) -> str:
        name = f"input{len(self.tensors)}"
        self.tensors[name] = Tensor(name, shape, dtype, exponent=exponent)
        return name

    def apply(self, op: Op, inputs: Sequence[str], **form: object) -> str:
        name = f"{op.stem}{len(self.nodes)}"
        ins = [self.tensors[i] for i in inputs]
        shape = op.infer_shape([t.shape for t in ins])
        values = {"dtype": ins[0].dtype, "bits": ins[0].bits, "exponent": ins[0].exponent, **form}
        self.tensors[name] = Tensor(name, shape, **values)
        self.nodes.append(Node(name, op, tuple(inputs), (name,), (f"keras/{name}",)))
        return name

    def linear(
        self, kind: type[LinearOp], x: str, shape: Sequence[int], activation: str, **parameters
    ) -> str:
        """A weighted layer whose output exponent fits what its accumulator reaches."""
        source = self.tensors[x]
        encoding = str(self.rng.choice(self.encodings))
        weights = random_weights(self.rng, shape, encoding, bool(self.rng.integers(2)))
        bias = self.rng.integers(-2000, 2000, shape[0]).astype(np.int32)
        op = kind(weights, bias, activation, self.rounding, **parameters)
        terms = np.sqrt((weights.image().astype(float) ** 2).reshape(shape[0], -1).sum(1)).max()
        spread = int(np.ceil(np.log2(max(terms * 40, 2))))
        e_acc = source.exponent + int(weights.exponents.max())
        exponent = e_acc + max(spread - 7, int(self.rng.integers(0, 3)))
        dtype = "int8" if activation == "linear" else "uint8"
        bits = int(self.rng.choice([8, 8, 8, 4]))
        return self.apply(op, [x], dtype=dtype, bits=bits, exponent=exponent)

    def conv(
        self, x: str, filters: int, kernel=(3, 3), strides=(1, 1), padding="same", activation="relu"
    ) -> str:
        shape = self.tensors[x].shape
        pads = same_padding(shape, kernel, strides) if padding == "same" else (0, 0, 0, 0)
        pads = pads if isinstance(padding, str) else padding
        size = (filters, *kernel, shape[2])
        return self.linear(Conv2D, x, size, activation, strides=strides, padding=pads)

    def depthwise(
        self, x: str, multiplier=1, kernel=(3, 3), strides=(1, 1), padding="same", activation="relu"
    ) -> str:
        shape = self.tensors[x].shape
        pads = same_padding(shape, kernel, strides) if padding == "same" else (0, 0, 0, 0)
        pads = pads if isinstance(padding, str) else padding
        size = (shape[2] * multiplier, *kernel)
        return self.linear(
            DepthwiseConv2D,
            x,
            size,
            activation,
            strides=strides,
            padding=pads,
            multiplier=multiplier,
        )

    def dense(self, x: str, units: int, activation: str = "linear") -> str:
        return self.linear(Dense, x, (units, self.tensors[x].shape[0]), activation)

    def add(self, a: str, b: str, activation: str = "linear") -> str:
        finest = min(self.tensors[a].exponent, self.tensors[b].exponent)
        dtype = "uint8" if activation != "linear" else "int8"
        exponent = finest + int(self.rng.integers(0, 3))
        return self.apply(Add(activation), [a, b], dtype=dtype, bits=8, exponent=exponent)

    def flatten(self, x: str) -> str:
        return self.apply(Reshape((self.tensors[x].size,)), [x])

    def build(self, name: str, outputs: Sequence[str]) -> Graph:
        inputs = tuple(t for t in self.tensors if t.startswith("input"))
        return validate(Graph(name, dict(self.tensors), tuple(self.nodes), inputs, tuple(outputs)))


def random_inputs(graph: Graph, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Codes for every input: random samples, the last two all at the extremes."""
    rng = np.random.default_rng(seed)
    codes = {}
    for name in graph.inputs:
        t = graph.tensors[name]
        x = rng.integers(t.lo, t.hi + 1, (count, *t.shape))
        if count > 2:
            x[-1], x[-2] = t.hi, t.lo
        codes[name] = x.astype(t.numpy_dtype)
    return codes


def every_op_graph(seed: int = 0, encodings: Sequence[str] = tuple(ENCODINGS)) -> Graph:
    """A small graph with every operator, mixed encodings, two inputs and four outputs."""
    rng = np.random.default_rng(seed)
    g = GraphBuilder(rng, encodings)
    x = g.input((9, 7, 3), "uint8", -8)
    a = g.conv(x, 6, (3, 3), (2, 2), "same", "relu6")
    b = g.depthwise(a, 2, (3, 3), (1, 1), "same", "relu")
    c = g.conv(b, 6, (1, 1), (1, 1), "valid", "linear")
    d = g.conv(a, 6, (3, 2), (1, 1), (1, 1, 0, 1), "linear")
    s = g.add(c, d, "relu")
    p = g.apply(Pad2D((1, 0, 0, 2)), [s])
    m = g.apply(MaxPool2D((3, 3), (2, 2), (1, 0, 0, 1)), [p])
    q = g.apply(AveragePool2D((2, 2), (1, 1), (0, 1, 1, 0)), [m])
    k = g.apply(Concat(2), [m, q])
    w = g.conv(k, 5, (2, 2), (1, 1), "valid", "linear")
    r = g.apply(Relu("relu"), [w], dtype="uint8")
    f = g.flatten(r)
    h = g.dense(f, 6, "linear")
    v = g.input((6,), "int8", g.tensors[h].exponent + int(rng.integers(-2, 3)))
    t = g.add(h, v)
    o = g.dense(t, 4, "linear")
    soft = g.apply(Softmax(), [_coarse(g, o)], dtype="uint8", bits=8, exponent=-8)
    sig = g.apply(Sigmoid(), [_coarse(g, t)], dtype="uint8", bits=8, exponent=-8)
    mean = g.apply(GlobalMean(), [s], bits=4, exponent=g.tensors[s].exponent - 2)
    return g.build("every_op", [soft, sig, o, g.flatten(mean)])


def _coarse(g: GraphBuilder, name: str) -> str:
    """Give a tensor an exponent in the middle of softmax's and sigmoid's range."""
    delta = -4 - g.tensors[name].exponent
    if delta:
        _shift_exponents(g, delta)
    return name


def _shift_exponents(g: GraphBuilder, delta: int) -> None:
    """Move every exponent of the graph by one amount; integers do not change."""
    for key, t in g.tensors.items():
        if t.exponent != -8 or not key.startswith(("softmax", "sigmoid")):
            g.tensors[key] = Tensor(t.name, t.shape, t.dtype, t.bits, t.exponent + delta)
