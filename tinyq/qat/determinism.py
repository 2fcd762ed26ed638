# SPDX-License-Identifier: Apache-2.0
"""Equal trainings end with equal bits, however many threads take part.

TensorFlow's CPU kernels otherwise add partial sums in the order in which threads finish; a gradient
then differs in its last bits from run to run, and codes follow some hundred steps later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tensorflow.python.framework import config


@contextmanager
def deterministic() -> Iterator[None]:
    """Ops repeat to the bit inside; afterwards TensorFlow is as it was before.

    TensorFlow has no public way to switch that off again, hence its internal module.
    """
    before = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()
