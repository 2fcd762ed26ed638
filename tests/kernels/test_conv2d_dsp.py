# SPDX-License-Identifier: Apache-2.0
"""Conv2D with DSP instructions against tinyq.ops: any window, encoding and end of a sum."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from kernels.harness import Case, Check, Codes
from kernels.random_layers import codes, label, random_input, random_window, tensor, weights
from tinyq.cores import CORES, Core
from tinyq.encodings import ENCODINGS, Weights
from tinyq.graph import Graph, Node
from tinyq.kernels import Request, conv2d_dsp, conv2d_dsp_add
from tinyq.numerics import rounding_margin
from tinyq.ops import Add, Conv2D
from tinyq.ops.clayer import CLayer
from tinyq.proof import intervals, prove
from tinyq.tensors import Shape, Tensor

M4 = CORES["m4"]


def request_of(
    op: Conv2D, x: Tensor, y: Tensor, add: Node | None = None, more: dict[str, Tensor] | None = None
) -> Request:
    """What the program asks for a graph of one convolution, and an addition."""
    node = Node("n", op, (x.name,), (y.name,))
    tensors = {x.name: x, y.name: y, **(more or {})}
    nodes = (node,) if add is None else (node, add)
    others = () if add is None else tuple(name for name in add.inputs if name != y.name)
    graph = Graph("g", tensors, nodes, (x.name, *others), nodes[-1].outputs)
    plain = op.to_c((x,), y)
    return Request(M4, graph, node, plain, prove(graph)["n"], (intervals(graph)[x.name],), add)


@dataclass(frozen=True, eq=False)
class DspCase(Case):
    """A convolution in the kernel."""

    def layer(self) -> CLayer:
        layer = conv2d_dsp.choose(request_of(self.op, self.ins[0], self.out))
        assert layer is not None, self.label
        return layer


@dataclass(frozen=True, eq=False)
class AddCase(Case):
    """A convolution with the addition that follows; ``ins``: of the convolution, and the other."""

    middle: Tensor = field(default_factory=lambda: Tensor("m", (1,)))
    add: Add = field(default_factory=Add)
    swapped: bool = False

    def order(self, y: object, other: object) -> tuple[Any, Any]:
        return (other, y) if self.swapped else (y, other)

    def layer(self) -> CLayer:
        x, other = self.ins
        names = self.order(self.middle.name, other.name)
        add = Node("s", self.add, names, (self.out.name,))
        more = {other.name: other, self.out.name: self.out}
        layer = conv2d_dsp_add.choose(request_of(self.op, x, self.middle, add, more))
        assert layer is not None, self.label
        return layer

    def expected(self) -> Codes:
        y = self.op.evaluate(self.xs[:1], self.ins[:1], self.middle)
        xs, ins = self.order(y, self.xs[1]), self.order(self.middle, self.ins[1])
        return self.add.evaluate(xs, ins, self.out)


def thin_out(rng: np.random.Generator, stored: Weights, most: int) -> tuple[Weights, int]:
    """As many weights made zero as a sum of magnitudes of at most ``most`` asks for; that sum."""
    zero = conv2d_dsp.zero_code(stored) if ENCODINGS[stored.encoding].bits < 8 else 0
    image = np.abs(stored.image().astype(np.int64)).reshape(len(stored.codes), -1)
    codes_ = stored.codes.reshape(image.shape).copy()
    for row, magnitudes in zip(codes_, image, strict=True):
        order = rng.permutation(row.size)
        row[order[np.cumsum(magnitudes[order]) > most]] = zero
    thin = replace(stored, codes=codes_.reshape(stored.shape))
    return thin, int(np.abs(thin.image().astype(np.int64)).reshape(image.shape).sum(1).max())


def random_op(
    rng: np.random.Generator, encoding: str, x: Tensor, outputs: int, window: dict[str, Any]
) -> tuple[Conv2D, Tensor]:
    """A convolution whose sums stay below the bound, and its output."""
    shape = (outputs, *window["kernel"], x.shape[2])
    per_channel = bool(rng.random() < 0.7)
    n = rng.choice([0, 1, 2, 3, 7, 9, 13], outputs if per_channel else 1)
    if rng.random() < 0.5:
        n = np.maximum(n, 2)
    out_exponent = int(rng.integers(-6, 3))
    extreme = bool(rng.random() < 0.3)
    stored = weights(rng, encoding, shape, out_exponent - x.exponent - n, extreme)
    if ENCODINGS[encoding].uses_table:
        table = np.array(stored.table)
        table[int(rng.integers(2, len(table)))] = 0
        stored = replace(stored, table=table)
    stored, reach = thin_out(rng, stored, (conv2d_dsp.SUM_LIMIT // 2) // max(x.hi, -x.lo))
    room = conv2d_dsp.SUM_LIMIT - 2 - rounding_margin(n) - reach * max(x.hi, -x.lo)
    bias = rng.integers(-min(room, 5000), min(room, 5000) + 1, outputs)
    activation = str(rng.choice(["linear", "linear", "relu", "relu6"]))
    rounding = str(rng.choice(["tflite", "tflite", "half_up"]))
    op = Conv2D(
        stored, bias.astype(np.int32), activation, rounding,
        strides=window["strides"], padding=window["padding"],
    )  # fmt: skip
    dtype = "int8" if activation == "linear" and rng.random() < 0.8 else "uint8"
    bits = int(rng.choice([8, 8, 8, 4]))
    return op, tensor("y", op.infer_shape([x.shape]), dtype, out_exponent, bits)


def random_case(
    rng: np.random.Generator, encoding: str, shape: Shape, outputs: int, window: dict[str, Any]
) -> DspCase | None:
    """A random convolution; ``None`` where it has too few pixels."""
    x = random_input(rng, shape)
    op, y = random_op(rng, encoding, x, outputs, window)
    if y.shape[0] * y.shape[1] < (4 if encoding != "int8" else 2):
        return None
    return DspCase(op, (x,), y, (codes(rng, x),), label=label(op, x))


SAME: dict[str, Any] = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
POINT: dict[str, Any] = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(7)
    cases = []
    while len(cases) < 24:
        size, window = random_window(rng, 5)
        channels = int(rng.choice([1, 2, 3, 4, 5, 8, 12]))
        outputs = int(rng.choice([1, 2, 3, 4, 5, 7, 8, 13]))
        cases.append(random_case(rng, encoding, (*size, channels), outputs, window))
        cases = [case for case in cases if case is not None]
    check(cases)


@pytest.mark.parametrize("encoding", ["int8", "lut4", "int4", "lut3", "int2"])
def test_shapes_of_real_models(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(8)
    shapes: list[tuple[Shape, int, dict[str, Any]]] = [
        ((12, 12, 16), 16, SAME),
        ((6, 7, 32), 35, SAME | {"strides": (2, 2), "padding": (0, 1, 0, 1)}),
        ((8, 8, 3), 16, SAME),
        ((9, 9, 3), 8, SAME | {"strides": (2, 2), "padding": (0, 1, 0, 1)}),
        ((13, 10, 1), 64, {"kernel": (10, 4), "strides": (2, 2), "padding": (4, 5, 1, 1)}),
        ((5, 5, 64), 64, POINT),
        ((3, 3, 35), 23, POINT),
        ((6, 6, 18), 24, POINT),
        ((6, 6, 16), 33, POINT | {"strides": (2, 2)}),
        ((1, 9, 6), 5, {"kernel": (1, 3), "strides": (1, 2), "padding": (0, 0, 2, 0)}),
        ((2, 2, 40), 41, SAME),
    ]
    cases = [random_case(rng, encoding, *shape) for shape in shapes for _ in range(2)]
    assert None not in cases
    check([case for case in cases if case is not None])


@pytest.mark.parametrize("encoding", ["int8", "lut4"])
def test_points_may_take_the_place_of_their_input(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(10)
    cases = []
    for shape, outputs in [((5, 5, 64), 64), ((3, 3, 35), 35), ((4, 7, 18), 18), ((9, 9, 58), 58)]:
        case = random_case(rng, encoding, shape, outputs, POINT)
        assert case is not None
        assert case.layer().in_place == (0,)
        cases.append(replace(case, in_place=0))
    check(cases)


def test_what_is_read_again_stays() -> None:
    rng = np.random.default_rng(11)
    for outputs, window in [(9, POINT), (8, POINT | {"strides": (2, 2)}), (8, SAME)]:
        case = random_case(rng, "int8", (6, 6, 8), outputs, window)
        assert case is not None
        assert case.layer().in_place == ()
    # Groups of channels: every group reads all pixels.
    case = random_case(rng, "lut4", (9, 9, 400), 400, POINT)
    assert case is not None
    layer = case.layer()
    assert (layer.fields["group"], layer.in_place) != (100, (0,))


def random_sum(rng: np.random.Generator, encoding: str, is_usual: bool) -> AddCase:
    """A convolution and an addition of any kind; ``is_usual``: those of residual networks."""
    x = random_input(rng, (5, 3, int(rng.choice([3, 4]))))
    op, y = random_op(rng, encoding, x, int(rng.choice([4, 5, 11])), SAME)
    middle = replace(y, name="m")
    add = Add(str(rng.choice(["relu", "linear"])))
    bits = int(rng.choice([8, 8, 4]))
    if is_usual:
        exponents = np.minimum(op.quantized.exponents, y.exponent - x.exponent - 2)
        op = replace(op, weights=replace(op.quantized, exponents=exponents))
        op = replace(op, activation="linear", rounding="tflite")
        middle, add, bits = replace(middle, dtype="int8", bits=8), Add("relu"), 8
    dtype, exponent = str(rng.choice(["int8", "uint8"])), y.exponent + int(rng.integers(-3, 4))
    other = tensor("o", y.shape, dtype, exponent)
    finest = min(exponent, y.exponent)
    kind = "int8" if add.activation == "linear" else "uint8"
    out = tensor("z", y.shape, kind, finest + int(rng.choice([0, 1, 2, 3])), bits)
    xs = (codes(rng, x), codes(rng, other))
    name = f"{label(op, x)} + {other.dtype}"
    return AddCase(op, (x, other), out, xs, None, name, middle, add, bool(rng.random() < 0.5))


@pytest.mark.parametrize("encoding", ["int8", "lut4"])
def test_additions(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(9)
    cases = [random_sum(rng, encoding, is_usual=index % 2 > 0) for index in range(24)]
    functions = [case.layer().fields.get("pass") for case in cases]
    assert {None, "tq_dsp_pass_add_u8", "tq_dsp_pass_add_s8"} <= set(functions)
    check([replace(case, in_place=place) for case in cases for place in (None, 1)])


def bound_case(n: int, activation: str, over: int) -> tuple[Conv2D, Tensor, Tensor]:
    """Sums of both signs that reach +-(2**23 - 1 + ``over``) exactly, rounding included."""
    x = tensor("x", (2, 2, 300), "uint8")
    image = np.full((8, 1, 1, 300), 100, np.int8)
    image[1::2] = -100
    image[2:6:3] = -127
    stored = Weights("int8", image, np.array([-x.exponent - n], np.int32))
    ends = image.astype(np.int64).reshape(8, -1).sum(1) * x.hi
    target = conv2d_dsp.SUM_LIMIT - 1 - rounding_margin(n) + over
    bias = np.where(ends > 0, target - ends, -target - ends)
    op = Conv2D(stored, bias.astype(np.int32), activation)
    y = tensor("y", op.infer_shape([x.shape]), "int8" if activation == "linear" else "uint8", 0)
    return op, x, y


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("n", [0, 1, 2, 9, 16, 22])
def test_sums_at_the_bound(n: int, activation: str, check: Check) -> None:
    op, x, y = bound_case(n, activation, 0)
    ends = np.stack([np.full(x.shape, x.hi), np.zeros(x.shape, int), np.full(x.shape, x.lo)])
    check([DspCase(op, (x,), y, (ends,), label=f"bound {n}")])


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_beyond_the_bound_is_not_chosen(activation: str) -> None:
    assert conv2d_dsp.choose(request_of(*bound_case(9, activation, 0))) is not None
    assert conv2d_dsp.choose(request_of(*bound_case(9, activation, 1))) is None


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
def test_only_cores_with_dsp_have_it(core: Core) -> None:
    request = replace(request_of(*bound_case(9, "relu", 0)), core=core)
    assert (conv2d_dsp.choose(request) is not None) == core.dsp
    assert conv2d_dsp_add.choose(request) is None


def test_a_single_pixel_is_left_to_others() -> None:
    op, x, y = bound_case(9, "relu", 0)
    x, y = replace(x, shape=(1, 1, 300)), replace(y, shape=(1, 1, 8))
    assert conv2d_dsp.choose(request_of(op, x, y)) is None


@pytest.mark.parametrize("encoding", ["int8", "lut4"])
def test_scratch_memory_stays_small(encoding: str) -> None:
    rng = np.random.default_rng(3)
    x = tensor("x", (32, 32, 16), "uint8")
    op, y = random_op(rng, encoding, x, 16, SAME)
    layer = conv2d_dsp.choose(request_of(op, x, y))
    assert layer is not None
    assert layer.scratch <= 5 * 1024
