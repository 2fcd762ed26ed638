# SPDX-License-Identifier: Apache-2.0
"""The Cortex-M0's convolution against tinyq.ops: in words and in lanes, any window, extremes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from lanes import levels_of, weights_of

from kernels.harness import Check
from kernels.m0_cases import M0Case, request_of
from kernels.random_layers import codes, label, linear_parameters, random_input, random_window
from tinyq.encodings import ENCODINGS
from tinyq.kernels import Request, conv2d_m0
from tinyq.kernels.blocks_m0 import LANE_RANGE
from tinyq.kernels.conv2d_m0 import Scheme
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer
from tinyq.tensors import Shape, Tensor


@dataclass(frozen=True, eq=False)
class SchemeCase(M0Case):
    """In words or in lanes, as the case wants, else what is faster."""

    lanes: bool | None = None

    def scheme(self, request: Request) -> Scheme:
        """How the layer is computed."""
        if self.lanes is None:
            return conv2d_m0.choose_scheme(request, self.op)
        lanes = conv2d_m0.lanes_scheme(request, self.op)
        if self.lanes and len(lanes.boxes) <= conv2d_m0.MAX_PARTS:
            return lanes
        return conv2d_m0.plain_scheme(self.op)

    def layer(self) -> CLayer:
        request = request_of(self)
        if conv2d_m0.choose(request) is None:
            return request.plain
        return conv2d_m0.layer_of(request, self.op, self.scheme(request))


def random_case(
    rng: np.random.Generator,
    encoding: str,
    shape: Shape,
    outputs: int,
    window: dict[str, object],
    lanes: bool | None = None,
) -> SchemeCase:
    """A convolution of random numbers."""
    x = random_input(rng, shape)
    kernel = window["kernel"]
    parameters, y = linear_parameters(rng, encoding, (outputs, *kernel, shape[2]), x)
    op = Conv2D(**parameters, strides=window["strides"], padding=window["padding"])
    y = replace(y, shape=op.infer_shape([shape]))
    return SchemeCase(op, (x,), y, (codes(rng, x),), label=label(op, x), lanes=lanes)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(1)
    cases = []
    for i in range(36):
        size, window = random_window(rng, 5)
        channels, outputs = rng.choice([1, 2, 3, 5, 8, 17]), rng.choice([1, 2, 4, 5, 8, 19])
        shape = (*size, int(channels))
        cases.append(random_case(rng, encoding, shape, int(outputs), window, lanes=i % 2 == 0))
    chosen = [case.layer().stem for case in cases]
    assert chosen.count("conv2d_m0") > 12
    check(cases)


@pytest.mark.parametrize("encoding", ["int8", "lut4", "int4", "int3"])
def test_kernels_of_many_parts(encoding: str, check: Check) -> None:
    """Rows, columns, channels: a part is what fits the scratch memory, or 16 bits."""
    rng = np.random.default_rng(2)
    cases = []
    for channels, kernel in (
        (40, (3, 3)),
        (7, (1, 40)),
        (300, (2, 1)),
        (32, (2, 4)),
        (600, (1, 1)),
    ):
        for padding in ((0, 0, 0, 0), (1, 0, 1, 0)):
            for lanes in (False, True):
                window = {"kernel": kernel, "strides": (1, 1), "padding": padding}
                size = (kernel[0] + 1, kernel[1] + 1)
                case = random_case(rng, encoding, (*size, channels), 6, window, lanes)
                cases.append(case)
    check(cases)


def test_tiles_and_runs(check: Check) -> None:
    """Several tiles of rows; windows that follow each other over the ends of rows."""
    rng = np.random.default_rng(3)
    none, around = (0, 0, 0, 0), (1, 1, 1, 1)
    shapes = [
        ((40, 9, 3), (1, 1), (1, 1), none),
        ((41, 9, 3), (3, 3), (1, 1), around),
        ((40, 10, 2), (1, 1), (2, 2), none),
        ((41, 12, 2), (3, 3), (2, 2), (0, 1, 0, 1)),
        ((1, 60, 3), (1, 3), (1, 1), (0, 0, 1, 1)),
        ((30, 1, 3), (3, 1), (1, 1), around),
    ]
    cases = [
        random_case(
            rng, encoding, shape, 9, {"kernel": kernel, "strides": strides, "padding": pad}, lanes
        )
        for encoding in ("int8", "lut4")
        for lanes in (False, True)
        for shape, kernel, strides, pad in shapes
    ]
    check(cases)


def test_gathered_windows(check: Check) -> None:
    """Many short rows, signed activations: windows are gathered, padding included, in tiles."""
    rng = np.random.default_rng(6)
    forms = [
        ((30, 9, 1), window((10, 4), (2, 2), (4, 5, 1, 1))),
        ((21, 8, 5), window((1, 1), (1, 1), (0, 0, 0, 0))),
        ((9, 7, 2), window((3, 3), (1, 3), (1, 4, 4, 0))),
        ((90, 11, 1), window((6, 1), (1, 1), (0, 0, 0, 0))),
    ]
    cases = [
        random_case(rng, encoding, shape, outputs, form, lanes)
        for encoding in ("int8", "lut4", "int4", "int2")
        for lanes in (False, True)
        for shape, form in forms
        for outputs in (60, 64)
    ]
    layers = [case.layer().fields for case in cases]
    gathered = [fields for fields in layers if fields.get("gathered", 0)]
    assert len(gathered) > 10
    assert {fields["flip"] for fields in gathered} == {0, conv2d_m0.FLIP}
    assert any(fields["tile_rows"] < fields["output"]["height"] for fields in gathered)
    check(cases)


def window(
    kernel: tuple[int, int], strides: tuple[int, int], padding: tuple[int, int, int, int]
) -> dict[str, object]:
    """Of a convolution."""
    return {"kernel": kernel, "strides": strides, "padding": padding}


def full_lanes_case(encoding: str, dtype: str, activation: str, over: int = 0) -> SchemeCase:
    """A part whose sums span 16 bits to the last unit, and the inputs that reach both ends."""
    x = Tensor("x", (2, 2, 12), dtype, exponent=-3)
    reach = x.hi - x.lo if x.lo < 0 else x.hi
    levels = levels_of(encoding)
    room = LANE_RANGE // reach + over
    flat = np.zeros(12, np.int64)
    for i in range(12):
        fitting = levels[levels <= room]
        if len(fitting):
            flat[i] = fitting[0] * (-1 if i % 3 else 1)
            room -= int(fitting[0])
    image = np.stack([flat, -flat, flat, flat[::-1]]).reshape(4, 1, 1, 12)
    n = 9
    out = "int8" if activation == "linear" else "uint8"
    op = Conv2D(
        weights_of(image, encoding), np.array([5, -5, 700, -700], np.int32), activation,
    )  # fmt: skip
    y = Tensor("y", (2, 2, 4), out, exponent=-3 - 5 + n)
    ends = [np.where(flat > 0, x.hi, x.lo), np.where(flat > 0, x.lo, x.hi)]
    pixels = np.stack([ends[0], ends[1], ends[1], ends[0]]).reshape(1, 2, 2, 12)
    xs = np.concatenate([pixels, codes(np.random.default_rng(0), x)]).astype(np.int64)
    return SchemeCase(op, (x,), y, (xs,), label=f"{encoding} {dtype} {activation}", lanes=True)


FORMS = [
    (encoding, dtype, activation)
    for encoding in ENCODINGS
    for dtype in ("uint8", "int8")
    for activation in ("linear", "relu")
]


def test_lanes_that_fill_16_bits(check: Check) -> None:
    cases = [full_lanes_case(*form) for form in FORMS]
    whole = [len(case.scheme(request_of(case)).boxes) == 1 for case in cases]
    assert all(whole)
    full = full_lanes_case("int8", "uint8", "linear")
    image = full.op.quantized.image().astype(np.int64)
    assert int(np.abs(image[0]).sum()) * 255 == LANE_RANGE
    check(cases)


def test_lanes_are_split_beyond_16_bits(check: Check) -> None:
    case = full_lanes_case("int8", "uint8", "linear", over=1)
    assert len(case.scheme(request_of(case)).boxes) > 1
    check([case])


def test_other_cores_have_other_kernels() -> None:
    case = full_lanes_case("int8", "uint8", "relu")
    assert conv2d_m0.choose(request_of(case)) is not None
    assert conv2d_m0.choose(request_of(case, "m3")) is None
