# SPDX-License-Identifier: Apache-2.0
"""What a layer sees: its weights as columns, its input patches, their moments.

Every weighted operator is a set of G independent linear maps: with patches ``x [R, K]`` of group g
it computes ``x @ W[g]``, ``W [G, K, M]``.  Convolution and dense layers are one group of M = O
outputs; a depthwise convolution has a group for each input channel with M = depth multiplier.
Output channel o is column ``(o // M, o % M)``.

A map of many inputs is cut into *blocks* of at most ``BLOCK`` rows, whose inputs count as
uncorrelated with those of other blocks: time and memory then grow with K, not with its cube and
square.

Moments of the patches of the float network (x) and of the quantized one (x^), both centred:
H = cov(x^, x^), C = cov(x^, x); the means are taken over *all* positions, borders included, so that
the bias correction is exact.

Where a rectifier follows, what happens far below zero is of no matter.  ``measure_active`` weights
the patches, for each output channel apart: 1 where the float output is positive, ``INACTIVE`` where
it is not (an error could still lift it over zero).  Each output channel then is a group of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import UnsupportedError
from tinyq.numerics import FloatArray
from tinyq.ops import Conv2D, Dense, DepthwiseConv2D, LinearOp
from tinyq.ops.windows import pad, shifted, window_shape, windows
from tinyq.tensors import Tensor

Float64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

#: rows of a block: the widest layers of common small models stay whole
BLOCK: Final = 640
#: weight of a patch whose output the rectifier sets to zero
INACTIVE: Final = 0.1
#: most channels * inputs^2 for which a Hessian a channel is worth its time
ACTIVE_LIMIT: Final = 2**20


@dataclass(frozen=True)
class Moments:
    """Moments of a layer's patches, in real units.

    Attributes:
        hessian, cross: second moments ``[B, k, k]``: of each group, or of each block of the one
            group that there is (see ``to_blocks``).
        mean_float, mean_quantized: ``[G, K]``.

    G is that of the operator, or its number of output channels where each has moments of its own.
    """

    hessian: Float64
    cross: Float64
    mean_float: Float64
    mean_quantized: Float64

    @property
    def groups(self) -> int:
        """G."""
        return len(self.mean_float)


def groups(op: LinearOp) -> int:
    """Number of independent maps G."""
    return op.weights.shape[0] // op.multiplier if isinstance(op, DepthwiseConv2D) else 1


def to_columns(values: Array, count: int) -> Float64:
    """Weights ``[O, ...]`` as float64 columns ``[G, K, M]``."""
    channels = values.shape[0]
    columns = values.reshape(count, channels // count, -1).swapaxes(1, 2)
    return np.ascontiguousarray(columns, np.float64)


def from_columns(columns: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of ``to_columns``."""
    return np.ascontiguousarray(columns.swapaxes(1, 2)).reshape(shape)


def to_blocks(values: Array) -> Array:
    """Rows in blocks: ``[1, K, M]`` as ``[B, k, M]``, k at most ``BLOCK``, padded with zeros.

    Several groups, and few rows, stay as they are.
    """
    count, rows, width = values.shape
    if count > 1 or rows <= BLOCK:
        return values
    blocks = -(-rows // BLOCK)
    size = -(-rows // blocks)
    padded = np.pad(values, ((0, 0), (0, blocks * size - rows), (0, 0)))
    return padded.reshape(blocks, size, width)


def from_blocks(values: Array, like: Array) -> Array:
    """The inverse of ``to_blocks``, for columns of the shape of ``like`` ``[G, K, M]``."""
    if values.shape == like.shape:
        return values
    return values.reshape(1, -1, values.shape[2])[:, : like.shape[1]]


def measure(
    op: LinearOp, x: FloatArray, codes: Array, tensor: Tensor, rows: int, rng: np.random.Generator
) -> Moments:
    """Moments of a layer's inputs.

    Args:
        op: the layer with float weights.
        x: its input in the float network, ``[N, *shape]``.
        codes: the same input in the integer network, described by ``tensor``.
        rows: most patches used for the covariances, chosen by ``rng`` over samples and positions.
    """
    sample = _sampler(op, x.shape, rows, rng)
    scale = float(np.ldexp(1.0, tensor.exponent))
    floats = _centred(sample(x))
    quantized = _centred(sample(codes)) * np.float32(scale)
    count = quantized.shape[1]
    left, right = (to_blocks(x.swapaxes(1, 2)) for x in (quantized, floats))
    return Moments(
        (left @ left.swapaxes(1, 2)).astype(np.float64) / count,
        (left @ right.swapaxes(1, 2)).astype(np.float64) / count,
        mean_patch(op, x),
        mean_patch(op, codes) * scale,
    )


def may_measure_active(op: LinearOp) -> bool:
    """True where a rectifier follows and ``measure_active`` is affordable."""
    inputs = int(np.prod(op.weights.shape[1:]))
    small = inputs <= BLOCK and op.weights.shape[0] * inputs**2 <= ACTIVE_LIMIT
    return small and getattr(op, "activation", "linear") != "linear"


def measure_active(
    op: LinearOp, x: FloatArray, codes: Array, tensor: Tensor, rows: int, rng: np.random.Generator
) -> Moments:
    """Moments of each output channel where the rectifier lets it pass; arguments of ``measure``."""
    sample = _sampler(op, x.shape, rows, rng)
    floats = np.asarray(sample(x), np.float32)
    quantized = sample(codes) * np.float32(np.ldexp(1.0, tensor.exponent))
    columns = to_columns(op.real, len(floats)).astype(np.float32)
    outputs = floats @ columns + op.bias.reshape(len(floats), 1, -1)
    weight = np.where(outputs > 0, np.float32(1), np.float32(INACTIVE))
    found = [_weighted(*each) for each in zip(floats, quantized, weight, strict=True)]
    return Moments(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _weighted(
    floats: Array, quantized: Array, weight: Array
) -> tuple[Float64, Float64, Float64, Float64]:
    """Moments ``[M, ...]`` of patches ``[R, K]`` under weights ``[R, M]``.

    Covariances are sums over weighted rows / R.
    """
    size = quantized.shape[1]
    both = np.concatenate([quantized, floats], 1)
    mean = both.mean(0, dtype=np.float64)
    both = (both - mean).astype(np.float32)
    mass = weight.mean(0, dtype=np.float64)
    shift = weight.T @ both / (len(weight) * mass[:, None])
    products = np.stack([(both[:, :size] * w[:, None]).T @ both for w in weight.T])
    moved = shift[:, :size, None] * shift[:, None] * mass[:, None, None]
    covariance = products / np.float64(len(weight)) - moved
    means = mean + shift
    return covariance[:, :, :size], covariance[:, :, size:], means[:, size:], means[:, :size]


def _centred(patches: Array) -> npt.NDArray[np.float32]:
    values = patches.astype(np.float32)
    return values - values.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)


def _sampler(
    op: LinearOp, shape: tuple[int, ...], rows: int, rng: np.random.Generator
) -> Callable[[Array], Array]:
    """A function from an input ``[N, *shape]`` to the same random patches ``[G, R, K]`` of it."""
    if isinstance(op, Dense):
        chosen = _choose(shape[0], rows, rng)
        return lambda x: x[chosen][None]
    if not isinstance(op, Conv2D | DepthwiseConv2D):
        raise UnsupportedError(f"{type(op).__name__} has no rule for calibration statistics")
    height, width = window_shape(shape[1:], op.kernel, op.strides, op.padding)
    chosen = _choose(shape[0] * height * width, rows, rng)
    where = np.unravel_index(chosen, (shape[0], height, width))

    def convolution(x: Array) -> Array:
        return windows(x, op.kernel, op.strides, op.padding)[where].reshape(1, len(chosen), -1)

    def depthwise(x: Array) -> Array:
        patches = windows(x, op.kernel, op.strides, op.padding)[where]
        return patches.reshape(len(chosen), -1, patches.shape[-1]).transpose(2, 0, 1)

    return convolution if isinstance(op, Conv2D) else depthwise


def _choose(total: int, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    if total <= rows:
        return np.arange(total)
    return np.sort(rng.choice(total, rows, replace=False))


def mean_patch(op: LinearOp, x: Array) -> Float64:
    """Mean of all patches of ``x``, float64 ``[G, K]``; exact for integer codes."""
    if not isinstance(op, Conv2D | DepthwiseConv2D):
        return x.mean(0, dtype=np.float64)[None]
    out = window_shape(x.shape[1:], op.kernel, op.strides, op.padding)
    # Summing over the samples first leaves one small image; the windows slide over that.
    image = pad(x.sum(0, dtype=np.float64)[None], op.padding)
    sums = [
        shifted(image, (ky, kx), out, op.strides).sum((0, 1, 2))
        for ky in range(op.kernel[0])
        for kx in range(op.kernel[1])
    ]
    means = np.stack(sums) / (len(x) * out[0] * out[1])
    return means.T if isinstance(op, DepthwiseConv2D) else means.reshape(1, -1)
