# SPDX-License-Identifier: Apache-2.0
"""Levels and exponents of a layer: what its weights may be, before codes are chosen.

Encodings with known levels (uniform, powers of two, anything that ``encodings.fixed_levels`` knows)
choose the exponent: the smallest that holds the largest weight, or one near it with less error.
Table encodings also learn the table: one-dimensional k-means of w / 2**e, weighted with the
diagonal of H, zero pinned, rounded to integers, duplicates merged.  The source of the idea of a
table of int8 entries is Vandersteegen et al. (Electronics 10(22):2823); the rule that learns it is
ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import Encoding, fixed_levels
from tinyq.numerics import ceil_log2
from tinyq.ptq.codes import Grid, nearest_level
from tinyq.ptq.statistics import Float64

Int64 = npt.NDArray[np.int64]

#: A dead channel's exponent may lie this far below the layer's largest, not further.
MAX_SPREAD: Final = 16
TABLE_LIMIT: Final = 127
_ALTERNATIONS: Final = 4
_KMEANS_STEPS: Final = 25


@dataclass(frozen=True)
class ExponentBounds:
    """Limits of a layer's weight exponents: ``low`` int64 ``[G, M]``, ``high`` one number."""

    low: Int64
    high: int

    def clip(self, exponents: Int64, per_channel: bool) -> Int64:
        """Exponents within the limits and at most ``MAX_SPREAD`` below the largest."""
        low = np.maximum(self.low, min(int(exponents.max()), self.high) - MAX_SPREAD)
        if not per_channel:
            low = np.full_like(low, self.low.max())
        return np.minimum(np.maximum(exponents, low), self.high)


def covering_exponents(columns: Float64, largest: int, per_channel: bool) -> Int64:
    """Smallest exponents ``[G, M]`` with max|w| <= largest * 2**e; zero columns take the top."""
    reach = np.abs(columns).max(1)
    top = reach.max()
    if top == 0:
        return np.zeros(reach.shape, np.int64)
    if not per_channel:
        reach = np.full_like(reach, top)
    return ceil_log2(np.where(reach > 0, reach, top) / largest)


def fit_grid(
    columns: Float64,
    importance: Float64,
    encoding: Encoding,
    bounds: ExponentBounds,
    per_channel: bool,
) -> Grid:
    """Levels and exponents for the columns ``[G, K, M]``.

    Args:
        importance: weight of the squared error of each row, ``[G, K]``: the diagonal of H.
    """
    levels = fixed_levels(encoding)
    if levels is None:
        return _fit_table(columns, importance, encoding, bounds, per_channel)
    return _fit_exponents(columns, importance, encoding, levels, bounds, per_channel)


def _offsets(encoding: Encoding) -> Sequence[int]:
    """Exponents to try, relative to the covering one, the favourite first."""
    if encoding.is_uniform:
        return (0,) if encoding.bits == 8 else (0, -1, -2, -3)
    return (0, 1, -1, -2)


def _rounding_errors(columns: Float64, importance: Float64, grid: Grid) -> Float64:
    """Weighted squared error of plain rounding, a column: ``[G, M]``."""
    return np.einsum("gk,gkm->gm", importance, (grid.nearest(columns) - columns) ** 2)


def _fit_exponents(
    columns: Float64,
    importance: Float64,
    encoding: Encoding,
    levels: Int64,
    bounds: ExponentBounds,
    per_channel: bool,
) -> Grid:
    base = covering_exponents(columns, int(levels[-1]), per_channel)
    grids = [
        Grid(levels.astype(np.float64), bounds.clip(base + offset, per_channel))
        for offset in _offsets(encoding)
    ]
    errors = np.stack([_rounding_errors(columns, importance, grid) for grid in grids])
    if not per_channel:
        errors = np.broadcast_to(errors.sum((1, 2), keepdims=True), errors.shape)
    return Grid(grids[0].levels, _pick([g.exponents for g in grids], errors))


def _pick(candidates: Sequence[Int64], errors: Float64) -> Int64:
    """The candidate of least error, column by column."""
    best = errors.argmin(0)
    return np.take_along_axis(np.stack(candidates), best[None], 0)[0]


def _fit_table(
    columns: Float64,
    importance: Float64,
    encoding: Encoding,
    bounds: ExponentBounds,
    per_channel: bool,
) -> Grid:
    """Alternate between the table and the exponents; the best pair wins."""
    base = covering_exponents(columns, TABLE_LIMIT, per_channel)
    exponents = bounds.clip(base, per_channel)
    best: tuple[float, Grid] | None = None
    for _ in range(_ALTERNATIONS if per_channel else 1):
        steps = np.ldexp(1.0, exponents)[:, None, :]
        weight = np.broadcast_to(importance[:, :, None] * steps**2, columns.shape)
        table = fit_levels((columns / steps).ravel(), weight.ravel(), encoding.table_entries)
        grid = Grid(table, exponents)
        error = float(_rounding_errors(columns, importance, grid).sum())
        if best is None or error < best[0]:
            best = error, grid
        near = [grid, *(Grid(table, bounds.clip(exponents + d, per_channel)) for d in (-1, 1))]
        errors = np.stack([_rounding_errors(columns, importance, g) for g in near])
        exponents = _pick([g.exponents for g in near], errors)
    assert best is not None
    return best[1]


def fit_levels(values: Float64, weight: Float64, count: int) -> Float64:
    """At most ``count`` integers in [-127, 127], 0 among them, near the values.

    Weighted k-means in one dimension from three starts: equal mass, equal distance, their mean.
    """
    order = np.argsort(values, kind="stable")
    data = _SortedData(values[order], weight[order] + 1e-30)
    by_mass = np.interp(
        (np.arange(count) + 0.5) / count * data.mass[-1], data.mass[1:], data.values
    )
    by_range = np.linspace(data.values[0], data.values[-1], count)
    starts = (by_mass, by_range, (by_mass + by_range) / 2)
    tables = [round_levels(_kmeans(data, start)) for start in starts]
    return min(tables, key=data.error)


def round_levels(levels: Float64) -> Float64:
    """Sorted distinct integers in [-127, 127] near the levels."""
    return np.unique(np.clip(np.rint(levels), -TABLE_LIMIT, TABLE_LIMIT) + 0.0)


class _SortedData:
    """Sorted values with weights; sums over intervals are differences of cumulative sums."""

    def __init__(self, values: Float64, weight: Float64) -> None:
        self.values, self.weight = values, weight
        self.mass = np.concatenate([[0.0], np.cumsum(weight)])
        self.moment = np.concatenate([[0.0], np.cumsum(weight * values)])

    def error(self, levels: Float64) -> float:
        """Weighted squared distance to the nearest level."""
        return float((self.weight * (self.values - nearest_level(self.values, levels)) ** 2).sum())

    def means(self, levels: Float64) -> Float64:
        """Weighted mean of the values nearest to each level; an empty cell keeps its level."""
        cuts = np.searchsorted(self.values, (levels[1:] + levels[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [len(self.values)]])
        mass = np.diff(self.mass[edges])
        return np.where(mass > 0, np.diff(self.moment[edges]) / np.maximum(mass, 1e-30), levels)


def _kmeans(data: _SortedData, start: Float64) -> Float64:
    """Lloyd's iteration with the entry nearest to zero pinned there."""
    levels = np.sort(start)
    levels[np.argmin(np.abs(levels))] = 0
    for _ in range(_KMEANS_STEPS):
        moved = data.means(levels)
        moved[np.argmin(np.abs(levels))] = 0
        moved = np.sort(moved)
        if np.abs(moved - levels).max() < 1e-3:
            return moved
        levels = moved
    return levels


def refit_levels(columns: Float64, values: Float64, hessian: Float64, grid: Grid) -> Float64:
    """The table of least error for the codes as they are: least squares, then rounding.

    With B_i the columns' steps where code i is used, minimize |W - sum_i t_i B_i| under H over all
    t_i but the zero entry, pulled slightly to the present table.
    """
    steps = grid.steps[:, None, :]
    index = np.searchsorted(grid.levels, np.rint(grid.image(values)))
    free = np.flatnonzero(grid.levels)
    if not len(free):
        return round_levels(grid.levels)
    bases = [np.where(index == i, steps, 0.0) for i in free]
    projected = [hessian @ basis for basis in bases]
    normal = np.array([[float((p * b).sum()) for b in bases] for p in projected])
    wanted = np.array([float((p * columns).sum()) for p in projected])
    pull = 1e-3 * np.trace(normal) / len(free) + 1e-30
    table = grid.levels.copy()
    solved = np.linalg.solve(normal + pull * np.eye(len(free)), wanted + pull * table[free])
    table[free] = solved
    return round_levels(table)
