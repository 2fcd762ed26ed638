# SPDX-License-Identifier: Apache-2.0
"""Choice of codes by least squares: GPTQ, then coordinate descent.

For columns w with patches x^ of covariance H the error of the codes' value v is
(w - v)' H (w - v).  GPTQ (Frantar et al., arXiv 2210.17323) fixes one row after another, in
decreasing diagonal of H, and moves what it rounded away into the rows to come by the Cholesky
factor of the inverse.  Coordinate descent then sets each row to the level nearest to
v_k + (H (w - v))_k / H_kk until nothing changes.  Columns do not influence each other, so a column
that plain rounding serves better keeps plain rounding.

H is damped by 0.01 of its mean diagonal first; all objectives are those of the damped H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tinyq.ptq.statistics import Float64

DAMPING: Final = 0.01
#: Pulls the corrected target towards the float weights.  Where codes are fine the correction mostly
#: follows the noise of the calibration data: on data of another kind it doubles the error.
TARGET_DAMPING: Final = 0.1
FINE_TARGET_DAMPING: Final = 3.0
DESCENT_PASSES: Final = 4
#: Keeps all-constant inputs (H = 0) invertible.
_TINY: Final = 1e-12


@dataclass(frozen=True)
class Grid:
    """Values that weights can take: ``level * 2**exponent``.

    Attributes:
        levels: sorted integers, float64 ``[L]``, 0 among them.
        exponents: int64 ``[G, M]``, one a column.
    """

    levels: Float64
    exponents: np.ndarray[tuple[int, ...], np.dtype[np.int64]]

    @property
    def steps(self) -> Float64:
        """2**exponent, ``[G, M]``."""
        return np.ldexp(1.0, self.exponents)

    def nearest(self, values: Float64) -> Float64:
        """The grid value nearest to each of ``values`` ``[G, K, M]``."""
        steps = self.steps[:, None, :]
        return nearest_level(values / steps, self.levels) * steps

    def image(self, values: Float64) -> Float64:
        """Integer levels of grid values ``[G, K, M]``."""
        return values / self.steps[:, None, :]


def nearest_level(values: Float64, levels: Float64) -> Float64:
    """The nearest of the sorted ``levels`` for each value; ties go down."""
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]


def damped(hessian: Float64, amount: float = DAMPING) -> Float64:
    """H + amount * mean(diag H) * I for each group of ``[G, K, K]``."""
    size = hessian.shape[-1]
    mean: Float64 = np.trace(hessian, axis1=1, axis2=2) / size
    result: Float64 = hessian + np.eye(size) * (amount * mean + _TINY)[:, None, None]
    return result


def corrected_target(
    columns: Float64, hessian: Float64, cross: Float64, damping: float = TARGET_DAMPING
) -> Float64:
    """Columns that make of the quantized input what W makes of the float input.

    W' = (H + d I)^-1 (C + d I) W with d = damping * tr(H) / K: ridge regression towards W.
    """
    size = hessian.shape[-1]
    ridge = damped(hessian, damping)
    pull = (ridge - hessian)[:, np.arange(size), np.arange(size)]
    target = np.linalg.solve(ridge, cross @ columns + pull[:, :, None] * columns)
    return np.asarray(target, np.float64)


def column_errors(columns: Float64, values: Float64, hessian: Float64) -> Float64:
    """(w - v)' H (w - v) of every column, ``[G, M]``."""
    rest = columns - values
    return np.einsum("gkm,gkm->gm", rest, hessian @ rest)


def choose_codes(columns: Float64, hessian: Float64, grid: Grid) -> Float64:
    """Grid values ``[G, K, M]`` near the least error for ``columns`` under a damped H."""
    rounded = grid.nearest(columns)
    chosen = descend(columns, gptq(columns, hessian, grid), hessian, grid)
    better = column_errors(columns, chosen, hessian) <= column_errors(columns, rounded, hessian)
    return np.where(better[:, None, :], chosen, rounded)


def gptq(columns: Float64, hessian: Float64, grid: Grid) -> Float64:
    """One sweep of GPTQ; see the module's docstring."""
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1, kind="stable")
    sorted_h = np.take_along_axis(hessian, order[:, :, None], 1)
    sorted_h = np.take_along_axis(sorted_h, order[:, None, :], 2)
    upper = np.linalg.cholesky(np.linalg.inv(sorted_h)).swapaxes(1, 2)
    rest = np.take_along_axis(columns, order[:, :, None], 1)
    values = np.empty_like(rest)
    steps = grid.steps
    for k in range(rest.shape[1]):
        values[:, k] = nearest_level(rest[:, k] / steps, grid.levels) * steps
        error = (rest[:, k] - values[:, k]) / upper[:, k, k, None]
        rest[:, k + 1 :] -= upper[:, k, k + 1 :, None] * error[:, None, :]
    result = np.empty_like(values)
    np.put_along_axis(result, order[:, :, None], values, 1)
    return result


def descend(columns: Float64, values: Float64, hessian: Float64, grid: Grid) -> Float64:
    """At most ``DESCENT_PASSES`` passes of coordinate descent from ``values``."""
    values, steps = values.copy(), grid.steps
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    gradient = hessian @ (columns - values)
    for _ in range(DESCENT_PASSES):
        changed = False
        for k in range(values.shape[1]):
            wanted = values[:, k] + gradient[:, k] / diagonal[:, k, None]
            best = nearest_level(wanted / steps, grid.levels) * steps
            move = best - values[:, k]
            if move.any():
                gradient -= hessian[:, :, k, None] * move[:, None, :]
                values[:, k] = best
                changed = True
        if not changed:
            break
    return values
