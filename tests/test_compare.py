# SPDX-License-Identifier: Apache-2.0
"""Differences are counted and the first one is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphs import every_op_graph, random_inputs

from tinyq import executor
from tinyq.backends import NumpyBackend
from tinyq.compare import compare, merge, shown_tensors
from tinyq.graph import Graph
from tinyq.verification import check_backend, random_codes


@pytest.fixture(scope="module")
def graph() -> Graph:
    return every_op_graph(3)


@pytest.fixture(scope="module")
def values(graph: Graph) -> dict[str, Any]:
    return executor.run(graph, random_inputs(graph, 4))


def test_equal(graph: Graph, values: dict[str, Any]) -> None:
    result = compare(graph, values, values)
    assert [t.tensor for t in result] == [name for _, name in shown_tensors(graph)]
    assert all(t.mismatches == 0 and t.first is None for t in result)
    assert sum(t.elements for t in result) == sum(
        values[name].size for name in values if name not in graph.inputs
    )


def test_only_what_is_shown_is_compared(graph: Graph, values: dict[str, Any]) -> None:
    name = graph.outputs[0]
    assert [t.tensor for t in compare(graph, values, {name: values[name]})] == [name]


def test_first_difference(graph: Graph, values: dict[str, Any]) -> None:
    node = graph.nodes[2]
    wrong = values[node.output].copy()
    wrong[1, 2, 3, 4] ^= 1
    wrong[3, 0, 0, 0] ^= 1
    (result,) = compare(graph, values, {node.output: wrong}, first_sample=10)
    first = result.first
    assert result.mismatches == 2
    assert first is not None
    flat = int(np.ravel_multi_index((2, 3, 4), wrong.shape[1:]))
    assert (first.layer, first.sample, first.index) == (node.label, 11, flat)
    right = int(values[node.output][1, 2, 3, 4])
    assert (first.expected, first.got) == (right, right ^ 1)
    assert f"layer '{node.label}'" in str(first)
    assert f"sample 11, index {flat}: expected" in str(first)


def test_missing_codes_are_differences(graph: Graph, values: dict[str, Any]) -> None:
    name = graph.outputs[0]
    (result,) = compare(graph, values, {name: values[name][:3]})
    size = values[name][0].size
    assert result.mismatches == size
    assert result.first is not None
    assert (result.first.sample, result.first.index, result.first.got) == (3, 0, None)
    assert str(result.first).endswith("got nothing")


def test_merge_keeps_the_first_difference(graph: Graph, values: dict[str, Any]) -> None:
    name = graph.outputs[0]
    wrong = values[name].copy()
    wrong[0] ^= 1
    batches = [
        compare(graph, values, {name: values[name]}),
        compare(graph, values, {name: wrong}, first_sample=4),
        compare(graph, values, {name: wrong}, first_sample=8),
    ]
    (merged,) = merge(batches)
    assert merged.elements == 3 * values[name].size
    assert merged.mismatches == 2 * wrong[0].size
    assert merged.first is not None
    assert merged.first.sample == 4


def test_batches_cover_every_sample(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr("tinyq.verification.BATCH_BYTES", 1)
    check = check_backend(
        graph, NumpyBackend(), random_codes(graph, 3), lambda _, done, total: steps.append(done)
    )
    assert steps == [0, 1, 2, 3]
    sizes = sum(graph.tensors[name].size for _, name in shown_tensors(graph))
    assert sum(t.elements for t in check.tensors) == 3 * sizes
    assert check.passed


def test_random_codes_use_the_whole_range_and_do_not_depend_on_the_count(graph: Graph) -> None:
    many, few = random_codes(graph, 200, 5), random_codes(graph, 2, 5)
    for name in graph.inputs:
        t = graph.tensors[name]
        assert (many[name].min(), many[name].max(), many[name].dtype) == (t.lo, t.hi, t.dtype)
        np.testing.assert_array_equal(many[name][:2], few[name])
