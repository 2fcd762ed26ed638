# SPDX-License-Identifier: Apache-2.0
"""The emulated boards, read from the PlatformIO platform's JSON files.

Those files are the single source of core flags, memory map, machine and clock: PlatformIO, the
direct builds of :mod:`tinyq.toolchain` and the emulators all read them. A core is a board with
``default`` set; a board that is too small for a program names a larger one that runs the same code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tinyq.cores import CORES
from tinyq.errors import InputError
from tinyq.resources import firmware_dir


@dataclass(frozen=True)
class Region:
    """A memory region: ``origin`` is an address, ``size`` is in bytes."""

    origin: int
    size: int

    def holds(self, address: int, size: int = 1) -> bool:
        """Whether [address, address + size) lies inside."""
        return self.origin <= address and address + size <= self.origin + self.size


@dataclass(frozen=True)
class Board:
    """One emulated board.

    Attributes:
        id: the JSON file's stem, PlatformIO's name of the board.
        core: of ``tinyq.cores.CORES``: what the code is compiled for.
        machine: QEMU's machine, which may hold a later core than ``core``.
        machine_options: what QEMU has to be told besides.
        clock_hertz: rate of the counter at ``clock_base`` that the harness reads (QEMU gives it a
            rate of its own, which need not be the core's).
        stack_bytes: RAM that the linker keeps free for the stack.
        larger: id of a board with more memory that runs the same code, or None.
    """

    id: str
    name: str
    core: str
    instruction_set: str
    cpu_flags: tuple[str, ...]
    defines: tuple[str, ...]
    flash: Region
    ram: Region
    machine: str
    clock_hertz: int
    clock_base: int
    stack_bytes: int
    default: bool
    larger: str | None
    machine_options: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """``arm`` or ``riscv``: which compiler and which emulator."""
        return "riscv" if self.instruction_set.startswith("rv") else "arm"


def platform_dir() -> Path:
    """The PlatformIO platform: boards, start-up code, linker script, flags."""
    return firmware_dir() / "platforms" / "tinyq_qemu"


def _define(entry: str | list[str]) -> str:
    return entry if isinstance(entry, str) else "=".join(entry)


def _parse(name: str, data: Mapping[str, Any]) -> Board:
    build, upload, own = data["build"], data["upload"], data["tinyq"]
    defines = tuple(_define(entry) for entry in build["defines"])
    base = next(d.split("=")[1] for d in defines if d.startswith("TQ_CLOCK_BASE="))
    return Board(
        id=name,
        name=data["name"],
        core=own["core"],
        instruction_set=own["instruction_set"],
        cpu_flags=tuple(build["cpu_flags"].split()),
        defines=defines,
        flash=Region(int(build["flash_origin"], 0), upload["maximum_size"]),
        ram=Region(int(build["ram_origin"], 0), upload["maximum_ram_size"]),
        machine=own["machine"],
        clock_hertz=own["counter_hertz"],
        clock_base=int(base.rstrip("u"), 0),
        stack_bytes=own["stack_bytes"],
        default=own["default"],
        larger=own.get("larger"),
        machine_options=tuple(own.get("machine_options", ())),
    )


@cache
def boards() -> Mapping[str, Board]:
    """Every emulated board by id."""
    files = sorted((platform_dir() / "boards").glob("*.json"))
    return {file.stem: _parse(file.stem, json.loads(file.read_text())) for file in files}


@cache
def core_boards() -> Mapping[str, Board]:
    """The board that stands for each core, by core, in the order of ``CORES``."""
    chosen = {board.core: board for board in boards().values() if board.default}
    return {core: chosen[core] for core in CORES if core in chosen}


def board_of(core: str) -> Board:
    """The board of a core.

    Raises:
        InputError: no such core.
    """
    known = core_boards()
    if core not in known:
        raise InputError(f"unknown core '{core}': choose one of {', '.join(known)}")
    return known[core]
