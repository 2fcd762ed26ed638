# SPDX-License-Identifier: Apache-2.0
"""A plan in the order of its instructions, told to a machine that writes them down.

Block of output channels by block, group by group, from the largest exponent of a group to its base:
an accumulator is doubled on the way (Horner), so that no word is ever shifted, and a word that is
loaded serves all channels of the block that have it at this exponent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from tinyq.kernels.pot_code.plan import Derived, Plan, Term, blocks


class Machine(Protocol):
    """Writes code; accumulators are numbered from 0."""

    @property
    def accumulators(self) -> int:
        """How many there are."""

    def note(self, text: str) -> None:
        """A comment."""

    def derive(self, target: int, how: Derived) -> None:
        """Make a word of two others."""

    def load(self, word: int) -> None:
        """Get a word ready."""

    def start(self, accumulator: int, negative: bool) -> None:
        """Set an accumulator to the word, or to its negative."""

    def add(self, accumulator: int, negative: bool) -> None:
        """Add or subtract the word."""

    def double(self, accumulator: int, times: int) -> None:
        """Shift left."""

    def clear(self, accumulator: int) -> None:
        """Set to 0."""

    def park(self, group: int, count: int) -> None:
        """Put the first accumulators, sums of a group, aside."""

    def finish(self, channels: Sequence[int]) -> None:
        """From the groups' sums of these channels to outputs."""


def walk(plan: Plan, machine: Machine) -> None:
    """Everything that is done for one pair of windows."""
    for index, how in enumerate(plan.derived):
        machine.derive(plan.words + index, how)
    for channels in blocks(plan.channels, machine.accumulators):
        for group in range(len(plan.bases)):
            _sum_group(plan, machine, channels, group)
            machine.park(group, len(channels))
        machine.finish(channels)


def _sum_group(plan: Plan, machine: Machine, channels: range, group: int) -> None:
    exponents = plan.group(group)
    uses = _uses(plan, channels)
    scale: dict[int, int] = {}  # of every accumulator that holds anything
    for exponent in sorted({e for e, _ in uses if e in exponents}, reverse=True):
        machine.note(f"channels {channels[0]}..{channels[-1]}: weights +-2^{exponent}")
        for word in sorted(w for e, w in uses if e == exponent):
            machine.load(word)
            for accumulator, negative in uses[exponent, word]:
                if accumulator not in scale:
                    machine.start(accumulator, negative)
                else:
                    _scale_down(machine, accumulator, scale[accumulator] - exponent)
                    machine.add(accumulator, negative)
                scale[accumulator] = exponent
    for accumulator in range(len(channels)):
        if accumulator in scale:
            _scale_down(machine, accumulator, scale[accumulator] - exponents[0])
        else:
            machine.clear(accumulator)


def _uses(plan: Plan, channels: range) -> dict[tuple[int, int], list[tuple[int, bool]]]:
    """(exponent, word) -> accumulators that take the word there, and whether negative."""
    found: dict[tuple[int, int], list[tuple[int, bool]]] = defaultdict(list)
    for accumulator, channel in enumerate(channels):
        term: Term
        for term in plan.terms[channel]:
            found[term.exponent, term.word].append((accumulator, term.negative))
    return dict(found)


def _scale_down(machine: Machine, accumulator: int, times: int) -> None:
    if times > 0:
        machine.double(accumulator, times)
