# SPDX-License-Identifier: Apache-2.0
"""Words of weights for two pixels at a time (``tinyq/pairs.h``): layouts, lanes, flushes.

On a core that multiplies 32 bits at once and nothing narrower, one multiplication does two where a
word holds the weights of two output channels, w0 + w1 * 2**16: exact modulo 2**32, and the two sums
can be told apart where each fits 16 bits.  Where a layer's whole sums do not, they are cut into
segments that do, for every input that the proof admits, and flushed into 32-bit sums between.

Absent on purpose: bounds of partial sums.  Sums wrap modulo 2**32, so that only what is read has to
fit: the finished sum, or a finished segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS, Weights, pack_codes
from tinyq.kernels.request import Request
from tinyq.ops import LinearOp
from tinyq.ops.clayer import CStruct, CTable

#: accumulators of one pixel
WORDS: Final = 4
#: what unsigned activations are stored less
CENTER: Final = 128
LANE_MIN: Final = -(2**15)
LANE_MAX: Final = 2**15 - 1
#: TQ_RUN_FLUSH
FLUSH: Final = 0x8000
#: instructions of one element of a pair, of one run, of one flush, of beginning and ending a pair
ELEMENT_COST: Final = 12
RUN_COST: Final = 14
FLUSH_COST: Final = 44
PAIR_COST: Final = 25

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Products:
    """A layer's weights as a matrix, in the order in which a kernel meets them.

    Attributes:
        image: ``[O, K]``.
        lo, hi: ``[O, K]`` bounds of weight times centred activation.
        start: ``[O]`` start of the accumulators for centred activations.
        order: ``[K]`` positions in the operator's own order.
    """

    image: Ints
    lo: Ints
    hi: Ints
    start: Ints
    order: Ints


def products_of(request: Request, op: LinearOp, order: Ints) -> Products:
    """Weights and bounds of their products for the activations that can occur.

    Activations are centred: those of an unsigned input are 128 less.
    """
    image = op.quantized.image().astype(np.int64)
    low, high = op.products(request.intervals[0], image)
    image = image.reshape(len(image), -1)
    center = 0 if request.ins[0].signed else CENTER
    bias = request.plain.fields["requant"]["bias"].values.astype(np.int64)
    shift = center * image
    return Products(
        image[:, order],
        (low - shift)[:, order],
        (high - shift)[:, order],
        bias + shift.sum(1),
        order,
    )


def swapped_order(elements: int, channels: int) -> Ints:
    """Where windows are copied by words, elements 1 and 2 of every four change places."""
    natural = np.arange(elements)
    return natural if channels % 4 else natural.reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)


def lanes_hold(p: Products) -> bool:
    """Whether every finished sum fits 16 bits."""
    low, high = p.start + p.lo.sum(1), p.start + p.hi.sum(1)
    return bool(low.min() >= LANE_MIN and high.max() <= LANE_MAX)


def cut(low: Ints, high: Ints) -> list[int] | None:
    """Ends of the longest segments whose sums fit 16 bits in every channel.

    Args:
        low, high: ``[channels, K]`` bounds of the products.

    Returns:
        Positions, the last one K; ``None`` where one product alone does not fit.
    """
    if low.min(initial=0) < LANE_MIN or high.max(initial=0) > LANE_MAX:
        return None
    ends, begin, count = [], 0, low.shape[1]
    before_lo = np.concatenate([np.zeros((len(low), 1), np.int64), low.cumsum(1)], axis=1)
    before_hi = np.concatenate([np.zeros((len(high), 1), np.int64), high.cumsum(1)], axis=1)
    for i in range(1, count + 1):
        sums_lo = before_lo[:, i] - before_lo[:, begin]
        sums_hi = before_hi[:, i] - before_hi[:, begin]
        if sums_lo.min() < LANE_MIN or sums_hi.max() > LANE_MAX:
            ends.append(i - 1)
            begin = i - 1
    return [*ends, count]


@dataclass(frozen=True, eq=False)
class Blocks:
    """How the output channels are multiplied.

    Attributes:
        kind: ``sums``, ``lanes`` or ``flushed``: the middle of ``tq_finish_<kind>_<form>``.
        channels: of a block.
        ends: of every block, where its segments end; empty unless flushed.
    """

    kind: str
    channels: int
    ends: tuple[tuple[int, ...], ...] = ()

    def count(self, outputs: int) -> int:
        """Blocks."""
        return -(-outputs // self.channels)

    @property
    def flushed(self) -> bool:
        """Segments are added to 32-bit sums."""
        return self.kind == "flushed"


def choose_blocks(p: Products) -> Blocks:
    """Lanes where they hold, flushed where that is cheaper than single weights."""
    outputs, elements = p.image.shape
    if lanes_hold(p):
        return Blocks("lanes", 2 * WORDS)
    single = Blocks("sums", WORDS)
    rows = [slice(first, first + 2 * WORDS) for first in range(0, outputs, 2 * WORDS)]
    ends = [cut(p.lo[r], p.hi[r]) for r in rows]
    found = [tuple(e) for e in ends if e is not None]
    if len(found) < len(rows):
        return single
    flushes = sum(map(len, found))
    cost = len(rows) * (elements * ELEMENT_COST + PAIR_COST) + flushes * (FLUSH_COST + RUN_COST)
    plain = single.count(outputs) * (elements * ELEMENT_COST + PAIR_COST)
    return Blocks("flushed", 2 * WORDS, tuple(found)) if cost < plain else single


# --- tables --------------------------------------------------------------------------------------


def _padded(rows: npt.NDArray[Any], multiple: int, fill: int = 0) -> npt.NDArray[Any]:
    missing = -len(rows) % multiple
    return np.pad(rows, ((0, missing), (0, 0)), constant_values=fill)


def _by_blocks(rows: npt.NDArray[Any], channels: int, fill: int = 0) -> npt.NDArray[Any]:
    """``[O, K]`` -> ``[blocks, K, channels]``."""
    padded = _padded(rows, channels, fill)
    return padded.reshape(-1, channels, rows.shape[1]).transpose(0, 2, 1)


def _bytes(weights: Weights, order: Ints, channels: int) -> CStruct:
    codes = weights.image().reshape(len(weights.codes), -1)[:, order]
    values = _by_blocks(codes, channels).reshape(-1).view(np.uint8)
    return {"codes": CTable("codes", values), "channel_bytes": channels * codes.shape[1]}


def _indices(weights: Weights, order: Ints, channels: int) -> CStruct:
    codes = weights.codes.reshape(len(weights.codes), -1)[:, order].astype(np.uint8)
    block = _by_blocks(codes, channels)
    values = (block[:, :, 0::2] | block[:, :, 1::2] << 4).reshape(-1)
    levels = ENCODINGS[weights.encoding].levels
    table = np.array(weights.table if levels is None else levels, np.int8)
    return {
        "codes": CTable("codes", values),
        "table": CTable("table", table),
        "channel_bytes": channels // 2 * codes.shape[1],
    }


def _nibbles(weights: Weights, order: Ints) -> CStruct:
    codes = weights.codes.reshape(len(weights.codes), -1)[:, order].astype(np.int64) + 8
    eight = _by_blocks(codes, 2 * WORDS, fill=8)
    places = np.array([0, 16, 4, 20, 8, 24, 12, 28])
    values = (eight << places).sum(2).astype("<u4").reshape(-1).view(np.uint8)
    return {"codes": CTable("codes", values), "channel_bytes": 4 * codes.shape[1]}


def _packed(weights: Weights, order: Ints) -> CStruct:
    codes = np.ascontiguousarray(weights.codes.reshape(len(weights.codes), -1)[:, order])
    packed = pack_codes(codes, ENCODINGS[weights.encoding].bits)
    fields: dict[str, Any] = {"codes": CTable("codes", packed)}
    if weights.table is not None:
        fields["table"] = CTable("table", weights.table)
    return fields | {"channel_bytes": len(packed) // len(codes)}


def words_fields(weights: Weights, blocks: Blocks, order: Ints) -> CStruct:
    """``weights`` and ``make_words`` of a descriptor."""
    encoding = ENCODINGS[weights.encoding]
    prefix = "tq_words" if blocks.kind == "sums" else "tq_lanes"
    if encoding.name == "int8":
        made = _bytes(weights, order, blocks.channels)
        return {"weights": made, "make_words": f"{prefix}_bytes"}
    if encoding.bits == 4 and not encoding.is_uniform:
        made = _indices(weights, order, blocks.channels)
        return {"weights": made, "make_words": f"{prefix}_table"}
    if (prefix, encoding.name) == ("tq_lanes", "int4"):
        return {"weights": _nibbles(weights, order), "make_words": "tq_lanes_nibbles"}
    return {"weights": _packed(weights, order), "make_words": f"{prefix}_{encoding.name}"}


def words_cost(weights: Weights, blocks: Blocks) -> int:
    """Instructions of making the words of one element of a block."""
    quick = {
        "tq_words_bytes": 11,
        "tq_lanes_bytes": 17,
        "tq_words_table": 15,
        "tq_lanes_table": 30,
        "tq_lanes_nibbles": 13,
    }
    name = words_fields(weights, blocks, np.arange(weights.codes[0].size))["make_words"]
    return quick.get(name, 12 * blocks.channels)


def _wrapped(values: Ints) -> npt.NDArray[np.uint32]:
    return (values & 0xFFFFFFFF).astype(np.uint32)


def start_table(p: Products, blocks: Blocks) -> CTable:
    """Where the accumulators of a block start."""
    if blocks.kind == "sums":
        return CTable("start", _wrapped(_padded(p.start[:, None], WORDS).reshape(-1)))
    start = _padded(p.start[:, None], 2 * WORDS).reshape(-1, WORDS, 2)
    lanes = start[..., 0] + (start[..., 1] << 16)
    if not blocks.flushed:
        return CTable("start", _wrapped(lanes.reshape(-1)))
    counts = np.array([len(ends) for ends in blocks.ends])
    totals = lanes - (counts << 15)[:, None]
    return CTable("start", _wrapped(np.stack([totals, start[..., 1]], axis=2).reshape(-1)))


def runs_fields(blocks: Blocks, row: int, rows: int, skip: int) -> CStruct:
    """``runs``, ``run_first`` and ``block_runs`` of a descriptor.

    Args:
        row: elements that lie side by side; ``rows`` such rows make a window.
        skip: bytes from the end of one to the begin of the next.
    """
    schedules: list[tuple[int, ...]] = list(blocks.ends) or [()]
    lists = [list(_runs(ends, row, rows, skip)) for ends in schedules]
    firsts = np.cumsum([0, *map(len, lists)]).astype(np.uint16)
    flat = np.array([number for runs in lists for run in runs for number in run], np.uint16)
    return {
        "runs": CTable("runs", flat),
        "run_first": CTable("run_first", firsts),
        "block_runs": int(bool(blocks.ends)),
    }


def _runs(ends: Sequence[int], row: int, rows: int, skip: int) -> Iterator[tuple[int, int]]:
    """Runs of a window: cut at the ends of rows and of segments."""
    stops = sorted({*ends, *range(row, row * rows + 1, row)})
    for begin, end in zip([0, *stops], stops, strict=False):
        mark = FLUSH if end in ends else 0
        yield (end - begin) | mark, skip if begin and begin % row == 0 else 0


def finish_form(requant: CStruct) -> str:
    """The end of ``tq_finish_<kind>_<form>``."""
    limits, folded = (requant["lo"], requant["hi"]), requant["rounding"] == "TQ_ROUND_FOLDED"
    if limits == (-128, 127):
        if folded:
            return "s8"
        return "tflite_s8" if requant["shift"].values.min() >= 2 else "tflite"
    if limits == (0, 255) and folded:
        return "u8"
    return "folded" if folded else "tflite"
