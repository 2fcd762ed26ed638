# SPDX-License-Identifier: Apache-2.0
"""Convolution on the Cortex-M0: weights expanded to words, in lanes where that is faster.

A word of *lanes* holds the weights of two output channels, w0 + w1 * 2**16, so that one
multiplication by an activation serves both.  The sum of such products is S0 + S1 * 2**16 modulo
2**32 and can be told apart where S0 and S1 lie within 16 bits: over a *part* of the kernel that is
short enough.  The bounds are those of the actual weights, S0 and S1 are centred by what they start
from, and every part is added to 32-bit sums.  No training for narrow accumulators is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    greedy,
    image_fields,
    lane_words,
    pack,
    requant_fields,
    stream_table,
    to_blocks,
)
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.base import product_range
from tinyq.ops.clayer import CLayer, CTable, type_suffix

#: bytes of scratch memory: expanded weights of a part; sums of several rows, of a wide one
WORDS_BYTES: Final = 4096
SUMS_BYTES: Final = 3072
MAX_SUMS_BYTES: Final = 8192
TAP_BYTES: Final = 16
MAX_TAPS: Final = WORDS_BYTES // TAP_BYTES
#: fewer output pixels do not pay for the expansion
MIN_PIXELS: Final = 2
#: parts are counted in a byte
MAX_PARTS: Final = 255
#: output channels at a time
PLAIN_BLOCK: Final = 4
LANES_BLOCK: Final = 8
#: instructions of a tap of four words
TAP_COST: Final = 10.3
#: of a part in a window, and of all windows of a row
PART_COST: Final = {PLAIN_BLOCK: 40, LANES_BLOCK: 75}
RUN_COST: Final = 300
#: of a window's requantization: from registers, from sums in memory
WHOLE_COST: Final = {PLAIN_BLOCK: 75, LANES_BLOCK: 140}
SUMS_COST: Final = {PLAIN_BLOCK: 60, LANES_BLOCK: 110}
#: instructions of a row of a window, of gathering a tap
ROW_COST: Final = 14
GATHER_COST: Final = 14
#: bytes of gathered windows
GATHER_BYTES: Final = 3072
FLIP: Final = 128


@dataclass(frozen=True)
class Box:
    """Taps of a kernel ``[KH, KW, I]``: half-open ranges."""

    rows: tuple[int, int]
    cols: tuple[int, int]
    channels: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, ...]:
        """To index ``[O, KH, KW, I]``."""
        return (slice(None), slice(*self.rows), slice(*self.cols), slice(*self.channels))

    @property
    def taps(self) -> int:
        """How many."""
        ranges = (self.rows, self.cols, self.channels)
        return int(np.prod([end - begin for begin, end in ranges]))

    @property
    def numbers(self) -> list[int]:
        """The first six fields of a ``tq_part_m0``."""
        ranges = (self.rows, self.cols, self.channels)
        return [n for begin, end in ranges for n in (begin, end - begin)]


#: whether taps may be one part
Admits = Callable[[Box], bool]


def split(shape: tuple[int, ...], admits: Admits) -> list[Box]:
    """The kernel ``[KH, KW, I]`` as few boxes, of whole rows where possible, else columns."""
    height, width, channels = shape
    boxes: list[Box] = []

    def rows(begin: int, end: int) -> Box:
        return Box((begin, end), (0, width), (0, channels))

    for begin, end in greedy(height, lambda a, b: admits(rows(a, b))):
        if admits(rows(begin, end)):
            boxes.append(rows(begin, end))
        else:
            boxes.extend(_split_row((begin, end), width, channels, admits))
    return boxes


def _split_row(row: tuple[int, int], width: int, channels: int, admits: Admits) -> Iterator[Box]:
    def cols(begin: int, end: int) -> Box:
        return Box(row, (begin, end), (0, channels))

    def some(col: tuple[int, int]) -> Callable[[int, int], bool]:
        return lambda a, b: admits(Box(row, col, (a, b)))

    for col in greedy(width, lambda a, b: admits(cols(a, b))):
        if admits(cols(*col)):
            yield cols(*col)
        else:
            yield from (Box(row, col, part) for part in greedy(channels, some(col)))


def _product_bounds(request: Request, op: Conv2D) -> tuple[Int64Array, Int64Array]:
    """Smallest and largest value of every product, ``[O, KH, KW, I]``; 0 where it is clipped."""
    x = request.intervals[0].with_zero()
    return product_range(op.quantized.image().astype(np.int64), x.lo, x.hi)


def _box_bounds(bounds: tuple[Int64Array, Int64Array], box: Box) -> tuple[Int64Array, Int64Array]:
    lo, hi = (b[box.slices].sum((1, 2, 3)) for b in bounds)
    return lo, hi


@dataclass(frozen=True, eq=False)
class Scheme:
    """How a layer is computed.

    Attributes:
        boxes: its parts.
        block: output channels at a time.
        centres: ``[parts, O]`` what lanes start from; ``None``: plain words.
    """

    boxes: list[Box]
    block: int
    centres: Int64Array | None

    def cost(self, outputs: int, width: int) -> float:
        """Instructions per output pixel, roughly, in rows of ``width`` pixels."""
        taps, parts = sum(box.taps for box in self.boxes), len(self.boxes)
        block = TAP_COST * taps + WHOLE_COST[self.block] + RUN_COST / width
        if parts > 1:
            part = PART_COST[self.block] + RUN_COST / width
            block = TAP_COST * taps + SUMS_COST[self.block] + part * parts
        return -(-outputs // self.block) * block


def plain_scheme(op: Conv2D) -> Scheme:
    """One channel a word; parts as large as the scratch memory admits."""
    shape = op.weights.shape[1:]
    return Scheme(split(shape, lambda box: box.taps <= MAX_TAPS), PLAIN_BLOCK, None)


def lanes_scheme(request: Request, op: Conv2D) -> Scheme:
    """Two channels a word; parts as large as 16 bits admit.  Two taps always fit."""
    bounds = _product_bounds(request, op)

    def admits(box: Box) -> bool:
        if box.taps > MAX_TAPS:
            return False
        lo, hi = _box_bounds(bounds, box)
        return int((hi - lo).max()) <= LANE_RANGE

    boxes = split(op.weights.shape[1:], admits)
    lows = np.array([_box_bounds(bounds, box)[0] for box in boxes])
    highs = np.array([_box_bounds(bounds, box)[1] for box in boxes])
    return Scheme(boxes, LANES_BLOCK, centres(lows, highs))


def choose_scheme(request: Request, op: Conv2D) -> Scheme:
    """The faster one."""
    plain, lanes = plain_scheme(op), lanes_scheme(request, op)
    size = op.weights.shape[0], request.out.shape[1]
    use_lanes = len(lanes.boxes) <= MAX_PARTS and lanes.cost(*size) < plain.cost(*size)
    return lanes if use_lanes else plain


def choose(request: Request) -> CLayer | None:
    """Any convolution with several output pixels, all encodings; core m0."""
    op = request.node.op
    if not isinstance(op, Conv2D) or not fits(request, op):
        return None
    height, width, _ = request.out.shape
    if height * width < MIN_PIXELS or 4 * LANES_BLOCK * width > MAX_SUMS_BYTES:
        return None
    scheme = choose_scheme(request, op)
    return None if len(scheme.boxes) > MAX_PARTS else layer_of(request, op, scheme)


def is_whole(request: Request, scheme: Scheme) -> bool:
    """Whether a window is finished in one go: a single part, rounding folded into the bias."""
    rounding = request.plain.fields["requant"]["rounding"]
    return len(scheme.boxes) == 1 and bool(rounding == "TQ_ROUND_FOLDED")


def gathers(request: Request, op: Conv2D, scheme: Scheme) -> bool:
    """Whether windows are gathered: for a kernel of many short rows, or of signed activations.

    It saves the ends of rows, and an instruction per signed tap, for every block of channels.
    """
    outputs, height, *_ = op.weights.shape
    taps = sum(box.taps for box in scheme.boxes)
    fitting = len(scheme.boxes) == 1 and taps * request.out.shape[1] <= GATHER_BYTES
    saved = (height - 1) * ROW_COST + taps * request.ins[0].signed
    return fitting and -(-outputs // scheme.block) * saved > GATHER_COST * taps


@dataclass(frozen=True)
class Tile:
    """Scratch memory of a tile of output rows, in bytes.

    Attributes:
        rows: how many output rows.
        sums: of its pixels; 0 where windows are finished in one go.
        windows: gathered.
    """

    rows: int
    sums: int
    windows: int


def _tile(request: Request, op: Conv2D, scheme: Scheme) -> Tile:
    height, width, channels = request.out.shape
    has_sums = not is_whole(request, scheme) or channels % scheme.block != 0
    sums = 4 * scheme.block * width * has_sums
    windows = scheme.boxes[0].taps * width * gathers(request, op, scheme)
    limits = [height]
    limits += [max(SUMS_BYTES // sums, 1)] if sums else []
    limits += [GATHER_BYTES // windows] if windows else []
    # Tiles of one size, as far as possible.
    rows = -(-height // -(-height // min(limits)))
    return Tile(rows, rows * sums, rows * windows)


def layer_of(request: Request, op: Conv2D, scheme: Scheme) -> CLayer:
    """A layer's C form in the given scheme."""
    tile = _tile(request, op, scheme)
    bits = ENCODINGS[op.quantized.encoding].bits
    kind = "" if scheme.centres is None else "lanes_"
    flip = FLIP if tile.windows and request.ins[0].signed else 0
    end = kind + ("u8" if flip else type_suffix(request.ins[0]))
    words = 4 * max(box.taps for box in scheme.boxes)
    outputs = op.weights.shape[0]
    padded = -(-outputs // scheme.block) * scheme.block
    lift = flip * op.quantized.image().astype(np.int64).reshape(outputs, -1).sum(1)
    less = lift if scheme.centres is None else scheme.centres.sum(0)
    offset = PAIRS_BYTES * (bits == 4) + 4 * words + tile.sums
    fields = {
        **_codes_fields(op, scheme, bits),
        **image_fields(op.quantized),
        **_lanes_fields(scheme, lift),
        "expand": f"tq_expand_m0_{kind}{bits}",
        "dot": f"tq_dot_m0_{end}",
        **({"whole": f"tq_whole_m0_{end}"} if is_whole(request, scheme) else {}),
        "requant": requant_fields(request, op, less, padded),
        **{name: request.plain.fields[name] for name in ("input", "output", "kernel")},
        "tile_rows": tile.rows,
        "word_count": words,
        "windows_offset": offset,
        "gathered": words // 4 if tile.windows else 0,
        "part_count": len(scheme.boxes),
        "block": scheme.block,
        "has_pairs": int(bits == 4),
        "flip": flip,
    }
    scratch = -(-(offset + tile.windows) // 4) * 4
    return CLayer("conv2d_m0", fields, request.plain.detail, scratch=scratch)


def _codes_fields(op: Conv2D, scheme: Scheme, bits: int) -> dict[str, CTable]:
    codes = op.quantized.codes
    boxes = [codes[box.slices].reshape(len(codes), -1) for box in scheme.boxes]
    blocked = [to_blocks(box, scheme.block) for box in boxes]
    count = len(blocked[0])
    parts = [pack(box[block], bits) for block in range(count) for box in blocked]
    sizes = [len(part) for part in parts[: len(boxes)]]
    described = zip(scheme.boxes, sizes, strict=True)
    numbers = [n for box, size in described for n in (*box.numbers, size)]
    return {
        "codes": stream_table(parts),
        "parts": CTable("parts", np.array(numbers, np.uint16)),
    }


def _lanes_fields(scheme: Scheme, lift: Int64Array) -> dict[str, CTable]:
    if scheme.centres is None:
        return {}
    words = lane_words(scheme.centres - lift, scheme.block, np.arange(scheme.block))
    return {"lanes": CTable("lanes", words)}
