# SPDX-License-Identifier: Apache-2.0
"""``tinyq qat`` from a file to a model that every tensor of which is checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from h5_models import small_h5

from tinyq.archive import load_graph

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "encodings"),
    [
        (["--preset", "w4a8_lut"], {"lut4"}),
        (["--weights", "int4", "--first-last", "int8", "--per-tensor"], {"int8"}),
    ],
)
def test_qat(cli: Any, tmp_path: Path, data: Path, options: list[str], encodings: set[str]) -> None:
    pytest.importorskip("tensorflow_model_optimization", reason="tfmot is not installed")
    keras, target = small_h5(tmp_path / "m.h5"), tmp_path / "m.tq"
    result = cli(
        "qat", keras, "--data", data, "--scale", "1/255", "--epochs", 1, *options, "-o", target,
        json_file=True,
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    graph = load_graph(target)
    assert graph.preprocess[0].scale == 1 / 255
    assert {op.quantized.encoding for _, op in graph.linear_nodes()} == encodings
    assert cli("run", target, "--data", data, json_file=True).json["accuracy"] is not None


def test_unknown_preset_is_one_line_although_tensorflow_is_loaded(
    tmp_path: Path, data: Path
) -> None:
    pytest.importorskip("tensorflow_model_optimization", reason="tfmot is not installed")
    keras = small_h5(tmp_path / "m.h5")
    words = ["qat", keras, "--data", data, "--preset", "w9", "-o", tmp_path / "m.tq"]
    done = subprocess.run(
        [sys.executable, "-m", "tinyq", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "w4a8_lut" in done.stderr
    assert not (tmp_path / "m.tq").exists()
