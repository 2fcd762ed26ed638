# SPDX-License-Identifier: Apache-2.0
"""Conv2D on pairs of pixels against tinyq.ops: windows, encodings, plans, lanes at their bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.harness import Case, Check, run_program
from kernels.random_layers import codes, label, linear_parameters, random_input, random_window
from tinyq import proof
from tinyq.cores import CORES
from tinyq.encodings import ENCODINGS, Weights
from tinyq.graph import Graph, Node
from tinyq.kernels import Request, conv2d_pairs
from tinyq.kernels.conv2d_pairs import Layer, Plan
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer
from tinyq.tensors import Tensor

M3 = CORES["m3"]


def graph_of(op: Conv2D, x: Tensor, out: Tensor) -> Graph:
    node = Node("n", op, (x.name,), (out.name,))
    return Graph("g", {x.name: x, out.name: out}, (node,), node.inputs, node.outputs)


def request_of(op: Conv2D, x: Tensor, out: Tensor, core: str = "m3") -> Request:
    graph = graph_of(op, x, out)
    (node,) = graph.nodes
    bounds = (proof.intervals(graph)[x.name],)
    proved = proof.prove(graph)[node.name]
    return Request(CORES[core], graph, node, op.to_c((x,), out), proved, bounds)


@dataclass(frozen=True, eq=False)
class PairsCase(Case):
    """A convolution that runs in the kernel of pairs."""

    def layer(self) -> CLayer:
        layer = conv2d_pairs.choose(request_of(self.op, self.ins[0], self.out))
        assert layer is not None
        return layer


def random_case(
    rng: np.random.Generator, encoding: str, shape: tuple[int, ...], outputs: int, window: Any
) -> PairsCase:
    x = random_input(rng, shape)
    parameters, y = linear_parameters(rng, encoding, (outputs, *window["kernel"], shape[2]), x)
    parameters |= {"strides": window["strides"], "padding": window["padding"]}
    op = Conv2D(**parameters)
    out = replace(y, shape=op.infer_shape([shape]))
    return PairsCase(op, (x,), out, (codes(rng, x),), label=label(op, x))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(11)
    cases = []
    for channels in (1, 2, 3, 4, 5, 8, 12):
        for outputs in (1, 5, 8, 19):
            size, window = random_window(rng, 4)
            cases.append(random_case(rng, encoding, (*size, channels), outputs, window))
    check(cases)


SAME = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
POINT = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}


@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4", "int3"])
def test_shapes_of_networks(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(12)
    forms = [
        ((7, 9, 3), 8, SAME | {"strides": (2, 2), "padding": (0, 1, 0, 1)}),
        ((13, 6, 1), 9, {"kernel": (10, 4), "strides": (2, 2), "padding": (4, 5, 1, 1)}),
        ((5, 5, 16), 8, SAME),
        ((4, 4, 64), 9, SAME),
        ((5, 5, 59), 6, POINT),
        ((2, 51, 4), 4, POINT),
        ((3, 52, 2), 3, SAME),
        ((1, 30, 4), 5, {"kernel": (1, 5), "strides": (1, 3), "padding": (0, 0, 4, 2)}),
        ((1, 1, 40), 17, POINT),
        ((2, 1, 3), 2, SAME),
    ]
    check([random_case(rng, encoding, *form) for form in forms])


@pytest.mark.parametrize("layout", ["HALVES", "WINDOWS"])
@pytest.mark.parametrize("blocks_outer", [False, True])
def test_every_plan(
    layout: str, blocks_outer: bool, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever tiles and orders: plans only change when things are done."""

    def first(layer: Layer) -> Plan:
        plans = [*conv2d_pairs._halves(layer), *conv2d_pairs._windows(layer)]
        fitting = [p for p in plans if p.layout == layout and p.blocks_outer == blocks_outer]
        return fitting[len(fitting) // 2]

    monkeypatch.setattr(conv2d_pairs, "choose_plan", first)
    rng = np.random.default_rng(13)
    forms = [((7, 5, 4), 12, SAME), ((6, 8, 3), 9, SAME), ((5, 7, 8), 17, POINT)]
    check([random_case(rng, e, *form) for e in ("int8", "int4") for form in forms])


# --- lanes at their bounds -----------------------------------------------------------------------


def dot_case(image: np.ndarray, bias: int, dtype: str, xs: np.ndarray) -> PairsCase:
    """Two pixels, every output channel the dot product of a row of ``image`` and the pixel."""
    x = Tensor("x", (1, 2, image.shape[1]), dtype, 8, 0)
    out = Tensor("y", (1, 2, image.shape[0]), "int8", 8, 9)
    codes = image.astype(np.int8).reshape(len(image), 1, 1, -1)
    weights = Weights("int4", codes, np.zeros(1, np.int32))
    op = Conv2D(weights, np.full(len(image), bias, np.int32), "linear", "half_up")
    return PairsCase(op, (x,), out, (xs.astype(x.numpy_dtype),), label=f"dot {image.shape} {bias}")


def kind(case: PairsCase) -> str:
    return str(case.layer().fields["finish"]).split("_")[2]


def test_sums_that_fill_16_bits(check: Check) -> None:
    """bias and rounding constant take the sums to -2**15 and 2**15 - 1 and not beyond."""
    image = np.array([[7] * 36, [-7] * 36, [7] * 36] * 3)
    reach = 7 * 36 * 127
    top = 2**15 - 1 - 256 - reach
    xs = np.stack([np.full((1, 2, 36), v) for v in (127, -128)])
    xs = np.concatenate([xs, np.stack([xs[:, :, 0], xs[::-1, :, 0]], axis=2)])
    narrow = dot_case(image[:1], top, "int8", xs)
    assert kind(narrow) == "lanes"
    assert kind(dot_case(image[:1], top + 1, "int8", xs)) == "sums"
    both = dot_case(image, -256, "int8", xs)
    assert kind(both) == "lanes"
    sums = both.op.accumulate(xs.astype(float), image.reshape(-1, 1, 1, 36) * 1.0)
    assert sums.max() == 7 * 36 * 128
    assert sums.min() == -7 * 36 * 128
    check([narrow, both, dot_case(image, 511, "int8", xs), dot_case(image, -257, "int8", xs)])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_segments_that_fill_16_bits(dtype: str, check: Check) -> None:
    """Segments of weights 4, 64 of them: -128 * 256 = -2**15 exactly, in both lanes, in any mix."""
    rng = np.random.default_rng(14)
    ends = (-128, 127) if dtype == "int8" else (0, 255)
    image = rng.choice([4, -4], (17, 64 * 5)) * np.repeat([1, 0, 1, 1, 0, 1, 1, 1], 40)
    image[0], image[1] = 4, 4
    xs = np.stack([np.full((1, 2, 320), v) for v in ends])
    signs = np.where(image[:4, None, None] > 0, ends[0], ends[1])
    xs = np.concatenate([xs, np.broadcast_to(signs, (4, 1, 2, 320)), ends[0] + ends[1] - xs])
    case = dot_case(image, 12345, dtype, xs)
    layer = case.layer()
    assert kind(case) == "flushed"
    runs = layer.fields["runs"].values.reshape(-1, 2)
    first = runs[: layer.fields["run_first"].values[1], 0] & 0x7FFF
    assert 64 in first
    check([case])


def test_one_beyond_a_segment_would_be_wrong(library: Path, tmp_path: Path) -> None:
    """Cut one element later, a lane overflows: the bound is tight."""
    xs = np.full((1, 1, 2, 320), -128)
    case = dot_case(np.full((8, 320), 4), 128 * 320 * 4, "int8", xs)
    fields = dict(case.layer().fields)
    runs = fields["runs"].values.copy().reshape(-1, 2)
    assert list(runs[:, 0] & 0x7FFF) == [64] * 5
    runs[0, 0] += 1
    runs[1, 0] -= 1
    fields["runs"] = replace(fields["runs"], values=runs.reshape(-1))

    class Late(PairsCase):
        def layer(self) -> CLayer:
            return replace(case.layer(), fields=fields)

    late = Late(case.op, case.ins, case.out, case.xs)
    (got,) = run_program([late], library, tmp_path)
    assert not np.array_equal(got.astype(np.int64), late.expected())


# --- choice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", ["generic", "m0", "m4", "m7", "m33", "m55"])
def test_other_cores_have_their_own(core: str) -> None:
    case = dot_case(np.ones((4, 8)), 0, "int8", np.zeros((1, 1, 2, 8)))
    assert conv2d_pairs.choose(request_of(case.op, case.ins[0], case.out, core)) is None


def test_scratch_memory_stays_within_its_budget() -> None:
    rng = np.random.default_rng(15)
    for shape, outputs, most in [((32, 32, 16), 16, 8192), ((8, 8, 64), 64, 12288)]:
        layer = random_case(rng, "int4", shape, outputs, SAME).layer()
        assert 0 < layer.scratch <= most


def test_weights_of_four_bits_stay_four_bits() -> None:
    rng = np.random.default_rng(16)
    for encoding in ("int4", "lut4", "pot4", "apot4"):
        layer = random_case(rng, encoding, (4, 4, 8), 8, SAME).layer()
        assert layer.fields["weights"]["codes"].values.nbytes == 8 * 72 // 2
