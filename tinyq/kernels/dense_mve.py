# SPDX-License-Identifier: Apache-2.0
"""Fully connected layer in Helium vectors: four outputs at a time, weights of 4 or 8 bits."""

from __future__ import annotations

from tinyq.kernels.mve import block_codes, flip_of, requant_fields, weights_form
from tinyq.kernels.request import Request
from tinyq.ops import Dense
from tinyq.ops.clayer import CLayer


def choose(request: Request) -> CLayer | None:
    """For cores with Helium."""
    form = weights_form(request)
    if not request.core.mve or not isinstance(request.node.op, Dense) or form is None:
        return None
    requant = requant_fields(request, form)
    fields = {
        "codes": block_codes(form, form.values),
        **form.table_field,
        "requant": requant,
        "inputs": request.ins[0].size,
        "outputs": request.out.size,
        "flip": flip_of(request),
        "run": f"tq_mve_dense_{form.name}{'_nudge' if 'nudge' in requant else ''}",
    }
    return CLayer("dense_mve", fields)
