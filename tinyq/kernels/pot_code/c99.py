# SPDX-License-Identifier: Apache-2.0
"""A plan as a C function: the twin of the assembly, compiled for every other core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tinyq.kernels.pot_code.plan import Derived, Plan
from tinyq.kernels.pot_code.walk import walk


@dataclass
class C99:
    """Statements; accumulators are a0, a1, ..., the word is t."""

    plan: Plan
    accumulators: int = 8
    lines: list[str] = field(default_factory=list)

    def emit(self, line: str) -> None:
        self.lines.append(f"        {line}")

    def note(self, text: str) -> None:
        self.emit(f"/* {text} */")

    def derive(self, target: int, how: Derived) -> None:
        sign = "-" if how.negative else "+"
        right = f"(x[{how.right}] << {how.shift})" if how.shift else f"x[{how.right}]"
        self.emit(f"x[{target}] = x[{how.left}] {sign} {right};")

    def load(self, word: int) -> None:
        self.emit(f"t = x[{word}];")

    def start(self, accumulator: int, negative: bool) -> None:
        self.emit(f"a{accumulator} = {'0U - t' if negative else 't'};")

    def add(self, accumulator: int, negative: bool) -> None:
        self.emit(f"a{accumulator} {'-' if negative else '+'}= t;")

    def double(self, accumulator: int, times: int) -> None:
        self.emit(f"a{accumulator} <<= {times};")

    def clear(self, accumulator: int) -> None:
        self.emit(f"a{accumulator} = 0;")

    def park(self, group: int, count: int) -> None:
        for index in range(count):
            self.emit(f"sums[{group}][{index}] = a{index};")

    def finish(self, channels: Sequence[int]) -> None:
        plan, last = self.plan, len(self.plan.bases) - 1
        for index, channel in enumerate(channels):
            self.emit(f"t = sums[0][{index}] + {_hex(plan.constant(0, channel))};")
            for group in range(last):
                step = plan.bases[group + 1] - plan.bases[group]
                constant = _hex(plan.constant(group + 1, channel))
                self.emit(f"t = ((t >> {step}) & {_hex(plan.mask(group))}) + {constant};")
                self.emit(f"t += sums[{group + 1}][{index}];")
            place = f"{plan.shifts[channel]}, {plan.zero}"
            self.emit(f"tq_pot_put(pairs, outputs, {channel}, t, {place});")


def _hex(word: int) -> str:
    return f"0x{word:08X}U"


def function(plan: Plan, name: str) -> str:
    """The text of ``static void name(tq_pot_pairs *pairs)``."""
    machine = C99(plan)
    walk(plan, machine)
    sums = ", ".join(f"a{i} = 0" for i in range(machine.accumulators))
    body = "\n".join(machine.lines)
    unused = " ".join(f"(void)a{i};" for i in range(machine.accumulators))
    return "\n".join(
        [
            f"static void {name}(tq_pot_pairs *pairs) {{",
            "    const uint8_t *const outputs = pairs->layer->outputs;",
            f"    uint32_t x[{plan.all_words}];",
            f"    uint32_t sums[{len(plan.bases)}][{machine.accumulators}];",
            f"    uint32_t t, {sums};",
            "    while (tq_pot_next(pairs, x)) {",
            body,
            "    }",
            f"    {unused}",
            "}",
        ]
    )
