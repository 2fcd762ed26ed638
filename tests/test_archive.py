# SPDX-License-Identifier: Apache-2.0
"""The .tq file: round trip, reproducible bytes, every kind of damage."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from graphs import every_op_graph, random_inputs

from tinyq import archive, executor
from tinyq.errors import ArchiveError, ModelFileError
from tinyq.graph import Graph


@pytest.fixture(scope="module")
def graph() -> Graph:
    return every_op_graph(3)


@pytest.fixture(scope="module")
def data(graph: Graph) -> bytes:
    return archive.graph_to_bytes(graph)


def test_round_trip_keeps_every_tensor(graph: Graph, data: bytes) -> None:
    again = archive.graph_from_bytes(data)
    assert archive.graph_to_bytes(again) == data
    assert archive.graph_hash(again) == archive.graph_hash(graph)
    codes = random_inputs(graph, 3)
    before, after = executor.run(graph, codes), executor.run(again, codes)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_file_is_a_plain_npz_without_pickle(data: bytes) -> None:
    with np.load(io.BytesIO(data), allow_pickle=False) as members:
        arrays = [members[name] for name in members.files if not name.endswith(".json")]
        assert arrays and all(array.dtype != object for array in arrays)


def test_any_flipped_bit_is_noticed(data: bytes) -> None:
    rng = np.random.default_rng(0)
    positions = [*rng.integers(0, len(data), 60), 0, len(data) - 1, len(data) - 70]
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(ArchiveError, match="damaged"):
            archive.graph_from_bytes(bytes(damaged))


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_truncation_is_noticed(data: bytes, keep: int) -> None:
    with pytest.raises(ArchiveError, match=r"damaged or not a \.tq file"):
        archive.graph_from_bytes(data[:keep])


def rewrite(data: bytes, **changes: object) -> bytes:
    """A well-formed archive with another manifest."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    manifest = json.loads(members["manifest.json"]) | changes
    members["manifest.json"] = json.dumps(manifest).encode()
    return archive._zip_bytes(members)


def test_another_schema_names_both_versions(data: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"has schema 99 .* reads schema 1; quantize"):
        archive.graph_from_bytes(rewrite(data, schema=99))


def test_member_hash_is_checked(data: bytes) -> None:
    hashes = {"graph.json": hashlib.sha256(b"other").hexdigest()}
    with pytest.raises(ArchiveError, match="member's SHA-256"):
        archive.graph_from_bytes(rewrite(data, sha256=hashes))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read .*absent\.tq"):
        archive.load_graph(tmp_path / "absent.tq")


def test_large_members_are_refused(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 100)
    with pytest.raises(ArchiveError, match="size limits"):
        archive.graph_from_bytes(data)
