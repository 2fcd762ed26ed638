# SPDX-License-Identifier: Apache-2.0
"""The figures of a report, against the graph and the packed bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from graphs import GraphBuilder, every_op_graph

from tinyq.encodings import ENCODINGS
from tinyq.graph import Graph
from tinyq.ops.base import LinearOp
from tinyq.passes.plan_memory import plan_memory
from tinyq.proof import prove
from tinyq.report import constant_bytes, report_graph
from tinyq.tensors import Tensor


@pytest.fixture(scope="module")
def graph() -> Graph:
    return every_op_graph(6)


def test_layers(graph: Graph) -> None:
    report, proofs = report_graph(graph), prove(graph)
    assert {proof.fits_int16 for proof in proofs.values()} == {True, False}
    assert [layer.node for layer in report.layers] == [node.name for node in graph.nodes]
    assert report.arena_bytes == plan_memory(graph).arena_bytes
    for layer, node in zip(report.layers, graph.nodes, strict=True):
        assert layer.name == node.label
        assert (layer.accumulator_bits is None) == (not isinstance(node.op, LinearOp))
        proof = proofs.get(node.name)
        assert layer.fits_int16 == (proof and proof.magnitude < 2**15)
        assert layer.arena is not None
        assert layer.arena[1] - layer.arena[0] + 1 == graph.out(node).size


def test_totals_are_sums_and_json_is_plain(graph: Graph) -> None:
    report = report_graph(graph)
    content = json.loads(json.dumps(report.to_json()))
    for key, name in (("macs", "macs"), ("weights", "weights"), ("constant_bytes", "weight_bytes")):
        assert content[key] == sum(layer[name] for layer in content["layers"])
    sizes = [layer["compression"] for layer in content["layers"] if layer["compression"]]
    for key in ("weights", "zeros", "stored_bytes", "entropy_bytes", "zero_run_bytes"):
        assert content["compression"][key] == sum(size[key] for size in sizes)
    zeros = sum(int((op.quantized.image() == 0).sum()) for _, op in graph.linear_nodes())
    assert content["compression"]["sparsity"] == zeros / content["weights"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_constant_bytes(encoding: str) -> None:
    g = GraphBuilder(np.random.default_rng(0), (encoding,))
    name = g.conv(g.input((4, 4, 3)), 5, (3, 3))
    graph = g.build("one", [name])
    ((_, op),) = graph.linear_nodes()
    weights = op.quantized
    table = 0 if weights.table is None else weights.table.nbytes
    expected = weights.packed().nbytes + table + len(weights.exponents) + op.bias.nbytes
    assert constant_bytes(op) == expected


def test_types_are_written_with_width_and_exponent(graph: Graph) -> None:
    narrow = Tensor("t", (2,), "uint8", bits=4, exponent=-3)
    from tinyq.report import describe_tensor

    assert describe_tensor(narrow) == "t 2 uint4*2^-3"
