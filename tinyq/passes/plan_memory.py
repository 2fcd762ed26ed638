# SPDX-License-Identifier: Apache-2.0
"""One arena for all activations: lifetimes, legal overlays, offsets; its size is known at export.

Tensors that share bytes form a *buffer*: a reshape and its input, an addition or a clamp and an
input that dies there.  Buffers that live at different times may overlap.  Inputs live in the arena
too and are destroyed by an inference; outputs live until its end; a kernel's scratch memory is a
buffer of its step.

The offsets come from first-fit over several orders, the smallest arena wins; for the sizes that
occur the result mostly meets the lower bound, the largest sum of bytes alive at one time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tinyq.graph import Graph
from tinyq.ops import Reshape

ALIGNMENT: Final = 4


@dataclass(frozen=True)
class MemoryStep:
    """What one step reads and writes.

    Attributes:
        name: unique.
        inputs, output: tensors.
        in_place: positions of the inputs that the output may overlay.
        scratch: bytes that the step needs besides.
        alias: the output is the input under another name.
        overlay: the output may lie over input 0 where it starts so many bytes before it.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    in_place: tuple[int, ...] = ()
    scratch: int = 0
    alias: bool = False
    overlay: int | None = None


@dataclass(frozen=True)
class Part:
    """``size`` bytes from ``start`` of a buffer, in use from step ``first`` to ``last``, inclusive.

    ``name`` is a tensor's, or that of the step whose scratch memory it is.
    """

    name: str
    start: int
    size: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """The byte after it."""
        return self.start + self.size

    def meets(self, other: Part) -> bool:
        """True when both are in use at one time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Buffer:
    """Parts at fixed distances: tensors that share bytes, or a step's scratch memory."""

    parts: tuple[Part, ...]
    is_scratch: bool = False

    @property
    def size(self) -> int:
        """Bytes from the first part's start to the last one's end."""
        return max(part.end for part in self.parts)

    @property
    def first(self) -> int:
        """The first step that uses any of it."""
        return min(part.first for part in self.parts)

    @property
    def last(self) -> int:
        """The last step that uses any of it."""
        return max(part.last for part in self.parts)

    def size_at(self, step: int) -> int:
        """Bytes between the outermost parts in use at a step."""
        used = [part for part in self.parts if part.first <= step <= part.last]
        return max(p.end for p in used) - min(p.start for p in used) if used else 0


@dataclass(frozen=True)
class MemoryPlan:
    """Where every tensor lies.

    Attributes:
        arena_bytes: size of the arena.
        offsets: byte offset of every tensor in the arena, multiples of ``align``.
        state_offsets: byte offset of every state tensor in the state area.
        state_bytes: size of the state area.
        lower_bound: bytes alive at the worst step: no plan can do with less.
        scratch: byte offset of every step's scratch memory, by the step's name.
    """

    arena_bytes: int
    offsets: Mapping[str, int]
    lower_bound: int
    state_offsets: Mapping[str, int]
    state_bytes: int
    align: int = ALIGNMENT
    scratch: Mapping[str, int] = field(default_factory=dict)


def portable_steps(graph: Graph) -> tuple[MemoryStep, ...]:
    """One step a node: what the portable kernels need."""
    return tuple(
        MemoryStep(n.name, n.inputs, n.output, n.op.in_place, alias=isinstance(n.op, Reshape))
        for n in graph.nodes
    )


def plan_memory(graph: Graph, steps: Sequence[MemoryStep] | None = None) -> MemoryPlan:
    """Place every tensor that the steps read or write; without ``steps`` one step a node."""
    steps = portable_steps(graph) if steps is None else steps
    buffers = find_buffers(graph, steps)
    best = pack(buffers)
    offsets, scratch = (
        {p.name: at + p.start for b, at in best.items() if b.is_scratch is kind for p in b.parts}
        for kind in (False, True)
    )
    states = [t for t in graph.tensors.values() if t.state]
    starts = list(itertools.accumulate((align(t.size) for t in states), initial=0))
    return MemoryPlan(
        extent_of(best),
        offsets,
        _lower_bound(buffers, len(steps)),
        {t.name: start for t, start in zip(states, starts, strict=False)},
        starts[-1],
        scratch=scratch,
    )


def find_buffers(graph: Graph, steps: Sequence[MemoryStep] | None = None) -> tuple[Buffer, ...]:
    """Lifetimes of all tensors but states, with aliases and in-place results merged."""
    steps = portable_steps(graph) if steps is None else steps
    first = dict.fromkeys(graph.inputs, -1)
    last = dict.fromkeys(graph.inputs, -1)
    for index, step in enumerate(steps):
        first[step.output] = last[step.output] = index
        for name in step.inputs:
            last[name] = index
    last.update(dict.fromkeys(graph.outputs, len(steps)))
    groups: dict[str, dict[str, int]] = {n: {n: 0} for n in first if not graph.tensors[n].state}
    for index, step in enumerate(steps):
        source = _shares_with(step, index, groups, last)
        if source is not None:
            start = groups[source][source] - align(step.overlay or 0)
            merged = {**groups[source], step.output: start}
            groups.update(dict.fromkeys(merged, merged))
    unique = {id(group): group for group in groups.values()}
    scratch = (
        Buffer((Part(step.name, 0, align(step.scratch), index, index),), True)
        for index, step in enumerate(steps)
        if step.scratch
    )
    return (*(_buffer(graph, group, first, last) for group in unique.values()), *scratch)


def _shares_with(
    step: MemoryStep,
    index: int,
    groups: Mapping[str, Mapping[str, int]],
    last: Mapping[str, int],
) -> str | None:
    """The input whose bytes the output takes over, if any."""
    if step.output not in groups:
        return None
    if step.alias:
        return next((name for name in step.inputs if name in groups), None)
    places = step.in_place if step.overlay is None else (0,)
    candidates = [step.inputs[i] for i in places if step.inputs[i] in groups]
    dying = [n for n in candidates if max(last[other] for other in groups[n]) == index]
    return next((n for n in dying if _reads_only_at(step, places, groups[n])), None)


def _reads_only_at(step: MemoryStep, places: Sequence[int], group: Mapping[str, int]) -> bool:
    """The step reads the bytes of ``group`` through no other inputs."""
    return all(i in places for i, name in enumerate(step.inputs) if name in group)


def _buffer(
    graph: Graph, group: Mapping[str, int], first: Mapping[str, int], last: Mapping[str, int]
) -> Buffer:
    lowest = min(group.values())
    return Buffer(
        tuple(
            Part(name, start - lowest, align(graph.tensors[name].size), first[name], last[name])
            for name, start in group.items()
        )
    )


def pack(buffers: Sequence[Buffer]) -> dict[Buffer, int]:
    """Offsets of buffers that may not meet, in as few bytes as the orders tried need."""
    return min((_first_fit(order) for order in _orders(buffers)), key=extent_of)


def extent_of(placed: Mapping[Buffer, int]) -> int:
    """Bytes of a packing."""
    return max((offset + buffer.size for buffer, offset in placed.items()), default=0)


def align(size: int) -> int:
    """``size`` rounded up to ``ALIGNMENT``."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _orders(buffers: Sequence[Buffer]) -> Iterable[list[Buffer]]:
    """Orders of placement that are known to do well."""
    keys: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
        lambda b: (-b.size, b.first),
        lambda b: (-b.size * (b.last - b.first + 1), b.first),
        lambda b: (b.first, -b.size),
        lambda b: (b.first - b.last, -b.size),
    )
    for key in keys:
        order = sorted(buffers, key=key)
        yield order
        # Moving one of the largest to the front repairs most failures of greedy placement.
        for index in range(1, min(len(order), 12)):
            yield [order[index], *order[:index], *order[index + 1 :]]


def _first_fit(order: Sequence[Buffer]) -> dict[Buffer, int]:
    placed: dict[Buffer, int] = {}
    for buffer in order:
        forbidden = sorted(_forbidden(buffer, placed))
        offset = 0
        for start, end in forbidden:
            if start <= offset < end:
                offset = end
        placed[buffer] = offset
    return placed


def _forbidden(buffer: Buffer, placed: Mapping[Buffer, int]) -> Iterator[tuple[int, int]]:
    """Offsets [start, end) at which a part of ``buffer`` would lie over a placed part."""
    for other, offset in placed.items():
        for mine, theirs in itertools.product(buffer.parts, other.parts):
            if mine.meets(theirs):
                start = offset + theirs.start - mine.start
                yield start - mine.size + 1, start + theirs.size


def _lower_bound(buffers: Sequence[Buffer], steps: int) -> int:
    return max((sum(b.size_at(s) for b in buffers) for s in range(-1, steps + 1)), default=0)
