# SPDX-License-Identifier: Apache-2.0
"""Settings of all tests: helper modules on the path, reproducible Hypothesis."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
settings.register_profile("tinyq", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("tinyq")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )
