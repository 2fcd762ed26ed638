# SPDX-License-Identifier: Apache-2.0
"""What the kernels for 4-bit weights and 4-bit activations share: lanes, segments, scratch.

Several sums travel side by side in one accumulator, each in a lane of a few bits.  Lanes hold the
sum of a part of the window only; the exporter cuts the window's steps into *segments*, after each
of which the lanes are emptied into 32-bit sums.  The bounds follow from the actual weights and the
proved intervals of the input:

    sum over the segment of max(0, w x) <= upper,   sum of min(0, w x) >= -lower

for every x of the interval, 0 included (padding).  A lane may hold any subset of a segment's
products, so that these bounds cover every lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import MAX_UINT16
from tinyq.tensors import Interval, full_interval

Bounds = npt.NDArray[np.int64]

#: what an image of 4 bits holds
LEAST, GREATEST = -8, 7
#: output channels that are computed together
BLOCK: Final = 4
WORD: Final = 4
#: bytes of scratch that a layer may always take
SCRATCH: Final = 5120
#: and that it takes at most where the rest of the model leaves room
SCRATCH_MAX: Final = 12800


@dataclass(frozen=True)
class Lane:
    """Sums of some of a step's products, and what they may reach.

    Attributes:
        top, bottom: ``[O, steps]``, of every step the sums of positive and of negative products.
        upper, lower: magnitudes that a segment's sums must not exceed.
    """

    top: Bounds
    bottom: Bounds
    upper: int
    lower: int


def four_bit_image(request: Request) -> npt.NDArray[np.int64] | None:
    """A convolution's weights ``[O, KH, KW, I]`` and its activations fit 4 bits, else ``None``."""
    op = request.node.op
    if not isinstance(op, Conv2D) or request.proof is None or not request.core.dsp:
        return None
    x, image = request.ins[0], op.quantized.image().astype(np.int64)
    fits = x.bits <= 4 and image.min() >= LEAST and image.max() <= GREATEST
    return image if fits else None


def input_interval(request: Request) -> Interval:
    """Bounds of the input's codes, 0 included."""
    known = request.intervals[0] if request.intervals else full_interval(request.ins[0])
    return known.with_zero()


def product_lane(weights: Bounds, least: Bounds, greatest: Bounds, upper: int, lower: int) -> Lane:
    """The lane of all products of ``weights`` ``[O, steps, products]`` with x in least..greatest.

    Args:
        least, greatest: ``[steps, products]``; least <= 0 <= greatest.
    """
    ends = weights * least, weights * greatest
    top = np.maximum(np.maximum(*ends), 0).sum(2)
    bottom = np.maximum(np.maximum(-ends[0], -ends[1]), 0).sum(2)
    return Lane(top, bottom, upper, lower)


@dataclass(frozen=True)
class Schedule:
    """Segments of all blocks of channels.

    Attributes:
        segments: steps of each segment, block after block.
        steps: of all segments of a block.
        most: segments of the block that has most of them.
    """

    segments: npt.NDArray[np.uint16]
    steps: int
    most: int


def schedule_segments(lanes: Sequence[Lane], unit: int) -> Schedule | None:
    """As few segments as possible for each block of ``BLOCK`` channels.

    Args:
        lanes: with a multiple of ``unit`` steps; segments are multiples of it, too.

    Returns:
        ``None`` where not even one unit fits.
    """
    channels, steps = lanes[0].top.shape
    blocks = [_cut(lanes, unit, slice(i, i + BLOCK)) for i in range(0, channels, BLOCK)]
    if steps > MAX_UINT16 or not all(blocks):
        return None
    segments = np.array([length for block in blocks for length in block], np.uint16)
    return Schedule(segments, steps, max(map(len, blocks)))


def _cut(lanes: Sequence[Lane], unit: int, block: slice) -> list[int]:
    """Segments of a block; none where a unit exceeds a lane."""
    sides = [(_unit_sums(v[block], unit), most) for lane in lanes for v, most in _sides(lane)]
    load = np.concatenate([sums for sums, _ in sides])
    limit = np.repeat([most for _, most in sides], len(sides[0][0]))
    lengths, used = [0], np.zeros(len(load), np.int64)
    for column in load.T:
        if (column > limit).any():
            return []
        if (used + column > limit).any():
            lengths.append(0)
            used = np.zeros_like(used)
        used = used + column
        lengths[-1] += unit
    return lengths


def _sides(lane: Lane) -> tuple[tuple[Bounds, int], tuple[Bounds, int]]:
    return (lane.top, lane.upper), (lane.bottom, lane.lower)


def _unit_sums(steps: Bounds, unit: int) -> Bounds:
    sums: Bounds = steps.reshape(len(steps), -1, unit).sum(2)
    return sums


def pad_axis(values: npt.NDArray[Any], axis: int, multiple: int) -> npt.NDArray[Any]:
    """Zeros appended until the axis is a multiple."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, -values.shape[axis] % multiple)
    return np.pad(values, widths)


def pack_nibbles(codes: Bounds) -> npt.NDArray[np.uint32]:
    """Words of 8 codes (last axis), the first in the lowest bits; two's complement or not."""
    shifts = 4 * np.arange(8, dtype=np.uint64)
    nibbles = (codes & 15).astype(np.uint64)
    words: npt.NDArray[np.uint32] = (nibbles << shifts).sum(-1).astype(np.uint32)
    return words


def scratch_budget(request: Request) -> int:
    """Bytes of scratch that do not make the model's memory larger, within limits."""
    live = _live_bytes(request)
    spare = max(live) - live[request.graph.nodes.index(request.node)]
    return min(max(SCRATCH, spare), SCRATCH_MAX)


def _live_bytes(request: Request) -> list[int]:
    """Of every node: its tensors, and those that exist before it and are read after it."""
    graph = request.graph
    born = dict.fromkeys(graph.inputs, -1) | {n.output: i for i, n in enumerate(graph.nodes)}
    read = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    last = {name: max(read.get(name, 0), born[name]) for name in born}
    return [
        sum(graph.tensors[name].size for name in born if born[name] <= i <= last[name])
        for i in range(len(graph.nodes))
    ]


def choose_tile(fixed: int, each: int, count: int, budget: int) -> int:
    """Parts of an image that are computed together: equal ones, at least one.

    Args:
        fixed, each: bytes of scratch, and those for each part.
        count: all parts.
    """
    most = max(1, min(count, (budget - fixed) // each))
    return -(-count // -(-count // most))
