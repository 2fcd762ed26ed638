# SPDX-License-Identifier: Apache-2.0
"""Float weights rounded to the nearest level: on the file's grid, an ideal one, or another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tinyq.encodings import ENCODINGS, Weights, fixed_levels
from tinyq.ops import LinearOp
from tinyq.ptq.codes import nearest_level
from tinyq.ptq.grids import ExponentBounds, fit_grid
from tinyq.ptq.statistics import from_columns, groups, to_columns
from tinyq.waterfall.pairing import Float64

#: ideal scales are sought at these multiples of the file's, an eighth of an octave apart
FACTORS: Final = 2.0 ** (np.arange(-12, 13) / 8)
#: no weight exponent is this low
_LOWEST: Final = -64


@dataclass(frozen=True)
class Storage:
    """How a layer's weights could be stored."""

    encoding: str
    per_channel: bool

    def bytes(self, shape: tuple[int, ...]) -> int:
        """Codes, table and exponents of weights ``[O, ...]``."""
        form, rows = ENCODINGS[self.encoding], shape[0]
        taps = int(np.prod(shape[1:]))
        exponents = rows if self.per_channel else 1
        return rows * -(-taps * form.bits // 8) + form.table_entries + exponents

    def __str__(self) -> str:
        return f"{self.encoding} per {'channel' if self.per_channel else 'tensor'}"


def storage_of(weights: Weights) -> Storage:
    """How a layer is stored."""
    return Storage(weights.encoding, len(weights.exponents) > 1)


def levels(weights: Weights) -> Float64:
    """Sorted levels of a layer."""
    fixed = fixed_levels(ENCODINGS[weights.encoding])
    known = weights.table if fixed is None else fixed
    return np.unique(np.asarray(known)).astype(np.float64)


def on_grid(values: Float64, weights: Weights) -> Float64:
    """``values`` ``[O, ...]`` at the nearest of level * 2**e with the file's exponents e."""
    steps = _spread(np.ldexp(1.0, weights.exponents_per_channel()), values)
    return nearest_level(values / steps, levels(weights)) * steps


def on_ideal_grid(values: Float64, weights: Weights) -> Float64:
    """``values`` at the nearest of level * s, with real scales s of the least squared error.

    As many scales as the file has exponents: one per tensor, or one per output channel.
    """
    steps = _spread(np.ldexp(1.0, weights.exponents_per_channel()), values)
    table = levels(weights)
    tries = np.stack([nearest_level(values / (steps * f), table) * (steps * f) for f in FACTORS])
    errors = ((tries - values) ** 2).reshape(len(FACTORS), len(values), -1).sum(2)
    if len(weights.exponents) == 1:
        errors = np.broadcast_to(errors.sum(1, keepdims=True), errors.shape)
    return tries[errors.argmin(0), np.arange(len(values))]


def stored_otherwise(op: LinearOp, values: Float64, storage: Storage, highest: int) -> Float64:
    """``values`` at the nearest level of another storage, fitted by squared error.

    Args:
        op: the layer; tells how its weights are columns.
        highest: largest weight exponent that the requantization shift admits.
    """
    columns = to_columns(values, groups(replace(op, weights=values)))
    low = np.full((columns.shape[0], columns.shape[2]), _LOWEST, np.int64)
    grid = fit_grid(
        columns,
        np.ones(columns.shape[:2]),
        ENCODINGS[storage.encoding],
        ExponentBounds(low, highest),
        storage.per_channel,
    )
    fitted: Float64 = from_columns(grid.nearest(columns), values.shape)
    return fitted


def _spread(per_channel: Float64, values: Float64) -> Float64:
    return per_channel.reshape((-1,) + (1,) * (values.ndim - 1))
