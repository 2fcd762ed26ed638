# SPDX-License-Identifier: Apache-2.0
"""Renode: runs the model's self-test (the CRC-32 of every layer of the stored vector).

Renode's semihosting has a console but no files, so the harness finds no command file and falls
back to the self-test; inputs of one's own need QEMU or Unicorn. The scripts, for use by hand as
well, are in firmware/renode.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tinyq.boards import Board
from tinyq.emulators.base import RunError, RunRequest, RunResult
from tinyq.emulators.qemu import first_line, run_process
from tinyq.errors import EmulatorMissing, InputError
from tinyq.resources import firmware_dir

_VIRTUAL_SECONDS = 60


def renode_cores() -> tuple[str, ...]:
    """The cores that there is a script for."""
    return tuple(sorted(script.stem for script in (firmware_dir() / "renode").glob("*.resc")))


def renode_command(board: Board, image: Path, console: Path) -> tuple[str, ...]:
    """The command line that runs an image and writes its console to a file."""
    script = firmware_dir() / "renode" / f"{board.core}.resc"
    steps = (
        f"$bin=@{image}",
        f"include @{script}",
        f"semihosting CreateFileBackend @{console} true",
        f'emulation RunFor "{_VIRTUAL_SECONDS}"',
        "quit",
    )
    return ("renode", "--disable-xwt", "--console", "--plain", "-e", "; ".join(steps))


@dataclass(frozen=True)
class Renode:
    """Renode's model of a core."""

    core: str

    @property
    def name(self) -> str:
        """``renode-<core>``."""
        return f"renode-{self.core}"

    def require(self) -> None:
        """Raises EmulatorMissing where renode is not on PATH."""
        if shutil.which("renode") is None:
            raise EmulatorMissing(
                "renode is not on PATH: install it from https://renode.io, or use qemu-"
                f"{self.core} or unicorn-m4 instead"
            )

    def version(self) -> str:
        """The first line of ``--version``."""
        return first_line("renode", "--version")

    def run(self, request: RunRequest) -> RunResult:
        """See :class:`tinyq.emulators.base.Emulator`."""
        self.require()
        board = request.image.board
        if board is None or board.core != self.core:
            raise RunError(f"{self.name}: the image was not built for {self.core}")
        if request.samples or request.trace or request.profile or request.check_memory:
            raise InputError(
                f"{self.name} runs the self-test only (Renode's semihosting has no files): use "
                f"qemu-{self.core}"
            )
        with tempfile.TemporaryDirectory(prefix="tinyq-") as name:
            return self._run(request, board, Path(name))

    def _run(self, request: RunRequest, board: Board, folder: Path) -> RunResult:
        console = folder / "console.txt"
        command = renode_command(board, request.image.path.resolve(), console)
        code, output, seconds = run_process(self.name, command, folder, request.timeout)
        said = console.read_text() if console.is_file() else ""
        if code or "self-test" not in said:
            last = (said + output).strip().splitlines()[-1:] or ["nothing was printed"]
            raise RunError(f"{self.name}: the self-test did not end: {last[0]}")
        failed = 0 if "self-test passed" in said else 1
        return RunResult(f"Renode Cortex-{self.core.upper()}", (), (), (), failed, seconds=seconds)
