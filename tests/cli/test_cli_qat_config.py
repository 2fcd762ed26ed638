# SPDX-License-Identifier: Apache-2.0
"""``tinyq qat --config``: a YAML file decides, options beside it win, errors name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from h5_models import small_h5

from tinyq.archive import load_graph

pytestmark = pytest.mark.slow


@pytest.fixture
def words(tmp_path: Path, data: Path) -> list[Any]:
    """A command that trains nothing."""
    pytest.importorskip("tensorflow_model_optimization", reason="tfmot is not installed")
    keras = small_h5(tmp_path / "m.h5")
    return [
        "qat",
        keras,
        "--data",
        data,
        "--scale",
        "1/255",
        "--epochs",
        0,
        "-o",
        tmp_path / "m.tq",
    ]


def encodings(path: Path) -> list[tuple[str, int]]:
    """Encoding and number of exponents of each layer with weights."""
    nodes = load_graph(path).linear_nodes()
    return [(op.quantized.encoding, len(op.quantized.exponents)) for _, op in nodes]


def test_a_file_decides(cli: Any, tmp_path: Path, words: list[Any]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("preset: w4a8_pot\nscale: per_tensor\nfirst_last: int8\n")
    assert cli(*words, "--config", config).code == 0
    assert set(encodings(tmp_path / "m.tq")) == {("int8", 1)}
    assert cli(*words, "--config", config, "--first-last", "same").code == 0
    assert set(encodings(tmp_path / "m.tq")) == {("pot4", 1)}
    result = cli(*words, "--config", config, "--first-last", "same", "--per-channel")
    assert result.code == 0
    assert all(e == "pot4" and n > 1 for e, n in encodings(tmp_path / "m.tq"))


def test_refused_files(cli: Any, tmp_path: Path, words: list[Any]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text('overrides: {"absent*": int8}\n')
    refused = {
        ("--config", config): "'absent*' matches no layer",
        ("--config", config, "--preset", "w8a8"): "exclude each other",
        ("--config", tmp_path / "none.yaml"): "none.yaml: cannot be read as YAML",
    }
    for options, message in refused.items():
        result = cli(*words, *options)
        assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
        assert message in result.err
    assert not (tmp_path / "m.tq").exists()
