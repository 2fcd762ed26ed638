# SPDX-License-Identifier: Apache-2.0
"""Puts this folder's helper module on the path; the same random weights in every test."""

from __future__ import annotations

import sys
from pathlib import Path

import float_graphs as fg
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's networks must not depend on how many others were made before."""
    monkeypatch.setattr(fg, "RNG", np.random.default_rng(7))
