# SPDX-License-Identifier: Apache-2.0
"""The kernel library, compiled once and kept in the build cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.harness import Check, check_cases, compiler
from tinyq.toolchain import build_host_library, library_part


@pytest.fixture(scope="session")
def library() -> Path:
    """All kernels, built with the sanitizers."""
    compiler()
    return build_host_library([library_part(on_demand=False)], sanitize=True)


@pytest.fixture
def check(library: Path, tmp_path: Path) -> Check:
    """Asserts that C and Python agree on every case."""
    return lambda cases: check_cases(cases, library, tmp_path)
