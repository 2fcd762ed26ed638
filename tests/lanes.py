# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose accumulators fill 16 bits to the last unit, and inputs that reach it."""

from __future__ import annotations

import numpy as np

from tinyq.encodings import ENCODINGS, Weights, encode_image
from tinyq.graph import Graph, Node, validate
from tinyq.numerics import INT16_MAX, rounding_margin
from tinyq.ops import Conv2D
from tinyq.tensors import Tensor

SHIFT = 7


def levels_of(encoding: str) -> np.ndarray:
    """Nonzero magnitudes that the test's weights may take, descending; signs are free."""
    kind = ENCODINGS[encoding]
    if kind.uses_table:
        return np.array([1]) if kind.bits == 2 else np.array([100, 9, 1])
    if kind.levels is not None:
        return np.unique([level for level in kind.levels if level > 0])[::-1]
    return np.arange(kind.max_level, 0, -1)


def filled_image(encoding: str, x: Tensor, kernel: tuple[int, int], margin: int) -> np.ndarray:
    """Weights ``[2, KH, KW, I]`` of both signs with as large a reach as 16 bits leave room for.

    The second channel is the first one negated.
    """
    room = (INT16_MAX - margin) // max(x.hi, -x.lo)
    flat = np.zeros(kernel[0] * kernel[1] * x.shape[2], np.int64)
    left = {1: room, -1: room} if x.lo == 0 else {1: room // 2, -1: room - room // 2}
    levels = levels_of(encoding)
    for i in range(flat.size):
        sign = 1 if i % 2 == 0 else -1
        fitting = levels[levels <= left[sign]]
        level = int(fitting[i % min(3, len(fitting))]) if len(fitting) else 0
        flat[i] = sign * level
        left[sign] -= level
    first = flat.reshape(*kernel, x.shape[2])
    return np.stack([first, -first])


def weights_of(image: np.ndarray, encoding: str) -> Weights:
    """The image as stored weights."""
    kind = ENCODINGS[encoding]
    table = np.unique([*image.ravel(), 0]) if kind.uses_table else None
    return encode_image(image, kind, np.array([-5]), table)


def reach(image: np.ndarray, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Largest and smallest sum of products of each channel."""
    low, high = image * x.lo, image * x.hi
    axes = tuple(range(1, image.ndim))
    return np.maximum(low, high).sum(axes), np.minimum(low, high).sum(axes)


def full_graph(
    encoding: str = "int8",
    dtype: str = "uint8",
    bits: int = 8,
    over: int = 0,
    activation: str = "linear",
) -> Graph:
    """One convolution whose bounds, with rounding, are +-(2**15 - 1 + ``over``) exactly.

    The weights fill them as far as the encoding can, the bias takes the rest.  Windows do not
    overlap, so that neighbouring pixels can be driven to opposite ends.
    """
    x = Tensor("x", (4, 6, 8), dtype, bits, exponent=-4)
    margin = rounding_margin(SHIFT)
    image = filled_image(encoding, x, (2, 2), margin)
    top, bottom = reach(image, x)
    bias = np.array([INT16_MAX + over - margin - top[0], -(INT16_MAX + over - margin) - bottom[1]])
    op = Conv2D(weights_of(image, encoding), bias.astype(np.int32), activation, strides=(2, 2))
    out = "int8" if activation == "linear" else "uint8"
    y = Tensor("y", (2, 3, 2), out, exponent=-4 - 5 + SHIFT)
    node = Node("conv", op, ("x",), ("y",), ("conv",))
    return validate(Graph("full", {"x": x, "y": y}, (node,), ("x",), ("y",)))


def extreme_inputs(graph: Graph) -> np.ndarray:
    """Codes ``[4, *shape]``: every pixel at one end or the other, alternating, then the same."""
    ((_, op),) = graph.linear_nodes()
    x = graph.tensors["x"]
    first = op.quantized.image()[0].astype(np.int64)
    ends = [np.where(first > 0, x.hi, x.lo), np.where(first > 0, x.lo, x.hi)]
    patterns = [lambda p: p % 2, lambda p: 1 - p % 2, lambda p: 0, lambda p: 1]
    codes = np.zeros((len(patterns), *x.shape), np.int64)
    for sample, pattern in enumerate(patterns):
        for pixel in range(6):
            row, col = 2 * (pixel // 3), 2 * (pixel % 3)
            codes[sample, row : row + 2, col : col + 2] = ends[pattern(pixel)]
    return codes.astype(x.numpy_dtype)
