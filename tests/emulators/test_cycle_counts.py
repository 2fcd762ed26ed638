# SPDX-License-Identifier: Apache-2.0
"""Executed blocks and modelled cycles of a program whose instructions are known."""

from __future__ import annotations

import pytest
from available import skip_unless_available
from doubles import counted

from tinyq.cycles import Cycles, count_cycles
from tinyq.elf import segments
from tinyq.emulators import RunRequest, build, emulator
from tinyq.emulators.unicorn import MODELS


def turns_on_m0(turns: int) -> int:
    """ldr; turns of subs and a branch, the last one not taken; cmp; a branch over the hook."""
    return 2 + turns * 1 + (turns - 1) * 3 + 1 + 1 + 3


def test_cycles_of_a_known_program_on_m0() -> None:
    skip_unless_available("unicorn-m0")
    backend = emulator("unicorn-m0")
    image = build(backend, counted(100, 7), "counted_model")
    (profile,) = backend.run(RunRequest(image, bytes(1), 1, profile=True)).profiles
    ((start, code),) = segments(image.path)

    def read(address: int, size: int) -> bytes:
        return code[address - start :][:size]

    whole, first, second = (count_cycles("m0", edges, read) for edges in profile.edges)
    calls = 3 + 3  # of invoke, and of the reading after it
    exact = calls + 3 + 2 + 2 + turns_on_m0(100) + turns_on_m0(7) + 6
    assert whole == Cycles(exact, exact)
    # With a hook the branch over it is not taken and the call of it is; the first layer holds the
    # entry of invoke and its call.
    hook = 1 - 3 + 3
    assert first.least == 3 + 3 + 2 + 2 + turns_on_m0(100) + hook
    assert second.least == turns_on_m0(7) + hook


@pytest.mark.parametrize("core", MODELS)
def test_blocks_hold_all_instructions(core: str) -> None:
    skip_unless_available(f"unicorn-{core}")
    backend = emulator(f"unicorn-{core}")
    image = build(backend, counted(5, 300), "counted_model")
    (profile,) = backend.run(RunRequest(image, bytes(1), 1, profile=True)).profiles
    assert len(profile.edges) == 1 + 2
    # The first turn runs in the block that loads the number of turns, the last one leaves.
    assert max(profile.edges[2].values()) == 300 - 2
