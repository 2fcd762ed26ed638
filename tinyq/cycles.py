# SPDX-License-Identifier: Apache-2.0
"""Cycles of executed blocks, modelled from the cores' published timing tables.

A range: the least and the most that the tables allow, with memory that never waits.  Never compared
with silicon: flash with wait states, caches, bus contention and interrupts come on top.

Sources: "Cortex-M0 Technical Reference Manual" (DDI 0432C), table 3-1, with the multiplier of one
cycle; "Cortex-M3 Technical Reference Manual" (DDI 0337I), tables 18-1 and 18-2 and section 18.3;
"Cortex-M4 Technical Reference Manual" (DDI 0439D), table 3-1 and section 3.3.3.  Absent: cores
whose timing Arm does not publish (M7, M33, M55).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capstone import CS_ARCH_ARM, CS_MODE_MCLASS, CS_MODE_THUMB, Cs

from tinyq.errors import TinyqError

#: what every figure of this module is labelled with
LABEL: Final = "modelled from published timing tables, zero wait states; not validated on silicon"

_CONDITION: Final = "(eq|ne|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?"
_LOAD: Final = re.compile(rf"v?ldr(b|h|sb|sh)?{_CONDITION}$")
_STORE: Final = re.compile(rf"v?str(b|h)?{_CONDITION}$")
_MULTIPLE: Final = re.compile(
    rf"v?(ldm|stm|push|pop)(ia|db)?{_CONDITION}$|(ldrd|strd){_CONDITION}$"
)
_BRANCH: Final = re.compile(rf"(b|bl|blx|bx|cbz|cbnz|tbb|tbh){_CONDITION}$")
_IF_THEN: Final = re.compile(r"it[te]{0,3}$")
_REGISTER: Final = re.compile(r"\b(?:[rsd]\d+|sb|sl|fp|ip|sp|lr|pc)\b")


@dataclass(frozen=True)
class Cycles:
    """The least and the most cycles that the tables allow."""

    least: int
    most: int

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(self.least + other.least, self.most + other.most)

    def times(self, count: int) -> Cycles:
        """Of ``count`` executions."""
        return Cycles(self.least * count, self.most * count)


@dataclass(frozen=True)
class Instruction:
    """One Thumb instruction: ``ldr``, ``r0, [r1, #4]``."""

    mnemonic: str
    operands: str

    @property
    def target(self) -> str:
        """The register that it writes first, as its text names it."""
        return self.operands.partition(",")[0].strip()

    @property
    def address_registers(self) -> frozenset[str]:
        """Registers between the brackets of a load or store."""
        inside = re.search(r"\[([^\]]*)\]", self.operands)
        return frozenset(_REGISTER.findall(inside[1])) if inside else frozenset()

    @property
    def has_offset_register(self) -> bool:
        """The address is the sum of two registers."""
        return len(self.address_registers) > 1

    @property
    def words(self) -> int:
        """Registers of a multiple load or store, two for each of 64 bits."""
        if self.mnemonic.startswith(("ldrd", "strd")):
            return 2
        names = _REGISTER.findall(self.operands.partition("{")[2])
        return len(names) + sum(name.startswith("d") for name in names)

    @property
    def writes_pc(self) -> bool:
        """It goes elsewhere without being a branch: ``pop {pc}``, ``ldr pc, [..]``, ``mov pc``."""
        if _BRANCH.match(self.mnemonic) or _STORE.match(self.mnemonic):
            return False
        return self.target == "pc" or re.search(r"\{.*\bpc\b.*\}", self.operands) is not None


@dataclass(frozen=True)
class Timing:
    """A core's table.

    Attributes:
        special: what takes not one cycle: pattern of mnemonics to cycles.
        refill: cycles to fill the pipeline after a taken branch.
        link: more cycles of a call.
        return_extra: more cycles of a load into the program counter.
        pipelined: loads and stores overlap with a load before them.
    """

    special: Mapping[str, Cycles]
    refill: Cycles
    link: int = 0
    return_extra: int = 0
    pipelined: bool = True


_DIVIDE: Final = {"[su]div": Cycles(2, 12)}
_SYSTEM: Final = {"mrs|msr": Cycles(1, 2), "dsb|dmb|isb": Cycles(1, 4)}
TIMINGS: Final[Mapping[str, Timing]] = {
    "m0": Timing(
        {"mrs|msr|dsb|dmb|isb": Cycles(4, 4)},
        Cycles(2, 2),
        link=1,
        return_extra=1,
        pipelined=False,
    ),
    "m3": Timing(
        {
            "mla|mls": Cycles(2, 2),
            "[su]mull": Cycles(3, 5),
            "[su]mlal": Cycles(4, 7),
            **_DIVIDE,
            **_SYSTEM,
        },
        Cycles(1, 3),
    ),
    "m4": Timing({**_DIVIDE, **_SYSTEM}, Cycles(1, 3)),
}


def instruction_cycles(
    timing: Timing, now: Instruction, before: Instruction | None, taken: bool
) -> Cycles:
    """Cycles of one instruction.

    Args:
        before: the instruction before it, where there was no branch between.
        taken: it is the last of its block, and the next block does not follow it in memory.
    """
    name = now.mnemonic.partition(".")[0]
    if _BRANCH.match(name):
        cycles = _branch(timing, name, taken)
    elif _MULTIPLE.match(name):
        cycles = _multiple(timing, now)
    elif _LOAD.match(name) or _STORE.match(name):
        cycles = _single(timing, now, before)
    elif _IF_THEN.match(name):
        cycles = Cycles(0, 1)  # folded into an instruction of 16 bits before it
    else:
        cycles = _special(timing, name)
    return cycles + timing.refill if now.writes_pc and taken else cycles


def _branch(timing: Timing, name: str, taken: bool) -> Cycles:
    table = 1 if name in ("tbb", "tbh") else 0
    link = timing.link if name == "bl" else 0
    own = Cycles(1 + table + link, 1 + table + link)
    return own + timing.refill if taken else own


def _multiple(timing: Timing, now: Instruction) -> Cycles:
    count = 1 + now.words + (timing.return_extra if now.writes_pc else 0)
    return Cycles(count, count)


def _special(timing: Timing, name: str) -> Cycles:
    for pattern, cycles in timing.special.items():
        if re.fullmatch(f"({pattern})s?{_CONDITION}", name):
            return cycles
    return Cycles(1, 1)


def _single(timing: Timing, now: Instruction, before: Instruction | None) -> Cycles:
    """A load takes two cycles and one where it overlaps with the load before it; a store with an
    immediate offset takes one unless the write buffer is full."""
    if not timing.pipelined:
        return Cycles(2, 2)
    stores = _STORE.match(now.mnemonic.partition(".")[0]) is not None
    if before is not None and _overlaps(now, before):
        return Cycles(1, 2 if stores else 1)
    least = 1 if stores and not now.has_offset_register else 2
    return Cycles(least, 2 + _waits_for_address(now, before))


def _overlaps(now: Instruction, before: Instruction) -> bool:
    loads = _LOAD.match(before.mnemonic.partition(".")[0]) is not None
    return loads and before.target not in now.address_registers


def _waits_for_address(now: Instruction, before: Instruction | None) -> int:
    """The manuals leave open whether an address computed just before costs a cycle."""
    return int(before is not None and before.target in now.address_registers)


def disassemble(code: bytes, address: int) -> tuple[Instruction, ...]:
    """The instructions of a stretch of Thumb code.

    Raises:
        TinyqError: some are not.
    """
    decoder = Cs(CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
    found = list(decoder.disasm_lite(code, address))
    if sum(size for _, size, _, _ in found) != len(code):
        raise TinyqError(f"code at 0x{address:08x} cannot be disassembled: {code.hex()}")
    return tuple(Instruction(mnemonic, operands) for _, _, mnemonic, operands in found)


def block_cycles(timing: Timing, block: Sequence[Instruction], taken: bool) -> Cycles:
    """Cycles of one execution of a basic block."""
    total, before = Cycles(0, 0), None
    for index, now in enumerate(block):
        last = index == len(block) - 1
        total += instruction_cycles(timing, now, before, taken and last)
        before = now
    return total


def count_cycles(
    core: str,
    edges: Mapping[tuple[int, int, int], int],
    read: Callable[[int, int], bytes],
) -> Cycles:
    """Cycles of all executed blocks.

    Args:
        core: key of ``TIMINGS``.
        edges: how often a block (address, bytes) was left for an address.
        read: the code at (address, bytes).
    """
    timing, total = TIMINGS[core], Cycles(0, 0)
    for (address, size, successor), times in edges.items():
        block = disassemble(read(address, size), address)
        taken = successor != address + size
        total += block_cycles(timing, block, taken).times(times)
    return total
