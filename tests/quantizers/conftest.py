# SPDX-License-Identifier: Apache-2.0
"""Quiet TensorFlow, and the formulas on the path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))
