# SPDX-License-Identifier: Apache-2.0
"""Tools that are absent."""

from __future__ import annotations

import pytest

from tinyq.boards import core_boards
from tinyq.emulators import BACKENDS
from tinyq.errors import ToolMissing
from tinyq.toolchain import cross_compiler


def skip_unless_available(name: str) -> None:
    """Skip, and say what to install, where a backend or the compiler is truly absent."""
    try:
        BACKENDS[name]().require()
        if name != "host":
            cross_compiler(core_boards()[name.partition("-")[2]].family)
    except ToolMissing as error:
        pytest.skip(str(error))
