# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers on cores with the DSP extension, any 4-bit encoding: a byte is two codes.

A byte is a position in a sequence in which every code is followed once by every code, so that the
images of both lie side by side in a table of 257 entries.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.lanes_dsp import blocks, lane_pairs, padded
from tinyq.kernels.request import Request
from tinyq.ops import Dense
from tinyq.ops.clayer import CLayer, CTable, type_suffix

CODES: Final = 16
BLOCK: Final = 8


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension and weights of 4 bits."""
    op = request.node.op
    if not request.core.dsp or not isinstance(op, Dense):
        return None
    if ENCODINGS[op.quantized.encoding].bits != 4:
        return None
    fields = {
        "codes": CTable("codes", pair_codes(op.quantized.codes)),
        "table": CTable("images", images(op.quantized)),
        "requant": request.plain.fields["requant"],
        "add": f"tq_add_dense_lut_{type_suffix(request.ins[0])}",
        "inputs": request.ins[0].size,
        "outputs": request.out.size,
        "is_signed": int(request.ins[0].signed),
    }
    return CLayer("dense_lut_dsp", fields, request.plain.detail)


def images(weights: Weights) -> npt.NDArray[np.int8]:
    """The image of every code, ``[16]``; code -1 is entry 15."""
    encoding = ENCODINGS[weights.encoding]
    if weights.table is not None:
        return weights.table
    if encoding.levels is not None:
        return np.array(encoding.levels, np.int8)
    return np.array([*range(8), *range(-8, 0)], np.int8)


def sequence() -> list[int]:
    """The 256 codes of the sequence: for every i: i, then i j for every j > i."""
    return [
        code
        for i in range(CODES)
        for code in (i, *(c for j in range(i + 1, CODES) for c in (i, j)))
    ]


def positions() -> npt.NDArray[np.uint8]:
    """Where in the sequence code a is followed by code b: ``[16, 16]``."""
    codes = np.array(sequence())
    table = np.zeros((CODES, CODES), np.uint8)
    table[codes, np.roll(codes, -1)] = np.arange(len(codes))
    return table


def pair_codes(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Bytes for codes ``[O, K]`` in the order of their use."""
    first, second = lane_pairs(padded(codes, 1, 4) & (CODES - 1))
    return np.concatenate(list(blocks(positions()[first, second], BLOCK)))
