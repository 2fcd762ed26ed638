# SPDX-License-Identifier: Apache-2.0
"""Single layers as the Cortex-M0 runs them, on this computer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernels.harness import Case
from tinyq import proof
from tinyq.cores import CORES
from tinyq.graph import Graph, Node
from tinyq.kernels.request import Choice, Request
from tinyq.ops.clayer import CLayer


def graph_of(case: Case) -> Graph:
    """A graph of the case's layer alone."""
    tensors = {t.name: t for t in (*case.ins, case.out)}
    node = Node("n", case.op, (case.ins[0].name,), (case.out.name,))
    return Graph("g", tensors, (node,), node.inputs, node.outputs)


def request_of(case: Case, core: str = "m0") -> Request:
    """The request for the case's layer."""
    graph = graph_of(case)
    plain = case.op.to_c(case.ins, case.out)
    known = (proof.intervals(graph)[graph.inputs[0]],)
    return Request(CORES[core], graph, graph.nodes[0], plain, proof.prove(graph)["n"], known)


@dataclass(frozen=True, eq=False)
class M0Case(Case):
    """A layer in the kernel that ``choose`` answers, or in the form that ``build`` gives it."""

    choose: Choice | None = None
    build: Callable[[Request], CLayer | None] | None = None

    def layer(self) -> CLayer:
        request = request_of(self)
        chosen = self.choose(request) if self.choose else None
        if chosen is None:
            return request.plain
        return (self.build(request) if self.build else None) or chosen
