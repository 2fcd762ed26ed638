# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization in NumPy; see ``pipeline`` for the steps."""

from __future__ import annotations

from tinyq.ptq.config import PtqConfig
from tinyq.ptq.pipeline import quantize

__all__ = ["PtqConfig", "quantize"]
