# SPDX-License-Identifier: Apache-2.0
"""What a certificate binds, and that it is not given where anything differed."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import every_op_graph

from tinyq import executor
from tinyq.archive import graph_hash
from tinyq.backends import NumpyBackend
from tinyq.certificate import (
    certificate_text,
    hash_vectors,
    library_files,
    make_certificate,
    save_certificate,
    selftest_crcs,
)
from tinyq.codegen import scheduled
from tinyq.codegen.vectors import vector_inputs
from tinyq.compare import TensorComparison
from tinyq.errors import OutputError, TinyqError
from tinyq.graph import Graph
from tinyq.proof import prove
from tinyq.verification import BackendCheck, check_backend, random_codes


@pytest.fixture(scope="module")
def graph() -> Graph:
    return every_op_graph(4)


@pytest.fixture(scope="module")
def check(graph: Graph) -> BackendCheck:
    return check_backend(graph, NumpyBackend(), random_codes(graph, 2))


def test_content(graph: Graph, check: BackendCheck) -> None:
    codes = random_codes(graph, 2)
    sources = {"generated": {"a.c": "int x;"}, "library": library_files()}
    certificate = make_certificate(graph, [check], codes, sources)
    assert certificate["model"] == {"name": "every_op", "sha256": graph_hash(graph)}
    assert certificate["vectors"] == {"count": 2, "sha256": hash_vectors(codes)}
    assert "src/conv2d.c" in certificate["sources"]["library"]
    assert certificate["backends"]["numpy"]["mismatches"] == 0
    proofs = prove(graph)
    bits = {layer["name"]: layer["accumulator_bits"] for layer in certificate["layers"]}
    assert bits == {
        n.name: proofs[n.name].bits if n.name in proofs else None for n in scheduled(graph)
    }
    assert json.loads(certificate_text(certificate)) == certificate


def test_crcs_are_those_of_the_stored_vector(graph: Graph) -> None:
    values = executor.run(graph, vector_inputs(graph, None))
    expected = {n.name: zlib.crc32(values[n.output].tobytes()) for n in scheduled(graph)}
    assert selftest_crcs(graph) == expected


def test_vectors_hash_sees_values_types_and_shapes() -> None:
    x = np.arange(12, dtype=np.uint8)
    variants = [x, x[::-1], x.astype(np.int8), x.reshape(3, 4)]
    assert len({hash_vectors({"x": v}) for v in variants}) == len(variants)


@pytest.mark.parametrize("wrong", ["mismatch", "selftest", "nothing"])
def test_no_certificate_where_something_differed(
    graph: Graph, check: BackendCheck, wrong: str
) -> None:
    checks = {
        "mismatch": [replace(check, tensors=(TensorComparison("l", "t", 9, 1),))],
        "selftest": [replace(check, selftest=2)],
        "nothing": [],
    }[wrong]
    with pytest.raises(TinyqError, match="no certificate"):
        make_certificate(graph, checks, random_codes(graph, 2), {})


def test_save_refuses_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_certificate({}, tmp_path / "file" / "c.json")
