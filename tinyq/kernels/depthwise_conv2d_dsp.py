# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution on cores with the DSP extension: each channel as an image of its own.

Channels are spread into planes of 16-bit numbers in scratch memory, side by side in rows of 256
bytes; two products an instruction then.  Weights stay packed in flash.  Channel multipliers and
images wider than a row are left to the portable kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.lanes_dsp import nibble_images
from tinyq.kernels.request import Request
from tinyq.numerics import INT16_MAX, INT32_MAX, rounding_constant
from tinyq.ops import DepthwiseConv2D
from tinyq.ops.clayer import (
    CLayer,
    CStruct,
    CTable,
    kernel_fields,
    shape_fields,
    type_suffix,
)
from tinyq.tensors import Shape

#: bytes and elements of a row of the planes (TQ_PLANE_ROW_BYTES)
ROW_BYTES: Final = 256
ROW: Final = ROW_BYTES // 2
#: bytes of scratch memory for planes, unless one output row needs more; in place as much as a
#: second tensor would take, if that is more
BUDGET: Final = 5120
#: of that, for weights
RESERVE: Final = 1024
#: read behind the last plane
SLACK: Final = 8
#: the shift of all channels, where weights can be moved up to it (TQ_PLANE_SHIFT)
FOLD_SHIFT: Final = 12


@dataclass(frozen=True)
class Planes:
    """How channels lie in scratch memory.

    Attributes:
        width: elements of a row of a plane, even.
        count: planes side by side.
        band: output rows at a time.
        rows: rows of the planes.
    """

    width: int
    count: int
    band: int
    rows: int


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension, multiplier 1, rows that fit."""
    op = request.node.op
    if not request.core.dsp or not isinstance(op, DepthwiseConv2D) or op.multiplier != 1:
        return None
    planes = lay_out(op, request.ins[0].shape, request.out.shape)
    if planes is None:
        return None
    plain, (height, width) = request.plain, op.kernel
    per_row = 2 if specialised(op) else (width + 1) // 2
    words, bits = per_row * height, ENCODINGS[op.quantized.encoding].bits
    fields = {
        "weights": plain.fields["weights"] | images_of_nibbles(op.quantized),
        "requant": plain.fields["requant"],
        "unpack": "0" if bits in (4, 8) else plain.fields["unpack"],
        "run": f"tq_run_plane_{specialised(op) or 'any'}",
        "spreading": f"&tq_spreading_{type_suffix(request.ins[0])}",
        "input": shape_fields(request.ins[0].shape),
        "output": shape_fields(request.out.shape),
        "kernel": kernel_fields(op.kernel, op.strides, op.padding),
        "plane_width": planes.width,
        "planes": planes.count,
        "band": planes.band,
        "weight_words": words,
        "bits": bits,
        "fold_from": fold_from(request, op),
    }
    scratch = planes.rows * ROW_BYTES + SLACK + 4 * planes.count * words + height * width + 1
    in_place = (0,) if runs_in_place(op, request.ins[0].shape, request.out.shape) else ()
    return CLayer("depthwise_conv2d_dsp", fields, plain.detail, scratch=scratch, in_place=in_place)


def images_of_nibbles(weights: Weights) -> CStruct:
    """The table of a 4-bit encoding that has none of its own."""
    if ENCODINGS[weights.encoding].bits != 4 or weights.table is not None:
        return {}
    return {"table": CTable("images", nibble_images(weights))}


def runs_in_place(op: DepthwiseConv2D, shape: Shape, out: Shape) -> bool:
    """Every row is read before the output replaces it."""
    return shape == out and op.strides == (1, 1)


def specialised(op: DepthwiseConv2D) -> str:
    """Last part of the name of the function for this window; empty: there is none."""
    strides = {(1, 1): "3x3", (2, 2): "3x3_stride2"}
    return strides.get(op.strides, "") if op.kernel == (3, 3) else ""


def lay_out(op: DepthwiseConv2D, shape: Shape, out: Shape) -> Planes | None:
    """The planes; ``None`` where a row does not fit."""
    read = (out[1] - 1) * op.strides[1] + op.kernel[1]
    width = max(read, op.padding[2] + shape[1])
    width += width % 2
    if width > ROW:
        return None
    count = min(ROW // width, shape[2])
    stride, height = op.strides[0], op.kernel[0]
    budget = max(BUDGET, int(np.prod(out)) - RESERVE) if runs_in_place(op, shape, out) else BUDGET
    band = (budget // ROW_BYTES - height) // stride + 1
    band = min(max(band, 1), out[0])
    return Planes(width, count, band, (band - 1) * stride + height)


def fold_from(request: Request, op: DepthwiseConv2D) -> int:
    """Smallest shift from which all channels can be moved up to ``FOLD_SHIFT``; above it: none."""
    if request.plain.fields["requant"]["rounding"] != "TQ_ROUND_FOLDED":
        return FOLD_SHIFT + 1
    n = op.shifts(request.ins, request.out)
    bits = np.maximum(FOLD_SHIFT - n, 0)
    image = np.abs(op.quantized.image().astype(np.int64)).reshape(len(n), -1).max(1)
    bounds = op.accumulator_bounds(request.intervals[0])
    reach = np.maximum(bounds.partial_hi, -bounds.partial_lo) + rounding_constant(n, op.rounding)
    fits = ((image << bits) <= INT16_MAX) & ((reach << bits) <= INT32_MAX)
    return 0 if fits.all() else min(int(n[~fits].max()), FOLD_SHIFT) + 1
