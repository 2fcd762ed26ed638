# SPDX-License-Identifier: Apache-2.0
"""Convolutions with weights of shifts that become code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernels.chosen import KernelCase
from kernels.random_layers import codes, label, tensor
from tinyq.encodings import ENCODINGS, Weights, encode_image
from tinyq.numerics import rounding_constant
from tinyq.ops import Conv2D
from tinyq.tensors import Shape, Tensor

STEM = "conv2d_pot_code"
SHIFTING = tuple(name for name, kind in ENCODINGS.items() if kind.levels is not None)
AROUND, NONE = (1, 1, 1, 1), (0, 0, 0, 0)
#: kernel, strides, padding
WINDOWS = (
    ((1, 1), (1, 1), NONE),
    ((3, 3), (1, 1), AROUND),
    ((3, 3), (2, 2), (0, 1, 0, 1)),
    ((1, 5), (1, 1), (0, 0, 3, 1)),
    ((4, 2), (3, 1), (2, 1, 0, 1)),
    ((2, 2), (2, 2), NONE),
)


def layer_case(
    rng: np.random.Generator,
    encoding: str,
    x: Tensor,
    outputs: int,
    window: tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]],
    core: str,
) -> KernelCase:
    """Random codes, some zero; shifts of 6 to 9 that differ between channels."""
    kernel, strides, padding = window
    shape = (outputs, *kernel, x.shape[2])
    count = len(ENCODINGS[encoding].levels or ())
    drawn = rng.integers(0, count, shape) * (rng.random(shape) < 0.8)
    shifts = rng.integers(6, 10, outputs)
    exponent = int(rng.integers(-6, 3))
    weights = Weights(
        encoding, drawn.astype(np.int8), (exponent - x.exponent - shifts).astype(np.int32)
    )
    activation, rounding = (
        ("relu", "tflite"),
        ("relu6", "tflite"),
        ("linear", "half_up"),
    )[int(rng.integers(3))]
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
    op = Conv2D(weights, bias, activation, rounding, strides=strides, padding=padding)
    dtype = "int8" if activation == "linear" else "uint8"
    y = tensor("y", op.infer_shape([x.shape]), dtype, exponent, int(rng.choice([8, 8, 4])))
    return KernelCase(op, (x,), y, (codes(rng, x),), label=label(op, x), stem=STEM, core=core)


def layer_cases(core: str, encodings: tuple[str, ...] = SHIFTING) -> Iterator[KernelCase]:
    """Every window with both types of inputs, odd numbers of channels and of pixels."""
    rng = np.random.default_rng(5)
    for encoding in encodings:
        for window in WINDOWS:
            channels, outputs = int(rng.choice([1, 3, 8])), int(rng.choice([1, 5, 12, 40]))
            dtype = ("uint8", "int8")[int(rng.integers(2))]
            x = tensor("x", (5, 5, channels), dtype, bits=int(rng.choice([8, 4])))
            yield layer_case(rng, encoding, x, outputs, window, core)
    window = ((3, 3), (1, 1), AROUND)
    large: Shape = (20, 30, 8)  # more than the scratch memory has room for
    yield layer_case(rng, "pot4", tensor("x", large, "uint8"), 9, window, core)
    # So many words that two groups of exponents do not suffice.
    yield layer_case(rng, "pot4", tensor("x", (3, 3, 24), "uint8"), 9, window, core)
    for x in (tensor("x", (2, 2, 90), "uint8"), tensor("x", (1, 3, 90), "int8")):
        yield layer_case(rng, "pot4", x, 33, WINDOWS[0], core)


def full_case(sign: int, core: str, over: int = 0) -> KernelCase:
    """One channel whose sum, rounding included, ends at the bound of a lane or ``over`` beyond it.

    Weights are at most 4 = 2**2, so the last group's scale is 2**2 and the bound 2**17.
    """
    x, shift = tensor("x", (2, 3, 130), "uint8"), 9
    image = np.full((1, 1, 1, 130), 4 * sign)
    image[0, 0, 0, 100:] = sign
    weights = encode_image(image, ENCODINGS["pot3"], np.array([1 - x.exponent - shift]))
    rounding = int(rounding_constant(np.array([shift]), "half_up")[0])
    bound = (1 << 17) - 1 + over if sign > 0 else -(1 << 17) - over
    bias = np.array([bound - rounding - 255 * int(image.sum())], np.int32)
    op = Conv2D(weights, bias, "linear", "half_up")
    y = tensor("y", (2, 3, 1), "int8", 1)
    ends = np.zeros((4, *x.shape), np.int64)
    ends[0, :, ::2], ends[1, :, 1::2], ends[2] = 255, 255, 255
    return KernelCase(op, (x,), y, (ends,), label=f"full {sign}", stem=STEM, core=core)
