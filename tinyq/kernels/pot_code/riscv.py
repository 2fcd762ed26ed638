# SPDX-License-Identifier: Apache-2.0
"""A plan as RV32E assembly with compressed instructions: sixteen registers, no multiplier.

s0, s1, a0 to a4, t0 to t2 and ra hold the sums of eleven output channels, the first seven of them
with subtractions of two bytes; a5: the word that is added to them.  The words lie on the stack,
whose first 256 bytes are loaded from with two bytes of code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tinyq.kernels.pot_code.plan import Derived, Plan
from tinyq.kernels.pot_code.walk import walk

GUARD: Final = "defined(__riscv_32e)"
ACCUMULATORS: Final = ("s0", "s1", "a0", "a1", "a2", "a3", "a4", "t0", "t1", "t2", "ra")
#: bytes that a load relative to the stack pointer reaches
REACH: Final = 2047


@dataclass
class RiscV:
    """Instructions."""

    plan: Plan
    name: str
    lines: list[str] = field(default_factory=list)
    accumulators: int = len(ACCUMULATORS)

    # --- the frame: words, groups' sums, the argument, the caller's registers, tables ------------

    @property
    def sums_at(self) -> int:
        return 4 * self.plan.all_words

    @property
    def argument_at(self) -> int:
        return self.sums_at + 4 * len(self.plan.bases) * self.accumulators

    @property
    def frame(self) -> int:
        """Bytes."""
        return self.table_at(self.plan.distances[-1]) + 4

    def table_at(self, shift: int) -> int:
        return self.argument_at + 16 + 4 * self.plan.distances.index(shift)

    # --- sums ------------------------------------------------------------------------------------

    def emit(self, *lines: str) -> None:
        self.lines.extend(f"    {line}" for line in lines)

    def note(self, text: str) -> None:
        self.emit(f"# {text}")

    def derive(self, target: int, how: Derived) -> None:
        self.emit(f"lw a4, {4 * how.left}(sp)", f"lw a5, {4 * how.right}(sp)")
        if how.shift:
            self.emit(f"slli a5, a5, {how.shift}")
        self.emit(f"{'sub' if how.negative else 'add'} a4, a4, a5", f"sw a4, {4 * target}(sp)")

    def load(self, word: int) -> None:
        self.emit(f"lw a5, {4 * word}(sp)")

    def start(self, accumulator: int, negative: bool) -> None:
        self.emit(f"{'neg' if negative else 'mv'} {ACCUMULATORS[accumulator]}, a5")

    def add(self, accumulator: int, negative: bool) -> None:
        target = ACCUMULATORS[accumulator]
        self.emit(f"{'sub' if negative else 'add'} {target}, {target}, a5")

    def double(self, accumulator: int, times: int) -> None:
        target = ACCUMULATORS[accumulator]
        self.emit(f"slli {target}, {target}, {times}")

    def clear(self, accumulator: int) -> None:
        self.emit(f"li {ACCUMULATORS[accumulator]}, 0")

    def park(self, group: int, count: int) -> None:
        start = self.sums_at + 4 * self.accumulators * group
        self.emit(*(f"sw {ACCUMULATORS[i]}, {start + 4 * i}(sp)" for i in range(count)))

    # --- outputs: a0 constants, a1 and a2 outputs, a3 mask of the first group, a4 table, a5 both
    # --- lanes, s0 one of them, t0 constant of the second group ----------------------------------

    def finish(self, channels: Sequence[int]) -> None:
        plan = self.plan
        first = 4 * len(record_groups(plan)) * channels[0]
        self.note(f"channels {channels[0]}..{channels[-1]}: outputs")
        self.emit(f"lw a0, {self.argument_at}(sp)", "lw a1, 0(a0)", "lw a2, 4(a0)")
        self.emit(f"la a0, {self.name}_constants + {first}")
        if len(plan.bases) > 1:
            self.emit(f"li a3, {plan.mask(0):#010x}", f"li t0, {plan.constant(1, 0):#010x}")
        table = None
        for channel in sorted(channels, key=lambda c: plan.shifts[c]):
            shift = plan.shifts[channel]
            if shift != table:
                self.emit(f"lw a4, {self.table_at(shift)}(sp)")
                table = shift
            self._join_groups(channel - channels[0], channel)
            self.emit("slli s0, a5, 16", f"srli s0, s0, {16 + shift}", "add s0, s0, a4")
            self.emit("lbu s0, 0(s0)", f"sb s0, {channel}(a1)")
            self.emit(f"srli a5, a5, {16 + shift}", "add a5, a5, a4")
            self.emit("lbu a5, 0(a5)", f"sb a5, {channel}(a2)")

    def _join_groups(self, index: int, channel: int) -> None:
        plan, recorded = self.plan, record_groups(self.plan)
        self.emit(f"lw a5, {self.sums_at + 4 * index}(sp)")
        for group in range(len(plan.bases)):
            if group > 0:
                step, mask = plan.bases[group] - plan.bases[group - 1], "a3"
                if group > 1:
                    self.emit(f"li t2, {plan.mask(group - 1):#010x}")
                    mask = "t2"
                at = self.sums_at + 4 * (group * self.accumulators + index)
                self.emit(f"srli a5, a5, {step}", f"and a5, a5, {mask}")
                self.emit(f"lw s0, {at}(sp)", "add a5, a5, s0")
            if group in recorded:
                at = 4 * (len(recorded) * index + recorded.index(group))
                self.emit(f"lw s0, {at}(a0)", "add a5, a5, s0")
            elif group == 1:
                self.emit("add a5, a5, t0")


def record_groups(plan: Plan) -> list[int]:
    """Groups whose constants are read from the channel's record, not from a register."""
    return [g for g in range(len(plan.bases)) if g != 1 or not plan.is_uniform(g)]


def room(plan: Plan) -> int:
    """How many more words the frame has room for; none where the outputs are out of reach."""
    return (REACH - RiscV(plan, "").frame) // 4 if plan.channels <= REACH else -1


def function(plan: Plan, name: str) -> str:
    """An assembly source with the function ``name(tq_pot_pairs *pairs)``."""
    machine = RiscV(plan, name)
    saved = [("ra", 12), ("s0", 8), ("s1", 4)]
    machine.emit(f"addi sp, sp, -{machine.frame}")
    machine.emit(*(f"sw {r}, {machine.argument_at + at}(sp)" for r, at in saved))
    machine.emit(f"sw a0, {machine.argument_at}(sp)")
    machine.note("where a lane's outputs begin, by its shift")
    machine.emit("lw a0, 8(a0)", "lw a0, 4(a0)")
    for shift in plan.distances:
        machine.emit(f"li a1, {plan.table_start(shift)}", "add a1, a1, a0")
        machine.emit(f"sw a1, {machine.table_at(shift)}(sp)")
    machine.lines.append("1:")
    machine.emit(f"lw a0, {machine.argument_at}(sp)", "mv a1, sp", "call tq_pot_next")
    machine.emit("bnez a0, 2f", "j 9f")
    machine.lines.append("2:")
    walk(plan, machine)
    machine.emit("j 1b")
    machine.lines.append("9:")
    machine.emit(*(f"lw {r}, {machine.argument_at + at}(sp)" for r, at in saved))
    machine.emit(f"addi sp, sp, {machine.frame}", "ret", f".size {name}, . - {name}")
    return "\n".join([*_head(name), *machine.lines, *_records(plan, name), "#endif", ""])


def _head(name: str) -> list[str]:
    return [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        f"#if {GUARD}",
        f'    .section .text.{name}, "ax", @progbits',
        "    .balign 4",
        f"    .weak {name}",
        f"    .type {name}, @function",
        f"{name}:",
    ]


def _records(plan: Plan, name: str) -> list[str]:
    """The channels' constants."""
    groups = record_groups(plan)
    rows = [
        "    .word " + ", ".join(f"{plan.constant(g, channel):#010x}" for g in groups)
        for channel in range(plan.channels)
    ]
    return ["    .balign 4", f"{name}_constants:", *rows]
