# SPDX-License-Identifier: Apache-2.0
"""Max pooling on cores with the DSP extension: USUB8 or SSUB8 compares four channels, SEL takes."""

from __future__ import annotations

from tinyq.kernels.pool_dsp import pool_layer
from tinyq.kernels.request import Request
from tinyq.ops import MaxPool2D
from tinyq.ops.clayer import CLayer


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension, 4 channels or more, any window."""
    if not isinstance(request.node.op, MaxPool2D):
        return None
    return pool_layer(request, "max_pool2d_dsp", "max_window")
