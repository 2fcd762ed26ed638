# SPDX-License-Identifier: Apache-2.0
"""Tools that are absent."""

from __future__ import annotations

import pytest

from tinyq.emulators import BACKENDS
from tinyq.errors import ToolMissing
from tinyq.toolchain import arm_compiler


def skip_unless_available(name: str) -> None:
    """Skip, and say what to install, where a backend or the compiler is truly absent."""
    try:
        BACKENDS[name]().require()
        if name != "host":
            arm_compiler()
    except ToolMissing as error:
        pytest.skip(str(error))
