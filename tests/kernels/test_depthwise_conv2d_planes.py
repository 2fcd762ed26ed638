# SPDX-License-Identifier: Apache-2.0
"""Depthwise 3x3 by planes against tinyq.ops: any image, all encodings, lanes at their bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.harness import Case, Check, run_program
from kernels.random_layers import codes, label, linear_parameters, random_input
from tinyq import proof
from tinyq.cores import CORES
from tinyq.encodings import ENCODINGS, Weights
from tinyq.graph import Graph, Node
from tinyq.kernels import Request, depthwise_conv2d_planes
from tinyq.kernels.depthwise_conv2d_planes import BUDGET
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.clayer import CLayer
from tinyq.tensors import Tensor


def choose(op: DepthwiseConv2D, x: Tensor, out: Tensor, core: str = "m3") -> CLayer | None:
    node = Node("n", op, (x.name,), (out.name,))
    graph = Graph("g", {x.name: x, out.name: out}, (node,), node.inputs, node.outputs)
    bounds, proved = (proof.intervals(graph)[x.name],), proof.prove(graph)["n"]
    plain = op.to_c((x,), out)
    return depthwise_conv2d_planes.choose(Request(CORES[core], graph, node, plain, proved, bounds))


@dataclass(frozen=True, eq=False)
class PlanesCase(Case):
    """A depthwise convolution that runs in the kernel of planes."""

    def layer(self) -> CLayer:
        layer = choose(self.op, self.ins[0], self.out)
        assert layer is not None
        return layer


def random_case(rng: np.random.Generator, encoding: str, shape: Any, **window: Any) -> PlanesCase:
    x = random_input(rng, shape)
    multiplier = int(rng.choice([1, 1, 2, 3]))
    parameters, y = linear_parameters(rng, encoding, (shape[2] * multiplier, 3, 3), x)
    op = DepthwiseConv2D(**parameters, **window, multiplier=multiplier)
    out = replace(y, shape=op.infer_shape([shape]))
    return PlanesCase(op, (x,), out, (codes(rng, x),), label=label(op, x))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_images(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(21)
    cases = []
    for _ in range(30):
        padding = tuple(map(int, rng.integers(0, 3, 4)))
        least = (max(1, 3 - sum(padding[:2])), max(1, 3 - sum(padding[2:])))
        size = tuple(int(rng.integers(n, n + 8)) for n in least)
        strides = (int(rng.integers(1, 4)), int(rng.integers(1, 3)))
        shape = (*size, int(rng.choice([1, 2, 5])))
        cases.append(random_case(rng, encoding, shape, strides=strides, padding=padding))
    check(cases)


@pytest.mark.parametrize("encoding", ["int8", "int4"])
def test_shapes_of_networks(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(22)
    same = {"strides": (1, 1), "padding": (1, 1, 1, 1)}
    half = {"strides": (2, 2), "padding": (0, 1, 0, 1)}
    forms: list[tuple[Any, dict[str, Any]]] = [
        ((25, 5, 3), same), ((48, 48, 2), same), ((48, 48, 1), half), ((3, 3, 4), same),
        ((6, 126, 1), same), ((4, 126, 2), half), ((1, 9, 2), same), ((9, 1, 2), same),
    ]  # fmt: skip
    check([random_case(rng, encoding, shape, **window) for shape, window in forms])


def lane_case(weight: int, bias: int, dtype: str = "int8") -> PlanesCase:
    """Sums of 9 weights alike, over pixels that are all at one end or the other."""
    x = Tensor("x", (6, 4, 2), dtype, 8, 0)
    out = Tensor("y", (4, 2, 2), "int8", 8, 8)
    image = np.full((2, 3, 3), weight, np.int8)
    image[1] *= -1
    weights = Weights("int8", image, np.zeros(1, np.int32))
    op = DepthwiseConv2D(weights, np.array([bias, -bias], np.int32), "linear", "half_up")
    xs = np.stack([np.full(x.shape, v) for v in (x.lo, x.hi, x.lo, x.hi)])
    xs[2, :3], xs[3, :3] = x.hi, x.lo
    return PlanesCase(op, (x,), out, (xs.astype(x.numpy_dtype),), label=f"{weight} {bias}")


def is_lanes(case: PlanesCase) -> bool:
    return bool(case.layer().fields["lanes"])


def test_sums_that_fill_16_bits(check: Check) -> None:
    """28 * 9 * 127 and the rounding constant leave 635 for the bias; -28 * 9 * 128 leaves 512."""
    top = 2**15 - 1 - 28 * 9 * 128 - 128
    assert is_lanes(lane_case(28, -top))
    assert not is_lanes(lane_case(28, -top - 1))
    check([lane_case(28, b) for b in (-top, -top - 1, top)] + [lane_case(14, -300, "uint8")])


def test_one_beyond_would_be_wrong(library: Path, tmp_path: Path) -> None:
    case = lane_case(28, -(2**15 - 28 * 9 * 128 - 128))
    layer = case.layer()
    lanes = {"lanes": 1, "finish": "tq_finish_plane_lanes_s8", "tile": layer.fields["tile"] // 2}

    class Wrong(PlanesCase):
        def layer(self) -> CLayer:
            return replace(layer, fields={**layer.fields, **lanes})

    wrong = Wrong(case.op, case.ins, case.out, case.xs)
    (got,) = run_program([wrong], library, tmp_path)
    assert not np.array_equal(got.astype(np.int64), wrong.expected())


def test_what_is_not_chosen() -> None:
    rng = np.random.default_rng(23)
    case = random_case(rng, "int8", (6, 6, 2), strides=(1, 1), padding=(0, 0, 0, 0))
    for core in ("generic", "m0", "m4", "m55"):
        assert choose(case.op, case.ins[0], case.out, core) is None
    wide = random_case(rng, "int8", (4, 128, 1), strides=(1, 1), padding=(0, 0, 0, 0))
    assert wide.layer().scratch <= BUDGET
    op = replace(wide.op, strides=(1, 3))
    out = replace(wide.out, shape=op.infer_shape([wide.ins[0].shape]))
    assert choose(op, wide.ins[0], out) is None
