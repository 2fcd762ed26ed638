# SPDX-License-Identifier: Apache-2.0
"""A tensor that leaves the network twice is predicted once for every sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from graphs import GraphBuilder

from tinyq import executor


def test_an_output_named_twice() -> None:
    g = GraphBuilder(np.random.default_rng(3))
    graph = g.build("net", [g.dense(g.input((4,), "int8", -6), 3)])
    twice = replace(graph, outputs=graph.outputs * 2)
    codes = {graph.inputs[0]: np.arange(20, dtype=np.int8).reshape(5, 4)}
    np.testing.assert_array_equal(
        executor.predict(twice, codes, batch=2)[graph.outputs[0]],
        executor.predict(graph, codes)[graph.outputs[0]],
    )
