# SPDX-License-Identifier: Apache-2.0
"""3x3 convolution of 4-bit weights and activations: nine products in one SMLAL (DSP extension).

Three pixels of a row and three taps of a kernel's row are polynomials in L = 2**13; their product's
five coefficients are sums for five neighbouring outputs, in lanes of 13 bits (12 for the topmost).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyq.kernels import four_bits
from tinyq.kernels.four_bits import BLOCK, WORD, Schedule
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer, CTable

#: magnitude of a lane's negative sums; positive ones stay 1 below
LANE, TOP_LANE = 4096, 2048
#: steps of the unrolled loop
UNIT = 6


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension: 3x3, strides of 1."""
    image, op = four_bits.four_bit_image(request), request.node.op
    if image is None or not isinstance(op, Conv2D):
        return None
    if op.kernel != (3, 3) or op.strides != (1, 1):
        return None
    schedule = _schedule(request, image)
    if schedule is None:
        return None
    tile, scratch = _tile(request, op, schedule)
    fields = {
        "codes": CTable("codes", pack_weights(image)),
        "segments": CTable("segments", schedule.segments),
        "requant": request.plain.fields["requant"],
        **{name: request.plain.fields[name] for name in ("input", "output", "kernel")},
        "steps": schedule.steps,
        "most_segments": schedule.most,
        "tile": tile,
        "is_signed": int(request.ins[0].signed),
    }
    return CLayer("conv2d_smlal", fields, request.plain.detail, scratch=scratch)


def _steps(image: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Weights by step ``[O, KH * I, KW]``."""
    return image.transpose(0, 1, 3, 2).reshape(len(image), -1, 3)


def _schedule(request: Request, image: npt.NDArray[np.int64]) -> Schedule | None:
    steps = four_bits.pad_axis(_steps(image), 1, UNIT)
    x = four_bits.input_interval(request)
    least, greatest = (four_bits.pad_axis(np.tile(v, 3), 0, UNIT)[:, None] for v in (x.lo, x.hi))
    lanes = [
        four_bits.product_lane(steps, least, greatest, LANE - 1, LANE),
        four_bits.product_lane(steps[:, :, :1], least, greatest, TOP_LANE - 1, TOP_LANE),
    ]
    return four_bits.schedule_segments(lanes, UNIT)


def pack_weights(image: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Per 4 output channels and 2 steps 3 words: the kernel's columns 2, 1, 0, 8 codes each."""
    steps = four_bits.pad_axis(four_bits.pad_axis(_steps(image), 0, BLOCK), 1, 2)
    grouped = steps.reshape(len(steps) // BLOCK, BLOCK, -1, 2, 3)
    ordered = grouped[..., ::-1].transpose(0, 2, 4, 3, 1)  # block, pair, column, step, channel
    return four_bits.pack_nibbles(ordered.reshape(-1, 2 * BLOCK))


def _tile(request: Request, op: Conv2D, schedule: Schedule) -> tuple[int, int]:
    """Rows that are computed together, and bytes of scratch (tinyq/conv2d_smlal.h)."""
    (height, width, _), channels = request.out.shape, request.ins[0].shape[2]
    words = -(-(width + (1 if op.padding[2] > 0 else 2)) // 3)
    row = WORD * words * channels
    blocks = schedule.steps + 3 * words + schedule.most  # weights, sums, carries
    fixed = WORD * BLOCK * blocks + channels + 2 * row
    rows = four_bits.choose_tile(fixed, row, height, four_bits.scratch_budget(request))
    return rows, fixed + rows * row
