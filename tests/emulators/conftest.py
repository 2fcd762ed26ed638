# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: its helper module on the path, every backend."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from available import skip_unless_available

from tinyq.emulators import BACKENDS

sys.path.insert(0, str(Path(__file__).parent))

RUNNABLE = [name for name in BACKENDS if not name.startswith("renode-")]


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
