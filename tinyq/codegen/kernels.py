# SPDX-License-Identifier: Apache-2.0
"""Which kernel runs a layer: the operator's own, or a faster one that the proof admits.

A faster kernel is a function (operator, its C form, proof, output) -> C form, or None where it does
not apply; the first of ``FASTER`` that answers is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tinyq.graph import Graph, Node
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer
from tinyq.proof import LayerProof

Choice = Callable[[Graph, Node, CLayer, LayerProof], CLayer | None]


def choose_kernel(graph: Graph, node: Node, proof: LayerProof | None) -> CLayer:
    """The C form of a node.

    Args:
        proof: what is proved of the node's accumulator; ``None`` without weights.

    Raises:
        UnsupportedError: the operator exceeds what its kernel can do.
    """
    plain = node.op.to_c(graph.ins(node), graph.out(node))
    if proof is None:
        return plain
    found = (choose(graph, node, plain, proof) for choose in FASTER)
    return next((layer for layer in found if layer is not None), plain)


def conv2d_lanes(graph: Graph, node: Node, plain: CLayer, proof: LayerProof) -> CLayer | None:
    """Two output pixels in one word, where 16-bit accumulators suffice and there are two pixels."""
    height, width, *_ = (*graph.out(node).shape, 1)
    if not isinstance(node.op, Conv2D) or not proof.fits_int16 or height * width < 2:
        return None
    fields = {
        **plain.fields,
        "dot": f"tq_dot_lanes_{node.op.quantized.encoding}",
        "is_signed": int(graph.ins(node)[0].signed),
    }
    return CLayer("conv2d_lanes", fields, plain.detail)


FASTER: Final[tuple[Choice, ...]] = (conv2d_lanes,)
