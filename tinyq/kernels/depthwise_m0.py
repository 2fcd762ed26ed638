# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution of 3 x 3 on the Cortex-M0: a channel at a time, in a padded plane.

Activations are unsigned: x' = x + 128 where the input is int8, padding is 128 then, and the start
of each accumulator makes up for it.  Where the actual weights keep the sum of nine products within
16 bits (int4 as a rule), an element of the plane is a word x[i] + x[i + 1] * 2**16, and one
multiplication serves two pixels.

Deliberately absent: other kernels than 3 x 3 and columns more than 2 apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tinyq.encodings import ENCODINGS
from tinyq.kernels.blocks_m0 import (
    LANE_RANGE,
    PAIRS_BYTES,
    Int64Array,
    centres,
    fits,
    image_fields,
    pack,
    requant_fields,
    stream_table,
)
from tinyq.kernels.request import Request
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.base import product_range
from tinyq.ops.clayer import CLayer, CTable

KERNEL: Final = (3, 3)
TAPS: Final = 9
#: channels whose weights are expanded at a time
BLOCK: Final = 4
WORDS_BYTES: Final = 4 * BLOCK * TAPS
#: scratch memory of a plane
PLANE_BYTES: Final = 5120
#: col strides that the kernels know; lanes know the first
STRIDES: Final = (1, 2)
FLIP: Final = 128


@dataclass(frozen=True)
class Plane:
    """Where a channel lies.

    Attributes:
        pitch: bytes of a row.
        tile_rows: output rows that it serves; 0: a single row would be too large.
        rows: its own.
        element: bytes of an element.
    """

    pitch: int
    tile_rows: int
    rows: int
    element: int


def choose(request: Request) -> CLayer | None:
    """All encodings; core m0."""
    op = request.node.op
    if not isinstance(op, DepthwiseConv2D) or not fits(request, op):
        return None
    if op.kernel != KERNEL or op.strides[1] not in STRIDES or not _rounds(request, op):
        return None
    use_lanes = op.strides[1] == 1 and request.out.shape[1] > 1 and fits_lanes(request, op)
    plane = plane_of(request, op, use_lanes)
    return layer_of(request, op, plane) if plane.tile_rows > 0 else None


def _rounds(request: Request, op: DepthwiseConv2D) -> bool:
    """One rule for all channels."""
    folded = request.plain.fields["requant"]["rounding"] == "TQ_ROUND_FOLDED"
    return folded or int(op.shifts(request.ins, request.out).min()) >= 2


def _flip(request: Request) -> int:
    return FLIP if request.ins[0].signed else 0


def _sum_bounds(request: Request, op: DepthwiseConv2D) -> tuple[Int64Array, Int64Array]:
    """Of the products with lifted activations, ``[O]``."""
    x, lift = request.intervals[0].with_zero(), _flip(request)
    image = op.quantized.image().astype(np.int64).reshape(-1, TAPS)
    lo, hi = (np.repeat(v + lift, op.multiplier)[:, None] for v in (x.lo, x.hi))
    low, high = product_range(image, lo, hi)
    return low.sum(1), high.sum(1)


def fits_lanes(request: Request, op: DepthwiseConv2D) -> bool:
    """Whether every channel's sum spans 16 bits at most."""
    low, high = _sum_bounds(request, op)
    return int((high - low).max()) <= LANE_RANGE


def plane_of(request: Request, op: DepthwiseConv2D, lanes: bool) -> Plane:
    """As many rows as the scratch memory holds."""
    height, width, _ = request.out.shape
    columns = (width - 1) * op.strides[1] + KERNEL[1]
    pitch = 4 * (columns + 1) if lanes else -(-columns // 4) * 4
    rows = min((PLANE_BYTES // pitch - KERNEL[0]) // op.strides[0] + 1, height)
    tile_rows = max(rows, 0)
    return Plane(pitch, tile_rows, (tile_rows - 1) * op.strides[0] + KERNEL[0], 4 if lanes else 1)


def layer_of(request: Request, op: DepthwiseConv2D, plane: Plane) -> CLayer:
    """The layer's C form, in lanes where an element of the plane is a word."""
    bits = ENCODINGS[op.quantized.encoding].bits
    lanes, flip = plane.element == 4, _flip(request)
    starts = centres(*_sum_bounds(request, op)) if lanes else np.zeros(len(op.bias), np.int64)
    less = starts + flip * op.quantized.image().astype(np.int64).reshape(-1, TAPS).sum(1)
    requant = requant_fields(request, op, less, len(op.bias))
    end = "" if requant["rounding"] == "TQ_ROUND_FOLDED" else "_tflite"
    blocks = _blocks(op, bits)
    fields = {
        "codes": stream_table(blocks),
        **image_fields(op.quantized),
        **({"lanes": CTable("lanes", starts.astype(np.int32))} if lanes else {}),
        "expand": f"tq_expand_m0_{bits}",
        "copy": "tq_copy_m0_lanes" if lanes else "tq_copy_m0_bytes",
        "run": f"tq_plane_m0_{'lanes' if lanes else op.strides[1]}{end}",
        "requant": requant,
        **{name: request.plain.fields[name] for name in ("input", "output", "kernel")},
        "multiplier": op.multiplier,
        "tile_rows": plane.tile_rows,
        "pitch": plane.pitch,
        "plane_rows": plane.rows,
        "block_bytes": len(blocks[0]),
        "element_bytes": plane.element,
        "flip": flip,
        "has_pairs": int(bits == 4),
    }
    scratch = PAIRS_BYTES * (bits == 4) + WORDS_BYTES + plane.pitch * plane.rows
    in_place = (0,) if _overlays(request, op, plane) else ()
    detail = request.plain.detail
    return CLayer("depthwise_m0", fields, detail, scratch=scratch, in_place=in_place)


def _blocks(op: DepthwiseConv2D, bits: int) -> list[np.ndarray]:
    codes = op.quantized.codes.reshape(-1, TAPS)
    padded = np.pad(codes, ((0, -len(codes) % BLOCK), (0, 0)))
    return [pack(block, bits) for block in padded.reshape(-1, BLOCK, TAPS)]


def _overlays(request: Request, op: DepthwiseConv2D, plane: Plane) -> bool:
    """The output may lie where the input does: a channel is read whole before it is written."""
    same = request.ins[0].shape == request.out.shape and op.multiplier == 1
    return same and plane.tile_rows == request.out.shape[0]
