# SPDX-License-Identifier: Apache-2.0
"""Sums that many output channels need are made once: x_i +- x_j * 2**k as a word of its own.

Greedy, as for the multiplierless filters of Hartley ("Subexpression sharing in filters using
canonic signed digit multipliers", IEEE Trans. Circuits and Systems II, 1996): the pair of words
that the most terms need becomes a word, until no pair saves more than it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.kernels.pot_code.plan import Derived, Plan, Term

Counts = npt.NDArray[np.float32]

#: distances of the exponents within a pair
_MAX_SHIFT: Final = 3


@dataclass(frozen=True)
class _Pair:
    """The most wanted pair of words: ``left +- right * 2**shift``, and how many terms want it."""

    how: Derived
    uses: int


class _Matrix:
    """The plan's terms: signs ``[exponent, channel, word]``, 0 where there is no term.

    ``counts[shift, sign, left, right]`` says how often a pair occurs; it is kept up to date.
    """

    def __init__(self, plan: Plan, room: int) -> None:
        self.plan, self.words = plan, plan.all_words
        self.top = 1 + max((t.exponent for terms in plan.terms for t in terms), default=0)
        size = plan.all_words + room
        self.signs = np.zeros((self.top, plan.channels, size), np.float32)
        for channel, terms in enumerate(plan.terms):
            for term in terms:
                self.signs[term.exponent, channel, term.word] = -1 if term.negative else 1
        self.counts = np.zeros((_MAX_SHIFT + 1, 2, size, size), np.float32)
        self._count(range(size))

    def _count(self, words: Sequence[int]) -> None:
        """Count the pairs of which one is among ``words`` anew."""
        own = np.asarray(words)
        for shift in range(_MAX_SHIFT + 1):
            rows, columns = self._products(shift, own)
            for sign, factor in enumerate((1, -1)):
                self.counts[shift, sign, own, :] = (rows[0] + factor * rows[1]) / 2
                self.counts[shift, sign, :, own] = (columns[0] + factor * columns[1]).T / 2
                np.fill_diagonal(self.counts[shift, sign], 0)

    def _products(
        self, shift: int, own: npt.NDArray[np.int64]
    ) -> tuple[tuple[Counts, Counts], tuple[Counts, Counts]]:
        size = self.signs.shape[2]
        rows = np.zeros((2, len(own), size), np.float32)
        columns = np.zeros((2, size, len(own)), np.float32)
        for low in range(self.top - shift):
            if _group_of(self.plan, low) == _group_of(self.plan, low + shift):
                left, right = self.signs[low], self.signs[low + shift]
                rows += [abs(left[:, own]).T @ abs(right), left[:, own].T @ right]
                columns += [abs(left).T @ abs(right[:, own]), left.T @ right[:, own]]
        return (rows[0], rows[1]), (columns[0], columns[1])

    def best(self) -> _Pair:
        at = int(self.counts.argmax())
        shift, sign, left, right = (int(i) for i in np.unravel_index(at, self.counts.shape))
        return _Pair(Derived(left, right, shift, sign == 1), int(self.counts.flat[at]))

    def replace(self, how: Derived) -> None:
        """Take the pair's terms out and put the new word's in."""
        sign = -1 if how.negative else 1
        for low in range(self.top - how.shift):
            if _group_of(self.plan, low) == _group_of(self.plan, low + how.shift):
                left = self.signs[low, :, how.left]
                right = self.signs[low + how.shift, :, how.right]
                both = (left * right) == sign
                self.signs[low, both, self.words] = left[both]
                self.signs[low, both, how.left] = 0
                self.signs[low + how.shift, both, how.right] = 0
        self._count([how.left, how.right, self.words])
        self.words += 1

    def terms(self) -> tuple[tuple[Term, ...], ...]:
        found: list[list[Term]] = [[] for _ in range(self.plan.channels)]
        for exponent, channel, word in np.argwhere(self.signs).tolist():
            negative = bool(self.signs[exponent, channel, word] < 0)
            found[channel].append(Term(word, exponent, negative))
        return tuple(tuple(terms) for terms in found)


def _group_of(plan: Plan, exponent: int) -> int:
    return sum(exponent >= base for base in plan.bases)


def share(plan: Plan, room: int, least_uses: int) -> Plan:
    """The plan with at most ``room`` derived words, each with ``least_uses`` at first."""
    matrix = _Matrix(plan, room)
    derived: list[Derived] = []
    while len(derived) < room:
        pair = matrix.best()
        if pair.uses < least_uses:
            break
        matrix.replace(pair.how)
        derived.append(pair.how)
    return replace(plan, derived=tuple(derived), terms=matrix.terms())
