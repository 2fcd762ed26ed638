# SPDX-License-Identifier: Apache-2.0
"""``verify`` takes one backend by its name, as ``run`` does."""

from __future__ import annotations

import numpy as np
from graphs import GraphBuilder

import tinyq


def test_verify_on_one_backend() -> None:
    g = GraphBuilder(np.random.default_rng(3))
    graph = g.build("net", [g.dense(g.input((4,), "int8", -6), 3)])
    result = tinyq.verify(graph, on="numpy", count=2)
    assert [check.name for check in result.checks] == ["numpy"]
    assert result.passed
