# SPDX-License-Identifier: Apache-2.0
"""Convolution on cores with DSP instructions: 16 products in 14 instructions.

Two output channels a and b share a 16-bit lane, ``256 * w_b + w_a``; the layout, and why it is
exact for |S| < 2**23, is in ``tinyq/conv2d_dsp.h``.  Here weights are laid out, the tile of widened
input rows and the group of channels whose packed codes are expanded at a time are chosen.

Deliberately absent: sums beyond the bound, and single pixels (a pair would be half empty).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.request import Request
from tinyq.numerics import IntArray
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer, CStruct, CTable, shape_fields
from tinyq.proof import LayerProof

#: a sum with bias and rounding constant stays below this in magnitude
SUM_LIMIT: Final = 2**23
#: bytes of scratch memory that are spent where less would do
SCRATCH: Final = 5 * 1024
#: bytes that are spent where nothing less does
MOST_SCRATCH: Final = 12 * 1024
#: channels of a block, and blocks whose sums are kept at a time (TQ_DSP_CHUNK)
BLOCK: Final = 4
CHUNK: Final = 8
#: fewest output pixels that pay for expanding packed codes, and for pairs at all
LEAST_EXPANDED: Final = 4
LEAST_PIXELS: Final = 2
#: measured instructions, for the choice of tiles: widening an element, expanding a code, for each
#: two taps of four channels at two pixels, for each segment, copying a word
WIDEN, EXPAND, TAPS, SEGMENT, COPY = 1.5, 1.8, 14.5, 11.0, 2.5
#: for linear layers with TFLite's rounding
TFLITE_PASS: Final = "tq_dsp_pass_tflite_s8"
#: order in which SXTB16 and its rotated form give four bytes
FOUR: Final = (0, 2, 1, 3)


@dataclass(frozen=True)
class Windows:
    """How a convolution's windows lie in the tile, in elements of 16 bits.

    Attributes:
        pixels: only what 1x1 windows read is widened; else whole padded rows.
        four: in every four elements the order is ``FOUR``.
        segments, length: a window is ``segments`` runs of ``length`` elements.
        pitch, used: elements of a tile's row, and those of an input row that are read.
        col_step, row_step: to the next output pixel's window, to the next output row's.
        rows: rows of the tile for the first output row; ``stride`` more for each further one.
    """

    pixels: bool
    four: bool
    segments: int
    length: int
    pitch: int
    used: int
    col_step: int
    row_step: int
    rows: int
    stride: int

    @property
    def words(self) -> int:
        """Words of a segment."""
        return -(-self.length // 2)

    def tile_bytes(self, rows: int) -> int:
        """Bytes of the tile for ``rows`` output rows; an odd segment reads one element more."""
        count = self.pitch * (self.rows + (rows - 1) * self.stride)
        return align(2 * (count + self.length % 2))


@dataclass(frozen=True)
class Tiling:
    """Rows of a tile, blocks of a group, and whether windows are copied together."""

    rows: int
    group: int
    gathers: bool


@dataclass(frozen=True)
class Scratch:
    """Where things lie in scratch memory behind the tile, in bytes, and its size."""

    windows: int
    sums: int
    table: int
    weights: int
    size: int


def choose(request: Request) -> CLayer | None:
    """For cores with DSP, any convolution whose sums the lanes hold."""
    return build(request)


def build(request: Request) -> CLayer | None:
    """Descriptor and scratch, without a fused addition; ``None`` where the kernel cannot."""
    op, proof = request.node.op, request.proof
    if not request.core.dsp or not isinstance(op, Conv2D) or proof is None:
        return None
    if not fits_lanes(proof):
        return None
    height, width, _ = request.out.shape
    packed = ENCODINGS[op.quantized.encoding].bits < 8
    if height * width < (LEAST_EXPANDED if packed else LEAST_PIXELS):
        return None
    windows = find_windows(op, request.ins[0].shape, request.out.shape)
    if packed and windows.length % 2 and not windows.pixels and zero_code(op.quantized) is None:
        return None
    tiling = find_tiling(windows, op.quantized, (height, width), packed)
    if tiling is None or max(windows.pitch, windows.row_step) > 65535:
        return None
    scratch = find_scratch(windows, tiling, op.quantized, packed)
    fields = {
        **weights_fields(op.quantized, windows),
        **end_fields(request),
        **shapes_fields(request, op),
        **tile_fields(windows, tiling, scratch, request.ins[0].signed),
    }
    return CLayer("conv2d_dsp", fields, request.plain.detail, scratch=scratch.size)


def fits_lanes(proof: LayerProof) -> bool:
    """The sums' bound of ``tinyq/conv2d_dsp.h``; that of weights holds for every encoding."""
    return max(proof.final_hi, -proof.final_lo) + proof.margin < SUM_LIMIT


def align(size: int) -> int:
    """Up to a multiple of four."""
    return -(-size // 4) * 4


# --- weights -------------------------------------------------------------------------------------


def zero_code(weights: Weights) -> int | None:
    """The code of weight 0, if there is one."""
    found = np.flatnonzero(code_levels(weights) == 0)
    return int(found[0]) if len(found) else None


def code_levels(weights: Weights) -> IntArray:
    """The image of every code of 4 bits or fewer, int8 ``[2**bits]``."""
    encoding = ENCODINGS[weights.encoding]
    if weights.table is not None:
        return weights.table
    if encoding.levels is not None:
        return np.array(encoding.levels, np.int8)
    codes = np.arange(2**encoding.bits)
    return (codes - ((codes >> (encoding.bits - 1)) << encoding.bits)).astype(np.int8)


def arrange(values: IntArray, windows: Windows, filler: int) -> IntArray:
    """Values ``[O, KH, KW, I]`` -> ``[blocks, taps, 4]`` in the order of the tile's elements.

    Segments are filled up to whole words, channels up to whole blocks.
    """
    outputs = len(values)
    rows = values.reshape(outputs, windows.segments, windows.length)
    if windows.four:
        whole = windows.length // 4 * 4
        quads = rows[..., :whole].reshape(outputs, windows.segments, -1, 4)[..., FOUR]
        rows = np.concatenate([quads.reshape(*rows.shape[:2], whole), rows[..., whole:]], axis=2)
    fill = ((0, -outputs % BLOCK), (0, 0), (0, windows.length % 2))
    padded = np.pad(rows, fill, constant_values=filler)
    return padded.reshape(-1, BLOCK, windows.segments * windows.words * 2).transpose(0, 2, 1)


def weights_fields(weights: Weights, windows: Windows) -> dict[str, Any]:
    """Lanes of int8 weights, or packed codes."""
    bits = ENCODINGS[weights.encoding].bits
    if bits == 8:
        taps = arrange(weights.image().astype(np.int64), windows, 0)
        lanes = 256 * taps[..., 1::2] + taps[..., ::2]  # [blocks, taps, 2]
        pairs = lanes.reshape(len(lanes), -1, 2, 2) & 0xFFFF  # [..., words, tap, pair]
        words = pairs[:, :, 0] | pairs[:, :, 1] << 16
        return {"weights": CTable("weights", words.reshape(-1).astype(np.uint32)), "bits": bits}
    codes = arrange(
        weights.codes.astype(np.int64) & (2**bits - 1), windows, zero_code(weights) or 0
    )
    # [blocks, words, tap, pair, channel] -> first both taps of pair 0, then of pair 1
    groups = codes.reshape(len(codes), -1, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 8)
    stream = (groups[..., None] >> np.arange(bits)) & 1
    packed = np.packbits(
        stream.reshape(len(groups), -1).astype(np.uint8), axis=1, bitorder="little"
    )
    levels = CTable("levels", code_levels(weights))
    return {
        "packed": {"codes": CTable("codes", packed.reshape(-1)), "levels": levels},
        "expand": f"tq_dsp_expand_{bits}",
        "bits": bits,
    }


# --- the end of a sum ----------------------------------------------------------------------------


def end_fields(request: Request) -> dict[str, Any]:
    """Starts with shifts, and the function that makes outputs of sums."""
    requant = request.plain.fields["requant"]
    least = int(requant["shift"].values.min())
    function = end_function(requant, least)
    return {
        **function,
        "starts": starts_table(request, adjusted=function.get("pass") == TFLITE_PASS),
        "rounding": requant["rounding"],
        "lo": requant["lo"],
        "hi": requant["hi"],
    }


def end_function(requant: CStruct, least_shift: int) -> dict[str, Any]:
    """The pass for a rounding and a range, or the finish that does any."""
    folded = requant["rounding"] == "TQ_ROUND_FOLDED"
    suffix = {(0, 255): "u8", (-128, 127): "s8"}.get((requant["lo"], requant["hi"]))
    if folded and suffix is not None:
        return {"pass": f"tq_dsp_pass_{suffix}"}
    if suffix == "s8" and least_shift >= 2:
        return {"pass": TFLITE_PASS}
    return {"finish": "tq_dsp_finish_any"}


def starts_table(request: Request, adjusted: bool) -> CTable:
    """``TQ_DSP_STARTS`` words a block.

    The second start of each two holds the first one besides; shifts are 8 larger where sums are
    256 times too large.

    Args:
        adjusted: as ``TFLITE_PASS`` wants it, else as the portable kernel does.
    """
    requant = request.plain.fields["requant"]
    start = requant["bias"].values.astype(np.int64)
    shift = np.broadcast_to(requant["shift"].values.astype(np.int64), start.shape)
    if adjusted:
        start = start + (1 << (shift - 1)) - 1
    fill = (0, -len(start) % BLOCK)
    pairs = np.pad(start, fill).reshape(-1, 2)
    chained = np.stack([pairs[:, 0], pairs[:, 0] + 256 * pairs[:, 1]], 1).reshape(-1, BLOCK)
    shifts = np.pad(shift, fill).reshape(-1, BLOCK) + np.array([0, 8, 0, 8])
    words = np.concatenate([chained, shifts @ [[1], [1 << 8], [1 << 16], [1 << 24]]], 1)
    return CTable("starts", (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32).reshape(-1))


# --- windows, tiles, scratch ---------------------------------------------------------------------


def find_windows(op: Conv2D, shape: tuple[int, ...], out: tuple[int, ...]) -> Windows:
    """The tile's layout for one convolution."""
    (kh, kw), (sy, sx), channels = op.kernel, op.strides, shape[2]
    if (kh, kw) == (1, 1) and not any(op.padding):
        step = channels + channels % 2
        pitch = out[1] * step
        return Windows(True, True, 1, channels, pitch, 0, step, pitch, 1, 1)
    pitch = ((out[1] - 1) * sx + kw) * channels
    used = min(shape[1] * channels, pitch - op.padding[2] * channels)
    length, step = kw * channels, sx * channels
    return Windows(False, channels % 4 == 0, kh, length, pitch, used, step, sy * pitch, kh, sy)


def find_scratch(windows: Windows, tiling: Tiling, weights: Weights, packed: bool) -> Scratch:
    """Offsets and size."""
    blocks = -(-weights.shape[0] // BLOCK)
    taps = windows.segments * windows.words
    at_windows = windows.tile_bytes(tiling.rows)
    at_sums = at_windows + (8 * taps if tiling.gathers else 0)
    at_table = at_sums + 32 * min(CHUNK, blocks)
    entries = 4 ** ENCODINGS[weights.encoding].bits if packed else 0
    at_weights = at_table + align(2 * entries)
    size = at_weights + (8 * taps * min(tiling.group, blocks) if packed else 0)
    return Scratch(at_windows, at_sums, at_table, at_weights, size)


def find_tiling(
    windows: Windows, weights: Weights, out: tuple[int, int], packed: bool
) -> Tiling | None:
    """The cheapest tiling within ``SCRATCH``, else the smallest one within ``MOST_SCRATCH``."""
    found = [
        (find_scratch(windows, tiling, weights, packed).size, cost, tiling)
        for tiling, cost in tilings(windows, weights, out, packed)
    ]
    fitting = [item for item in found if item[0] <= SCRATCH]
    if fitting:
        return min(fitting, key=lambda item: (item[1], item[0]))[2]
    size, _, tiling = min(found, key=lambda item: item[:2])
    return tiling if size <= MOST_SCRATCH else None


def tilings(
    windows: Windows, weights: Weights, out: tuple[int, int], packed: bool
) -> Iterator[tuple[Tiling, float]]:
    """All tilings with an estimate of the instructions that depend on them."""
    blocks, taps = -(-weights.shape[0] // BLOCK), windows.segments * windows.words
    apart = 2 * windows.segments * (COPY * windows.words + 6)
    gathers = windows.segments > 1 and apart < blocks * (windows.segments - 1) * SEGMENT
    codes = blocks * taps * 8
    groups = range(1, blocks + 1) if packed else [blocks]
    for rows in range(1, out[0] + 1):
        tiles = -(-out[0] // rows)
        pairs = sum(-(-min(rows, out[0] - y) * out[1] // 2) for y in range(0, out[0], rows))
        widened = windows.pitch * (windows.rows * tiles + windows.stride * (out[0] - tiles))
        cost = WIDEN * widened + pairs * (apart if gathers else 0.0)
        cost += pairs * (50.0 + blocks * (50.0 + TAPS * taps))
        for group in groups:
            times = (1 if group == blocks else tiles) if packed else 0
            extra = 50.0 * pairs * (-(-blocks // group) - 1)
            yield Tiling(rows, group, gathers), cost + EXPAND * codes * times + extra


def shapes_fields(request: Request, op: Conv2D) -> dict[str, Any]:
    """Shapes and kernel."""
    return {
        "input": shape_fields(request.ins[0].shape),
        "output": shape_fields(request.out.shape),
        "kernel": request.plain.fields["kernel"],
    }


def tile_fields(windows: Windows, tiling: Tiling, scratch: Scratch, signed: bool) -> dict[str, Any]:
    """What the schedule goes by."""
    kind = "pixels" if windows.pixels else "rows4" if windows.four else "rows"
    return {
        "fill": f"tq_dsp_fill_{kind}_{'s8' if signed else 'u8'}",
        "tile_rows": tiling.rows,
        "row_elements": windows.used,
        "row_pitch": windows.pitch,
        "col_step": windows.col_step,
        "row_step": windows.row_step,
        "segments": windows.segments,
        "words": windows.words,
        "group": tiling.group,
        "gathers": int(tiling.gathers),
        "at_windows": scratch.windows,
        "at_sums": scratch.sums,
        "at_table": scratch.table,
        "at_weights": scratch.weights,
    }
