# SPDX-License-Identifier: Apache-2.0
"""Instruction counts are exact: against programs of known length, and QEMU against Unicorn."""

from __future__ import annotations

import pytest
from available import skip_unless_available
from doubles import counted, double, packed, samples

from tinyq.boards import core_boards
from tinyq.emulators import Profile, RunRequest, build, emulator
from tinyq.emulators.protocol import instructions_between, profile_of
from tinyq.emulators.unicorn import MODELS


def known(first: int, second: int) -> Profile:
    return Profile(
        instructions=3 + (3 + 2 * first) + (3 + 2 * second) + 1,
        layers=(3 + (3 + 2 * first) + 1, (3 + 2 * second) + 1),
        tail=1,
    )


def profiles(name: str, parts: list, symbol: str, inputs: bytes, count: int) -> tuple:
    backend = emulator(name)
    request = RunRequest(build(backend, parts, symbol), inputs, count, profile=True)
    return backend.run(request).profiles


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 1000), (12345, 7)])
def test_known_number_of_instructions(emulated: str, first: int, second: int) -> None:
    found = profiles(emulated, counted(first, second), "counted_model", bytes(2), 2)
    assert found == (known(first, second),) * 2


@pytest.mark.parametrize("core", core_boards())
def test_known_number_in_a_long_layer(core: str) -> None:
    """More ticks than the 24 bits of a SysTick; exact to the last instruction."""
    skip_unless_available(f"qemu-{core}")
    turns = 4_000_001
    found = profiles(f"qemu-{core}", counted(3, turns), "counted_model", bytes(1), 1)
    assert found == (known(3, turns),)


@pytest.mark.parametrize("core", MODELS)
def test_qemu_and_unicorn_count_alike(core: str) -> None:
    """Two emulators, two methods: virtual time between readings, and blocks between calls."""
    skip_unless_available(f"qemu-{core}")
    skip_unless_available(f"unicorn-{core}")
    x, g = samples(20, seed=7)
    qemu = profiles(f"qemu-{core}", double(), "double_model", packed(x, g), 20)
    unicorn = profiles(f"unicorn-{core}", double(), "double_model", packed(x, g), 20)
    assert qemu == unicorn
    assert len(qemu) == 20


@pytest.mark.parametrize("board", core_boards().values(), ids=core_boards())
def test_every_count_survives_the_clock(board) -> None:
    """Ticks of an interval are floored at both ends: rounding recovers n whatever the phase."""
    for n in (1, 2, 3, 1000, 10**6 + 1, 5 * 10**8):
        for phase in range(0, 1_000_000_007, 40_000_001):
            start = phase * board.clock_hertz // 10**9
            end = (phase + n * 256) * board.clock_hertz // 10**9
            assert instructions_between(end % 2**32 - start % 2**32, board.clock_hertz) == n


def test_calibration() -> None:
    """A reading of 30 instructions: [calibration, inference], [calibration, layers ..., tail]."""
    assert profile_of([31, 30 + 2 + 100], [31, 30 + 1 + 60, 30 + 45, 30 + 1 + 2]) == Profile(
        100, (60, 45), 2
    )
