# SPDX-License-Identifier: Apache-2.0
"""Unicorn, from PyPI: the second emulator, for machines without QEMU and for proofs about accesses.

The program's memory is mapped as the board's JSON says: flash readable and executable, RAM readable
and writable, so that a store to constant data or a jump into RAM ends the run. Semihosting (BKPT
0xAB) is served here. Instructions are counted by basic block, independently of the harness's clock:
from the entry and the return of the harness's ``stamp``.

Traps of Unicorn 2.1: with UC_MODE_MCLASS the chosen CPU is ignored (always a Cortex-M33); hooks do
nothing for blocks that ran before they were added; and there is no Cortex-M55.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import struct
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tinyq import elf
from tinyq.boards import Board, Region
from tinyq.emulators import protocol
from tinyq.emulators.base import Edges, Profile, RunError, RunRequest, RunResult, RunTimeout, Scope
from tinyq.errors import EmulatorMissing

if TYPE_CHECKING:
    from unicorn import Uc

MODELS = {
    "m0": "UC_CPU_ARM_CORTEX_M0",
    "m3": "UC_CPU_ARM_CORTEX_M3",
    "m4": "UC_CPU_ARM_CORTEX_M4",
    "m7": "UC_CPU_ARM_CORTEX_M7",
    "m33": "UC_CPU_ARM_CORTEX_M33",
}
_PAGE = 0x1000
#: bytes of stack that a call may take, and of its arguments there
_STACK = 0x1000
_ARGUMENTS = 0x20
_SYSTEM_CONTROL = Region(0xE000E000, _PAGE)
_INTERRUPT_BKPT = 7


@dataclass
class _Counter:
    """Blocks executed in the intervals between calls of ``stamp``."""

    stamp: int
    back: int = -1
    previous: tuple[int, int] = (0, 0)
    edges: dict[tuple[int, int, int], int] = field(default_factory=dict)
    intervals: list[Edges] = field(default_factory=list)

    def block(self, address: int, size: int, link: Callable[[], int]) -> None:
        """One basic block is about to run; the one before it has run."""
        edge = (*self.previous, address)
        self.edges[edge] = self.edges.get(edge, 0) + 1
        self.previous = (address, size)
        if address == self.stamp:
            self.intervals.append(self.edges)
            self.edges, self.back = {}, link() & ~1
        elif address == self.back:
            self.edges, self.back = {}, -1

    def profiles(self, machine: Uc, layers: int, samples: int) -> tuple[Profile, ...]:
        """Per sample: stamps a b e without hooks, then a b l0 ... e with them."""
        size = 3 + 3 + layers
        if len(self.intervals) != size * samples:
            raise RunError(f"the program made {len(self.intervals)} readings of {size * samples}")
        return tuple(
            # The first interval of each sequence is whatever ran since the last one: skipped.
            _profile(machine, self.intervals[i + 1 : i + 3], self.intervals[i + 4 : i + size])
            for i in range(0, size * samples, size)
        )


def _profile(machine: Uc, plain: list[Edges], hooked: list[Edges]) -> Profile:
    counted = ([_instructions_of(machine, edges) for edges in part] for part in (plain, hooked))
    return replace(protocol.profile_of(*counted), edges=(plain[1], *hooked[1:-1]))


def _instructions_of(machine: Uc, edges: Edges) -> int:
    return sum(
        times * _instruction_count(bytes(machine.mem_read(address, size)))
        for (address, size, _), times in edges.items()
    )


def _instruction_count(code: bytes) -> int:
    count = position = 0
    while position < len(code):
        first = int.from_bytes(code[position : position + 2], "little")
        position += 4 if elf.is_wide(first) else 2
        count += 1
    return count


@dataclass
class _Accesses:
    """Checks every access of the program; keeps the first that is wrong.

    ``turn`` counts the calls of ``scopes`` that have begun; one of them runs while ``back``, the
    address that it returns to, is not -1.  ``loads`` and ``stores`` are what may be touched now.
    """

    board: Board
    aligned: bool
    scopes: Sequence[Scope] = ()
    constants: tuple[Region, ...] = ()
    fault: str = ""
    turn: int = 0
    back: int = -1
    loads: tuple[Region, ...] = ()
    stores: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        self._leave()

    def block(self, address: int, registers: Callable[[], tuple[int, int]]) -> None:
        """A basic block is about to run; ``registers`` gives LR and SP."""
        if address == self.back:
            self._leave()
        elif self.back == -1 and address == self._scope(self.turn).function:
            link, top = registers()
            self.back, self.turn = link & ~1, self.turn + 1
            scope = self._scope(self.turn - 1)
            stack, arguments = Region(top - _STACK, _STACK), Region(top, _ARGUMENTS)
            self.stores = (*scope.writable, stack)
            self.loads = (*scope.readable, stack, arguments, *self.constants)

    def _leave(self) -> None:
        self.back = -1
        self.stores = (self.board.ram, Region(self.board.clock_base, _PAGE), _SYSTEM_CONTROL)
        self.loads = (*self.stores, self.board.flash)

    def _scope(self, turn: int) -> Scope:
        return self.scopes[turn % len(self.scopes)]

    def check(self, address: int, size: int, store: bool, pc: int) -> bool:
        """Whether the access is allowed."""
        for region in self.stores if store else self.loads:
            if region.origin <= address and address + size <= region.origin + region.size:
                break
        else:
            inside = "the program's memory"
            if self.back != -1:
                inside = f"the buffers of {self._scope(self.turn - 1).label}"
            self.fault = f"outside {inside}"
        if not self.fault and self.aligned and address % size:
            self.fault = "not aligned"
        if self.fault:
            kind = "store" if store else "load"
            self.fault = f"{kind} of {size} bytes at 0x{address:08x} from 0x{pc:08x} {self.fault}"
        return not self.fault


@dataclass
class _Semihosting:
    """The few operations that the harness calls, in a folder.

    Source: "Semihosting for AArch32 and AArch64", Arm.
    """

    folder: Path
    files: dict[int, IO[bytes]] = field(default_factory=dict)
    console: str = ""
    exit_code: int | None = None

    def serve(self, machine: Uc, operation: int, block: int) -> int:
        """The result of one call."""
        calls: Mapping[int, Callable[[Uc, int], int]] = {
            0x01: self._open,
            0x02: self._close,
            0x04: self._print,
            0x05: self._write,
            0x06: self._read,
            0x0A: self._seek,
            0x20: self._exit,
        }
        call = calls.get(operation)
        return -1 if call is None else call(machine, block)

    @staticmethod
    def _words(machine: Uc, block: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", machine.mem_read(block, 4 * count))

    def _open(self, machine: Uc, block: int) -> int:
        address, mode, length = self._words(machine, block, 3)
        path = self.folder / bytes(machine.mem_read(address, length)).decode()
        if mode == 1 and not path.is_file():
            return -1
        handle = len(self.files) + 1
        self.files[handle] = path.open("rb" if mode == 1 else "wb")
        return handle

    def _close(self, machine: Uc, block: int) -> int:
        self.files[self._words(machine, block, 1)[0]].close()
        return 0

    def _print(self, machine: Uc, block: int) -> int:
        while (byte := bytes(machine.mem_read(block, 1))) != b"\0":
            self.console += byte.decode("latin-1")
            block += 1
        return 0

    def _write(self, machine: Uc, block: int) -> int:
        handle, address, length = self._words(machine, block, 3)
        self.files[handle].write(machine.mem_read(address, length))
        return 0

    def _read(self, machine: Uc, block: int) -> int:
        handle, address, length = self._words(machine, block, 3)
        data = self.files[handle].read(length)
        machine.mem_write(address, data)
        return length - len(data)

    def _seek(self, machine: Uc, block: int) -> int:
        handle, offset = self._words(machine, block, 2)
        self.files[handle].seek(offset)
        return 0

    def _exit(self, machine: Uc, block: int) -> int:
        code = self._words(machine, block, 2)[1]
        self.exit_code = code - (1 << 32) if code >> 31 else code
        machine.emu_stop()
        return 0

    def close(self) -> None:
        """Close what the program left open."""
        for file in self.files.values():
            file.close()


def _machine(core: str, board: Board, image: Path) -> Uc:
    """A machine with the program in its memory, at its reset."""
    import unicorn
    from unicorn import arm_const

    machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    machine.ctl_set_cpu_model(getattr(arm_const, MODELS[core]))
    read_write = unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
    machine.mem_map(
        board.flash.origin, board.flash.size, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
    )
    machine.mem_map(board.ram.origin, board.ram.size, read_write)
    machine.mem_map(board.clock_base & -_PAGE, _PAGE, read_write)
    machine.mem_map(_SYSTEM_CONTROL.origin, _SYSTEM_CONTROL.size, read_write)
    for address, data in elf.segments(image):
        machine.mem_write(address, data)
    stack = int.from_bytes(machine.mem_read(board.flash.origin, 4), "little")
    machine.reg_write(arm_const.UC_ARM_REG_SP, stack)
    return machine


@dataclass(frozen=True)
class Unicorn:
    """Unicorn's model of a core."""

    core: str

    @property
    def name(self) -> str:
        """``unicorn-<core>``."""
        return f"unicorn-{self.core}"

    def require(self) -> None:
        """Raises EmulatorMissing where the package is not installed."""
        if importlib.util.find_spec("unicorn") is None:
            raise EmulatorMissing("the package unicorn is not installed: pip install unicorn")

    def version(self) -> str:
        """The package's release."""
        return f"Unicorn {importlib.metadata.version('unicorn')}"

    def run(self, request: RunRequest) -> RunResult:
        """See :class:`tinyq.emulators.base.Emulator`."""
        self.require()
        board = request.image.board
        if board is None or board.core != self.core:
            raise RunError(f"{self.name}: the image was not built for {self.core}")
        with tempfile.TemporaryDirectory(prefix="tinyq-") as name:
            return self._run(request, board, Path(name))

    def _run(self, request: RunRequest, board: Board, folder: Path) -> RunResult:
        protocol.write_request(folder, request)
        machine = _machine(self.core, board, request.image.path)
        semihosting = _Semihosting(folder)
        accesses = _Accesses(board, self.core == "m0", request.scopes, request.constants)
        counter = _Counter(elf.symbols(request.image.path)["stamp"].address)
        _serve_semihosting(self.name, machine, semihosting)
        if request.check_memory:
            _check_accesses(machine, accesses)
        if request.profile:
            _count_instructions(machine, counter)
        start = time.perf_counter()
        try:
            _start(self.name, machine, board, request.timeout, accesses)
        finally:
            semihosting.close()
        seconds = time.perf_counter() - start
        if semihosting.exit_code is None:
            raise RunTimeout(f"{self.name}: no end after {request.timeout:g} s; raise the timeout")
        protocol.check_exit(self.name, semihosting.exit_code, semihosting.console)
        if request.check_memory and accesses.turn != len(request.scopes) * request.samples:
            raise RunError(f"{self.name}: {accesses.turn} calls of those that were to be checked")
        layers = protocol.layer_count(folder)
        profiles = counter.profiles(machine, layers, request.samples) if request.profile else ()
        model = self.core.upper()
        return protocol.read_result(folder, request, f"Unicorn Cortex-{model}", seconds, profiles)


def _start(name: str, machine: Uc, board: Board, timeout: float, accesses: _Accesses) -> None:
    """Run from the reset vector until the program exits.

    Raises:
        RunError: an access outside the program's memory, or an instruction that the core lacks.
    """
    import unicorn
    from unicorn import arm_const

    reset = int.from_bytes(machine.mem_read(board.flash.origin + 4, 4), "little")
    try:
        machine.emu_start(reset | 1, 0xFFFFFFFE, timeout=int(timeout * 1e6))
    except unicorn.UcError as error:
        pc = machine.reg_read(arm_const.UC_ARM_REG_PC)
        raise RunError(f"{name}: fault at 0x{pc:08x}: {error}") from error
    if accesses.fault:
        raise RunError(f"{name}: {accesses.fault}")


def _serve_semihosting(name: str, machine: Uc, semihosting: _Semihosting) -> None:
    import unicorn
    from unicorn import arm_const as arm

    def on_interrupt(_machine: Uc, number: int, _user: Any) -> None:
        pc = machine.reg_read(arm.UC_ARM_REG_PC)
        if number != _INTERRUPT_BKPT or bytes(machine.mem_read(pc, 2)) != b"\xab\xbe":
            raise RunError(f"{name}: exception {number} at 0x{pc:08x}")
        registers = machine.reg_read(arm.UC_ARM_REG_R0), machine.reg_read(arm.UC_ARM_REG_R1)
        result = semihosting.serve(machine, *registers)
        machine.reg_write(arm.UC_ARM_REG_R0, result & 0xFFFFFFFF)
        machine.reg_write(arm.UC_ARM_REG_PC, (pc + 2) | 1)

    machine.hook_add(unicorn.UC_HOOK_INTR, on_interrupt)


def _check_accesses(machine: Uc, accesses: _Accesses) -> None:
    import unicorn
    from unicorn import arm_const as arm

    def on_access(
        _machine: Uc, kind: int, address: int, size: int, _value: int, _user: Any
    ) -> None:
        pc = machine.reg_read(arm.UC_ARM_REG_PC)
        if not accesses.check(address, size, kind == unicorn.UC_MEM_WRITE, pc):
            machine.emu_stop()

    def on_block(_machine: Uc, address: int, _size: int, _user: Any) -> None:
        accesses.block(address, registers)

    def registers() -> tuple[int, int]:
        return machine.reg_read(arm.UC_ARM_REG_LR), machine.reg_read(arm.UC_ARM_REG_SP)

    machine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, on_access)
    if accesses.scopes:
        machine.hook_add(unicorn.UC_HOOK_BLOCK, on_block)


def _count_instructions(machine: Uc, counter: _Counter) -> None:
    import unicorn
    from unicorn import arm_const as arm

    def link() -> int:
        return int(machine.reg_read(arm.UC_ARM_REG_LR))

    def on_block(_machine: Uc, address: int, size: int, _user: Any) -> None:
        counter.block(address, size, link)

    machine.hook_add(unicorn.UC_HOOK_BLOCK, on_block)
