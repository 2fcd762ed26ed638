# SPDX-License-Identifier: Apache-2.0
"""One thread, quiet TensorFlow, and the test models on the path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

#: trainings of their own, a few seconds each; exactness and the driver's basics stay fast
SLOW = {
    "test_accumulators", "test_mixed", "test_narrow", "test_train_api", "test_train_distribute",
    "test_train_losses", "test_train_phases", "test_train_resume", "test_train_sources",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the files above as slow; what is slow by its own word here trains a matrix of cases."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent != here:
            continue
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.exhaustive)
        elif item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)
