# SPDX-License-Identifier: Apache-2.0
"""What an image holds: memory per part, object and symbol, and the instructions in it.

Memory is counted from the linker's map (the symbol table does not say which object a symbol came
from). Flash is everything that is programmed, the start values of .data included; RAM is .data and
.bss, without the stack.

Instructions: emulators execute what the real core would fault on (QEMU 7.2 runs SMLAD on a
Cortex-M3), and small cores' code may run on a larger core's machine, so the image itself is
examined. ARMv6-M is decided from the encodings (ARMv6-M Architecture Reference Manual, A5.2 and
A5.3), ARMv7-M from capstone's mnemonics: no DSP extension, no floating point; RV32EC from the
encodings too (tinyq/rv32e.py). Richer cores are not examined.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from capstone import (
    CS_ARCH_ARM,
    CS_ARCH_RISCV,
    CS_MODE_MCLASS,
    CS_MODE_RISCV32,
    CS_MODE_RISCVC,
    CS_MODE_THUMB,
    Cs,
)
from elftools.elf.elffile import ELFFile

from tinyq import rv32e

FLASH_SECTIONS = frozenset({".vectors", ".text", ".rodata", ".ARM.exidx", ".data"})
RAM_SECTIONS = frozenset({".data", ".bss"})
RUNTIME = "runtime"


@dataclass(frozen=True)
class Usage:
    """Bytes of flash and of RAM."""

    flash: int = 0
    ram: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.flash + other.flash, self.ram + other.ram)


@dataclass(frozen=True)
class Symbol:
    """A named function or object; ``part`` and ``file`` say whose, where a map was read."""

    name: str
    address: int
    size: int
    section: str
    part: str = ""
    file: str = ""


@dataclass(frozen=True)
class SizeReport:
    """Memory of an image.

    Attributes:
        parts: by part name; ``runtime`` is libc and libgcc.
        objects: by (part, source file name).
        sections: bytes of each section in memory.
        symbols: largest first.
    """

    parts: Mapping[str, Usage]
    objects: Mapping[tuple[str, str], Usage]
    sections: Mapping[str, int]
    symbols: tuple[Symbol, ...]

    def total(self, *parts: str) -> Usage:
        """The sum over some parts, or over all."""
        return sum((self.parts.get(name, Usage()) for name in parts or self.parts), Usage())


@dataclass(frozen=True)
class Instruction:
    """One instruction of an image."""

    address: int
    text: str


# --- memory --------------------------------------------------------------------------------------

_WRAPPED = re.compile(r"^( ?[.*]\S+)\n +(?=0x)", re.MULTILINE)
_OUTPUT = re.compile(r"^(\.\S+)\s")
_INPUT = re.compile(r"^ (\.\S+|COMMON|\*fill\*) +0x([0-9a-f]+) +0x([0-9a-f]+) ?(.*)$")


@dataclass(frozen=True)
class _Entry:
    """What one object file gave to an output section."""

    section: str
    object: str
    address: int
    size: int


def _map_entries(text: str) -> Iterator[_Entry]:
    """All that the linker kept; padding goes to the object before it."""
    text = text.partition("Linker script and memory map")[2]
    section = owner = ""
    for line in _WRAPPED.sub(r"\1 ", text).splitlines():
        if (output := _OUTPUT.match(line)) is not None:
            section, owner = output[1], ""
        elif (entry := _INPUT.match(line)) is not None:
            owner = entry[4] if entry[1] != "*fill*" else owner
            if owner:
                yield _Entry(section, owner, int(entry[2], 16), int(entry[3], 16))


def _usage(section: str, size: int) -> Usage:
    return Usage(size * (section in FLASH_SECTIONS), size * (section in RAM_SECTIONS))


def _owner(name: str, objects: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    return objects.get(name, (RUNTIME, Path(name).name))


def size_report(image: Path, map_file: Path, objects: Mapping[str, tuple[str, str]]) -> SizeReport:
    """Memory of a linked image.

    Args:
        image: the ELF.
        map_file: the linker's map of it.
        objects: object file to (part, source file name); other objects count as ``runtime``.
    """
    by_object: dict[tuple[str, str], Usage] = defaultdict(Usage)
    by_part: dict[str, Usage] = defaultdict(Usage)
    entries = list(_map_entries(map_file.read_text()))
    for entry in entries:
        used = _usage(entry.section, entry.size)
        if used != Usage():
            owner = _owner(entry.object, objects)
            by_object[owner] += used
            by_part[owner[0]] += used
    with image.open("rb") as stream:
        elf = ELFFile(stream)
        known = FLASH_SECTIONS | RAM_SECTIONS
        sections = {s.name: int(s["sh_size"]) for s in elf.iter_sections() if s.name in known}
        found = _with_owners(_symbols(elf), entries, objects)
    largest = sorted(found, key=lambda symbol: (-symbol.size, symbol.name))
    return SizeReport(dict(by_part), dict(by_object), sections, tuple(largest))


def _with_owners(
    symbols: Sequence[Symbol], entries: Sequence[_Entry], objects: Mapping[str, tuple[str, str]]
) -> list[Symbol]:
    """The symbols, each with the part and the file that it came from."""
    known = sorted((e for e in entries if e.size), key=lambda e: e.address)
    starts = [entry.address for entry in known]
    found = []
    for symbol in symbols:
        index = bisect_right(starts, symbol.address) - 1
        part, file = _owner(known[index].object, objects) if index >= 0 else (RUNTIME, "")
        found.append(replace(symbol, part=part, file=file))
    return found


def _symbols(elf: ELFFile) -> list[Symbol]:
    found = []
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        index = symbol["st_shndx"]
        kind = symbol["st_info"]["type"]
        if kind in ("STT_FUNC", "STT_OBJECT") and isinstance(index, int):
            address = int(symbol["st_value"]) & (~1 if kind == "STT_FUNC" else ~0)
            section = elf.get_section(index).name
            found.append(Symbol(symbol.name, address, int(symbol["st_size"]), section))
    return found


def symbols(image: Path) -> Mapping[str, Symbol]:
    """Functions and objects of an image by name (the Thumb bit is cleared)."""
    with image.open("rb") as stream:
        return {symbol.name: symbol for symbol in _symbols(ELFFile(stream))}


def segments(image: Path) -> tuple[tuple[int, bytes], ...]:
    """(load address, content) of everything that is programmed into flash."""
    with image.open("rb") as stream:
        loads = [s for s in ELFFile(stream).iter_segments() if s["p_type"] == "PT_LOAD"]
        return tuple((int(s["p_paddr"]), s.data()) for s in loads if s["p_filesz"])


# --- instructions --------------------------------------------------------------------------------


def is_wide(halfword: int) -> bool:
    """Whether a Thumb instruction that starts with this halfword has 32 bits."""
    return halfword >> 11 in (0b11101, 0b11110, 0b11111)


def _code_ranges(elf: ELFFile) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) of the stretches of code; the mapping symbols $t (RISC-V: $x) and $d tell
    code from data (ELF for the Arm Architecture, 5.5.5; RISC-V ELF psABI, Mapping Symbol)."""
    marks: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if re.match(r"\$[tdx](\.|rv|$)", symbol.name) and isinstance(symbol["st_shndx"], int):
            marks[symbol["st_shndx"]].append((int(symbol["st_value"]), symbol.name[:2]))
    for index, found in marks.items():
        section = elf.get_section(index)
        start, data = int(section["sh_addr"]), section.data()
        ordered = [*sorted(found), (start + len(data), "$d")]
        for (address, kind), (end, _) in pairwise(ordered):
            if kind != "$d" and end > address and section["sh_flags"] & 4:  # SHF_EXECINSTR
                yield address, data[address - start : end - start]


def _instructions(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, first halfword, second halfword or 0) of a stretch of Thumb code."""
    offset = 0
    while offset + 2 <= len(data):
        first = int.from_bytes(data[offset : offset + 2], "little")
        wide = is_wide(first)
        yield offset, first, int.from_bytes(data[offset + 2 : offset + 4], "little") if wide else 0
        offset += 4 if wide else 2


def _in_armv6m(first: int, second: int) -> bool:
    """Whether ARMv6-M has the instruction."""
    if is_wide(first):
        return (
            (first & 0xF800 == 0xF000 and second & 0xD000 == 0xD000)  # BL
            or (first & 0xFFE0 == 0xF380 and second & 0xFF00 == 0x8800)  # MSR
            or (first == 0xF3EF and second & 0xF000 == 0x8000)  # MRS
            or (first == 0xF3BF and second & 0xFFC0 == 0x8F40)  # DSB, DMB, ISB
            or (first & 0xFFF0 == 0xF7F0 and second & 0xF000 == 0xA000)  # UDF
        )
    compare_and_branch = first & 0xF500 == 0xB100
    if_then = first & 0xFF00 == 0xBF00 and first & 0x000F != 0
    return not (compare_and_branch or if_then)


_DSP = re.compile(
    r"(smla|smls|smul|smmul|smmla|smmls|smua|smus)(?!l$)"
    r"|(s|q|sh|u|uq|uh)(add|sub)(8|16)|(s|q|sh|u|uq|uh)(asx|sax)"
    r"|q(d?add|d?sub)|sel$|(s|u)sat16|(s|u)xta[bh]|(s|u)xtb16|pkh(bt|tb)|umaal|usada?8"
)
_CONDITION = re.compile(r"(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?(\.w|\.n)?$")
_PLAIN_MULTIPLIES = frozenset({"smull", "smlal", "umull", "umlal", "mul", "mla", "mls"})


def _in_armv7m(mnemonic: str) -> bool:
    """Whether ARMv7-M without its DSP extension and floating point has the mnemonic."""
    base = mnemonic.partition(".")[0]
    stems = {base, _CONDITION.sub("", base)}
    if stems & _PLAIN_MULTIPLIES:
        return True
    return not any(stem.startswith("v") or _DSP.match(stem) for stem in stems)


def _foreign_to_armv6m(address: int, data: bytes, disassembler: Cs) -> list[Instruction]:
    found = []
    for offset, first, second in _instructions(data):
        if not _in_armv6m(first, second):
            raw = data[offset : offset + 4]
            text = next((f"{i[2]} {i[3]}" for i in disassembler.disasm_lite(raw, 0, 1)), raw.hex())
            found.append(Instruction(address + offset, text))
    return found


def _foreign_to_armv7m(address: int, data: bytes, disassembler: Cs) -> list[Instruction]:
    found = []
    for offset, first, _ in _instructions(data):
        raw = data[offset : offset + (4 if is_wide(first) else 2)]
        decoded = next(iter(disassembler.disasm_lite(raw, address + offset, 1)), None)
        if decoded is None or not _in_armv7m(decoded[2]):
            text = f"{decoded[2]} {decoded[3]}" if decoded else raw.hex()
            found.append(Instruction(address + offset, text))
    return found


def _foreign_to_rv32ec(address: int, data: bytes, disassembler: Cs) -> list[Instruction]:
    found, offset = [], 0
    while offset + 2 <= len(data):
        size = rv32e.length(int.from_bytes(data[offset : offset + 2], "little"))
        raw = data[offset : offset + size]
        if not rv32e.has(int.from_bytes(raw, "little")):
            text = next((f"{i[2]} {i[3]}" for i in disassembler.disasm_lite(raw, 0, 1)), raw.hex())
            found.append(Instruction(address + offset, text))
        offset += size
    return found


_ARM = (CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
_RISCV = (CS_ARCH_RISCV, CS_MODE_RISCV32 | CS_MODE_RISCVC)
_CHECKS = {
    "armv6-m": (_foreign_to_armv6m, _ARM),
    "armv7-m": (_foreign_to_armv7m, _ARM),
    "rv32ec": (_foreign_to_rv32ec, _RISCV),
}


def foreign_instructions(image: Path, instruction_set: str) -> Sequence[Instruction]:
    """Instructions of an image that the architecture does not have, in address order.

    Args:
        instruction_set: ``armv6-m``, ``armv7-m`` or ``rv32ec``; nothing is foreign to any other.
    """
    if instruction_set not in _CHECKS:
        return ()
    check, machine = _CHECKS[instruction_set]
    disassembler = Cs(*machine)
    with image.open("rb") as stream:
        ranges = sorted(_code_ranges(ELFFile(stream)))
    return [found for address, data in ranges for found in check(address, data, disassembler)]
