# SPDX-License-Identifier: Apache-2.0
"""Modelled cycles against the manuals' tables, instruction by instruction."""

from __future__ import annotations

import pytest

from tinyq.cycles import TIMINGS, Cycles, Instruction, block_cycles, count_cycles, disassemble
from tinyq.errors import TinyqError

#: text of one instruction that is the last of its block and goes elsewhere, to its cycles
ONE = {
    "m0": {
        "adds r0, r0, r1": (1, 1),
        "muls r0, r1, r0": (1, 1),
        "ldr r0, [r1, #4]": (2, 2),
        "strb r0, [r1, r2]": (2, 2),
        "ldm r0!, {r1, r2, r3}": (4, 4),
        "push {r4, r5, lr}": (4, 4),
        "pop {r4, pc}": (6, 6),
        "b #0x10": (3, 3),
        "bl #0x10": (4, 4),
        "bx lr": (3, 3),
        "mov pc, r0": (3, 3),
        "mrs r0, ipsr": (4, 4),
    },
    "m3": {
        "mul r0, r1, r2": (1, 1),
        "mla r0, r1, r2, r3": (2, 2),
        "smull r0, r1, r2, r3": (3, 5),
        "smlal r0, r1, r2, r3": (4, 7),
        "udiv r0, r1, r2": (2, 12),
        "ldr.w r0, [r1], #4": (2, 2),
        "str r0, [r1, #4]": (1, 2),
        "str.w r0, [r1, r2, lsl #2]": (2, 2),
        "ldrd r0, r1, [r2]": (3, 3),
        "ldr pc, [r1]": (3, 5),
        "pop.w {r4, r5, r6, pc}": (6, 8),
        "bne #0x10": (2, 4),
        "cbz r0, #0x10": (2, 4),
        "tbb [pc, r0]": (3, 5),
        "ite ne": (0, 1),
        "movne r0, r1": (1, 1),
    },
    "m4": {
        "mla r0, r1, r2, r3": (1, 1),
        "smull r0, r1, r2, r3": (1, 1),
        "smlad r0, r1, r2, r3": (1, 1),
        "umaal r0, r1, r2, r3": (1, 1),
        "usat r0, #8, r1, asr #3": (1, 1),
        "sdiv r0, r1, r2": (2, 12),
        "vldr s0, [r1]": (2, 2),
        "vpush {d8, d9}": (5, 5),
        "vmov r0, s1": (1, 1),
        "ldrsb.w r0, [r1, #1]": (2, 2),
        "ldm.w r0, {r1, r2}": (3, 3),
    },
}


def parse(text: str) -> Instruction:
    mnemonic, _, operands = text.partition(" ")
    return Instruction(mnemonic, operands)


def cycles(core: str, *block: str, taken: bool = False) -> tuple[int, int]:
    found = block_cycles(TIMINGS[core], [parse(text) for text in block], taken)
    return found.least, found.most


@pytest.mark.parametrize(("core", "text"), [(core, text) for core in ONE for text in ONE[core]])
def test_table(core: str, text: str) -> None:
    assert cycles(core, text, taken=True) == ONE[core][text]


@pytest.mark.parametrize("core", TIMINGS)
def test_branch_that_is_not_taken_takes_one(core: str) -> None:
    assert cycles(core, "beq #0x10") == (1, 1)


def test_only_the_last_instruction_of_a_block_may_leave_it() -> None:
    assert cycles("m0", "adds r0, #1", "adds r1, #1", "b #0x10", taken=True) == (5, 5)


def test_neighbouring_loads_overlap_on_m3_and_m4() -> None:
    block = ("ldr r0, [r1]", "ldr r2, [r3]", "ldr r4, [r5]")
    assert cycles("m3", *block) == cycles("m4", *block) == (4, 4)
    assert cycles("m0", *block) == (6, 6)


def test_a_load_does_not_overlap_with_the_load_of_its_address() -> None:
    assert cycles("m4", "ldr r0, [r1]", "ldr r2, [r0]") == (4, 5)


def test_nothing_overlaps_with_a_store() -> None:
    assert cycles("m4", "str r0, [r1]", "ldr r2, [r3]") == (3, 4)
    assert cycles("m4", "ldr r2, [r3]", "str r0, [r1]") == (3, 4)


def test_an_address_just_computed_may_cost_a_cycle() -> None:
    assert cycles("m4", "add r0, r0, #4", "ldr r1, [r0]") == (3, 4)


def test_counts_are_weighted_and_taken_branches_known_from_the_successor() -> None:
    loop = bytes.fromhex("0138 fdd1".replace(" ", ""))  # subs r0, #1; bne the instruction before
    edges = {(0x100, 4, 0x100): 9, (0x100, 4, 0x104): 1}
    assert count_cycles("m0", edges, lambda address, size: loop) == Cycles(9 * 4 + 2, 9 * 4 + 2)
    assert count_cycles("m4", edges, lambda address, size: loop) == Cycles(9 * 3 + 2, 9 * 5 + 2)


def test_what_is_no_code_is_refused() -> None:
    with pytest.raises(TinyqError, match="cannot be disassembled"):
        disassemble(b"\xff\xff\xff\xff", 0)
