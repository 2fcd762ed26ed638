# SPDX-License-Identifier: Apache-2.0
"""Dense in C against tinyq.ops: every encoding, lengths round the unrolled groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.harness import Case, Check
from kernels.random_layers import codes, label, linear_parameters, random_input
from tinyq.encodings import ENCODINGS
from tinyq.ops import Dense


def dense(rng: np.random.Generator, encoding: str, inputs: int, outputs: int) -> Case:
    """A fully connected layer of random numbers."""
    x = random_input(rng, (inputs,))
    parameters, y = linear_parameters(rng, encoding, (outputs, inputs), x)
    op = Dense(**parameters)
    y = replace(y, shape=op.infer_shape([x.shape]))
    return Case(op, (x,), y, (codes(rng, x),), label=label(op, x))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_layers(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(8)
    lengths = [*range(1, 26), 31, 32, 33, 100, 257, 1000]
    check([dense(rng, encoding, n, int(rng.choice([1, 2, 3, 10, 32, 65]))) for n in lengths])
