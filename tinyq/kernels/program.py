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
from tinyq.kernels.bands import Banding, Piece, bandings, window_of
from tinyq.ops import Add, Reshape
from tinyq.ops.clayer import CLayer
from tinyq.passes.plan_memory import (
    Buffer,
    MemoryPlan,
    MemoryStep,
    Part,
    align,
    extent_of,
    find_buffers,
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
    program = maker.program()
    if target.ram is None or program.plan.arena_bytes <= target.ram:
        return program
    return _within(maker, program, target.ram)


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

    def program(self) -> Program:
        """Every layer as a whole."""
        return self._planned(tuple(self._steps({}, ())))

    def banded(self, whole: Program, banding: Banding) -> Program:
        """``whole`` with one chain of layers in bands."""
        known = {step.name: step for step in whole.steps}
        return self._planned(tuple(self._steps(known, (self._banded(banding),))))

    def _planned(self, steps: tuple[Step, ...]) -> Program:
        memory = memory_steps(self.graph, [step.memory for step in steps])
        plan = plan_memory(self.graph, memory)
        return Program(self.graph, self.target, steps, plan, self.proof)

    def _steps(self, known: Mapping[str, Step], first: tuple[Step, ...]) -> Iterator[Step]:
        """The steps in the order of the graph: those of ``first``, of ``known``, or new ones."""
        given = {node.name: step for step in first for node in step.nodes}
        done: set[str] = set()
        for node in self.graph.nodes:
            if isinstance(node.op, Reshape) or node.name in done:
                continue
            step = given.get(node.name) or known.get(node.name) or self._named(node)
            done.update(part.name for part in step.nodes)
            yield step

    def _named(self, node: Node) -> Step:
        try:
            return self._single(node)
        except TinyqError as error:
            raise type(error)(f"layer '{node.label}': {error}") from error

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
        found: dict[tuple[object, ...], CLayer] = {}
        kernels = [[self._choose_piece(piece, found) for piece in b] for b in banding.bands]
        between = banding.between()
        scratch = [max(k.scratch for k in column) for column in zip(*kernels, strict=True)]
        places = _pack_bands(between, scratch)
        calls = (
            call
            for band, row in zip(banding.bands, kernels, strict=True)
            for call in _band_calls(band, row, places)
        )
        return Step(banding.nodes, tuple(calls), _banded_memory(banding, places))

    def _choose_piece(self, piece: Piece, found: dict[tuple[object, ...], CLayer]) -> CLayer:
        """The kernel of a piece; pieces of equal shapes have one."""
        node = piece.node
        key = node.name, piece.ins.shape, piece.out.shape, window_of(node.op)
        if key not in found:
            tensors = {node.inputs[0]: piece.ins, node.output: piece.out}
            graph = Graph(self.graph.name, tensors, (node,), node.inputs, node.outputs)
            found[key] = self._choose(graph, node, None)
        return found[key]


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


def memory_steps(graph: Graph, steps: Sequence[MemoryStep]) -> tuple[MemoryStep, ...]:
    """The steps and, where they stand in the graph, its reshapes."""
    by_name = {step.name: step for step in steps}
    aliases = (
        MemoryStep(n.name, n.inputs, n.output, alias=True) if isinstance(n.op, Reshape) else None
        for n in graph.nodes
    )
    both = (alias or by_name.get(n.name) for alias, n in zip(aliases, graph.nodes, strict=True))
    return tuple(step for step in both if step is not None)


def _within(maker: _Maker, whole: Program, ram: int) -> Program:
    """The program with the fewest repeated operations whose arena fits."""
    steps = [step.memory for step in whole.steps]
    alive = _alive(maker.graph, steps)
    worst = max(alive, key=lambda name: alive[name])
    able = [b for b in bandings(maker.graph) if worst in {node.name for node in b.nodes}]
    bounds = [_least_arena(maker.graph, steps, banding) for banding in able]
    for banding, bound in zip(able, bounds, strict=True):
        if bound <= ram:
            program = maker.banded(whole, banding)
            if program.plan.arena_bytes <= ram:
                return program
    reached = whole.plan.arena_bytes
    if able:
        best = maker.banded(whole, able[bounds.index(min(bounds))])
        reached = min(reached, best.plan.arena_bytes)
    raise InputError(
        f"--ram {ram} bytes: the smallest arena found has {reached} bytes; allow as many, or make "
        "the first layers smaller"
    )


def _alive(graph: Graph, steps: Sequence[MemoryStep]) -> dict[str, int]:
    """Bytes in use during every step, by name: no arena is smaller than the largest."""
    every = memory_steps(graph, steps)
    buffers = find_buffers(graph, every)
    return {step.name: sum(b.size_at(i) for b in buffers) for i, step in enumerate(every)}


def _least_arena(graph: Graph, steps: Sequence[MemoryStep], banding: Banding) -> int:
    """What a program in bands needs at least, whatever scratch memory its kernels take."""
    names = {node.name for node in banding.nodes}
    places = _pack_bands(banding.between(), [0] * len(banding.nodes))
    rest = [step for step in steps if step.name not in names]
    return max(_alive(graph, [*rest, _banded_memory(banding, places)]).values())


def _banded_memory(banding: Banding, places: _Places) -> MemoryStep:
    first, last = banding.nodes[0], banding.nodes[-1]
    return MemoryStep(
        first.name, first.inputs, last.output, scratch=places.size, overlay=banding.lead
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
