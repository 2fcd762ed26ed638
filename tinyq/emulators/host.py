# SPDX-License-Identifier: Apache-2.0
"""This computer: the same harness as a plain program. No instruction counts."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tinyq.emulators import protocol
from tinyq.emulators.base import RunError, RunRequest, RunResult
from tinyq.emulators.qemu import run_process
from tinyq.errors import InputError


@dataclass(frozen=True)
class Host:
    """The image as a process."""

    core: str = "host"

    @property
    def name(self) -> str:
        """``host``."""
        return "host"

    def require(self) -> None:
        """Nothing to install."""

    def version(self) -> str:
        """Empty: nothing is emulated."""
        return ""

    def run(self, request: RunRequest) -> RunResult:
        """See :class:`tinyq.emulators.base.Emulator`."""
        if request.image.board is not None:
            raise RunError("host: the image was built for an emulated core")
        if request.profile or request.check_memory:
            raise InputError("host counts no instructions and checks no accesses: use unicorn-m4")
        with tempfile.TemporaryDirectory(prefix="tinyq-") as name:
            folder = Path(name)
            protocol.write_request(folder, request)
            program = (str(request.image.path.resolve()),)
            code, console, seconds = run_process(self.name, program, folder, request.timeout)
            if code < 0:
                raise RunError(f"host: the program was killed by signal {-code}")
            protocol.check_exit(self.name, code, console)
            return protocol.read_result(folder, request, "host", seconds, ())
