# SPDX-License-Identifier: Apache-2.0
"""Sliding windows in NHWC: shapes, padding, convolution sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.errors import GraphError
from tinyq.numerics import FloatArray
from tinyq.tensors import Shape

Pair = tuple[int, int]
#: top, bottom, left, right
Padding = tuple[int, int, int, int]
NO_PADDING: Padding = (0, 0, 0, 0)


def window_shape(shape: Shape, kernel: Pair, strides: Pair, padding: Padding) -> Pair:
    """Output height and width of a sliding window; GraphError where none fits."""
    if len(shape) != 3:
        raise GraphError(f"a 2-D window needs an input (height, width, channels), got {shape}")
    top, bottom, left, right = padding
    height = (shape[0] + top + bottom - kernel[0]) // strides[0] + 1
    width = (shape[1] + left + right - kernel[1]) // strides[1] + 1
    if height < 1 or width < 1:
        raise GraphError(f"window {kernel} is larger than the padded input {shape}, {padding}")
    return height, width


def same_padding(shape: Shape, kernel: Pair, strides: Pair) -> Padding:
    """TensorFlow's SAME rule as explicit numbers: the odd element goes to the end."""
    amounts: list[int] = []
    for size, k, s in zip(shape[:2], kernel, strides, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        amounts += [total // 2, total - total // 2]
    return amounts[0], amounts[1], amounts[2], amounts[3]


def pad(x: npt.NDArray[Any], padding: Padding, value: float = 0) -> npt.NDArray[Any]:
    """``x`` ``[N, H, W, C]`` with a border of ``value``."""
    if padding == NO_PADDING:
        return x
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def windows(
    x: npt.NDArray[Any], kernel: Pair, strides: Pair, padding: Padding, value: float = 0
) -> npt.NDArray[Any]:
    """A view ``[N, OH, OW, KH, KW, C]`` of all windows of ``x`` ``[N, H, W, C]``."""
    view = np.lib.stride_tricks.sliding_window_view(pad(x, padding, value), kernel, axis=(1, 2))
    strided = view[:, :: strides[0], :: strides[1]]
    return np.moveaxis(strided, 3, 5)


def shifted(padded: npt.NDArray[Any], offset: Pair, out: Pair, strides: Pair) -> npt.NDArray[Any]:
    """The inputs that kernel element ``offset`` meets, ``[N, OH, OW, C]``."""
    (ky, kx), (sy, sx) = offset, strides
    return padded[:, ky : ky + (out[0] - 1) * sy + 1 : sy, kx : kx + (out[1] - 1) * sx + 1 : sx]


def convolve(x: FloatArray, weights: FloatArray, strides: Pair, padding: Padding) -> FloatArray:
    """sum over ky, kx, i of ``weights[o, ky, kx, i] * x``: ``[N, OH, OW, O]``."""
    o, kh, kw, channels = weights.shape
    out = window_shape(x.shape[1:], (kh, kw), strides, padding)
    if channels * kw < 64 and kh * kw > 1:
        columns = windows(x, (kh, kw), strides, padding).reshape(len(x), *out, -1)
        return columns @ weights.reshape(o, -1).T
    padded = pad(x, padding)
    acc = np.zeros((len(x), *out, o), x.dtype)
    for ky in range(kh):
        for kx in range(kw):
            acc += shifted(padded, (ky, kx), out, strides) @ weights[:, ky, kx].T
    return acc


def convolve_depthwise(
    x: FloatArray, weights: FloatArray, multiplier: int, strides: Pair, padding: Padding
) -> FloatArray:
    """Depthwise sum, ``weights[c * multiplier + m, ky, kx]``: ``[N, OH, OW, O]``."""
    o, kh, kw = weights.shape
    out = window_shape(x.shape[1:], (kh, kw), strides, padding)
    padded = pad(np.repeat(x, multiplier, axis=3) if multiplier > 1 else x, padding)
    acc = np.zeros((len(x), *out, o), x.dtype)
    for ky in range(kh):
        for kx in range(kw):
            acc += shifted(padded, (ky, kx), out, strides) * weights[:, ky, kx]
    return acc


def window_counts(shape: Shape, kernel: Pair, strides: Pair, padding: Padding) -> FloatArray:
    """How many elements of each window lie inside the input, int64 ``[1, OH, OW, 1]``."""
    ones = np.ones((1, *shape[:2], 1), np.int64)
    counted: FloatArray = windows(ones, kernel, strides, padding).sum((3, 4))
    return counted


def check_padding(padding: Sequence[int], kernel: Pair) -> None:
    """GraphError for negative padding or padding as large as the window."""
    limits = (kernel[0], kernel[0], kernel[1], kernel[1])
    if any(p < 0 or p >= k for p, k in zip(padding, limits, strict=True)):
        raise GraphError(f"padding {tuple(padding)} must lie in 0..kernel-1, kernel {kernel}")
