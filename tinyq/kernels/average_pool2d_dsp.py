# SPDX-License-Identifier: Apache-2.0
"""Average pooling on cores with the DSP extension: UXTAB16 or SXTAB16 adds two channels.

A window's count divides by multiplication, with a reciprocal that is exact for every sum.
"""

from __future__ import annotations

from typing import Final

from tinyq.kernels.pool_dsp import pool_layer
from tinyq.kernels.request import Request
from tinyq.ops import AveragePool2D
from tinyq.ops.clayer import CLayer

#: TQ_DSP_POOL_MAX of average_pool2d_dsp.h: bytes that 16 bits can add up
MAX_ELEMENTS: Final = 257
#: additions from which it is chosen: 1.3 instructions less each, against 168 bytes more flash
LEAST_ADDITIONS: Final = 10_000


def choose(request: Request) -> CLayer | None:
    """For the DSP extension, 4 channels or more, windows of up to 257 elements, much to add."""
    op = request.node.op
    if not isinstance(op, AveragePool2D) or op.pool[0] * op.pool[1] > MAX_ELEMENTS:
        return None
    additions = request.out.size * op.pool[0] * op.pool[1]
    if additions < LEAST_ADDITIONS and not request.forced:
        return None
    return pool_layer(request, "average_pool2d_dsp", "mean_window")
