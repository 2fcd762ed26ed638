# SPDX-License-Identifier: Apache-2.0
"""The product of a core without a multiplier, with the library's function in place of libgcc's."""

from __future__ import annotations

import subprocess

from available import skip_unless_available
from doubles import MODELS

from tinyq import elf
from tinyq.boards import board_of
from tinyq.emulators.qemu import qemu_command
from tinyq.toolchain import Image, Part, build_program, library_part, port_part

BOARD = "rv32ec"


def build(*parts: Part) -> Image:
    main = Part("model", (MODELS / "products.c",))
    return build_program([main, *parts, port_part()], board_of(BOARD))


def exit_code(image: Image) -> int:
    assert image.board is not None
    command = qemu_command(image.board, image.path, icount=False)
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


def test_products_are_exact() -> None:
    skip_unless_available(f"qemu-{BOARD}")
    own, libgcc = build(library_part()), build()
    assert exit_code(own) == exit_code(libgcc) == 0
    assert "quarter_squares" in elf.symbols(own.path)
    assert "quarter_squares" not in elf.symbols(libgcc.path)
