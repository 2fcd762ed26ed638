# SPDX-License-Identifier: Apache-2.0
"""A plan as ARMv6-M assembly (Cortex-M0).

r0, r2 to r7: the sums of seven output channels; r1: the word that is added to them.
The words lie on the stack: that alone is addressed over 1 KB in one instruction.

Between two pairs of windows the high registers hold what finishing a block needs:
r8 constant of the second group, r10 and r11 where the two pixels' outputs go, r12 mask of the
first group's scaled sum, lr the channels' constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tinyq.kernels.pot_code.plan import Derived, Plan
from tinyq.kernels.pot_code.walk import walk

GUARD: Final = "defined(__ARM_ARCH_6M__)"
ACCUMULATORS: Final = ("r0", "r2", "r3", "r4", "r5", "r6", "r7")
#: bytes that a load or store relative to the stack pointer reaches
REACH: Final = 1020
_SAVED: Final = 36  # r4 to r11 and lr


@dataclass
class Thumb:
    """Instructions, and how far the pointers of the finish have moved."""

    plan: Plan
    lines: list[str] = field(default_factory=list)
    accumulators: int = len(ACCUMULATORS)
    outputs_at: int = 0
    records_at: int = 0

    # --- the frame: words, groups' sums, the argument, masks of the later groups, tables ---------

    @property
    def sums_at(self) -> int:
        return 4 * self.plan.all_words

    @property
    def argument_at(self) -> int:
        return self.sums_at + 4 * len(self.plan.bases) * self.accumulators

    def mask_at(self, group: int) -> int:
        return self.argument_at + 4 * group

    def table_at(self, shift: int) -> int:
        index = max(1, len(self.plan.bases) - 1) + self.plan.distances.index(shift)
        return self.argument_at + 4 * index

    @property
    def frame(self) -> int:
        """Bytes; with what is saved a multiple of 8."""
        used = self.table_at(self.plan.distances[-1]) + 4
        return used + (-(used + _SAVED)) % 8

    # --- sums ------------------------------------------------------------------------------------

    def emit(self, *lines: str) -> None:
        self.lines.extend(f"    {line}" for line in lines)

    def note(self, text: str) -> None:
        self.emit(f"@ {text}")

    def derive(self, target: int, how: Derived) -> None:
        self.emit(f"ldr r2, [sp, #{4 * how.left}]", f"ldr r3, [sp, #{4 * how.right}]")
        if how.shift:
            self.emit(f"lsls r3, #{how.shift}")
        self.emit(
            f"{'subs' if how.negative else 'adds'} r2, r2, r3", f"str r2, [sp, #{4 * target}]"
        )

    def load(self, word: int) -> None:
        self.emit(f"ldr r1, [sp, #{4 * word}]")

    def start(self, accumulator: int, negative: bool) -> None:
        target = ACCUMULATORS[accumulator]
        self.emit(f"rsbs {target}, r1, #0" if negative else f"movs {target}, r1")

    def add(self, accumulator: int, negative: bool) -> None:
        target = ACCUMULATORS[accumulator]
        self.emit(f"{'subs' if negative else 'adds'} {target}, {target}, r1")

    def double(self, accumulator: int, times: int) -> None:
        self.emit(f"lsls {ACCUMULATORS[accumulator]}, #{times}")

    def clear(self, accumulator: int) -> None:
        self.emit(f"movs {ACCUMULATORS[accumulator]}, #0")

    def park(self, group: int, count: int) -> None:
        start = self.sums_at + 4 * self.accumulators * group
        self.emit(f"add r1, sp, #{start}", f"stm r1!, {{{', '.join(ACCUMULATORS[:count])}}}")

    # --- outputs: r0 constants, r1 table, r2 and r3 outputs, r4 mask, r5 both lanes, r6 one, r7 ---

    def finish(self, channels: Sequence[int]) -> None:
        plan = self.plan
        self.note(f"channels {channels[0]}..{channels[-1]}: outputs")
        self.emit("mov r0, lr", "mov r2, r10", "mov r3, r11")
        if len(plan.bases) > 1:
            self.emit("mov r4, r12")
        self._advance(channels)
        table = None
        for channel in sorted(channels, key=lambda c: plan.shifts[c]):
            shift, at = plan.shifts[channel], channel - self.outputs_at
            if shift != table:
                self.emit(f"ldr r1, [sp, #{self.table_at(shift)}]")
                table = shift
            self._join_groups(channel - channels[0], channel)
            self.emit("lsls r6, r5, #16", f"lsrs r6, r6, #{16 + shift}", "ldrb r6, [r1, r6]")
            self.emit(f"strb r6, [r2, #{at}]")
            self.emit(f"lsrs r5, r5, #{16 + shift}", "ldrb r5, [r1, r5]", f"strb r5, [r3, #{at}]")

    def _advance(self, channels: Sequence[int]) -> None:
        """Bring outputs and constants into the reach of stores and loads."""
        if channels[-1] - self.outputs_at > 31:
            step, self.outputs_at = channels[0] - self.outputs_at, channels[0]
            self.emit(f"adds r2, #{step}", f"adds r3, #{step}", "mov r10, r2", "mov r11, r3")
        per_channel = len(record_groups(self.plan))
        if (channels[-1] + 1) * per_channel - self.records_at > 32:
            step = channels[0] * per_channel - self.records_at
            self.records_at += step
            self.emit(f"adds r0, #{4 * step}", "mov lr, r0")

    def _join_groups(self, index: int, channel: int) -> None:
        plan, recorded = self.plan, record_groups(self.plan)
        self.emit(f"ldr r5, [sp, #{self.sums_at + 4 * index}]")
        for group in range(len(plan.bases)):
            if group > 0:
                step = plan.bases[group] - plan.bases[group - 1]
                mask = "r4"
                if group > 1:
                    self.emit(f"ldr r7, [sp, #{self.mask_at(group - 1)}]")
                    mask = "r7"
                at = self.sums_at + 4 * (group * self.accumulators + index)
                self.emit(f"lsrs r5, r5, #{step}", f"ands r5, {mask}")
                self.emit(f"ldr r6, [sp, #{at}]", "adds r5, r5, r6")
            if group in recorded:
                at = len(recorded) * channel + recorded.index(group) - self.records_at
                self.emit(f"ldr r6, [r0, #{4 * at}]", "adds r5, r5, r6")
            elif group == 1:
                self.emit("add r5, r8")


def record_groups(plan: Plan) -> list[int]:
    """Groups whose constants are read from the channel's record, not from a register."""
    return [g for g in range(len(plan.bases)) if g != 1 or not plan.is_uniform(g)]


def room(plan: Plan) -> int:
    """How many more words the frame has room for."""
    return (REACH - Thumb(plan).frame) // 4 - 1


def _move_stack(machine: Thumb, operation: str) -> None:
    left = machine.frame
    while left > 0:
        machine.emit(f"{operation} sp, #{min(left, 508)}")
        left -= min(left, 508)


def function(plan: Plan, name: str) -> str:
    """An assembly source with the function ``name(tq_pot_pairs *pairs)``."""
    machine = Thumb(plan)
    _enter(machine, name)
    machine.note("until there is no pair of windows left: both jumps are too far for others")
    machine.lines.append("1:")
    machine.emit(f"ldr r0, [sp, #{machine.argument_at}]", "mov r1, sp", "bl tq_pot_next")
    machine.emit("cmp r0, #0", "bne 2f", "bl 9f")
    machine.lines.append("2:")
    _prepare(machine, name)
    walk(plan, machine)
    machine.emit("bl 1b")
    machine.lines.append("9:")
    _leave(machine, name)
    return "\n".join([*_head(name), *machine.lines, *_records(plan, name), "#endif", ""])


def _head(name: str) -> list[str]:
    return [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        f"#if {GUARD}",
        "    .syntax unified",
        "    .thumb",
        f'    .section .text.{name}, "ax", %progbits',
        "    .balign 4",
        f"    .weak {name}",
        f"    .type {name}, %function",
        "    .thumb_func",
        f"{name}:",
    ]


def _enter(machine: Thumb, name: str) -> None:
    machine.emit("push {r4-r7, lr}")
    machine.emit("mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}")
    _move_stack(machine, "sub")
    machine.emit(f"str r0, [sp, #{machine.argument_at}]")
    for group in range(1, len(machine.plan.bases) - 1):
        machine.emit(f"ldr r0, ={machine.plan.mask(group):#010x}")
        machine.emit(f"str r0, [sp, #{machine.mask_at(group)}]")
    machine.note("where a lane's outputs begin, by its shift")
    machine.emit(f"ldr r0, [sp, #{machine.argument_at}]", "ldr r0, [r0, #8]", "ldr r0, [r0, #4]")
    for shift in machine.plan.distances:
        machine.emit(f"ldr r1, ={machine.plan.table_start(shift)}", "adds r1, r0, r1")
        machine.emit(f"str r1, [sp, #{machine.table_at(shift)}]")
    machine.emit("b 1f", ".ltorg")


def _prepare(machine: Thumb, name: str) -> None:
    """The high registers, for one pair."""
    plan = machine.plan
    machine.emit(f"ldr r0, [sp, #{machine.argument_at}]", "ldm r0!, {r2, r3}")
    machine.emit("mov r10, r2", "mov r11, r3", f"ldr r4, ={name}_constants", "mov lr, r4")
    if len(plan.bases) > 1:
        machine.emit(f"ldr r6, ={plan.mask(0):#010x}", "mov r12, r6")
        machine.emit(f"ldr r7, ={plan.constant(1, 0):#010x}", "mov r8, r7")
    machine.emit("b 3f", ".ltorg")
    machine.lines.append("3:")


def _leave(machine: Thumb, name: str) -> None:
    _move_stack(machine, "add")
    machine.emit("pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7")
    machine.emit("pop {r4-r7, pc}", f".size {name}, . - {name}")


def _records(plan: Plan, name: str) -> list[str]:
    """The channels' constants."""
    groups = record_groups(plan)
    rows = [
        "    .word " + ", ".join(f"{plan.constant(g, channel):#010x}" for g in groups)
        for channel in range(plan.channels)
    ]
    return ["    .balign 4", f"{name}_constants:", *rows]
