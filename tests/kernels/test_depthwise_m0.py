# SPDX-License-Identifier: Apache-2.0
"""The Cortex-M0's depthwise convolution against tinyq.ops: planes of bytes and of lanes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lanes import levels_of, weights_of

from kernels.harness import Check
from kernels.m0_cases import M0Case, request_of
from kernels.random_layers import codes, label, linear_parameters, random_input
from tinyq.encodings import ENCODINGS
from tinyq.kernels import depthwise_m0
from tinyq.kernels.blocks_m0 import LANE_RANGE
from tinyq.kernels.request import Request
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.clayer import CLayer
from tinyq.tensors import Shape, Tensor


def in_bytes(request: Request) -> CLayer:
    """The layer in a plane of bytes, though lanes would do."""
    op = request.node.op
    return depthwise_m0.layer_of(request, op, depthwise_m0.plane_of(request, op, lanes=False))


def random_case(
    rng: np.random.Generator,
    encoding: str,
    shape: Shape,
    strides: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (1, 1, 1, 1),
    multiplier: int = 1,
) -> M0Case:
    """A layer of random numbers."""
    x = random_input(rng, shape)
    parameters, y = linear_parameters(rng, encoding, (shape[2] * multiplier, 3, 3), x)
    op = DepthwiseConv2D(**parameters, strides=strides, padding=padding, multiplier=multiplier)
    y = replace(y, shape=op.infer_shape([shape]))
    build = in_bytes if rng.random() < 0.3 else None
    xs = (codes(rng, x),)
    return M0Case(op, (x,), y, xs, label=label(op, x), choose=depthwise_m0.choose, build=build)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(1)
    cases = []
    for _ in range(40):
        strides = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        padding = tuple(int(n) for n in rng.integers(0, 3, 4))
        shape = (*(int(n) for n in rng.integers(3, 12, 2)), int(rng.choice([1, 2, 3, 5, 8])))
        multiplier = int(rng.choice([1, 1, 2, 3]))
        cases.append(random_case(rng, encoding, shape, strides, padding, multiplier))
    runs = {case.layer().fields.get("run") for case in cases}
    assert len(runs) > 3, runs
    check(cases)


def test_planes_in_tiles(check: Check) -> None:
    """More rows than the scratch memory holds; windows in the padding; cut-off columns."""
    rng = np.random.default_rng(2)
    shapes = [
        ((60, 97, 2), (1, 1), (1, 1, 1, 1)),
        ((61, 99, 2), (2, 2), (0, 1, 0, 1)),
        ((60, 62, 1), (3, 1), (2, 2, 2, 0)),
        ((3, 3, 2), (1, 1), (4, 5, 4, 3)),
        ((5, 8, 2), (1, 2), (0, 0, 0, 0)),
        ((3, 3, 5), (1, 1), (0, 0, 0, 0)),
    ]
    cases = [random_case(rng, e, *shape) for e in ("int4", "lut4", "int8") for shape in shapes]
    tiles = {case.layer().fields.get("tile_rows", 0) < case.out.shape[0] for case in cases}
    assert tiles == {True, False}
    check(cases)


def full_case(encoding: str, dtype: str, activation: str, over: int = 0) -> M0Case:
    """Nine products that span 16 bits to the last unit, and inputs that reach both ends."""
    x = Tensor("x", (3, 5, 4), dtype, exponent=-3)
    levels, room = levels_of(encoding), LANE_RANGE // 255 + over
    flat = np.zeros(9, np.int64)
    for i in range(9):
        fitting = levels[levels <= room]
        flat[i] = (fitting[0] if len(fitting) else 0) * (-1 if i % 3 else 1)
        room -= abs(int(flat[i]))
    image = np.stack([flat, -flat, np.abs(flat), -np.abs(flat)]).reshape(4, 3, 3)
    bias = np.array([5, -5, 700, -700], np.int32)
    op = DepthwiseConv2D(weights_of(image, encoding), bias, activation)
    y = Tensor("y", (1, 3, 4), "int8" if activation == "linear" else "uint8", exponent=1)
    ends = [np.where(image > 0, x.hi, x.lo), np.where(image > 0, x.lo, x.hi)]
    # Neighbouring windows overlap: each is driven to its end in an inference of its own.
    xs = np.concatenate([codes(np.random.default_rng(0), x, 6 - 2) for _ in range(2)])
    for i in range(6):
        xs[i, :, i % 3 : i % 3 + 3] = ends[i // 3].transpose(1, 2, 0)
    case = M0Case(op, (x,), y, (xs,), label=f"{encoding} {dtype} {activation}")
    return replace(case, choose=depthwise_m0.choose)


FORMS = [
    (encoding, dtype, activation)
    for encoding in ENCODINGS
    for dtype in ("uint8", "int8")
    for activation in ("linear", "relu")
]


def test_lanes_that_fill_16_bits(check: Check) -> None:
    cases = [full_case(*form) for form in FORMS]
    assert all(case.layer().fields["run"].startswith("tq_plane_m0_lanes") for case in cases)
    image = cases[0].op.quantized.image().astype(np.int64)
    assert int(np.abs(image[0]).sum()) * 255 == LANE_RANGE
    check(cases)


def test_beyond_16_bits_bytes_are_chosen(check: Check) -> None:
    case = full_case("int8", "uint8", "linear", over=1)
    assert case.layer().fields["run"] == "tq_plane_m0_1_tflite"
    check([case])


def test_the_output_may_overlay_the_input(check: Check) -> None:
    rng = np.random.default_rng(5)
    drawn = [random_case(rng, e, (7, 6, 5)) for e in ("int8", "lut4", "int4", "int2") for _ in "ab"]
    cases = [case for case in drawn if case.layer().in_place == (0,)]
    assert len(cases) > 3
    check([replace(case, in_place=0) for case in cases])
    cut = random_case(rng, "int2", (7, 6, 5), padding=(0, 0, 1, 1))
    assert cut.layer().in_place == ()


def test_other_cores_have_other_kernels() -> None:
    case = full_case("lut4", "uint8", "relu")
    assert depthwise_m0.choose(request_of(case)) is not None
    assert depthwise_m0.choose(request_of(case, "m3")) is None
