# SPDX-License-Identifier: Apache-2.0
"""What the kernels for the Cortex-M0 share: codes in blocks of channels, requantization, bounds.

The C side is tinyq/blocks_m0.h.  A *stream* is a layer's codes in the order of their use; codes of
4 bits stay 4 bits in flash, those of 3 and 2 bits likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

#: a sum in a lane of 16 bits, whatever it starts from
LANE_RANGE: Final = 2**16 - 1
LANE_MIN: Final = -(2**15)

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


def greedy(count: int, admits: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """0..count in ranges, each as long as it is admitted (but at least 1)."""
    begin = 0
    while begin < count:
        end = begin + 1
        while end < count and admits(begin, end + 1):
            end += 1
        yield begin, end
        begin = end


def centres(low: Int64Array, high: Int64Array) -> Int64Array:
    """What sums in low..high must start from to end in 16 bits: 0 where that does."""
    return np.maximum(LANE_MIN - low, 0) + np.minimum(LANE_MIN + LANE_RANGE - high, 0)


def lane_words(starts: Int64Array, block: int, order: IntArray) -> npt.NDArray[np.uint32]:
    """Starts of lanes ``[parts, O]`` -> words ``[blocks, parts, block / 2]``, flat.

    Args:
        order: ``[block]`` channels of a block in the order low, high, low, high ...
    """
    padded = np.pad(starts, ((0, 0), (0, -starts.shape[1] % block)))
    pairs = padded.reshape(len(starts), -1, block)[..., order].reshape(
        len(starts), -1, block // 2, 2
    )
    words = pairs[..., 0] + (pairs[..., 1] << 16)
    return (words.transpose(1, 0, 2).reshape(-1) & 0xFFFFFFFF).astype(np.uint32)


def int32_table(suffix: str, values: Int64Array) -> CTable:
    """Numbers modulo 2**32, as sums are."""
    return CTable(suffix, (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32))
