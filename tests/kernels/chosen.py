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
    forced: bool = False

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
        intervals = tuple(bounds[x] for x in node.inputs)
        core = CORES[self.core]
        return Request(core, graph, node, plain, proved, intervals, forced=self.forced)

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
    """One graph of all the cases, and the codes of its inputs.

    Case i has the tensors ``x<i>``, of a second input ``x<i>_1``, and ``y<i>``.
    """
    tensors, nodes, codes = {}, [], {}
    for i, case in enumerate(cases):
        names = [f"x{i}_{j}" if j else f"x{i}" for j in range(len(case.ins))]
        for name, x, values in zip(names, case.ins, case.xs, strict=True):
            tensors[name] = replace(x, name=name)
            codes[name] = values.astype(x.numpy_dtype)
        tensors[f"y{i}"] = replace(case.out, name=f"y{i}")
        nodes.append(Node(f"n{i}", case.op, tuple(names), (f"y{i}",), (f"n{i}",)))
    outputs = tuple(node.output for node in nodes)
    return validate(Graph("together", tensors, tuple(nodes), tuple(codes), outputs)), codes
