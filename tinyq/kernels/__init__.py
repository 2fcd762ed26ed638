# SPDX-License-Identifier: Apache-2.0
"""Which kernel runs a layer: the operator's own, or a faster one that core and proof admit.

A kernel is one file here, ``<stem>.py``, whose ``choose`` answers a ``Request`` with its C form, or
with ``None`` where it does not apply; ``tinyq/<stem>.h`` and ``src/<stem>.c`` in C; one test.
The first of ``KERNELS`` that answers is taken.  What the portable kernels cannot do, none can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tinyq.errors import InputError
from tinyq.kernels import (
    add_dsp,
    add_mve,
    average_pool2d_dsp,
    average_pool2d_mve,
    conv2d_buckets,
    conv2d_dsp,
    conv2d_dsp_add,
    conv2d_lanes,
    conv2d_m0,
    conv2d_mve,
    conv2d_mve_add,
    conv2d_nibbles,
    conv2d_pairs,
    conv2d_pot_code,
    conv2d_smlal,
    dense_dsp,
    dense_lut_dsp,
    dense_m0,
    dense_mve,
    dense_words,
    depthwise_conv2d_dsp,
    depthwise_conv2d_mve,
    depthwise_conv2d_planes,
    depthwise_m0,
    max_pool2d_dsp,
)
from tinyq.kernels.request import Choice, Request
from tinyq.ops.clayer import CLayer

__all__ = ["KERNELS", "Request", "choose_kernel"]

#: by stem; of each operator the best first
KERNELS: Final[Mapping[str, Choice]] = {
    "conv2d_mve_add": conv2d_mve_add.choose,
    "conv2d_mve": conv2d_mve.choose,
    "conv2d_smlal": conv2d_smlal.choose,
    "conv2d_nibbles": conv2d_nibbles.choose,
    "conv2d_pot_code": conv2d_pot_code.choose,
    "conv2d_buckets": conv2d_buckets.choose,
    "conv2d_dsp_add": conv2d_dsp_add.choose,
    "conv2d_dsp": conv2d_dsp.choose,
    "conv2d_m0": conv2d_m0.choose,
    "conv2d_pairs": conv2d_pairs.choose,
    "conv2d_lanes": conv2d_lanes.choose,
    "depthwise_conv2d_mve": depthwise_conv2d_mve.choose,
    "depthwise_conv2d_dsp": depthwise_conv2d_dsp.choose,
    "depthwise_m0": depthwise_m0.choose,
    "depthwise_conv2d_planes": depthwise_conv2d_planes.choose,
    "dense_mve": dense_mve.choose,
    "dense_dsp": dense_dsp.choose,
    "dense_lut_dsp": dense_lut_dsp.choose,
    "dense_m0": dense_m0.choose,
    "dense_words": dense_words.choose,
    "add_mve": add_mve.choose,
    "add_dsp": add_dsp.choose,
    "average_pool2d_mve": average_pool2d_mve.choose,
    "average_pool2d_dsp": average_pool2d_dsp.choose,
    "max_pool2d_dsp": max_pool2d_dsp.choose,
}


def choose_kernel(request: Request, wanted: str | None = None) -> CLayer:
    """The kernel of a layer.

    Args:
        wanted: stem of the kernel that it must be; ``None``: the best.

    Raises:
        InputError: the kernel wanted does not apply.
    """
    if wanted == request.plain.stem:
        return request.plain
    choices = KERNELS.values() if wanted is None else [KERNELS[k] for k in KERNELS if k == wanted]
    request = replace(request, forced=wanted is not None)
    found = (choose(request) for choose in choices)
    best = next((layer for layer in found if layer is not None), None)
    if best is None and wanted is not None:
        raise InputError(
            f"kernel '{wanted}' does not apply on {request.core.name}; "
            f"choose '{request.plain.stem}' or leave it out"
        )
    return request.plain if best is None else best
