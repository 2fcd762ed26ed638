# SPDX-License-Identifier: Apache-2.0
"""Which instructions RV32E with compressed ones (RV32EC) has: sixteen registers, no multiplier.

Decided from the encodings (The RISC-V Instruction Set Manual, volume I, chapters 2, 6 and 16).  The
control registers' instructions are let pass: a start-up needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REGISTERS: Final = 16
_RD, _RS1, _RS2 = 7, 15, 20
#: major opcode of 32 bits to the places of its register numbers
_OPCODES: Final[Mapping[int, tuple[int, ...]]] = {
    0x03: (_RD, _RS1),  # loads
    0x0F: (),  # fence
    0x13: (_RD, _RS1),  # with an immediate
    0x17: (_RD,),  # auipc
    0x23: (_RS1, _RS2),  # stores
    0x33: (_RD, _RS1, _RS2),  # between registers
    0x37: (_RD,),  # lui
    0x63: (_RS1, _RS2),  # branches
    0x67: (_RD, _RS1),  # jalr
    0x6F: (_RD,),  # jal
    0x73: (),  # system
}
#: (quadrant, funct3) of 16 bits to the places of its full register numbers; others use x8 to x15
_COMPRESSED: Final[Mapping[tuple[int, int], tuple[int, ...]]] = {
    (0, 0): (),  # addi4spn
    (0, 2): (),  # lw
    (0, 6): (),  # sw
    (1, 0): (7,),  # addi
    (1, 1): (),  # jal
    (1, 2): (7,),  # li
    (1, 3): (7,),  # lui, addi16sp
    (1, 4): (),  # arithmetic
    (1, 5): (),  # j
    (1, 6): (),  # beqz
    (1, 7): (),  # bnez
    (2, 0): (7,),  # slli
    (2, 2): (7,),  # lwsp
    (2, 4): (7, 2),  # mv, add, jr, jalr, ebreak
    (2, 6): (2,),  # swsp
}


def length(first: int) -> int:
    """Bytes of an instruction that starts with this halfword."""
    return 4 if first & 3 == 3 else 2


def has(code: int) -> bool:
    """Whether RV32EC has the instruction of these 16 or 32 bits."""
    return _has_long(code) if code & 3 == 3 else _has_compressed(code)


def _registers_fit(code: int, places: tuple[int, ...]) -> bool:
    return all((code >> place) & 31 < REGISTERS for place in places)


def _has_long(code: int) -> bool:
    places = _OPCODES.get(code & 0x7F)
    if places is None or not _registers_fit(code, places):
        return False
    opcode, minor, high = code & 0x7F, (code >> 12) & 7, code >> 25
    if opcode == 0x33:
        return high == 0 or (high == 0x20 and minor in (0, 5))  # high == 1 multiplies, divides
    if opcode == 0x13 and minor in (1, 5):
        return high == 0 or (high == 0x20 and minor == 5)
    return {0x03: minor in (0, 1, 2, 4, 5), 0x23: minor <= 2}.get(opcode, True)


def _has_compressed(code: int) -> bool:
    quadrant, minor = code & 3, code >> 13
    places = _COMPRESSED.get((quadrant, minor))
    if code == 0:
        return True  # by definition illegal everywhere: what linkers fill gaps with
    if places is None or not _registers_fit(code, places):
        return False
    long_shift = code & 0x1000 != 0  # bit 5 of the distance: RV64's
    if (quadrant, minor) == (1, 4):
        kind = (code >> 10) & 3
        return kind == 2 or not long_shift  # kind 3 with that bit set is RV64's too
    return not (quadrant == 2 and minor == 0 and long_shift)
