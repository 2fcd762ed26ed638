# SPDX-License-Identifier: Apache-2.0
"""One weighted layer: from moments of its inputs to integer weights and an integer bias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import Encoding, Weights, encode_image
from tinyq.numerics import IntArray
from tinyq.ops import LinearOp
from tinyq.ptq.codes import (
    FINE_TARGET_DAMPING,
    TARGET_DAMPING,
    Grid,
    choose_codes,
    column_errors,
    corrected_target,
    damped,
)
from tinyq.ptq.grids import ExponentBounds, fit_grid, refit_levels
from tinyq.ptq.statistics import (
    Float64,
    Moments,
    from_blocks,
    from_columns,
    to_blocks,
    to_columns,
)

#: A bias stays below 2**28 units of the accumulator (dead channels have tiny weights).
BIAS_BITS: Final = 28
_REFITS: Final = 2


@dataclass(frozen=True)
class Problem:
    """A layer's weights as a least-squares problem on a grid that is still to be chosen.

    Attributes:
        columns: float weights ``[G, K, M]``.
        target: the columns that the codes shall imitate, in blocks ``[B, k, M]``.
        hessian: damped, ``[B, k, k]``.
        importance: diagonal of the undamped H, never 0, ``[G, K]``.
    """

    columns: Float64
    target: Float64
    hessian: Float64
    importance: Float64
    encoding: Encoding
    bounds: ExponentBounds
    per_channel: bool

    def grid(self) -> Grid:
        """Levels and exponents for the target."""
        target = from_blocks(self.target, self.columns)
        return fit_grid(target, self.importance, self.encoding, self.bounds, self.per_channel)


def is_coarse(encoding: Encoding) -> bool:
    """True for encodings of few levels, or of fixed ones below 8 bits.

    They pay for the more laborious statistics and for scales; a table of 16 entries that were
    learned from the weights leaves little to win.
    """
    return encoding.bits < 4 or (encoding.bits < 8 and not encoding.uses_table)


def pose(
    op: LinearOp,
    moments: Moments,
    encoding: Encoding,
    bounds: ExponentBounds,
    per_channel: bool,
) -> Problem:
    """The least-squares problem of a layer."""
    columns = to_columns(op.real, moments.groups)
    damping = FINE_TARGET_DAMPING if encoding.bits == 8 else TARGET_DAMPING
    target = corrected_target(to_blocks(columns), moments.hessian, moments.cross, damping)
    diagonal = np.maximum(np.diagonal(moments.hessian, axis1=1, axis2=2), 0)
    importance = from_blocks(diagonal[:, :, None], columns)[:, :, 0]
    importance = importance + 1e-3 * importance.mean() + 1e-20
    hessian = damped(moments.hessian)
    return Problem(columns, target, hessian, importance, encoding, bounds, per_channel)


def quantize_weights(problem: Problem, shape: tuple[int, ...]) -> Weights:
    """Weights ``shape`` of the least squared error of the layer's output on calibration data."""
    encoding, grid = problem.encoding, problem.grid()
    target, hessian = problem.target, problem.hessian
    values = choose_codes(target, hessian, grid)
    if encoding.uses_table:
        grid, values = _refit(target, hessian, grid, values)
    return _encode(from_blocks(values, problem.columns), grid, encoding, shape)


def _refit(target: Float64, hessian: Float64, grid: Grid, values: Float64) -> tuple[Grid, Float64]:
    """Table for the codes, codes for the table, while the error falls."""
    error = column_errors(target, values, hessian).sum()
    for _ in range(_REFITS):
        refitted = replace(grid, levels=refit_levels(target, values, hessian, grid))
        candidate = choose_codes(target, hessian, refitted)
        found = column_errors(target, candidate, hessian).sum()
        if found >= error:
            break
        grid, values, error = refitted, candidate, found
    return grid, values


def _encode(values: Float64, grid: Grid, encoding: Encoding, shape: tuple[int, ...]) -> Weights:
    image = from_columns(np.rint(grid.image(values)).astype(np.int64), shape)
    exponents = grid.exponents.reshape(-1)
    if (exponents == exponents[0]).all():
        exponents = exponents[:1]
    table = grid.levels.astype(np.int64) if encoding.uses_table else None
    return encode_image(image, encoding, exponents, table)


def integer_bias(
    op: LinearOp, weights: Weights, moments: Moments, exponent: int
) -> npt.NDArray[np.int32]:
    """Bias that makes the mean of the layer's quantized output the mean of its float output.

    b = W mean(x) + b_float - W^ mean(x^), rounded to units of 2**(e_x + e_w).

    Args:
        exponent: of the input tensor, e_x.
    """
    count = moments.groups
    wanted = _mean_output(to_columns(op.real, count), moments.mean_float) + op.bias
    given = _mean_output(to_columns(weights.real(), count), moments.mean_quantized)
    units = np.ldexp(wanted - given, -(exponent + weights.exponents_per_channel()))
    limit = 2 ** (BIAS_BITS + 1)
    return np.clip(np.rint(units), -limit, limit).astype(np.int32)


def _mean_output(columns: Float64, mean: Float64) -> Float64:
    """sum_k mean[g, k] * columns[g, k, m], as ``[O]``."""
    return np.einsum("gk,gkm->gm", mean, columns).reshape(-1)


def least_bias_exponents(bias: npt.NDArray[np.floating[npt.NBitBase]], exponent: int) -> IntArray:
    """Smallest weight exponents ``[O]`` with |bias| <= 2**28 units, for input exponent e_x."""
    magnitude = np.abs(bias.astype(np.float64))
    mantissa, power = np.frexp(magnitude)
    needed = np.where(mantissa == 0.5, power - 1, power) - BIAS_BITS - exponent
    return np.where(magnitude > 0, needed, -(2**15)).astype(np.int64)
