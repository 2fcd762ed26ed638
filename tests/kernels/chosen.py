# SPDX-License-Identifier: Apache-2.0
"""Cases that run in a kernel of a core instead of the operator's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kernels.harness import Case
from tinyq import proof
from tinyq.cores import CORES
from tinyq.graph import Graph, Node, validate
from tinyq.kernels import KERNELS, Request
from tinyq.ops.clayer import CLayer


@dataclass(frozen=True, eq=False)
class KernelCase(Case):
    """A layer in the kernel ``stem`` of ``core``, which must apply."""

    stem: str = ""
    core: str = "m4"

    def graph(self) -> Graph:
        """The layer alone."""
        tensors = {t.name: t for t in (*self.ins, self.out)}
        node = Node("n", self.op, tuple(t.name for t in self.ins), (self.out.name,))
        return Graph("g", tensors, (node,), tuple(dict.fromkeys(node.inputs)), node.outputs)

    def request(self) -> Request:
        """What the kernel is chosen from."""
        graph = self.graph()
        (node,) = graph.nodes
        plain = self.op.to_c(self.ins, self.out)
        proved, bounds = proof.prove(graph).get("n"), proof.intervals(graph)
        return Request(
            CORES[self.core], graph, node, plain, proved, tuple(bounds[x] for x in node.inputs)
        )

    def choice(self) -> CLayer | None:
        """What the kernel answers."""
        return KERNELS[self.stem](self.request())

    def layer(self) -> CLayer:
        found = self.choice()
        assert found is not None, f"{self.stem} does not apply: {self.label}"
        return found


def in_kernel(case: Case, stem: str, core: str = "m4", in_place: int | None = None) -> KernelCase:
    """The case in a kernel."""
    return KernelCase(case.op, case.ins, case.out, case.xs, in_place, case.label, stem, core)


def together(cases: Sequence[Case]) -> tuple[Graph, dict[str, np.ndarray]]:
    """One graph of all the cases, tensors ``x<i>`` and ``y<i>``; and the inputs' codes."""
    tensors, nodes, codes = {}, [], {}
    for i, case in enumerate(cases):
        tensors[f"x{i}"] = replace(case.ins[0], name=f"x{i}")
        tensors[f"y{i}"] = replace(case.out, name=f"y{i}")
        nodes.append(Node(f"n{i}", case.op, (f"x{i}",), (f"y{i}",), (f"n{i}",)))
        codes[f"x{i}"] = case.xs[0].astype(case.ins[0].numpy_dtype)
    inputs = tuple(node.inputs[0] for node in nodes)
    outputs = tuple(node.output for node in nodes)
    return validate(Graph("together", tensors, tuple(nodes), inputs, outputs)), codes
