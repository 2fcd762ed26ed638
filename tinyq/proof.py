# SPDX-License-Identifier: Apache-2.0
"""The proof that no accumulator overflows: exact bounds, layer by layer (NUMERICS.md).

Bounds of the codes are carried through the graph per channel; every accumulator is then bounded
over all inputs within them: its final value, and every partial sum in any order of additions, so
that a kernel may add in whatever order is fast.  To each bound the rounding constant is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tinyq.errors import ProofError
from tinyq.graph import Graph, Node
from tinyq.numerics import FLOAT32_EXACT, INT16_MAX, bits_signed
from tinyq.ops import LinearOp
from tinyq.tensors import Interval, full_interval

ACCUMULATOR_BITS: Final = 32


@dataclass(frozen=True)
class LayerProof:
    """What is proved of one layer's accumulator, in its integer units.

    Attributes:
        final_lo, final_hi: bounds of the finished sum, bias included.
        partial_lo, partial_hi: bounds of every partial sum.
        margin: what rounding may add in magnitude before the shift.
        bits: width of the smallest two's complement accumulator that cannot overflow.
    """

    final_lo: int
    final_hi: int
    partial_lo: int
    partial_hi: int
    margin: int

    @property
    def bits(self) -> int:
        """Bits needed, margin included."""
        return bits_signed(self.partial_lo - self.margin, self.partial_hi + self.margin)

    @property
    def magnitude(self) -> int:
        """Largest absolute value on the way, margin included."""
        return max(self.partial_hi, -self.partial_lo) + self.margin

    @property
    def fits_int16(self) -> bool:
        """A 16-bit accumulator suffices in any order of additions."""
        return self.magnitude <= INT16_MAX

    @property
    def fits_float32(self) -> bool:
        """float32 computes the layer exactly: the certificate of the Keras model."""
        return self.magnitude < FLOAT32_EXACT


def intervals(graph: Graph) -> dict[str, Interval]:
    """Bounds of the codes of every tensor of an integer graph, per channel."""
    known = {name: full_interval(graph.tensors[name]) for name in graph.inputs}
    for node in graph.nodes:
        inputs = [known[name] for name in node.inputs]
        known[node.output] = node.op.output_interval(inputs, graph.ins(node), graph.out(node))
    return known


def prove(graph: Graph) -> Mapping[str, LayerProof]:
    """Bound the accumulator of every weighted layer, by node name.

    Raises:
        ProofError: an accumulator could overflow 32 bits; the message names the layer.
    """
    known = intervals(graph)
    return {
        node.name: _prove_layer(graph, node, op, known[node.inputs[0]])
        for node, op in graph.linear_nodes()
    }


def _prove_layer(graph: Graph, node: Node, op: LinearOp, x: Interval) -> LayerProof:
    bounds = op.accumulator_bounds(x)
    proof = LayerProof(
        int(bounds.final_lo.min()),
        int(bounds.final_hi.max()),
        int(bounds.partial_lo.min()),
        int(bounds.partial_hi.max()),
        op.accumulator_limit(graph.ins(node), graph.out(node)),
    )
    if proof.bits > ACCUMULATOR_BITS:
        raise ProofError(
            f"layer '{node.label}': its accumulator needs {proof.bits} bits, the limit is "
            f"{ACCUMULATOR_BITS}; use fewer weight bits or bound its exponents and bias"
        )
    return proof
