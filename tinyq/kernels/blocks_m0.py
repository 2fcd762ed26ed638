# SPDX-License-Identifier: Apache-2.0
"""What the kernels for the Cortex-M0 share: codes in blocks of channels, requantization, bounds.

The C side is tinyq/blocks_m0.h.  A *stream* is a layer's codes in the order of their use; codes of
4 bits stay 4 bits in flash, those of 3 and 2 bits likewise.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.request import Request
from tinyq.numerics import IntArray
from tinyq.ops.base import LinearOp, output_limits
from tinyq.ops.clayer import CStruct, CTable

#: bytes of TQ_PAIRS_M0_BYTES
PAIRS_BYTES: Final = 512
INT32_LIMIT: Final = 2**31

Int64Array = npt.NDArray[np.int64]


def fits(request: Request, op: LinearOp) -> bool:
    """Whether the accumulator, less the greatest output times 2**n, stays within 32 bits."""
    if request.core.name != "m0" or request.proof is None:
        return False
    limits = output_limits(op.activation, request.out)
    shift = int(op.shifts(request.ins, request.out).max())
    return request.proof.magnitude + (max(map(abs, limits)) << shift) < INT32_LIMIT


def to_blocks(values: npt.NDArray[np.int8], block: int) -> npt.NDArray[np.int8]:
    """``[O, K]`` -> ``[blocks, K, block]``; channels that are missing in the last block are 0."""
    missing = -len(values) % block
    padded = np.pad(values, ((0, missing), (0, 0)))
    return padded.reshape(-1, block, values.shape[1]).transpose(0, 2, 1)


def pack(codes: npt.NDArray[np.int8], bits: int) -> npt.NDArray[np.uint8]:
    """Codes in their order as one little-endian string of bits, padded to a byte."""
    flat = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
    if bits == 8:
        return flat
    stream = (flat[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(stream.reshape(-1), bitorder="little")


def stream_table(parts: list[npt.NDArray[np.uint8]]) -> CTable:
    """Parts of a stream one after the other, aligned to 4."""
    data = np.concatenate(parts)
    return CTable("codes", np.pad(data, (0, -len(data) % 4)).view("<u4").astype(np.uint32))


def image_fields(weights: Weights) -> CStruct:
    """The table from codes to images, for codes of fewer than 8 bits."""
    kind = ENCODINGS[weights.encoding]
    if kind.bits == 8:
        return {}
    codes = np.arange(2**kind.bits)
    if weights.table is not None:
        images = weights.table
    elif kind.levels is not None:
        images = np.array(kind.levels, np.int8)
    else:
        images = (codes - ((codes >> (kind.bits - 1)) << kind.bits)).astype(np.int8)
    return {"table": CTable("table", images)}


def requant_fields(request: Request, op: LinearOp, less: IntArray, padded: int) -> CStruct:
    """A ``tq_requant_m0``.

    Args:
        less: ``[O]`` what is subtracted from the starts of the accumulators.
        padded: entries of the start, for whole blocks.
    """
    plain = request.plain.fields["requant"]
    n = op.shifts(request.ins, request.out).astype(np.int64)
    start = plain["bias"].values.astype(np.int64) - less
    folded = plain["rounding"] == "TQ_ROUND_FOLDED"
    whole = np.ones(len(n), bool) if folded else n < 2
    half = np.where(n > 0, 1 << np.maximum(n - 1, 0), 0)
    constant = (0 if folded else half) - (plain["hi"] << n)
    start = np.where(whole, start + constant, start)
    start = np.pad(start, (0, padded - len(start)))
    rest = {name: value for name, value in plain.items() if name != "bias"}
    return {"start": int32_table("start", start), **rest}


def int32_table(suffix: str, values: Int64Array) -> CTable:
    """Numbers modulo 2**32, as sums are."""
    return CTable(suffix, (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32))
