# SPDX-License-Identifier: Apache-2.0
"""Convolution on cores with DSP instructions: 16 products in 14 instructions.

Two output channels a and b share a 16-bit lane, ``256 * w_b + w_a``; the layout, and why it is
exact for |S| < 2**23, is in ``tinyq/conv2d_dsp.h``.  Here weights are laid out, the tile of widened
input rows and the group of channels whose packed codes are expanded at a time are chosen.

Deliberately absent: sums beyond the bound, and single pixels (a pair would be half empty).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.request import Request
from tinyq.kernels.spare import spare_bytes
from tinyq.numerics import INT16_MAX, IntArray
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer, CStruct, CTable, shape_fields
from tinyq.proof import LayerProof

#: a sum with bias and rounding constant stays below this in magnitude
SUM_LIMIT: Final = 2**23
#: bytes of scratch memory that any layer may take
SCRATCH: Final = 5 * 1024
#: bytes that are spent where nothing less does
MOST_SCRATCH: Final = 12 * 1024
#: channels of a block, and blocks whose sums are kept at a time (TQ_DSP_CHUNK)
BLOCK: Final = 4
CHUNK: Final = 8
#: fewest output pixels that pay for expanding packed codes, and for pairs at all
LEAST_EXPANDED: Final = 4
LEAST_PIXELS: Final = 2
#: measured instructions, for the choice of tiles: of a pair of pixels and a group, of a tile;
#: widening an element; the end of a block; two taps of a block; a segment; copying a word
PAIR, TILE, WIDEN, BLOCK_END, TAPS, SEGMENT, COPY = 80.0, 150.0, 1.6, 46.0, 14.2, 14.0, 5.0
#: tilings are as good as the cheapest one up to this factor
NEARLY: Final = 1.004
#: for linear layers with TFLite's rounding
TFLITE_PASS: Final = "tq_dsp_pass_tflite_s8"
#: order in which SXTB16 and its rotated form give four bytes
FOUR: Final = (0, 2, 1, 3)


@dataclass(frozen=True)
class Windows:
    """How a convolution's windows lie in the tile, in elements of 16 bits.

    Attributes:
        pixels: only what 1x1 windows read is widened; else padded rows.
        four: in every four elements the order is ``FOUR``.
        segments, length: a window is ``segments`` runs of ``length`` elements.
        strides: of the convolution.
        channels: elements of an input pixel; in the tile of pixels, even.
    """

    pixels: bool
    four: bool
    segments: int
    length: int
    strides: tuple[int, int]
    channels: int

    @property
    def words(self) -> int:
        """Words of a segment."""
        return -(-self.length // 2)

    @property
    def block_bytes(self) -> int:
        """Expanded weights of a block."""
        return 8 * self.segments * self.words

    @property
    def col_step(self) -> int:
        """From an output pixel's window to the next one's."""
        return self.channels if self.pixels else self.channels * self.strides[1]

    def pitch(self, cols: int) -> int:
        """A row of the tile for ``cols`` output columns."""
        return (cols - 1) * self.col_step + (self.channels if self.pixels else self.length)

    def lines(self, rows: int) -> int:
        """Rows of the tile for ``rows`` output rows."""
        return rows if self.pixels else (rows - 1) * self.strides[0] + self.segments

    def tile_bytes(self, rows: int, cols: int) -> int:
        """Bytes of the tile; an odd segment reads one element more."""
        return align(2 * (self.pitch(cols) * self.lines(rows) + self.length % 2))


@dataclass(frozen=True)
class Tiling:
    """Output rows and columns of a tile, blocks of a group, and what is where in scratch memory.

    ``windows``, ``sums``, ``table`` and ``weights`` are byte offsets, ``size`` is all of it.
    """

    rows: int
    cols: int
    group: int
    windows: int
    sums: int
    table: int
    weights: int
    size: int


@dataclass(frozen=True)
class Job:
    """What tiles are chosen for."""

    windows: Windows
    out: tuple[int, int]
    blocks: int
    table_bytes: int
    gathers: bool
    keeps_sums: bool

    @property
    def packed(self) -> bool:
        """Weights are expanded."""
        return self.table_bytes > 0


def choose(request: Request) -> CLayer | None:
    """For cores with DSP, any convolution whose sums the lanes hold."""
    return build(request, end_fields)


def build(request: Request, end_of: Callable[[Request], CStruct]) -> CLayer | None:
    """The layer, its sums ended by the fields of ``end_of``; ``None`` where the kernel cannot."""
    op = request.node.op
    if not request.core.dsp or not isinstance(op, Conv2D):
        return None
    if largest_sum(request.proof) >= SUM_LIMIT:
        return None
    height, width, _ = request.out.shape
    packed = ENCODINGS[op.quantized.encoding].bits < 8
    if height * width < (LEAST_EXPANDED if packed else LEAST_PIXELS):
        return None
    windows = find_windows(op, request.ins[0].shape)
    if packed and windows.length % 2 and not windows.pixels and zero_code(op.quantized) is None:
        return None
    end = end_of(request)
    job = find_job(windows, op.quantized, (height, width), "finish" in end)
    tiling = find_tiling(job, SCRATCH + spare_bytes(request.graph, request.node))
    if tiling is None:
        return None
    fields = {
        **weights_fields(op.quantized, windows),
        **end,
        **shapes_fields(request),
        **tile_fields(job, tiling, request.ins[0].signed),
    }
    in_place = (0,) if may_overlay(request, job, tiling) else ()
    detail = request.plain.detail
    return CLayer("conv2d_dsp", fields, detail, scratch=tiling.size, in_place=in_place)


def may_overlay(request: Request, job: Job, tiling: Tiling) -> bool:
    """Every pixel is read before one of its bytes is written, and nothing is read again."""
    x, y = request.ins[0].shape, request.out.shape
    if not job.windows.pixels or x[:2] != y[:2] or y[2] > x[2]:
        return False
    in_order = tiling.cols == y[1] or y[2] == x[2]
    return in_order and (tiling.group == job.blocks or (tiling.rows, tiling.cols) == job.out)


def largest_sum(proof: LayerProof | None) -> int:
    """Magnitude that a finished sum with bias and rounding constant can take."""
    return 2**31 if proof is None else max(proof.final_hi, -proof.final_lo) + proof.margin


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
    levels: IntArray = codes - ((codes >> (encoding.bits - 1)) << encoding.bits)
    image: IntArray = levels.astype(np.int8)
    return image


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
    blocks: IntArray = padded.reshape(-1, BLOCK, windows.segments * windows.words * 2)
    taps: IntArray = blocks.transpose(0, 2, 1)
    return taps


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


def end_fields(request: Request) -> CStruct:
    """Starts with shifts, and the function that makes outputs of sums."""
    requant = request.plain.fields["requant"]
    function = end_function(request)
    return {
        **function,
        "starts": starts_table(request, adjusted=function.get("pass") == TFLITE_PASS),
        "rounding": requant["rounding"],
        "lo": requant["lo"],
        "hi": requant["hi"],
    }


def end_function(request: Request) -> dict[str, Any]:
    """The pass for a rounding and a range, or the finish that does any."""
    requant = request.plain.fields["requant"]
    folded, limits = requant["rounding"] == "TQ_ROUND_FOLDED", (requant["lo"], requant["hi"])
    least = int(requant["shift"].values.min())
    if folded and limits == (0, 255) and largest_sum(request.proof) >> least <= INT16_MAX:
        return {"pass": "tq_dsp_pass_u8"}
    if folded and limits == (-128, 127):
        return {"pass": "tq_dsp_pass_s8"}
    if limits == (-128, 127) and least >= 2:
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


def find_windows(op: Conv2D, shape: tuple[int, ...]) -> Windows:
    """The tile's layout for one convolution."""
    (kh, kw), channels = op.kernel, shape[2]
    if (kh, kw) == (1, 1) and not any(op.padding):
        return Windows(True, True, 1, channels, op.strides, channels + channels % 2)
    return Windows(False, channels % 4 == 0, kh, kw * channels, op.strides, channels)


def find_job(windows: Windows, weights: Weights, out: tuple[int, int], keeps_sums: bool) -> Job:
    """Whether short segments are worth copying together follows from the number of blocks."""
    bits, blocks = ENCODINGS[weights.encoding].bits, -(-weights.shape[0] // BLOCK)
    gathers = windows.segments > 1 and copying(windows) < blocks * (windows.segments - 1) * SEGMENT
    return Job(windows, out, blocks, 2 * 4**bits if bits < 8 else 0, gathers, keeps_sums)


def copying(windows: Windows) -> float:
    """Instructions that put the segments of two windows side by side."""
    return 2 * windows.segments * (9 if windows.words == 2 else 8 + COPY * windows.words)


def find_tiling(job: Job, budget: int) -> Tiling | None:
    """The smallest of nearly the cheapest tilings in ``budget`` bytes, else the smallest of all."""
    found = [
        (cost(job, tiling), tiling)
        for rows in range(1, job.out[0] + 1)
        for cols in sorted({-(-job.out[1] // parts) for parts in range(1, job.out[1] + 1)})
        for tiling in [place(job, rows, cols, budget)]
    ]
    fitting = [item for item in found if item[1].size <= budget]
    if not fitting:
        smallest = min((tiling for _, tiling in found), key=lambda tiling: tiling.size)
        return smallest if smallest.size <= MOST_SCRATCH else None
    enough = min(fitting, key=lambda item: item[0])[0] * NEARLY
    return min((t for c, t in fitting if c <= enough), key=lambda tiling: tiling.size)


def place(job: Job, rows: int, cols: int, budget: int) -> Tiling:
    """A tile of this size, and groups as large as ``budget`` lets them be, but even.

    The table overlays the tile where that is filled after it was used.
    """
    windows, whole = job.windows, (rows, cols) == job.out
    tile = max(windows.tile_bytes(rows, cols), job.table_bytes)
    sums = tile + (windows.block_bytes if job.gathers else 0)  # two windows, 4 bytes a word
    weights = sums + (32 * min(CHUNK, job.blocks) if job.keeps_sums else 0)
    if not job.packed:
        return Tiling(rows, cols, job.blocks, tile, sums, 0, weights, weights)
    table, start = 0, weights
    fitting = max((budget - start) // windows.block_bytes, 1)
    if whole and fitting < job.blocks:
        table, start = weights, weights + job.table_bytes
        fitting = max((budget - start) // windows.block_bytes, 1)
    group = even(job.blocks, fitting)
    size = start + group * windows.block_bytes
    return Tiling(rows, cols, group, tile, sums, table, start, size)


def even(blocks: int, most: int) -> int:
    """Blocks of a group of at most ``most``, all groups alike if possible."""
    groups = -(-blocks // min(most, blocks))
    return -(-blocks // groups)


def cost(job: Job, tiling: Tiling) -> float:
    """Estimate of instructions, as far as they depend on the tiling or compare with what does."""
    windows, (height, width) = job.windows, job.out
    groups = -(-job.blocks // tiling.group)
    spans = [
        [min(size, whole - start) for start in range(0, whole, size)]
        for size, whole in ((tiling.rows, height), (tiling.cols, width))
    ]
    tiles = len(spans[0]) * len(spans[1])
    widened = sum(map(windows.lines, spans[0])) * sum(map(windows.pitch, spans[1]))
    pairs = sum(-(-rows * cols // 2) for rows in spans[0] for cols in spans[1])
    taps = windows.segments * windows.words
    each = PAIR * groups + job.blocks * (BLOCK_END + TAPS * taps)
    each += copying(windows) * groups if job.gathers else 0.0
    fills = (WIDEN * widened + TILE * tiles) * (groups if tiles > 1 else 1)
    expanding = groups * 2 * job.table_bytes if job.packed else 0
    return fills + pairs * each + expanding


def shapes_fields(request: Request) -> dict[str, Any]:
    """Shapes and kernel."""
    return {
        "input": shape_fields(request.ins[0].shape),
        "output": shape_fields(request.out.shape),
        "kernel": request.plain.fields["kernel"],
    }


def tile_fields(job: Job, tiling: Tiling, signed: bool) -> dict[str, Any]:
    """What the schedule goes by."""
    windows = job.windows
    kind = "pixels" if windows.pixels else "rows4" if windows.four else "rows"
    pitch = windows.pitch(tiling.cols)
    return {
        "fill": f"tq_dsp_fill_{kind}_{'s8' if signed else 'u8'}",
        "tile_rows": tiling.rows,
        "tile_cols": tiling.cols,
        "row_pitch": pitch,
        "col_step": windows.col_step,
        "row_step": pitch * (1 if windows.pixels else windows.strides[0]),
        "segments": windows.segments,
        "words": windows.words,
        "group": tiling.group,
        "gathers": int(job.gathers),
        "at_windows": tiling.windows,
        "at_sums": tiling.sums,
        "at_table": tiling.table,
        "at_weights": tiling.weights,
    }
