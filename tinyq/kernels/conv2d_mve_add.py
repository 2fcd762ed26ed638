# SPDX-License-Identifier: Apache-2.0
"""Convolution in Helium vectors and the addition that follows: the sum may take the other's place.

The convolution's own rounding and clamp remain; its output exists one tile at a time.
"""

from __future__ import annotations

from dataclasses import replace

from tinyq.kernels import conv2d_mve
from tinyq.kernels.add_mve import add_fields
from tinyq.kernels.request import Request
from tinyq.ops import Add
from tinyq.ops.clayer import CLayer, CStruct


def choose(request: Request) -> CLayer | None:
    """Where an addition that 16 bits hold alone reads a convolution that conv2d_mve can do."""
    addition = _addition(request)
    layer = None if addition is None else conv2d_mve.build(request, is_fixed=True)
    if addition is None or layer is None:
        return None
    name = f"{request.node.name}_addition"
    numbers = ", ".join(f".{key} = {value}" for key, value in addition.items())
    fields = layer.fields
    staged = fields["tile_rows"] * fields["tile_cols"] * fields["out_col"]
    return replace(
        layer,
        stem="conv2d_mve_add",
        fields={**fields, "add": f"&{name}"},
        scratch=staged + layer.scratch,
        in_place=(1,),
        fuses=True,
        code=f"static const tq_add_mve {name} = {{{numbers}}};",
    )


def _addition(request: Request) -> CStruct | None:
    """A ``tq_add_mve`` whose a is the convolution's output."""
    node = request.follower
    if node is None or not isinstance(node.op, Add):
        return None
    ins = request.graph.ins(node)
    is_first = node.inputs[0] == request.node.output
    return add_fields(node.op, ins if is_first else ins[::-1], request.graph.out(node))
