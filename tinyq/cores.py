# SPDX-License-Identifier: Apache-2.0
"""The cores that code is made for, and what of each a kernel's author must know.

``generic`` is any core: it gets the portable kernels alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tinyq.errors import InputError


@dataclass(frozen=True)
class Core:
    """A core.

    Attributes:
        name: what ``--core`` calls it.
        thumb2: it has the 32-bit instructions of ARMv7-M, among them multiply-accumulate.
        dsp: it multiplies two pairs of 16-bit numbers at once (SMLAD) and saturates (SSAT, USAT).
        mve: it has vectors of 128 bits (Helium).
        riscv: its instructions are RISC-V's, not Arm's.
        multiplier: it has an instruction that multiplies; without, libgcc adds and shifts.
    """

    name: str
    thumb2: bool = False
    dsp: bool = False
    mve: bool = False
    riscv: bool = False
    multiplier: bool = True


GENERIC: Final = Core("generic")
CORES: Final[Mapping[str, Core]] = {
    core.name: core
    for core in (
        GENERIC,
        Core("m0"),
        Core("m3", thumb2=True),
        Core("m4", thumb2=True, dsp=True),
        Core("m7", thumb2=True, dsp=True),
        Core("m33", thumb2=True, dsp=True),
        Core("m55", thumb2=True, dsp=True, mve=True),
        Core("rv32ec", riscv=True, multiplier=False),
    )
}


def find_core(name: str) -> Core:
    """The core of that name.

    Raises:
        InputError: there is none.
    """
    if name not in CORES:
        raise InputError(f"unknown core '{name}'; choose one of {', '.join(CORES)}")
    return CORES[name]
