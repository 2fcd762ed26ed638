# SPDX-License-Identifier: Apache-2.0
"""Convolutions of 4-bit weights and 4-bit activations for the kernels that keep sums in lanes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from kernels.chosen import KernelCase
from kernels.random_layers import codes, label, linear_parameters, tensor
from tinyq.encodings import ENCODINGS, Weights, encode_image
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer, CTable
from tinyq.tensors import Shape, Tensor

#: encodings that every image of which fits 4 bits, and one whose table may
FITTING = ("int4", "int3", "int2", "pot3", "lut4")


def random_conv(
    rng: np.random.Generator,
    encoding: str,
    x: Tensor,
    outputs: int,
    window: dict[str, object],
    stem: str,
) -> KernelCase:
    """A layer with random weights, bias, shifts, rounding, clamp and type of the output."""
    shape = (outputs, *window["kernel"], x.shape[2])
    parameters, out = linear_parameters(rng, encoding, shape, x)
    weights = parameters["weights"]
    if weights.table is not None:
        table = rng.integers(-8, 8, len(weights.table)).astype(np.int8)
        parameters["weights"] = Weights(encoding, weights.codes, weights.exponents, table)
    op = Conv2D(**parameters, strides=window["strides"], padding=window["padding"])
    y = tensor("y", op.infer_shape([x.shape]), out.dtype, out.exponent, out.bits)
    return KernelCase(op, (x,), y, (codes(rng, x),), None, label(op, x), stem)


def inputs(rng: np.random.Generator, shape: Shape) -> Tensor:
    """An input of 4 bits or less."""
    bits = int(rng.choice([4, 4, 4, 2, 1]))
    return tensor("x", shape, str(rng.choice(["int8", "uint8"])), bits=bits)


def summing_case(
    image: np.ndarray, x: Tensor, padding: tuple[int, int, int, int], stem: str, n: int = 0
) -> KernelCase:
    """A layer whose outputs show the sums' lowest bits, at the ends of every input code.

    Codes of the inputs: both ends for all, then each end where weights of the first output
    channel are positive and the other one elsewhere (per input channel, of the kernel's middle).
    """
    encoding = "int4" if image.min() > -8 else "lut4"
    table = np.unique(image) if encoding == "lut4" else None
    weights = encode_image(image, ENCODINGS[encoding], np.array([-5]), table)
    bias = np.arange(len(image), dtype=np.int32)
    op = Conv2D(weights, bias, "linear", "half_up", padding=padding)
    y = tensor("y", op.infer_shape([x.shape]), "int8", x.exponent - 5 + n)
    xs = np.concatenate(list(_ends(image, x)))
    return KernelCase(op, (x,), y, (xs,), None, label(op, x), stem)


def _ends(image: np.ndarray, x: Tensor) -> Iterator[np.ndarray]:
    signs = image[0, image.shape[1] // 2, image.shape[2] // 2] > 0
    for high, low in ((x.hi, x.hi), (x.lo, x.lo), (x.hi, x.lo), (x.lo, x.hi)):
        yield np.broadcast_to(np.where(signs, high, low), (1, *x.shape)).astype(np.int64)


def segments_of(layer: CLayer | None) -> list[int]:
    """Steps of the segments of the first four channels."""
    assert layer is not None
    lengths = [int(n) for n in layer.fields["segments"].values]
    ends = list(np.cumsum(lengths))
    return lengths[: ends.index(layer.fields["steps"]) + 1]


class Unsegmented(KernelCase):
    """All steps in one segment, whatever the bounds."""

    def layer(self) -> CLayer:
        layer = super().layer()
        whole = np.array([layer.fields["steps"]], np.uint16)
        return replace(layer, fields={**layer.fields, "segments": CTable("segments", whole)})
