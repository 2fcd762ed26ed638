# SPDX-License-Identifier: Apache-2.0
"""What quantizers compute, as NumPy formulas in float64, and small tensors to try them on.

Scales are powers of two, so that x / 2**e and q * 2**e are exact in float32 as well; sums are exact
where their terms are multiples of a common power of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from hypothesis import strategies as st

from tinyq.quantizers.scales import MAX_SPREAD, SCALES

Array = npt.NDArray[Any]
BITS = (8, 4, 3, 2)
KINDS = ("random", "zero", "constant", "sparse", "spread")


def values(kind: str, shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Float32 numbers; "spread": channels that differ by up to 2**35."""
    x = rng.laplace(0, 0.1, shape)
    if kind == "zero":
        x = np.zeros(shape)
    elif kind == "constant":
        x = np.full(shape, rng.choice([0.3, -0.3, 1, 0.5, -0.0625]))
    elif kind == "sparse":
        x = np.where(rng.random(shape) < 0.8, 0, x)
    elif kind == "spread":
        x = x * 2.0 ** rng.integers(-30, 6, shape[-1])
    return x.astype(np.float32)


@dataclass(frozen=True)
class Kernel:
    """Weights to start from, what owns a scale, and what is quantized then.

    ``ties``: quantized are multiples of half a step instead of the weights themselves.
    """

    start: Array
    scale: str
    axes: tuple[int, ...]
    ties: bool
    seed: int

    def probe(self, exponent: Array, reach: int) -> Array:
        """Float32 values like ``start``; ties go half a step beyond codes of ``reach``."""
        if not self.ties:
            return self.start
        rng = np.random.default_rng(self.seed)
        halves = rng.integers(-2 * reach - 1, 2 * reach + 2, self.start.shape)
        return (halves / 2 * 2.0**exponent).astype(np.float32)

    def upstream(self) -> Array:
        """What comes back from the loss."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.normal(size=self.start.shape).astype(np.float32)


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    """Of two or four axes, down to one element; depthwise ones have four."""
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=2)) * draw(st.integers(1, 2))
    axes = draw(st.sampled_from([(-1,), (-2, -1)])) if len(shape) == 4 else (-1,)
    seed, kind = draw(st.integers(0, 2**16)), draw(st.sampled_from(KINDS))
    start = values(kind, shape, np.random.default_rng(seed))
    return Kernel(start, draw(st.sampled_from(SCALES)), axes, draw(st.booleans()), seed)


def built(quantizer: Any, w: Array) -> dict[str, Any]:
    """Variables, initialized from ``w``."""
    variables = quantizer.build(w.shape, "weight", tf_keras.layers.Layer())
    quantizer.initialize(w, variables)
    return variables


def backward(quantizer: Any, x: Array, variables: Any, upstream: Array, *of: Any) -> list[Array]:
    """The quantized values, then the gradients to x and to the variables ``of``."""
    source = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = quantizer(source, True, variables)
        loss = tf.reduce_sum(y * upstream)
    found = tape.gradient(loss, [source, *of])
    return [np.asarray(y), *(np.asarray(g) for g in found)]


def limited(exponent: Array) -> Array:
    """Exponents of one layer, the small ones raised."""
    return np.maximum(exponent, exponent.max() - MAX_SPREAD)


def rounded(x: Array) -> Array:
    """Half up."""
    return np.floor(x + 0.5)


def nearest(x: Array, levels: Sequence[float]) -> Array:
    """By distance; the smaller level at a tie."""
    table = np.unique(np.asarray(levels, np.float64))
    return table[np.argmin(np.abs(x[..., None] - table), -1)]


def mean_error(x: Array, step: Array, low: int, high: int, axes: Any) -> Array:
    """LLSQ's E: the mean of the squared errors with this step."""
    codes = np.clip(rounded(x / step), low, high)
    return ((codes * step - x) ** 2).mean(axes, keepdims=True)


def llsq_direction(x: Array, step: Array, low: int, high: int, axes: Any) -> Array:
    """-1 where the step grows, 0 where it stays, 1 where it shrinks."""
    below, here, above = (mean_error(x, step * f, low, high, axes) for f in (0.5, 1, 2))
    grows = (above <= here) & (above < below)
    stays = (here == 0) | ((here < below) & (above > here))
    return np.where(stays, 0, np.where(grows, -1, 1))
