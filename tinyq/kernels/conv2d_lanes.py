# SPDX-License-Identifier: Apache-2.0
"""Convolution, two output pixels in one word, where the proof admits 16-bit accumulators."""

from __future__ import annotations

from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer


def choose(request: Request) -> CLayer | None:
    """For any core with a multiplier: two output pixels, and a proof that 16 bits suffice."""
    op, proof = request.node.op, request.proof
    height, width, *_ = (*request.out.shape, 1)
    if not isinstance(op, Conv2D) or proof is None or not proof.fits_int16 or height * width < 2:
        return None
    if not request.core.multiplier and not request.forced:  # long factors: 2.5 times slower there
        return None
    fields = {
        **request.plain.fields,
        "dot": f"tq_dot_lanes_{op.quantized.encoding}",
        "is_signed": int(request.ins[0].signed),
    }
    return CLayer("conv2d_lanes", fields, request.plain.detail)
