# SPDX-License-Identifier: Apache-2.0
"""What the poolings of cores with the DSP extension share: words of four channels."""

from __future__ import annotations

from tinyq.kernels.request import Request
from tinyq.ops.clayer import CLayer, type_suffix

#: channels of a word: a layer needs as many
CHANNELS = 4


def pool_layer(request: Request, stem: str, window: str) -> CLayer | None:
    """A ``tq_pool_dsp`` whose windows the C functions ``tq_<window>_u8`` and ``_s8`` compute.

    ``None`` on other cores and with too few channels.
    """
    x, plain = request.ins[0], request.plain
    if not request.core.dsp or x.shape[-1] < CHANNELS:
        return None
    fields = {key: value for key, value in plain.fields.items() if key != "is_signed"}
    fields["run"] = f"tq_{window}_{type_suffix(x)}"
    return CLayer(stem, fields, plain.detail)
