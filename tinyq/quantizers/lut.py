# SPDX-License-Identifier: Apache-2.0
"""Table weights: q = the entry of a table of 2**bits int8 values nearest to w / 2**e.

After Vandersteegen et al., *Integer-Only CNNs with 4 Bit Weights and Bit-Shift Quantization Scales
at Full-Precision Accuracy* (Electronics 10(22), 2021).  One entry is pinned to zero.  The paper
does not say how its tables are learned; our choices, ``learning``:

    gradient       weighted 1-D k-means first, then the gradient of each entry's members, entries
                   rounded and clipped to +-127 in the forward pass
    recluster      k-means first and again before every further epoch
    fixed:nf4      quantiles of a normal distribution as in NF4 (Dettmers et al., *QLoRA*,
                   arXiv 2305.14314), rounded to int8
    fixed:laplace  the same of a Laplace distribution

Fixed tables are fitted in size only: their largest entry, 64..127, is the one with the least
squared error (a table can be any multiple of a shape, a power of two cannot).

Gradient to w: 1 everywhere.  The exponent is fixed from the start (max|w| lies within 127 codes, or
up to two powers of two below that by the squared error): the table does the learning.
``learn_exponents`` trains it nevertheless, e = ceil(theta) as in TQT: dw^/dtheta = 2**e * ln 2 *
(q - w / 2**e between the outer entries, q beyond them).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.errors import InputError
from tinyq.quantizers import scales
from tinyq.quantizers.base import IntArray, Variables, WeightQuantizer, bounded_spread
from tinyq.quantizers.functions import (
    Tensor,
    ceil_through,
    exp2,
    nearest_entry,
    round_half_up,
    scale_clipped,
)
from tinyq.quantizers.spec import TABLE_LEARNING

FloatArray = npt.NDArray[np.float64]
#: the table's position that always holds zero
ZERO_ENTRY = 0
LARGEST = 127
LLOYD_ITERATIONS = 40
#: of fitting exponents and tables in turn
ALTERNATIONS = 3


@tf_keras.utils.register_keras_serializable("tinyq")
class Lut(WeightQuantizer):
    """Indices of 4, 3 or 2 bits into a table of int8 entries; see the module for ``learning``."""

    groups = {"table": "table", "exponent": "scale"}  # noqa: RUF012

    def __init__(
        self,
        bits: int = 4,
        scale: str = "per_channel",
        channel_axes: Sequence[int] = (-1,),
        learning: str = "gradient",
        learn_exponents: bool = False,
    ) -> None:
        super().__init__(scale, channel_axes)
        if bits not in (4, 3, 2):
            raise InputError(f"table weights have 4, 3 or 2 bits, not {bits}")
        scales.check_choice("table_learning", learning, TABLE_LEARNING)
        self.bits = bits
        self.learning = learning
        self.learn_exponents = learn_exponents

    @property
    def encoding(self) -> str:
        return f"lut{self.bits}"

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        shape = scales.scale_shape(list(tensor_shape), self.scale_axes)

        def add(key: str, size: list[int], trainable: bool) -> Any:
            return layer.add_weight(
                name=f"{name}_{key}", shape=size, initializer="zeros", trainable=trainable
            )

        return {
            "table": add("table", [2**self.bits], self.learning == "gradient"),
            "exponent": add("exponent", shape, self.learn_exponents),
        }

    def exponent(self, weights: Variables) -> Tensor:
        return bounded_spread(ceil_through(weights["exponent"]))

    def entries(self, weights: Variables) -> Tensor:
        """The table as it is used: integers in -127..127, entry ``ZERO_ENTRY`` zero."""
        free = tf.cast(tf.not_equal(tf.range(2**self.bits), ZERO_ENTRY), tf.float32)
        return tf.clip_by_value(round_half_up(weights["table"]), -LARGEST, LARGEST) * free

    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        table = self.entries(weights)
        if not self.learn_exponents:
            return nearest_entry(inputs / exp2(exponent), table)
        low, high = tf.reduce_min(table), tf.reduce_max(table)
        return nearest_entry(scale_clipped(inputs, exponent, low, high), table)

    def table(self, weights: Variables) -> IntArray:
        return np.unique(self.entries(weights).numpy()).astype(np.int64)

    def initialize(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        cols = scales.columns(values, self.scale_axes)
        if self.learning in DISTRIBUTIONS:
            levels = quantile_levels(2**self.bits, DISTRIBUTIONS[self.learning])
            table, exponents = fit_size(cols, levels)
        else:
            table, exponents = fit_table(cols, 2**self.bits)
        weights["table"].assign(table)
        theta = scales.theta_of_exponent(exponents, 0, self.learn_exponents)
        weights["exponent"].assign(theta.reshape(weights["exponent"].shape))

    def adopt(
        self,
        exponents: npt.NDArray[np.float64],
        table: npt.NDArray[np.int8] | None,
        weights: Variables,
    ) -> bool:
        theta = scales.theta_of_exponent(exponents, 0, self.learn_exponents)
        if table is None or not scales.assign_per_channel(weights["exponent"], theta):
            return False
        weights["table"].assign(_zero_first(table.astype(np.float64), 2**self.bits))
        return True

    def refresh(self, values: npt.NDArray[np.float32], weights: Variables) -> None:
        """Cluster again (``recluster`` only)."""
        if self.learning == "recluster":
            cols = scales.columns(values, self.scale_axes)
            exponents = self.exponent(weights).numpy().ravel().astype(np.float64)
            weights["table"].assign(_fit(cols, exponents, 2**self.bits))

    def get_config(self) -> dict[str, Any]:
        own = {"learning": self.learning, "learn_exponents": self.learn_exponents}
        return {**super().get_config(), "bits": self.bits, **own}


def laplace_quantile(p: float) -> float:
    """Inverse distribution function of Laplace(0, 1)."""
    return float(np.sign(p - 0.5) * -np.log1p(-2 * abs(p - 0.5)))


DISTRIBUTIONS: Final[Mapping[str, Callable[[float], float]]] = {
    "fixed:nf4": statistics.NormalDist().inv_cdf,
    "fixed:laplace": laplace_quantile,
}


def quantile_levels(size: int, quantile: Callable[[float], float]) -> FloatArray:
    """NF4's construction for any size and distribution: sorted ``[size]`` in [-1, 1] with a zero.

    size/2 - 1 negative and size/2 positive levels at evenly spaced probabilities up to the mean
    of 1 - 1/(2 size) and 1 - 1/(2 (size - 1)), divided by the largest.
    """
    end = 1 - (1 / (2 * size) + 1 / (2 * (size - 1))) / 2
    negative = [-quantile(p) for p in np.linspace(end, 0.5, size // 2)[:-1]]
    positive = [quantile(p) for p in np.linspace(end, 0.5, size // 2 + 1)[:-1]]
    return np.sort(np.array([*negative, 0.0, *positive])) / quantile(float(end))


def fit_size(cols: FloatArray, levels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The multiple of ``levels`` as a table of integers with zero first, and exponents ``[C]``.

    Largest entries from 127 down to 64 in eighths of an octave; to each the best exponents.
    """
    found = []
    for step in range(8):
        table = np.floor(LARGEST * 2.0 ** (-step / 8) * levels + 0.5)
        codes = _codes(table)
        exponents = scales.best_exponents(cols, table.max(), codes, range(0, -3, -1))
        exponents = np.maximum(exponents, exponents.max() - scales.MAX_SPREAD)
        found.append((_zero_first(table, len(levels)), exponents))
    return _least(cols, found)


def _codes(table: FloatArray) -> Callable[[FloatArray], FloatArray]:
    return lambda x: nearest(x, table)


def fit_table(cols: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """A table ``[size]`` of integers with zero first, and exponents ``[C]``, for ``cols [K, C]``.

    Starts from the covering exponents and those one and two below (which clip), of all columns
    together and of each; from each start, exponents and tables are fitted in turn; the least
    squared error is kept, so exponents of their own never end above a common one.
    """
    start = scales.covering_exponents(cols, LARGEST)
    starts = [start + step for step in (0, -1, -2)]
    if len(start) > 1:
        starts += [np.full_like(start, start.max() + step) for step in (0, -1, -2)]
    return _least(cols, [_refined(cols, exponents, size) for exponents in starts])


def _least(
    cols: FloatArray, candidates: Sequence[tuple[FloatArray, FloatArray]]
) -> tuple[FloatArray, FloatArray]:
    """The table and exponents with the least squared error; the first at a tie."""
    errors = [_table_error(cols, *candidate) for candidate in candidates]
    return candidates[int(np.argmin(errors))]


def _refined(cols: FloatArray, exponents: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """A table for the exponents, or better exponents and their table."""
    found = [(_fit(cols, exponents, size), exponents)]
    for _ in range(ALTERNATIONS if cols.shape[1] > 1 else 0):
        table, exponents = found[-1]
        chosen = _neighbours(cols, exponents, _codes(table))
        if np.array_equal(chosen, exponents):
            break
        found.append((_fit(cols, chosen, size), chosen))
    return _least(cols, found)


def _neighbours(
    cols: FloatArray, exponents: FloatArray, codes: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Per column the best of its exponent and the two beside it."""
    trials = [exponents + step for step in (0, 1, -1)]
    errors = [scales.squared_error(cols, e, codes) for e in trials]
    chosen = np.choose(np.argmin(errors, axis=0), trials)
    return np.maximum(chosen, chosen.max() - scales.MAX_SPREAD)


def _fit(cols: FloatArray, exponents: FloatArray, size: int) -> FloatArray:
    scale = 2.0**exponents
    weight = np.broadcast_to(scale**2 / (scale**2).max(), cols.shape)
    centres = kmeans_with_zero((cols / scale).ravel(), weight.ravel(), size)
    rounded = np.clip(np.floor(centres + 0.5), -LARGEST, LARGEST)
    return _zero_first(rounded, size)


def _zero_first(centres: FloatArray, size: int) -> FloatArray:
    """Distinct nonzero entries after one zero, padded with zeros to ``size``."""
    distinct = np.unique(centres[centres != 0])
    return np.pad(np.concatenate([[0.0], distinct]), (0, size - 1 - len(distinct)))


def _table_error(cols: FloatArray, table: FloatArray, exponents: FloatArray) -> float:
    return float(scales.squared_error(cols, exponents, lambda x: nearest(x, table)).sum())


def nearest(x: FloatArray, table: FloatArray) -> FloatArray:
    """The entry nearest to each x, the smaller one at a tie; NumPy twin of ``nearest_entry``."""
    levels = np.sort(table)
    return levels[np.searchsorted((levels[:-1] + levels[1:]) / 2, x)]


def kmeans_with_zero(x: FloatArray, weight: FloatArray, size: int) -> FloatArray:
    """Weighted 1-D k-means with one centre held at zero; sorted ``[size]``.

    Lloyd iterations end in local minima, so they start from quantiles, from a uniform grid and
    from the two mixed half and half; the least squared error wins.
    """
    order = np.argsort(x)
    x, weight = x[order], weight[order]
    grid = np.linspace(x[0], x[-1], size)
    quantiles = np.quantile(x, (np.arange(size) + 0.5) / size)
    starts = (quantiles, grid, (grid + quantiles) / 2)
    found = [_lloyd(x, weight, start) for start in starts]
    errors = [float((weight * (nearest(x, centres) - x) ** 2).sum()) for centres in found]
    return found[int(np.argmin(errors))]


def _lloyd(x: FloatArray, weight: FloatArray, start: FloatArray) -> FloatArray:
    """Lloyd iterations over sorted ``x``: sums of clusters are differences of running sums."""
    mass = np.concatenate([[0.0], np.cumsum(weight)])
    moment = np.concatenate([[0.0], np.cumsum(weight * x)])
    centres = _with_zero(start)
    for _ in range(LLOYD_ITERATIONS):
        cuts = np.searchsorted(x, (centres[1:] + centres[:-1]) / 2, side="right")
        bounds = np.concatenate([[0], cuts, [len(x)]])
        total, sums = np.diff(mass[bounds]), np.diff(moment[bounds])
        moved = np.where(total > 0, sums / np.maximum(total, 1e-300), centres)
        moved[np.argmin(np.abs(centres))] = 0.0
        moved = np.sort(moved)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _with_zero(centres: FloatArray) -> FloatArray:
    """The centres sorted, the one nearest to zero moved there."""
    moved = np.sort(centres)
    moved[np.argmin(np.abs(moved))] = 0.0
    return moved
