# SPDX-License-Identifier: Apache-2.0
"""The kernel library, compiled once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernels.harness import Check, build_library, check_cases


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object file of all kernels, built with the sanitizers."""
    return build_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def check(library: Path, tmp_path: Path) -> Check:
    """Asserts that C and Python agree on every case."""
    return lambda cases: check_cases(cases, library, tmp_path)
