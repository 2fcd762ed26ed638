# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers, activations as words, for cores with MLA and no SIMD.

Weights are used once and so multiplied as they lie in the flash memory (``tinyq/dense_words.h``):
int8 as they are; int4 in lanes of two channels, cut into segments of elements that fit 16 bits;
indices into a table by pairs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS
from tinyq.kernels.pairs import Ints, Products, cut, finish_form, products_of
from tinyq.kernels.request import Request
from tinyq.ops import Dense
from tinyq.ops.clayer import CLayer, CTable

#: TQ_DENSE_BLOCK, TQ_DENSE_BLOCKS
BLOCK: Final = 8
BLOCKS: Final = 16
#: bytes of scratch memory at most: layers that need more stay portable
BUDGET: Final = 16384
#: what a partner's sum, bias included, has to fit beside that of the first of a pair
TABLE_LIMIT: Final = 2**23


def choose(request: Request) -> CLayer | None:
    """For cores with Thumb-2 and without the DSP extension; int8, int4 and 4-bit tables."""
    op, core = request.node.op, request.core
    if not isinstance(op, Dense) or not core.thumb2 or core.dsp or not request.intervals:
        return None
    p = products_of(request, op, np.arange(op.weights.shape[1]))
    found = _codes(op, p)
    if found is None:
        return None
    kind, fields, rest = found
    blocks = min(BLOCKS, -(-len(p.image) // BLOCK))
    inputs = p.image.shape[1]
    scratch = 4 * (inputs + inputs % 2) + blocks * 4 * BLOCK + rest
    if scratch > BUDGET:
        return None
    requant = request.plain.fields["requant"]
    fields |= {name: requant[name] for name in ("shift", "shift_step", "lo", "hi")}
    fields |= {
        "sum": f"tq_sum_dense_{kind}",
        "finish": f"tq_finish_dense_{finish_form(requant)}",
        "inputs": inputs,
        "outputs": len(p.image),
        "flip": 0 if request.ins[0].signed else 128,
    }
    return CLayer("dense_words", fields, kind, scratch=scratch)


def _codes(op: Dense, p: Products) -> tuple[str, dict[str, Any], int] | None:
    """How weights are stored and multiplied: kind, fields, bytes of its own scratch memory."""
    encoding = ENCODINGS[op.quantized.encoding]
    if encoding.name == "int8":
        return "bytes", _bytes(p), 0
    if encoding.name == "int4":
        return _nibbles(p)
    if encoding.bits == 4 and not encoding.is_uniform:
        return _table(op, p)
    return None


def _blocks(rows: Ints, fill: int = 0) -> Ints:
    """``[O, K]`` -> ``[blocks, K, BLOCK]``, elements padded to an even number."""
    padding = ((0, -len(rows) % BLOCK), (0, rows.shape[1] % 2))
    padded = np.pad(rows, padding, constant_values=fill)
    return padded.reshape(-1, BLOCK, padded.shape[1]).transpose(0, 2, 1)


def _wrapped(values: Ints) -> npt.NDArray[np.uint32]:
    return (values & 0xFFFFFFFF).astype(np.uint32)


def _start(p: Products) -> Ints:
    return np.pad(p.start, (0, -len(p.start) % BLOCK))


def _bytes(p: Products) -> dict[str, Any]:
    codes = _blocks(p.image)
    return {
        "codes": CTable("codes", codes.astype(np.int8).reshape(-1)),
        "start": CTable("start", _wrapped(_start(p))),
        "block_bytes": codes[0].size,
        "segment_count": 0,
    }


def _table(op: Dense, p: Products) -> tuple[str, dict[str, Any], int] | None:
    least, greatest = p.start + p.lo.sum(1), p.start + p.hi.sum(1)
    if least.min() < -TABLE_LIMIT or greatest.max() >= TABLE_LIMIT:
        return None
    encoding = ENCODINGS[op.quantized.encoding]
    table = np.array(encoding.levels if op.quantized.table is None else op.quantized.table)
    codes = _blocks(op.quantized.codes.astype(np.int64))
    start = _start(p).reshape(-1, BLOCK)
    pairs = start[:, 0::2] + 256 * start[:, 1::2]
    packed = (codes[:, :, 0::2] | codes[:, :, 1::2] << 4).astype(np.uint8)
    fields = {
        "codes": CTable("codes", packed.reshape(-1)),
        "table": CTable("table", table.astype(np.int8)),
        "start": CTable("start", _wrapped(np.concatenate([pairs, start[:, 0::2]], 1).reshape(-1))),
        "block_bytes": packed[0].size,
        "segment_count": 0,
    }
    return "table", fields, 512


def _nibbles(p: Products) -> tuple[str, dict[str, Any], int] | None:
    """Segments are the same for all channels and of whole pairs of elements."""
    even = ((0, 0), (0, p.image.shape[1] % 2))
    low, high = (np.pad(v, even).reshape(len(v), -1, 2).sum(2) for v in (p.lo, p.hi))
    ends = cut(low, high)
    if ends is None:
        return None
    places = np.array([0, 16, 4, 20, 8, 24, 12, 28])
    words = ((_blocks(p.image) + 8) << places).sum(2)
    bias = _start(p).reshape(-1, 2)
    totals = bias[:, 0] + (bias[:, 1] << 16) - (len(ends) << 15)
    fields = {
        "codes": CTable("codes", _wrapped(words.reshape(-1))),
        "start": CTable("start", _wrapped(np.stack([totals, bias[:, 1]], 1).reshape(-1))),
        "segments": CTable("segments", np.diff([0, *ends]).astype(np.uint16)),
        "block_bytes": 4 * words.shape[1],
        "segment_count": len(ends),
    }
    return "nibbles", fields, 8 * len(ends)
