# SPDX-License-Identifier: Apache-2.0
"""The plan is checked by running on it: an inference inside one byte arena."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import GraphBuilder, every_op_graph, random_inputs

from tinyq import executor
from tinyq.graph import Graph
from tinyq.ops import Add, Reshape
from tinyq.passes.plan_memory import ALIGNMENT, find_buffers, plan_memory


def run_in_arena(graph: Graph, codes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of one sample when every tensor lives at its planned offset."""
    plan = plan_memory(graph)
    arena = np.zeros(plan.arena_bytes, np.uint8)

    def view(name: str) -> np.ndarray:
        t = graph.tensors[name]
        part = arena[plan.offsets[name] : plan.offsets[name] + t.size]
        return part.view(t.numpy_dtype).reshape(1, *t.shape)

    for name in graph.inputs:
        view(name)[:] = codes[name]
    for node in graph.nodes:
        result = node.op.evaluate([view(n) for n in node.inputs], graph.ins(node), graph.out(node))
        if not isinstance(node.op, Reshape):
            view(node.output)[:] = result
    return {name: view(name).copy() for name in graph.outputs}


@pytest.mark.parametrize("seed", range(8))
def test_inference_in_the_arena_gives_the_same_outputs(seed: int) -> None:
    graph = every_op_graph(seed)
    codes = random_inputs(graph, 1, seed)
    expected = executor.run(graph, codes)
    for name, x in run_in_arena(graph, codes).items():
        assert np.array_equal(x, expected[name])


@pytest.mark.parametrize("seed", range(4))
def test_live_buffers_never_overlap(seed: int) -> None:
    graph = every_op_graph(seed)
    plan = plan_memory(graph)
    parts = [(i, part) for i, b in enumerate(find_buffers(graph)) for part in b.parts]
    for i, a in parts:
        start = plan.offsets[a.name]
        assert start % ALIGNMENT == 0 and start + a.size <= plan.arena_bytes
        for j, b in parts:
            other = plan.offsets[b.name]
            apart = start + a.size <= other or other + b.size <= start
            assert i == j or not a.meets(b) or apart
    assert plan.lower_bound <= plan.arena_bytes


def residual(keep_input: bool) -> Graph:
    g = GraphBuilder(np.random.default_rng(0))
    x = g.input((8, 8, 4))
    a = g.conv(x, 4)
    b = g.conv(a, 4, activation="linear")
    s = g.add(a, b, "relu")
    return g.build("residual", [s, a] if keep_input else [s])


def test_an_addition_takes_over_a_dying_input() -> None:
    graph = residual(keep_input=False)
    plan = plan_memory(graph)
    add = next(n for n in graph.nodes if isinstance(n.op, Add))
    assert plan.offsets[add.output] in {plan.offsets[name] for name in add.inputs}
    assert plan.arena_bytes == plan.lower_bound == 2 * 8 * 8 * 4


def test_an_addition_spares_what_is_still_needed() -> None:
    graph = residual(keep_input=True)
    plan = plan_memory(graph)
    assert plan.offsets[graph.outputs[0]] != plan.offsets[graph.outputs[1]]


def test_states_lie_outside_the_arena() -> None:
    graph = residual(keep_input=False)
    name = graph.inputs[0]
    tensors = {**graph.tensors, name: replace(graph.tensors[name], state=True)}
    plan = plan_memory(replace(graph, tensors=tensors))
    assert name not in plan.offsets
    assert plan.state_offsets == {name: 0} and plan.state_bytes == 8 * 8 * 4
