# SPDX-License-Identifier: Apache-2.0
"""Layers that kernels are measured on, as graphs of one step, and data that drive them to an edge.

The node measured is called ``layer``, its input ``x``; what is added to it, ``skip``.  At the edge
of a kernel a layer has the largest biases with which the kernel is still chosen; an addition the
widest gap between its inputs' exponents; an average the longest window.  Codes have no edge but
their ends.  What kernels add up in parts, in lanes of few bits, is at its edge where a window is
driven: there another layer's biases cancel the sums, so that hardly a bit is shifted out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from tinyq.cores import find_core
from tinyq.encodings import ENCODINGS, Encoding, Weights, encode_image, fixed_levels
from tinyq.errors import TinyqError
from tinyq.graph import Graph, Node, validate
from tinyq.kernels.program import PORTABLE, Program, Target, compile_graph
from tinyq.ops import Add, AveragePool2D, Conv2D, Dense, DepthwiseConv2D, LinearOp, MaxPool2D, Op
from tinyq.ops.windows import Padding, same_padding
from tinyq.tensors import Tensor

X_EXPONENT: Final = -5
W_EXPONENT: Final = -7
MAX_BIAS: Final = 2**31 - 2
#: in place of the encoding of layers that have no weights
WEIGHTLESS: Final = "none"
#: where kernels turn weights into code; where they add and pool
CODE_CORES: Final = ("m0", "rv32ec")
DSP_CORES: Final = ("m4", "m7", "m33", "m55")

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """One layer: input, weights ``[O, ...]``, strides; padding keeps the size (SAME).

    Attributes:
        bits: of the activations.
        encodings: of the weights that it is measured with.
        cores: that it is measured on; none: all.
        adds: an addition follows, which belongs to what is measured.
    """

    name: str
    what: str
    kind: type[Op]
    input: tuple[int, ...]
    weights: tuple[int, ...] = ()
    strides: tuple[int, int] = (1, 1)
    dtype: str = "uint8"
    activation: str = "relu"
    bits: int = 8
    encodings: tuple[str, ...] = ("int8", "int4", "lut4")
    cores: tuple[str, ...] = ()
    adds: bool = False

    @property
    def padding(self) -> Padding:
        """Of a convolution, (top, bottom, left, right)."""
        _, height, width, *_ = self.weights
        return same_padding(self.input, (height, width), self.strides)


def _four_bits(name: str, what: str, x: tuple[int, ...], weights: tuple[int, ...]) -> Shape:
    what = f"{what}, 4-bit activations"
    return Shape(name, what, Conv2D, x, weights, bits=4, encodings=("int4",))


def _powers(name: str, what: str, x: tuple[int, ...], weights: tuple[int, ...]) -> Shape:
    return Shape(name, what, Conv2D, x, weights, encodings=("pot4",), cores=CODE_CORES)


def _weightless(name: str, what: str, kind: type[Op], x: tuple[int, ...], dtype: str) -> Shape:
    return Shape(name, what, kind, x, dtype=dtype, encodings=(WEIGHTLESS,), cores=DSP_CORES)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("C1", "conv 3x3 16 to 16 on 32x32", Conv2D, (32, 32, 16), (16, 3, 3, 16)),
        Shape("C2", "conv 3x3 64 to 64 on 8x8", Conv2D, (8, 8, 64), (64, 3, 3, 64)),
        Shape("P1", "conv 1x1 64 to 64 on 25x5", Conv2D, (25, 5, 64), (64, 1, 1, 64)),
        Shape("D1", "depthwise 3x3, 64 on 25x5", DepthwiseConv2D, (25, 5, 64), (64, 3, 3)),
        Shape("F0", "conv 10x4 1 to 64 /2", Conv2D, (49, 10, 1), (64, 10, 4, 1), (2, 2), "int8"),
        Shape("A1", "dense 640 to 128", Dense, (640,), (128, 640), dtype="int8"),
        Shape("A2", "dense 64 to 12", Dense, (64,), (12, 64), activation="linear"),
        Shape("R1", "C1 and an addition", Conv2D, (32, 32, 16), (16, 3, 3, 16),
              activation="linear", cores=DSP_CORES, adds=True),
        _four_bits("N1", "C1", (32, 32, 16), (16, 3, 3, 16)),
        _four_bits("N2", "P1", (25, 5, 64), (64, 1, 1, 64)),
        _powers("T1", "conv 1x1 16 to 16 on 8x8", (8, 8, 16), (16, 1, 1, 16)),
        _powers("T3", "conv 3x3 8 to 8 on 8x8", (8, 8, 8), (8, 3, 3, 8)),
        _weightless("MP", "max pooling 2x2 /2 on 32x32x16", MaxPool2D, (32, 32, 16), "int8"),
        _weightless("AP", "average pooling 2x2 /2 on 32x32x16", AveragePool2D, (32, 32, 16),
                    "uint8"),
        _weightless("AD", "addition of 4096 elements", Add, (16, 16, 16), "int8"),
    )
}  # fmt: skip


# --- kernels -------------------------------------------------------------------------------------


def overrides(stem: str) -> dict[str, str]:
    """The layer in this kernel, what follows portable."""
    return {"layer": stem, "*": PORTABLE}


def find_program(graph: Graph, core: str, stem: str) -> Program | None:
    """The program with this kernel; ``None`` where it does not apply, or leaves a step over."""
    try:
        program = compile_graph(graph, Target(find_core(core), overrides(stem)))
    except TinyqError:
        return None
    return program if stem == PORTABLE or len(program.steps) == 1 else None


def macs_of(program: Program) -> int:
    """Multiply-accumulates; without weights, elements of the output."""
    graph = program.graph
    node = graph.node("layer")
    shapes = [t.shape for t in graph.ins(node)]
    return node.op.macs(shapes, graph.out(node).shape) or graph.out(node).size


# --- graphs --------------------------------------------------------------------------------------


def random_weights(
    rng: np.random.Generator, shape: tuple[int, ...], encoding: str, exponents: np.ndarray
) -> Weights:
    """Normal weights as training gives them; a table's entries lie where weights are."""
    kind = ENCODINGS[encoding]
    drawn = rng.normal(size=shape) * kind.max_level / 3.5
    if kind.is_uniform:
        image = np.clip(np.rint(drawn), -kind.max_level, kind.max_level).astype(np.int64)
        return encode_image(image, kind, exponents)
    levels = _levels(kind, drawn)
    nearest = np.abs(drawn[..., None] - levels).argmin(-1)
    return encode_image(levels[nearest], kind, exponents, levels)


def _levels(kind: Encoding, drawn: np.ndarray) -> np.ndarray:
    fixed = fixed_levels(kind)
    if fixed is not None:
        return fixed
    table = np.rint(np.quantile(drawn, np.linspace(0, 1, kind.table_entries)))
    return np.unique(np.clip(table, -127, 127)).astype(np.int64)


def layer_graph(shape: Shape, weights: Weights, bias: np.ndarray, shift: int) -> Graph:
    """A weighted layer, accumulators shifted right by about ``shift``, and what follows."""
    x = Tensor("x", shape.input, shape.dtype, shape.bits, X_EXPONENT)
    parameters: dict[str, Any] = {}
    if shape.kind is not Dense:
        parameters = {"strides": shape.strides, "padding": shape.padding}
    assert issubclass(shape.kind, LinearOp)
    op = shape.kind(weights, bias.astype(np.int32), shape.activation, **parameters)
    dtype = "int8" if shape.activation == "linear" else "uint8"
    exponent = X_EXPONENT + W_EXPONENT + shift
    y = Tensor("y", op.infer_shape([shape.input]), dtype, shape.bits, exponent)
    node = Node("layer", op, ("x",), ("y",), (shape.name,))
    tensors = {"x": x, "y": y}
    if not shape.adds:
        return validate(Graph(shape.name.lower(), tensors, (node,), ("x",), ("y",)))
    tensors["skip"] = replace(y, name="skip", dtype="uint8", exponent=exponent - 1)
    tensors["sum"] = replace(y, name="sum", dtype="uint8")
    follower = Node("sum", Add("relu"), ("y", "skip"), ("sum",), ("sum",))
    graph = Graph(shape.name.lower(), tensors, (node, follower), ("x", "skip"), ("sum",))
    return validate(graph)


def weightless_graph(shape: Shape, edge: int = 0) -> Graph:
    """A pooling 2x2 /2 or an addition of int8 and uint8.

    Args:
        edge: if not 0, elements of an average's only window of a row; bits between an addition's
            exponents (1).
    """
    x, name = Tensor("x", shape.input, shape.dtype, exponent=X_EXPONENT), shape.name.lower()
    if shape.kind is Add:
        skip = replace(x, name="skip", dtype="uint8", exponent=X_EXPONENT - max(edge, 1))
        y = replace(x, name="y", dtype="uint8")
        node = Node("layer", Add("relu"), ("x", "skip"), ("y",), (shape.name,))
        tensors = {"x": x, "skip": skip, "y": y}
        return validate(Graph(name, tensors, (node,), ("x", "skip"), ("y",)))
    assert issubclass(shape.kind, AveragePool2D | MaxPool2D)
    pool = (1, edge) if edge else (2, 2)
    if edge:
        x = replace(x, shape=(2, edge, shape.input[2]))
    op = shape.kind(pool, pool)
    y = replace(x, name="y", shape=op.infer_shape([x.shape]))
    node = Node("layer", op, ("x",), ("y",), (shape.name,))
    return validate(Graph(name, {"x": x, "y": y}, (node,), ("x",), ("y",)))


def usual_graph(shape: Shape, encoding: str) -> Graph:
    """Weights with an exponent per channel, moderate biases, outputs that fill their range."""
    if not shape.weights:
        return weightless_graph(shape)
    rng = np.random.default_rng(0)
    rows = shape.weights[0]
    exponents = W_EXPONENT + rng.integers(-1, 2, rows)
    weights = random_weights(rng, shape.weights, encoding, exponents)
    squares = (weights.image().astype(float) ** 2).reshape(rows, -1).sum(1)
    sums = np.sqrt(squares.max()) * 80 / 2 ** (8 - shape.bits)
    bias = rng.integers(-int(sums), int(sums) + 1, rows)
    return layer_graph(shape, weights, bias, int(np.log2(sums)) - (shape.bits - 3))


# --- the edge of a kernel ------------------------------------------------------------------------


def edge_graph(shape: Shape, encoding: str, core: str, stem: str) -> tuple[Graph, int]:
    """The layer at the edge of what the kernel takes, and the bound of its sums.

    Raises:
        TinyqError: the kernel does not take it at all.
    """
    program = (_edge if shape.weights else _weightless_edge)(shape, encoding, core, stem)
    if program is None:
        raise TinyqError(f"{stem} does not take {shape.name}")
    return program.graph, bound_of(program)


def bound_of(program: Program) -> int:
    """Magnitude that the layer's sums can take: of an accumulator, rounding included."""
    if "layer" in program.proof:
        return program.proof["layer"].magnitude
    node = program.graph.node("layer")
    ends = [max(-x.lo, x.hi) for x in program.graph.ins(node)]
    if isinstance(node.op, Add):
        gaps = node.op.gaps(program.graph.ins(node))
        return sum(end << gap for end, gap in zip(ends, gaps, strict=True))
    return ends[0] * (int(np.prod(node.op.pool)) if isinstance(node.op, AveragePool2D) else 1)


def edge_weights(shape: Shape, encoding: str) -> Weights:
    """Random; the second channel is the first one negated, if the encoding has its negatives."""
    exponents = np.array([W_EXPONENT])
    weights = random_weights(np.random.default_rng(1), shape.weights, encoding, exponents)
    if ENCODINGS[encoding].uses_table or len(weights.codes) < 2:
        return weights
    image = weights.image().astype(np.int64)
    image[1] = -image[0]
    return encode_image(image, ENCODINGS[encoding], exponents)


def driven_graph(shape: Shape, encoding: str, core: str, stem: str) -> Graph:
    """The layer with the smallest shift that the kernel takes and biases that cancel driven sums.

    Channel c's output is in the middle of its range where sample c modulo their number of
    ``driven_inputs`` is driven.  Of 4-bit activations, channels that equal codes drive have but the
    greatest or the smallest weight.

    Raises:
        TinyqError: the kernel does not take it.
    """
    weights = edge_weights(shape, encoding)
    if shape.bits == 4:
        weights = _with_ends(weights, ENCODINGS[encoding])
    unbiased = layer_graph(shape, weights, np.zeros(shape.weights[0], np.int64), 1)
    sums = _driven_sums(shape, unbiased)
    y = unbiased.tensors["y"]
    for shift in range(1, 16):
        bias = ((y.lo + y.hi + 1) // 2 << shift) - sums
        graph = layer_graph(shape, weights, bias, shift)
        if find_program(graph, core, stem):
            return graph
    raise TinyqError(f"{stem} does not take {shape.name} with biases that cancel its sums")


def _with_ends(weights: Weights, kind: Encoding) -> Weights:
    image = weights.image().astype(np.int64)
    image[[4, 5]], image[[10, 11]] = kind.max_level, -kind.max_level
    return encode_image(image, kind, weights.exponents)


def _driven_sums(shape: Shape, graph: Graph) -> np.ndarray:
    """Of every channel the sum in the middle of its sample, int64 ``[O]``."""
    op = graph.node("layer").op
    assert isinstance(op, LinearOp)
    x = driven_inputs(shape, graph)["x"].astype(np.float64)
    sums = op.accumulate(x, op.quantized.image().astype(np.float64))
    if sums.ndim == 4:
        sums = sums[:, sums.shape[1] // 2, sums.shape[2] // 2]
    channels = np.arange(sums.shape[1])
    return np.asarray(sums[channels % len(sums), channels].astype(np.int64))


def _edge(shape: Shape, encoding: str, core: str, stem: str) -> Program | None:
    """With biases as large as can be."""
    weights = edge_weights(shape, encoding)

    def made(bias: int, shift: int) -> Program | None:
        biases = np.zeros(shape.weights[0], np.int64)
        biases[0], biases[-1] = bias, -bias
        return _applied(lambda: layer_graph(shape, weights, biases, shift), core, stem)

    program = _last(lambda bias: made(bias, shape.bits), 0, MAX_BIAS)
    if program is None:
        return None
    # Once more with a shift after which the bound is neither 0 nor far beyond the output's range:
    # the rounding, and with it the bias, changes by half a unit of the shift at most.
    shift = max(1, bound_of(program).bit_length() - shape.bits)
    op = program.graph.node("layer").op
    assert isinstance(op, LinearOp)
    bias, reach = int(op.bias[0]), 1 << max(shift, shape.bits)
    least, most = max(bias - reach, 0), min(bias + reach, MAX_BIAS)
    return _last(lambda bias: made(bias, shift), least, most) or program


def _weightless_edge(shape: Shape, encoding: str, core: str, stem: str) -> Program | None:
    """With the widest gap or the longest window, of up to 512 elements."""
    most = {Add: 18, AveragePool2D: 512}.get(shape.kind, 0)
    return _last(lambda edge: _applied(lambda: weightless_graph(shape, edge), core, stem), 0, most)


def _applied(make: Callable[[], Graph], core: str, stem: str) -> Program | None:
    try:
        return find_program(make(), core, stem)
    except TinyqError:
        return None


def _last(made: Callable[[int], Program | None], least: int, most: int) -> Program | None:
    """Of the greatest number in least..most for which there is a program, by bisection."""
    best, low, high = None, least, most
    while low <= high:
        middle = (low + high) // 2
        program = made(middle)
        if program is None:
            high = middle - 1
        else:
            best, low = program, middle + 1
    return best


# --- data ----------------------------------------------------------------------------------------


def usual_inputs(graph: Graph) -> Inputs:
    """Two random samples, all greatest codes, all smallest."""
    rng = np.random.default_rng(2)

    def drawn(t: Tensor) -> np.ndarray:
        ends = [np.full((1, *t.shape), value) for value in (t.hi, t.lo)]
        return np.concatenate([rng.integers(t.lo, t.hi + 1, (2, *t.shape)), *ends])

    return {n: drawn(t).astype(t.numpy_dtype) for n, t in _inputs(graph).items()}


def _inputs(graph: Graph) -> Mapping[str, Tensor]:
    return {name: graph.tensors[name] for name in graph.inputs}


def edge_inputs(shape: Shape, graph: Graph) -> Inputs:
    """The usual ones, and four of both ends of the codes: those that drive the first and the last
    channel's sums to their ends, windows in the middle of the image; the others by chance."""
    rng = np.random.default_rng(3)
    more = {
        name: np.where(rng.random((4, *t.shape)) < 0.5, t.lo, t.hi)
        for name, t in _inputs(graph).items()
    }
    op = graph.node("layer").op
    if isinstance(op, LinearOp):
        more["x"] = _driven(shape, graph, ((0, 1), (0, -1), (-1, 1), (-1, -1)))
    usual = usual_inputs(graph)
    return {n: np.concatenate([usual[n], x.astype(usual[n].dtype)]) for n, x in more.items()}


def driven_inputs(shape: Shape, graph: Graph) -> Inputs:
    """The first two channels driven to their greatest sums, the next two to their smallest, all
    greatest codes, all smallest."""
    usual = usual_inputs(graph)
    driven = _driven(shape, graph, ((0, 1), (1, 1), (2, -1), (3, -1)))
    x = np.concatenate([driven.astype(usual["x"].dtype), usual["x"][2:]])
    return {n: x if n == "x" else np.resize(v, (len(x), *v.shape[1:])) for n, v in usual.items()}


def _driven(shape: Shape, graph: Graph, wanted: Sequence[tuple[int, int]]) -> np.ndarray:
    """Of each channel and sign the sample that drives its sum in the middle furthest."""
    op, t, y = graph.node("layer").op, graph.tensors["x"], graph.tensors["y"]
    assert isinstance(op, LinearOp)
    image = op.quantized.image().astype(np.int64)
    if shape.kind is DepthwiseConv2D:  # every channel has an input channel of its own
        windows = {sign: sign * image.transpose(1, 2, 0) for _, sign in wanted}
        drives = [windows[sign] for _, sign in wanted]
    else:
        drives = [sign * image[channel] for channel, sign in wanted]
    codes = [np.where(drive > 0, t.hi, t.lo) for drive in drives]
    return np.stack(codes if shape.kind is Dense else [_placed(shape, t, y, c) for c in codes])


def _placed(shape: Shape, t: Tensor, y: Tensor, codes: np.ndarray) -> np.ndarray:
    """A sample of smallest codes around a window in the middle of the output."""
    top, _, left, _ = shape.padding
    row = y.shape[0] // 2 * shape.strides[0] - top
    col = y.shape[1] // 2 * shape.strides[1] - left
    x = np.full(t.shape, t.lo)
    part = x[max(row, 0) : row + codes.shape[0], max(col, 0) : col + codes.shape[1]]
    part[:] = codes[max(-row, 0) :, max(-col, 0) :][: part.shape[0], : part.shape[1]]
    return x
