# SPDX-License-Identifier: Apache-2.0
"""Weight layouts of the kernels for the DSP extension: numbers in lanes of 16 bits, two a word.

Four activations are loaded as one word and extended to the lanes (0, 2) and (1, 3), which SXTB16
and UXTB16 do; weights are put into that order here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.request import Request
from tinyq.numerics import IntArray
from tinyq.ops import LinearOp
from tinyq.ops.clayer import CStruct, CTable

Lanes = npt.NDArray[np.int64]


def padded(values: npt.NDArray[Any], rows: int, columns: int, fill: int = 0) -> Lanes:
    """``values`` ``[R, K]`` with rows and columns added up to multiples of the given numbers."""
    missing = [(0, -size % unit) for size, unit in zip(values.shape, (rows, columns), strict=True)]
    return np.pad(values.astype(np.int64), missing, constant_values=fill)


def lane_pairs(values: Lanes) -> tuple[Lanes, Lanes]:
    """First and second lane, ``[R, K / 4, 2]`` each, of ``values`` ``[R, K]``, K divisible by 4."""
    groups = values.reshape(len(values), -1, 4)
    return groups[..., :2], groups[..., 2:]


def words(first: Lanes, second: Lanes) -> npt.NDArray[np.uint32]:
    """Words of a first and a second lane, each modulo 2**16."""
    joined: npt.NDArray[np.uint32] = ((first & 0xFFFF) | (second & 0xFFFF) << 16).astype(np.uint32)
    return joined


def half_unpacked(image: IntArray) -> npt.NDArray[np.uint32]:
    """Two channels a word, ``[O / 2, K / 4, 2]``: lanes 256 * w_b + w_a of ``image`` ``[O, K]``."""
    rows = padded(image, 2, 4)
    return words(*lane_pairs(256 * rows[1::2] + rows[0::2]))


def nibble_chains(image: IntArray) -> npt.NDArray[np.uint32]:
    """Four channels a word, ``[O / 4, K / 4, 2]``, of ``image`` ``[O, K]`` in -8..7.

    Lanes 4096 * w_3 + 256 * (w_2 + 8) + 16 * (w_1 + 8) + (w_0 + 8).
    """
    rows = padded(image, 4, 4)
    lower = (rows[2::4] + 8) * 256 + (rows[1::4] + 8) * 16 + rows[0::4] + 8
    return words(*lane_pairs(4096 * rows[3::4] + lower))


def blocks(rows: npt.NDArray[Any], size: int) -> Iterator[npt.NDArray[Any]]:
    """Rows ``[R, G, 2]`` one-dimensional in the order of their use.

    ``size`` rows together as long as there are so many, then row by row; within a block by group,
    lane pair, row.
    """
    whole = len(rows) // size * size
    for first in range(0, whole, size):
        yield rows[first : first + size].transpose(1, 2, 0).reshape(-1)
    yield from (row.reshape(-1) for row in rows[whole:])


def byte_requant(request: Request, op: LinearOp) -> tuple[CStruct, bool]:
    """The requantization with a shift for every channel, and whether blocks of eight can do it.

    They can with whole groups of four inputs and outputs that are full bytes: 0..255 with a folded
    rounding constant, or -128..127 in TFLite's rounding with shifts from 2 on.
    """
    plain = request.plain.fields["requant"]
    shifts = op.shifts(request.ins, request.out)
    full = {("TQ_ROUND_FOLDED", 0, 255), ("TQ_ROUND_TFLITE", -128, 127)}
    linear = plain["rounding"] == "TQ_ROUND_TFLITE"
    can = (plain["rounding"], plain["lo"], plain["hi"]) in full
    can = can and not (linear and shifts.min() < 2) and request.ins[0].size % 4 == 0
    if not can or request.out.size < 8:
        return plain, False
    return {**plain, "shift": CTable("shift", shifts.astype(np.uint8)), "shift_step": 1}, True


def nibble_images(weights: Weights) -> npt.NDArray[np.int8]:
    """The image of every code of a 4-bit encoding, int8 ``[16]``; code -1 is entry 15."""
    encoding = ENCODINGS[weights.encoding]
    if weights.table is not None:
        return weights.table
    if encoding.levels is not None:
        return np.array(encoding.levels, np.int8)
    return np.array([*range(8), *range(-8, 0)], np.int8)
