# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers on the Cortex-M0: every weight is used once and taken apart in registers.

Activations are unsigned: x' = x + 128 where the input is int8, and the start of each accumulator
makes up for it.  int8 weights lie in pairs w0 + 256 * w1: multiplied as they are they add up to
S0 + 256 * S1, their low byte alone to S0.  Codes of 4 bits go through a table of pairs; int4 codes
through lanes of 16 bits (see conv2d_m0) wherever segments of the actual weights are long enough.

Deliberately absent: codes of 2 and 3 bits, which the portable kernel reads.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS
from tinyq.kernels.blocks_m0 import (
    LANE_RANGE,
    PAIRS_BYTES,
    Int64Array,
    centres,
    fits,
    greedy,
    image_fields,
    lane_words,
    pack,
    requant_fields,
    stream_table,
    to_blocks,
)
from tinyq.kernels.request import Request
from tinyq.ops import Dense
from tinyq.ops.base import product_range
from tinyq.ops.clayer import MAX_UINT16, CLayer, CTable

#: TQ_DENSE_M0_CHUNK
CHUNK: Final = 32
#: bound of the second sum of a pair of int8 weights
PAIR_LIMIT: Final = 2**23
#: inputs of a segment of lanes, at least, for lanes to pay
MIN_SEGMENT: Final = 8
FLIP: Final = 128
WORDS_BLOCK: Final = 4
LANES_BLOCK: Final = 8


def choose(request: Request) -> CLayer | None:
    """int8 and 4-bit codes; core m0."""
    op = request.node.op
    if not isinstance(op, Dense) or not fits(request, op) or op.weights.shape[1] > MAX_UINT16:
        return None
    image = op.quantized.image().astype(np.int64)
    bits = ENCODINGS[op.quantized.encoding].bits
    if bits == 8:
        fitting = int(np.abs(image).sum(1).max()) * 255 < PAIR_LIMIT
        return words_layer(request, op) if fitting else None
    if bits != 4:
        return None
    segments = segments_of(request, op)
    use_lanes = op.quantized.encoding == "int4" and image.shape[1] >= MIN_SEGMENT * len(segments)
    return lanes_layer(request, op, segments) if use_lanes else words_layer(request, op)


def segments_of(request: Request, op: Dense) -> list[tuple[int, int]]:
    """Ranges of inputs over which every sum stays within 16 bits."""
    low, high = (bound.cumsum(1) for bound in _product_bounds(request, op))
    spread = np.pad(high - low, ((0, 0), (1, 0)))

    def admits(begin: int, end: int) -> bool:
        return int((spread[:, end] - spread[:, begin]).max()) <= LANE_RANGE

    return list(greedy(op.weights.shape[1], admits))


def _product_bounds(request: Request, op: Dense) -> tuple[Int64Array, Int64Array]:
    x = request.intervals[0]
    lift = _flip(request)
    return product_range(op.quantized.image().astype(np.int64), x.lo + lift, x.hi + lift)


def _flip(request: Request) -> int:
    return FLIP if request.ins[0].signed else 0


def words_layer(request: Request, op: Dense) -> CLayer:
    """Four outputs at a time."""
    weights = op.quantized
    blocks = to_blocks(weights.codes, WORDS_BLOCK)
    if ENCODINGS[weights.encoding].bits == 8:
        codes, tap_bytes, kind = _pairs(blocks), 4, "8"
    else:
        codes, tap_bytes, kind = [pack(blocks, 4)], 2, "4"
    table = image_fields(weights)
    fields = {"codes": stream_table(codes), **table, "dot": f"tq_dot_row_m0_{kind}"}
    zero = np.zeros(weights.shape[0], np.int64)
    whole = [(0, weights.shape[1])]
    return _layer(request, op, fields, zero, whole, (WORDS_BLOCK, tap_bytes))


def _pairs(blocks: npt.NDArray[np.int8]) -> list[npt.NDArray[np.uint8]]:
    """int8 ``[blocks, I, 4]`` -> bytes of 16-bit numbers w0 + 256 * w1."""
    pairs = blocks.astype(np.int64).reshape(-1, 2)
    return [(pairs @ [1, 256]).astype("<i2").view(np.uint8)]


def lanes_layer(request: Request, op: Dense, segments: list[tuple[int, int]]) -> CLayer:
    """int4: eight outputs at a time, two in a word."""
    blocks = to_blocks(op.quantized.codes, LANES_BLOCK)
    low, high = _product_bounds(request, op)
    sums = [np.array([b[:, i:j].sum(1) for i, j in segments]) for b in (low, high)]
    starts = centres(*sums)
    # Output i and output i + 4 share a word.
    order = np.arange(LANES_BLOCK).reshape(2, -1).T.reshape(-1)
    fields = {
        "codes": stream_table([pack((blocks + 8).astype(np.int8), 4)]),
        "dot": "tq_dot_row_m0_lanes",
        "lanes": CTable("lanes", lane_words(starts, LANES_BLOCK, order)),
    }
    return _layer(request, op, fields, starts.sum(0), segments, (LANES_BLOCK, 4))


def _layer(
    request: Request,
    op: Dense,
    fields: dict[str, Any],
    less: Int64Array,
    segments: list[tuple[int, int]],
    layout: tuple[int, int],
) -> CLayer:
    """The whole descriptor; ``layout``: outputs of a block, bytes of an input's codes in it."""
    outputs, inputs = op.weights.shape
    block, tap_bytes = layout
    flip = _flip(request)
    lifted = less + flip * op.quantized.image().astype(np.int64).sum(1)
    lengths = np.array([end - begin for begin, end in segments], np.uint16)
    fields = {
        **fields,
        "requant": requant_fields(request, op, lifted, -(-outputs // block) * block),
        "segments": CTable("segments", lengths),
        "inputs": inputs,
        "outputs": outputs,
        "segment_count": len(segments),
        "block": block,
        "tap_bytes": tap_bytes,
        "flip": flip,
    }
    pairs = PAIRS_BYTES if "table" in fields else 0
    scratch = 4 * (CHUNK + len(segments)) + pairs + (inputs if flip else 0)
    return CLayer("dense_m0", fields, request.plain.detail, scratch=-(-scratch // 4) * 4)
