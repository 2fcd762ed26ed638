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
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    in_place: tuple[int, ...] = ()
    scratch: int = 0
    alias: bool = False


@dataclass(frozen=True)
class Buffer:
    """Bytes from step ``first`` to step ``last``, inclusive: of tensors, or a step's scratch."""

    tensors: tuple[str, ...]
    size: int
    first: int
    last: int
    scratch: str | None = None

    def meets(self, other: Buffer) -> bool:
        """True when both are alive at one time."""
        return self.first <= other.last and other.first <= self.last


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
    placements = [_first_fit(order) for order in _orders(buffers)]
    best = min(placements, key=lambda p: _extent(p.items()))
    offsets = {name: offset for buffer, offset in best.items() for name in buffer.tensors}
    states = [t for t in graph.tensors.values() if t.state]
    starts = list(itertools.accumulate((_align(t.size) for t in states), initial=0))
    return MemoryPlan(
        _extent(best.items()),
        offsets,
        _lower_bound(buffers, len(steps)),
        {t.name: start for t, start in zip(states, starts, strict=False)},
        starts[-1],
        scratch={b.scratch: offset for b, offset in best.items() if b.scratch is not None},
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
    groups: dict[str, list[str]] = {n: [n] for n in first if not graph.tensors[n].state}
    for index, step in enumerate(steps):
        source = _shares_with(step, index, groups, last)
        if source is not None:
            merged = groups[source] + groups[step.output]
            groups.update(dict.fromkeys(merged, merged))
    unique = {id(group): group for group in groups.values()}
    scratch = (
        Buffer((), _align(step.scratch), index, index, step.name)
        for index, step in enumerate(steps)
        if step.scratch
    )
    return (*(_buffer(graph, group, first, last) for group in unique.values()), *scratch)


def _shares_with(
    step: MemoryStep,
    index: int,
    groups: Mapping[str, Sequence[str]],
    last: Mapping[str, int],
) -> str | None:
    """The input whose bytes the output takes over, if any."""
    if step.output not in groups:
        return None
    if step.alias:
        return next((name for name in step.inputs if name in groups), None)
    candidates = [step.inputs[i] for i in step.in_place if step.inputs[i] in groups]
    dying = [n for n in candidates if max(last[other] for other in groups[n]) == index]
    return next((n for n in dying if _only_in_place(step, groups[n])), None)


def _only_in_place(step: MemoryStep, group: Sequence[str]) -> bool:
    """The step reads the bytes of ``group`` through inputs that allow to overwrite them only."""
    return all(i in step.in_place for i, name in enumerate(step.inputs) if name in group)


def _buffer(
    graph: Graph, names: Sequence[str], first: Mapping[str, int], last: Mapping[str, int]
) -> Buffer:
    return Buffer(
        tuple(names),
        _align(max(graph.tensors[n].size for n in names)),
        min(first[n] for n in names),
        max(last[n] for n in names),
    )


def _align(size: int) -> int:
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
        offset = 0
        neighbours = sorted((o, b.size) for b, o in placed.items() if b.meets(buffer))
        for start, size in neighbours:
            if offset + buffer.size <= start:
                break
            offset = max(offset, start + size)
        placed[buffer] = offset
    return placed


def _extent(placed: Iterable[tuple[Buffer, int]]) -> int:
    return max((offset + buffer.size for buffer, offset in placed), default=0)


def _lower_bound(buffers: Sequence[Buffer], steps: int) -> int:
    alive = ([b.size for b in buffers if b.first <= s <= b.last] for s in range(-1, steps + 1))
    return max((sum(sizes) for sizes in alive), default=0)
