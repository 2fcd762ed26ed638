# SPDX-License-Identifier: Apache-2.0
"""A copy of the PlatformIO project, so that no test builds in the checkout."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from tinyq.emulators import BACKENDS
from tinyq.errors import ToolMissing
from tinyq.resources import firmware_dir
from tinyq.toolchain import arm_compiler


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh copy of firmware/; skips where PlatformIO, SCons, the compiler or QEMU is absent."""
    for package in ("platformio", "SCons"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed: pip install {package}")
    try:
        arm_compiler()
        BACKENDS["qemu-m4"]().require()
    except ToolMissing as error:
        pytest.skip(str(error))
    copy = tmp_path / "firmware"
    shutil.copytree(firmware_dir(), copy, ignore=shutil.ignore_patterns(".pio", "__pycache__"))
    return copy
