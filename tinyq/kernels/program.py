# SPDX-License-Identifier: Apache-2.0
"""Integer graph and target -> program: the calls in their order, and where everything lies.

Absent on purpose: changing what is computed.  Every target's program computes the codes that the
executor computes; a fused step leaves out a tensor, never a rounding.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tinyq.cores import GENERIC, Core
from tinyq.errors import InputError, TinyqError
from tinyq.graph import Graph, Node
from tinyq.kernels import KERNELS, Request, choose_kernel
from tinyq.ops import Add, Reshape
from tinyq.ops.clayer import CLayer
from tinyq.passes.plan_memory import MemoryPlan, MemoryStep, plan_memory
from tinyq.proof import LayerProof, intervals, prove
from tinyq.tensors import Interval

#: value of an override that keeps a layer's portable kernel
PORTABLE: Final = "portable"


@dataclass(frozen=True)
class Target:
    """What code is made for.

    Attributes:
        core: of the microcontroller.
        overrides: kernel by layer: a pattern of user's or tinyq's names of layers (``*``, ``?``)
            to a kernel's stem or ``portable``; the first pattern that fits counts.
    """

    core: Core = GENERIC
    overrides: Mapping[str, str] = field(default_factory=dict)

    def wanted(self, node: Node) -> str | None:
        """The kernel that a layer must have; ``None``: the best."""
        names = (node.name, *node.layers)
        for pattern, stem in self.overrides.items():
            if any(fnmatch.fnmatchcase(name, pattern) for name in names):
                return node.op.stem if stem == PORTABLE else stem
        return None


@dataclass(frozen=True, eq=False)
class Step:
    """One call.

    Attributes:
        nodes: the layer, and the addition that its kernel computes too.
        kernel: its C form.
        inputs, output: tensors; the hook shows the output.
    """

    nodes: tuple[Node, ...]
    kernel: CLayer
    inputs: tuple[str, ...]
    output: str

    @property
    def name(self) -> str:
        """Of its first node: unique."""
        return self.nodes[0].name

    @property
    def label(self) -> str:
        """The user's names."""
        return " + ".join(node.label for node in self.nodes)


@dataclass(frozen=True, eq=False)
class Program:
    """All calls of an inference; the hook's layer number is the index in ``steps``."""

    graph: Graph
    target: Target
    steps: tuple[Step, ...]
    plan: MemoryPlan
    proof: Mapping[str, LayerProof]


def compile_graph(graph: Graph, target: Target | None = None) -> Program:
    """Choose kernels and plan memory.

    Raises:
        InputError: an override names no kernel or no layer, or one that does not apply.
        ProofError: an accumulator could overflow.
        UnsupportedError: an operator's parameters exceed what its kernel can do.
    """
    target = target or Target()
    _check_overrides(graph, target)
    proof = prove(graph)
    steps = tuple(_steps(graph, target, proof, intervals(graph)))
    plan = plan_memory(graph, tuple(_memory_steps(graph, steps)))
    return Program(graph, target, steps, plan, proof)


def _check_overrides(graph: Graph, target: Target) -> None:
    known = {PORTABLE, *KERNELS, *(node.op.stem for node in graph.nodes)}
    names = [name for node in graph.nodes for name in (node.name, *node.layers)]
    for pattern, stem in target.overrides.items():
        if stem not in known:
            raise InputError(f"unknown kernel '{stem}'; choose one of {', '.join(sorted(known))}")
        if not fnmatch.filter(names, pattern):
            raise InputError(f"no layer is called '{pattern}'; tinyq inspect lists the layers")


def _steps(
    graph: Graph,
    target: Target,
    proof: Mapping[str, LayerProof],
    bounds: Mapping[str, Interval],
) -> Iterator[Step]:
    done: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, Reshape) or node.name in done:
            continue
        try:
            step = _step(graph, target, node, proof, bounds)
        except TinyqError as error:
            raise type(error)(f"layer '{node.label}': {error}") from error
        done.update(part.name for part in step.nodes)
        yield step


def _step(
    graph: Graph,
    target: Target,
    node: Node,
    proof: Mapping[str, LayerProof],
    bounds: Mapping[str, Interval],
) -> Step:
    plain = replace(node.op.to_c(graph.ins(node), graph.out(node)), in_place=node.op.in_place)
    known = tuple(bounds[name] for name in node.inputs)
    follower = find_follower(graph, node)
    request = Request(target.core, graph, node, plain, proof.get(node.name), known, follower)
    kernel = choose_kernel(request, target.wanted(node))
    if not kernel.fuses or follower is None:
        return Step((node,), kernel, node.inputs, node.output)
    others = tuple(name for name in follower.inputs if name != node.output)
    return Step((node, follower), kernel, (*node.inputs, *others), follower.output)


def find_follower(graph: Graph, node: Node) -> Node | None:
    """The addition that alone reads a node's output and whose other input is there before."""
    readers = [n for n in graph.nodes if node.output in n.inputs]
    if len(readers) != 1 or not isinstance(readers[0].op, Add) or node.output in graph.outputs:
        return None
    (reader,) = readers
    others = [name for name in reader.inputs if name != node.output]
    before = {n.output for n in graph.nodes[: graph.nodes.index(node)]} | set(graph.inputs)
    return reader if len(others) == 1 and others[0] in before else None


def _memory_steps(graph: Graph, steps: tuple[Step, ...]) -> Iterator[MemoryStep]:
    """The steps and, where they stand in the graph, the reshapes."""
    by_name = {step.name: step for step in steps}
    for node in graph.nodes:
        if isinstance(node.op, Reshape):
            yield MemoryStep(node.name, node.inputs, node.output, alias=True)
        elif node.name in by_name:
            step = by_name[node.name]
            kernel = step.kernel
            yield MemoryStep(node.name, step.inputs, step.output, kernel.in_place, kernel.scratch)
