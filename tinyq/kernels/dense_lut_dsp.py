# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers on cores with the DSP extension, any 4-bit encoding: a byte is two codes.

A byte is a position in a sequence in which every code is followed once by every code, so that the
images of both lie side by side in a table of 257 entries.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS
from tinyq.kernels.lanes_dsp import blocks, byte_requant, lane_pairs, nibble_images, padded
from tinyq.kernels.request import Request
from tinyq.ops import Dense
from tinyq.ops.clayer import CLayer, CTable, type_suffix

CODES: Final = 16
BLOCK: Final = 8
#: fewer are not worth the table, which takes some 1000 instructions and 516 bytes
LEAST_WEIGHTS: Final = 1000
#: inputs that are expanded on the stack, at most (TQ_DENSE_LUT_EXPANDED)
EXPANDED: Final = 128


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension, weights of 4 bits, and enough of them."""
    op = request.node.op
    if not request.core.dsp or not isinstance(op, Dense):
        return None
    if ENCODINGS[op.quantized.encoding].bits != 4 or op.quantized.codes.size < LEAST_WEIGHTS:
        return None
    requant, in_blocks = byte_requant(request, op)
    x = request.ins[0]
    suffix = "lanes" if x.size <= EXPANDED else type_suffix(x)
    fields = {
        "codes": CTable("codes", pair_codes(op.quantized.codes)),
        "table": CTable("images", nibble_images(op.quantized)),
        "requant": requant,
        "run": f"tq_run_dense_lut_{suffix}" if in_blocks else "0",
        "inputs": x.size,
        "outputs": request.out.size,
        "is_signed": int(x.signed),
    }
    return CLayer("dense_lut_dsp", fields, request.plain.detail)


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
