# SPDX-License-Identifier: Apache-2.0
"""One arena for all activations: lifetimes, legal overlays, offsets; its size is known at export.

Tensors that share bytes form a *buffer*: a reshape and its input, an addition or a clamp and an
input that dies there.  Buffers that live at different times may overlap.  Inputs live in the arena
too and are destroyed by an inference; outputs live until its end.

The offsets come from first-fit over several orders, the smallest arena wins; for the sizes that
occur the result mostly meets the lower bound, the largest sum of bytes alive at one time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tinyq.graph import Graph, Node
from tinyq.ops import Add, Relu, Reshape

ALIGNMENT: Final = 4
#: operators whose output may replace an input element by element
IN_PLACE: Final = (Add, Relu)


@dataclass(frozen=True)
class Buffer:
    """Bytes that one or more tensors share from step ``first`` to step ``last``, inclusive."""

    tensors: tuple[str, ...]
    size: int
    first: int
    last: int

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
    """

    arena_bytes: int
    offsets: Mapping[str, int]
    lower_bound: int
    state_offsets: Mapping[str, int]
    state_bytes: int
    align: int = ALIGNMENT


def plan_memory(graph: Graph) -> MemoryPlan:
    """Place every tensor of an integer graph."""
    buffers = find_buffers(graph)
    placements = [_first_fit(order) for order in _orders(buffers)]
    best = min(placements, key=lambda p: _extent(p.items()))
    offsets = {name: offset for buffer, offset in best.items() for name in buffer.tensors}
    states = [t for t in graph.tensors.values() if t.state]
    starts = list(itertools.accumulate((_align(t.size) for t in states), initial=0))
    return MemoryPlan(
        _extent(best.items()),
        offsets,
        _lower_bound(buffers, len(graph.nodes)),
        {t.name: start for t, start in zip(states, starts, strict=False)},
        starts[-1],
    )


def find_buffers(graph: Graph) -> tuple[Buffer, ...]:
    """Lifetimes of all tensors but states, with aliases and in-place results merged."""
    end = len(graph.nodes)
    first = dict.fromkeys(graph.inputs, -1)
    last = dict.fromkeys(graph.inputs, -1)
    for step, node in enumerate(graph.nodes):
        first[node.output] = last[node.output] = step
        for name in node.inputs:
            last[name] = step
    last.update(dict.fromkeys(graph.outputs, end))
    groups: dict[str, list[str]] = {n: [n] for n in first if not graph.tensors[n].state}
    for step, node in enumerate(graph.nodes):
        source = _shares_with(graph, node, step, groups, last)
        if source is not None:
            merged = groups[source] + groups[node.output]
            groups.update(dict.fromkeys(merged, merged))
    unique = {id(group): group for group in groups.values()}
    return tuple(_buffer(graph, group, first, last) for group in unique.values())


def _shares_with(
    graph: Graph,
    node: Node,
    step: int,
    groups: Mapping[str, Sequence[str]],
    last: Mapping[str, int],
) -> str | None:
    """The input whose bytes the output takes over, if any."""
    if node.output not in groups:
        return None
    candidates = [name for name in node.inputs if name in groups]
    if isinstance(node.op, Reshape):
        return candidates[0] if candidates else None
    if not isinstance(node.op, IN_PLACE):
        return None
    dying = [n for n in candidates if max(last[other] for other in groups[n]) == step]
    return dying[0] if dying else None


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
