# SPDX-License-Identifier: Apache-2.0
"""Average pooling in Helium vectors: sums of eight channels in 16-bit lanes."""

from __future__ import annotations

from typing import Final

from tinyq.kernels.request import Request
from tinyq.ops import AveragePool2D
from tinyq.ops.clayer import CLayer

#: TQ_MVE_POOL_MAX of average_pool2d_mve.h: bytes that 16 bits can add up
MAX_ELEMENTS: Final = 257


def choose(request: Request) -> CLayer | None:
    """For cores with Helium, windows of up to 257 elements."""
    op = request.node.op
    if not request.core.mve or not isinstance(op, AveragePool2D):
        return None
    if op.pool[0] * op.pool[1] > MAX_ELEMENTS:
        return None
    return CLayer("average_pool2d_mve", request.plain.fields, request.plain.detail)
