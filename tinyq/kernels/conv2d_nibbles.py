# SPDX-License-Identifier: Apache-2.0
"""Convolution of 4-bit weights and activations: four products in one SMLAD (DSP extension).

A 16-bit lane holds the same element of two output pixels' windows, ``u + 2**12 s`` with u in 0..15
and s in -8..7; a word holds two elements.  Products of the lower pixel stay within 12 bits for the
length of a segment, the upper pixel has the 20 bits above.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyq.kernels import four_bits
from tinyq.kernels.four_bits import BLOCK, WORD, Schedule
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer, CTable

#: magnitudes of the sums of a lane's lower and upper pixel; positive ones stay 1 below
LOWER, UPPER = 2048, 1 << 18
#: what is added to a signed code, or taken from an unsigned one, to change its type
OFFSET = 8
#: pixels, and elements of a window, that are packed together
GROUP = 4
#: steps of the unrolled loop, of two elements each
UNIT = 4


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension: any window; at least two output pixels."""
    image, op = four_bits.four_bit_image(request), request.node.op
    if image is None or not isinstance(op, Conv2D) or int(np.prod(request.out.shape[:2])) < 2:
        return None
    schedule = _schedule(request, image)
    if schedule is None:
        return None
    tile, scratch = _tile(request, op, schedule.steps)
    fields = {
        "codes": CTable("codes", pack_weights(image)),
        "offsets": CTable("offsets", OFFSET * image.sum((1, 2, 3)).astype(np.int32)),
        "segments": CTable("segments", schedule.segments),
        "requant": request.plain.fields["requant"],
        **{name: request.plain.fields[name] for name in ("input", "output", "kernel")},
        "steps": schedule.steps,
        "tile": tile,
        "is_signed": int(request.ins[0].signed),
    }
    return CLayer("conv2d_nibbles", fields, request.plain.detail, scratch=scratch)


def _steps(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``[N, KH, elements]`` in the order of the steps, ``[N, KH * elements / 2, 2]``."""
    padded = four_bits.pad_axis(rows, 2, GROUP)
    return padded.reshape(len(rows), -1, 2, 2).transpose(0, 1, 3, 2).reshape(len(rows), -1, 2)


def _rows(image: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return image.reshape(*image.shape[:2], -1)


def _schedule(request: Request, image: npt.NDArray[np.int64]) -> Schedule | None:
    steps = four_bits.pad_axis(_steps(_rows(image)), 1, UNIT)
    x = four_bits.input_interval(request)
    shape = (1, *image.shape[1:])
    least, greatest = (_steps(_rows(np.broadcast_to(v, shape)))[0] for v in (x.lo, x.hi))
    least, greatest = (four_bits.pad_axis(v, 0, UNIT) for v in (least, greatest))
    up, down = (OFFSET, 0) if request.ins[0].signed else (0, OFFSET)
    lower = four_bits.product_lane(
        steps, np.minimum(least + up, 0), greatest + up, LOWER - 1, LOWER
    )
    upper = four_bits.product_lane(
        steps, least - down, np.maximum(greatest - down, 0), UPPER - 1, UPPER
    )
    if max(upper.top.sum(1).max(), upper.bottom.sum(1).max()) >= UPPER:
        return None
    return four_bits.schedule_segments([lower], UNIT)


def pack_weights(image: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Per 4 output channels and 2 steps 2 words: codes + 8 of element 0 (1), then of 2 (3)."""
    steps = _steps(_rows(four_bits.pad_axis(image, 0, BLOCK))) + OFFSET
    blocks = steps.reshape(len(steps) // BLOCK, BLOCK, -1, 2).transpose(0, 2, 3, 1)
    return four_bits.pack_nibbles(blocks.reshape(-1, 2 * BLOCK))


def _tile(request: Request, op: Conv2D, steps: int) -> tuple[int, int]:
    """Groups that are computed together, and bytes of scratch (tinyq/conv2d_nibbles.h)."""
    height, width, _ = request.out.shape
    row = op.kernel[1] * request.ins[0].shape[2]
    fixed = WORD * BLOCK * steps + GROUP * row
    each = WORD * (2 * steps + GROUP * BLOCK)
    groups = -(-height * width // GROUP)
    tile = four_bits.choose_tile(fixed, each, groups, four_bits.scratch_budget(request))
    return tile, fixed + tile * each
