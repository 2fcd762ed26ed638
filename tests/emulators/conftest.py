# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: its helper module on the path, and tools that are absent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tinyq.emulators import BACKENDS
from tinyq.errors import ToolMissing
from tinyq.toolchain import arm_compiler

sys.path.insert(0, str(Path(__file__).parent))

RUNNABLE = [name for name in BACKENDS if not name.startswith("renode-")]


def skip_unless_available(name: str) -> None:
    """Skip, and say what to install, where a backend or the compiler is truly absent."""
    try:
        BACKENDS[name]().require()
        if name != "host":
            arm_compiler()
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.fixture(params=RUNNABLE)
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend that serves files, by name."""
    skip_unless_available(request.param)
    return str(request.param)


@pytest.fixture(params=[name for name in RUNNABLE if name != "host"])
def emulated(request: pytest.FixtureRequest) -> str:
    """Every emulated core, by name."""
    skip_unless_available(request.param)
    return str(request.param)
