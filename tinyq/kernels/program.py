# SPDX-License-Identifier: Apache-2.0
"""Integer graph and target -> program: the calls in their order, and where everything lies.

Absent on purpose: changing what is computed.  Every target's program computes the codes that the
executor computes; a fused step leaves out a tensor, never a rounding.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tinyq.cores import GENERIC, Core
from tinyq.errors import InputError, TinyqError
from tinyq.graph import Graph, Node
from tinyq.kernels import KERNELS, Request, choose_kernel
from tinyq.kernels.bands import Banding, Piece, bandings
from tinyq.ops import Add, Reshape
from tinyq.ops.clayer import CLayer
from tinyq.passes.plan_memory import (
    Buffer,
    MemoryPlan,
    MemoryStep,
    Part,
    align,
    extent_of,
    pack,
    plan_memory,
)
from tinyq.proof import LayerProof, intervals, prove
from tinyq.tensors import Interval, Tensor

#: value of an override that keeps a layer's portable kernel
PORTABLE: Final = "portable"


@dataclass(frozen=True)
class Target:
    """What code is made for.

    Attributes:
        core: of the microcontroller.
        overrides: kernel by layer: a pattern of user's or tinyq's names of layers (``*``, ``?``)
            to a kernel's stem or ``portable``; the first pattern that fits counts.
        ram: bytes that the arena may have; ``None``: as many as it needs.
    """

    core: Core = GENERIC
    overrides: Mapping[str, str] = field(default_factory=dict)
    ram: int | None = None

    @property
    def label(self) -> str:
        """The core and what was asked for besides: ``m4``, ``m4 (conv_*=portable, ram=40960)``."""
        limit = {} if self.ram is None else {"ram": str(self.ram)}
        chosen = ", ".join(f"{key}={value}" for key, value in {**self.overrides, **limit}.items())
        return f"{self.core.name} ({chosen})" if chosen else self.core.name

    def wanted(self, node: Node) -> str | None:
        """The kernel that a layer must have; ``None``: the best."""
        names = (node.name, *node.layers)
        for pattern, stem in self.overrides.items():
            if any(fnmatch.fnmatchcase(name, pattern) for name in names):
                return node.op.stem if stem == PORTABLE else stem
        return None


@dataclass(frozen=True)
class Address:
    """``offset`` bytes after the start of a tensor, or of the step's scratch memory (``None``)."""

    tensor: str | None
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the kernel library.

    ``node`` is its layer's name; ``scratch`` is ``None`` where the kernel needs none.
    """

    node: str
    kernel: CLayer
    inputs: tuple[Address, ...]
    output: Address
    scratch: Address | None


@dataclass(frozen=True, eq=False)
class Step:
    """What happens between two calls of the hook.

    Attributes:
        nodes: one layer; or a layer and the addition that its kernel computes too; or a chain of
            layers in bands of rows.
        calls: in their order.
        memory: tensors read and written, and bytes needed besides.
    """

    nodes: tuple[Node, ...]
    calls: tuple[Call, ...]
    memory: MemoryStep

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that it reads."""
        return self.memory.inputs

    @property
    def output(self) -> str:
        """The tensor that it writes; the hook shows it."""
        return self.memory.output

    @property
    def name(self) -> str:
        """Of its first node: unique."""
        return self.nodes[0].name

    @property
    def label(self) -> str:
        """The user's names."""
        return " + ".join(node.label for node in self.nodes)

    @property
    def stems(self) -> tuple[str, ...]:
        """The kernels, in the order of their first calls."""
        return tuple(dict.fromkeys(call.kernel.stem for call in self.calls))

    @property
    def kernel(self) -> CLayer:
        """Of the first call."""
        return self.calls[0].kernel


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
        InputError: an override names no kernel or no layer, or one that does not apply; or no
            order of bands fits the target's RAM.
        ProofError: an accumulator could overflow.
        UnsupportedError: an operator's parameters exceed what its kernel can do.
    """
    target = target or Target()
    _check_overrides(graph, target)
    maker = _Maker(graph, target, prove(graph), intervals(graph))
    program = maker.program(None)
    if target.ram is None or program.plan.arena_bytes <= target.ram:
        return program
    return _within(maker, target.ram, program.plan.arena_bytes)


def _check_overrides(graph: Graph, target: Target) -> None:
    known = {PORTABLE, *KERNELS, *(node.op.stem for node in graph.nodes)}
    names = [name for node in graph.nodes for name in (node.name, *node.layers)]
    for pattern, stem in target.overrides.items():
        if stem not in known:
            raise InputError(f"unknown kernel '{stem}'; choose one of {', '.join(sorted(known))}")
        if not fnmatch.filter(names, pattern):
            raise InputError(f"no layer is called '{pattern}'; tinyq inspect lists the layers")


@dataclass(frozen=True)
class _Maker:
    """Makes programs of one graph for one target."""

    graph: Graph
    target: Target
    proof: Mapping[str, LayerProof]
    bounds: Mapping[str, Interval]

    def program(self, banding: Banding | None) -> Program:
        """The whole program, one chain of layers in bands where ``banding`` says so."""
        steps = tuple(self._steps(banding))
        plan = plan_memory(self.graph, tuple(self._memory(steps)))
        return Program(self.graph, self.target, steps, plan, self.proof)

    def _steps(self, banding: Banding | None) -> Iterator[Step]:
        chain = banding.nodes if banding else ()
        done: set[str] = set()
        for node in self.graph.nodes:
            if isinstance(node.op, Reshape) or node.name in done:
                continue
            try:
                banded = banding is not None and node in chain
                step = self._banded(banding) if banding and banded else self._single(node)
            except TinyqError as error:
                raise type(error)(f"layer '{node.label}': {error}") from error
            done.update(part.name for part in step.nodes)
            yield step

    def _memory(self, steps: tuple[Step, ...]) -> Iterator[MemoryStep]:
        """The steps and, where they stand in the graph, the reshapes."""
        by_name = {step.name: step for step in steps}
        for node in self.graph.nodes:
            if isinstance(node.op, Reshape):
                yield MemoryStep(node.name, node.inputs, node.output, alias=True)
            elif node.name in by_name:
                yield by_name[node.name].memory

    def _single(self, node: Node) -> Step:
        follower = find_follower(self.graph, node)
        kernel = self._choose(self.graph, node, follower)
        fused = follower if kernel.fuses else None
        others = () if fused is None else tuple(x for x in fused.inputs if x != node.output)
        inputs = (*node.inputs, *others)
        output = node.output if fused is None else fused.output
        scratch = Address(None) if kernel.scratch else None
        call = Call(node.name, kernel, tuple(map(Address, inputs)), Address(output), scratch)
        memory = MemoryStep(node.name, inputs, output, kernel.in_place, kernel.scratch)
        return Step((node,) if fused is None else (node, fused), (call,), memory)

    def _choose(self, graph: Graph, node: Node, follower: Node | None) -> CLayer:
        """The kernel of a node of ``graph``: the whole graph, or a band of one of its layers."""
        plain = replace(node.op.to_c(graph.ins(node), graph.out(node)), in_place=node.op.in_place)
        known = tuple(self.bounds[name] for name in node.inputs)
        proof = self.proof.get(node.name)
        request = Request(self.target.core, graph, node, plain, proof, known, follower)
        return choose_kernel(request, self.target.wanted(node))

    def _banded(self, banding: Banding) -> Step:
        kernels = [[self._choose_piece(piece) for piece in band] for band in banding.bands]
        between = banding.between()
        scratch = [max(k.scratch for k in column) for column in zip(*kernels, strict=True)]
        places = _pack_bands(between, scratch)
        calls = (
            call
            for band, row in zip(banding.bands, kernels, strict=True)
            for call in _band_calls(band, row, places)
        )
        first, last = banding.nodes[0], banding.nodes[-1]
        memory = MemoryStep(
            first.name, first.inputs, last.output, scratch=places.size, overlay=banding.lead
        )
        return Step(banding.nodes, tuple(calls), memory)

    def _choose_piece(self, piece: Piece) -> CLayer:
        node = piece.node
        tensors = {node.inputs[0]: piece.ins, node.output: piece.out}
        graph = Graph(self.graph.name, tensors, (node,), node.inputs, node.outputs)
        return self._choose(graph, node, None)


@dataclass(frozen=True)
class _Places:
    """Offsets in the scratch memory of a banded step: of the tensors between, of every call."""

    between: tuple[int, ...]
    scratch: tuple[int, ...]
    size: int


def _pack_bands(between: Sequence[int], scratch: Sequence[int]) -> _Places:
    """Tensor i is written by call i and read by call i + 1; scratch i is call i's."""
    tensors = [Buffer((Part(f"t{i}", 0, align(n), i, i + 1),)) for i, n in enumerate(between)]
    needs = [Buffer((Part(f"s{i}", 0, align(n), i, i),)) for i, n in enumerate(scratch)]
    placed = pack([*tensors, *needs])
    return _Places(
        tuple(placed[b] for b in tensors), tuple(placed[b] for b in needs), extent_of(placed)
    )


def _band_calls(
    band: Sequence[Piece], kernels: Sequence[CLayer], places: _Places
) -> Iterator[Call]:
    source = Address(band[0].node.inputs[0], _row_offset(band[0].ins, band[0].source.start))
    for i, (piece, kernel) in enumerate(zip(band, kernels, strict=True)):
        is_last = i + 1 == len(band)
        output = (
            Address(piece.node.output, _row_offset(piece.out, piece.target.start))
            if is_last
            else Address(None, places.between[i])
        )
        scratch = Address(None, places.scratch[i]) if kernel.scratch else None
        yield Call(piece.node.name, kernel, (source,), output, scratch)
        source = output


def _row_offset(tensor: Tensor, row: int) -> int:
    return row * (tensor.size // tensor.shape[0])


def _within(maker: _Maker, ram: int, reached: int) -> Program:
    """The program with the fewest repeated operations whose arena fits."""
    for banding in bandings(maker.graph):
        program = maker.program(banding)
        reached = min(reached, program.plan.arena_bytes)
        if program.plan.arena_bytes <= ram:
            return program
    raise InputError(
        f"--ram {ram} bytes: the smallest arena found has {reached} bytes; allow as many, or make "
        "the first layers smaller"
    )


def find_follower(graph: Graph, node: Node) -> Node | None:
    """The addition that alone reads a node's output and whose other input is there before."""
    readers = [n for n in graph.nodes if node.output in n.inputs]
    if len(readers) != 1 or not isinstance(readers[0].op, Add) or node.output in graph.outputs:
        return None
    (reader,) = readers
    others = [name for name in reader.inputs if name != node.output]
    before = {n.output for n in graph.nodes[: graph.nodes.index(node)]} | set(graph.inputs)
    return reader if len(others) == 1 and others[0] in before else None
