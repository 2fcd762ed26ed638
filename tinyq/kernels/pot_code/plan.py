# SPDX-License-Identifier: Apache-2.0
"""Weights and bounds -> sums of shifted activations in 16-bit lanes, and where they have to be cut.

A word holds an activation of two windows, x = x0 + x1 * 2**16 modulo 2**32; sums of such words are
the sums of both windows as long as the *result* of each fits a lane: what happens on the way
does not matter, since all of it is arithmetic modulo 2**32.  Lanes that are shifted or read are
unsigned: a constant is added to the sum, as large as it needs to be.

A channel's accumulator is b + sum over e of 2**e * S_e, where S_e adds and subtracts the words
whose weight is +-2**e.  It does not fit a lane, but it will be shifted right by n anyway, and
floor((A + 2**a * B) / 2**n) = floor((floor(A / 2**a) + B) / 2**(n - a)) for integers and a <= n:
so the exponents are cut into groups, each group is summed at its own scale 2**base, and the sum of
a group is shifted (rounding down) to the scale of the next and added to it.

Deliberately absent: groups of taps.  A window whose sum does not fit even so keeps another kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

LANE: Final = 1 << 16
MAX_GROUPS: Final = 4


@dataclass(frozen=True)
class Term:
    """Adds or subtracts ``word * 2**exponent``."""

    word: int
    exponent: int
    negative: bool


@dataclass(frozen=True)
class Derived:
    """A word made of two others: ``left +- right * 2**shift``."""

    left: int
    right: int
    shift: int
    negative: bool


@dataclass(frozen=True)
class Plan:
    """One layer.

    Attributes:
        words: elements of a window.
        derived: further words, numbered after those.
        terms: of every output channel.
        bases: exponent of the scale of every group; a group holds the exponents from its base up
            to below the next one's.
        constants: ``[groups, channels]``, added to both lanes of a group's sum after the sum of
            the group before it, scaled, was added to it.  With the last one a lane is 2**15 more
            than the accumulator.
        shifts: of every channel, from the last group's scale to the output.
        zero: the table of outputs begins with that of ``-zero`` and ends with that of ``zero - 1``.
    """

    words: int
    derived: tuple[Derived, ...]
    terms: tuple[tuple[Term, ...], ...]
    bases: tuple[int, ...]
    constants: Integers
    shifts: tuple[int, ...]
    zero: int

    @property
    def channels(self) -> int:
        """Output channels."""
        return len(self.terms)

    @property
    def distances(self) -> tuple[int, ...]:
        """The different shifts."""
        return tuple(sorted(set(self.shifts)))

    def table_start(self, shift: int) -> int:
        """Index in the table of outputs of a lane that is 0 after it was shifted."""
        return self.zero - (LANE // 2 >> shift)

    @property
    def all_words(self) -> int:
        """Words of a window and derived ones."""
        return self.words + len(self.derived)

    def group(self, index: int) -> range:
        """The exponents of a group."""
        ends = (*self.bases[1:], 32)
        return range(self.bases[index], ends[index])

    def mask(self, index: int) -> int:
        """Both lanes' bits that remain of group ``index`` at the scale of the next one."""
        kept = LANE >> (self.bases[index + 1] - self.bases[index])
        return (kept - 1) * (LANE + 1)

    def constant(self, index: int, channel: int) -> int:
        """A constant as a word."""
        return int(self.constants[index, channel]) * (LANE + 1) % (1 << 32)

    def is_uniform(self, index: int) -> bool:
        """Whether all channels have the same constant."""
        return bool((self.constants[index] == self.constants[index, 0]).all())


@dataclass(frozen=True)
class Bounds:
    """Of every exponent's products, summed: ``[exponents, channels]``, in units of 2**0."""

    lo: Integers
    hi: Integers

    def below(self, end: int) -> tuple[Integers, Integers]:
        """Bounds of the sum of all exponents below ``end``, per channel."""
        return self.lo[:end].sum(0), self.hi[:end].sum(0)


def terms_of(image: Integers) -> tuple[tuple[Term, ...], ...]:
    """One term for every bit of every weight of ``image [O, K]``."""
    return tuple(tuple(_terms(row)) for row in image)


def _terms(row: Integers) -> Iterator[Term]:
    for word, weight in enumerate(row.tolist()):
        for exponent in range(abs(weight).bit_length()):
            if abs(weight) >> exponent & 1:
                yield Term(word, exponent, weight < 0)


def part_of(image: Integers, exponent: int) -> Integers:
    """What the terms of one exponent make of the weights."""
    return np.sign(image) * (np.abs(image) & (1 << exponent))


def cut(
    bounds: Bounds, bias: Integers, shifts: Integers
) -> tuple[tuple[int, ...], Integers] | None:
    """Bases and constants, with as few groups as possible; None where no cut fits.

    Args:
        bounds: of the products.
        bias: of every channel, its rounding constant included.
        shifts: of every channel, from the accumulator to the output.
    """
    last = min(len(bounds.lo) - 1, int(shifts.min()))
    for count in range(MAX_GROUPS):
        for inner in combinations(range(1, last + 1), count):
            constants = constants_for((0, *inner), bounds, bias)
            if constants is not None:
                return (0, *inner), constants
    return None


def constants_for(bases: Sequence[int], bounds: Bounds, bias: Integers) -> Integers | None:
    """Constants that keep every lane in range; None where there are none.

    The first group takes the bias; a bias too large for its lanes is divided between it and the
    last group.
    """
    whole = _constants(bases, bounds, bias, np.zeros_like(bias))
    if whole is not None or len(bases) == 1:
        return whole
    low = bias & ((1 << bases[-1]) - 1)
    return _constants(bases, bounds, low, bias >> bases[-1])


def _constants(
    bases: Sequence[int], bounds: Bounds, first: Integers, last: Integers
) -> Integers | None:
    rows, carried = [first], np.zeros_like(first)
    for index, base in enumerate(bases):
        row = first if index == 0 else np.zeros_like(first)
        final = index + 1 == len(bases)
        lo, hi = bounds.below(len(bounds.lo) if final else bases[index + 1])
        lo, hi = (lo + first) >> base, (hi + first) >> base
        if final:
            if (lo + last).min() < -LANE // 2 or (hi + last).max() >= LANE // 2:
                return None
            row = row + last - carried + LANE // 2
        else:
            step = 1 << (bases[index + 1] - base)
            offset = _offset(lo, hi, step)
            if offset is None:
                return None
            row, carried = row + offset - carried, offset // step
        rows[index:] = [row]
    return np.stack(rows)


def _offset(lo: Integers, hi: Integers, step: int) -> Integers | None:
    """A multiple of ``step`` that makes lanes of ``lo``..``hi`` unsigned; for all channels the same
    if that can be."""
    own = np.maximum(-(lo // step), 0) * step
    common = np.full_like(own, own.max())
    for offset in (common, own):
        if (hi + offset).max() < LANE:
            return offset
    return None


def blocks(channels: int, accumulators: int) -> tuple[range, ...]:
    """Output channels that are summed together: equal parts, at most ``accumulators`` each."""
    count = -(-channels // accumulators)
    ends = [channels * i // count for i in range(count + 1)]
    return tuple(range(a, b) for a, b in pairwise(ends))
