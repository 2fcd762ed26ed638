# SPDX-License-Identifier: Apache-2.0
"""The TFLM twin: a standard int8 ``.tflite`` file with power-of-two scales, and what runs it.

``write_tflite`` turns an integer graph into bytes, ``run_tflm`` runs them in the stock
``tflite-micro`` interpreter.  Both give the integers of ``executor.run``, tensor by tensor.
"""

from __future__ import annotations

from tinyq.tflite.runner import run_tflm
from tinyq.tflite.writer import write_tflite

__all__ = ["run_tflm", "write_tflite"]
