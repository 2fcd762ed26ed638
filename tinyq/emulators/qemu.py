# SPDX-License-Identifier: Apache-2.0
"""QEMU: every core, with instruction counts.

Runs without ``-icount`` unless instructions are to be counted: results are the same (the program
takes no interrupts), and it is faster.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyq.boards import Board, board_of
from tinyq.emulators import protocol
from tinyq.emulators.base import RunError, RunRequest, RunResult, RunTimeout
from tinyq.errors import EmulatorMissing, InputError

#: family of cores to program and Debian's package
QEMU: Final = {
    "arm": ("qemu-system-arm", "qemu-system-arm"),
    "riscv": ("qemu-system-riscv32", "qemu-system-misc"),
}


def qemu_command(board: Board, image: Path, *, icount: bool) -> tuple[str, ...]:
    """The command line that runs an image with semihosting in the working directory."""
    silent = ("-display", "none", "-monitor", "none", "-serial", "none", "-no-reboot")
    semihosting = ("-semihosting-config", "enable=on,target=native")
    counting = ("-icount", f"shift={protocol.ICOUNT_SHIFT}") if icount else ()
    machine = (QEMU[board.family][0], "-M", board.machine, *board.machine_options)
    return (*machine, *silent, *semihosting, *counting, "-kernel", str(image))


def run_process(
    name: str, command: Sequence[str], folder: Path, timeout: float
) -> tuple[int, str, float]:
    """Exit code, console text and seconds of a process.

    Raises:
        RunTimeout: it was killed after ``timeout`` seconds.
    """
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RunTimeout(f"{name}: no end after {timeout:g} s; raise the timeout") from error
    return done.returncode, done.stdout + done.stderr, time.perf_counter() - start


def first_line(*command: str) -> str:
    """The first line that a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].strip()


@dataclass(frozen=True)
class Qemu:
    """QEMU's machine for a core."""

    core: str

    @property
    def name(self) -> str:
        """``qemu-<core>``."""
        return f"qemu-{self.core}"

    @property
    def program(self) -> str:
        """``qemu-system-arm`` or the like."""
        return QEMU[board_of(self.core).family][0]

    def require(self) -> None:
        """Raises EmulatorMissing where the program is not on PATH."""
        program, package = QEMU[board_of(self.core).family]
        if shutil.which(program) is None:
            raise EmulatorMissing(
                f"{program} is not on PATH: install it (Debian, Ubuntu: apt install {package}; "
                "macOS: brew install qemu) or use the backend unicorn-m4 (pip install unicorn)"
            )

    def version(self) -> str:
        """The first line of ``--version``."""
        return first_line(self.program, "--version")

    def run(self, request: RunRequest) -> RunResult:
        """See :class:`tinyq.emulators.base.Emulator`."""
        self.require()
        board = request.image.board
        if board is None or board.core != self.core:
            raise RunError(f"{self.name}: the image was not built for {self.core}")
        if request.check_memory:
            raise InputError(f"{self.name} cannot check memory accesses: use unicorn-{self.core}")
        with tempfile.TemporaryDirectory(prefix="tinyq-") as name:
            return self._run(request, board, Path(name))

    def _run(self, request: RunRequest, board: Board, folder: Path) -> RunResult:
        protocol.write_request(folder, request)
        command = qemu_command(board, request.image.path.resolve(), icount=request.profile)
        code, console, seconds = run_process(self.name, command, folder, request.timeout)
        if code < 0 or (code == 1 and self.program in console):
            said = (console.strip() or f"signal {-code}").splitlines()[0]
            raise RunError(f"{self.name}: QEMU stopped: {said}")
        protocol.check_exit(self.name, code, console)
        profiles = (
            protocol.read_profiles(folder, request.samples, board.clock_hertz)
            if request.profile
            else ()
        )
        return protocol.read_result(folder, request, f"QEMU {board.machine}", seconds, profiles)
