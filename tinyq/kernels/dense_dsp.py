# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers on cores with the DSP extension: two or four channels in every lane.

int8: S_a and 256 * S_b + S_a from one word, exact where |S_b| < 2**23.  int4: four channels, the
highest shifted by 12 bits, exact where |S| < 2**19.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tinyq.kernels.lanes_dsp import blocks, byte_requant, half_unpacked, nibble_chains
from tinyq.kernels.request import Request
from tinyq.ops import Dense
from tinyq.ops.clayer import MAX_UINT16, CLayer, CTable, type_suffix

#: what every sum's magnitude must be below, by encoding
LIMITS: Final = {"int8": 1 << 23, "int4": 1 << 19}
#: channels of a word
CHANNELS: Final = {"int8": 2, "int4": 4}
BLOCK: Final = 8


def choose(request: Request) -> CLayer | None:
    """For cores with the DSP extension, int8 and int4 weights, sums within the limit."""
    op, proof = request.node.op, request.proof
    if not request.core.dsp or not isinstance(op, Dense) or proof is None:
        return None
    encoding = op.quantized.encoding
    if proof.magnitude >= LIMITS.get(encoding, 0) or request.ins[0].size > MAX_UINT16:
        return None
    layout = half_unpacked if encoding == "int8" else nibble_chains
    image = op.quantized.image()
    ordered = blocks(layout(image), BLOCK // CHANNELS[encoding])
    requant, in_blocks = byte_requant(request, op)
    suffix = f"dense_{encoding}_{type_suffix(request.ins[0])}"
    fields = {
        "weights": CTable("weights", np.concatenate(list(ordered))),
        "requant": requant,
        "sum": f"tq_sum_{suffix}",
        "run": f"tq_run_{suffix}" if in_blocks else "0",
        "inputs": request.ins[0].size,
        "outputs": request.out.size,
        "tail": CHANNELS[encoding],
        "is_signed": int(request.ins[0].signed),
    }
    return CLayer("dense_dsp", fields, request.plain.detail)
