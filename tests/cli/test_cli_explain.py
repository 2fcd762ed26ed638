# SPDX-License-Identifier: Apache-2.0
"""``tinyq explain``: tables, JSON, picture, errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from h5_models import small_h5

from tinyq.waterfall import CAUSES


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    return small_h5(tmp_path / "m.h5")


@pytest.fixture
def quantized(cli: Any, keras: Path, data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "m.tq"
    words = ("quantize", keras, "--data", data, "--scale", "1/255", "--weights", "int4")
    assert cli(*words, "--per-tensor", "-o", path).code == 0
    return path


def test_tables_and_json(cli: Any, quantized: Path, keras: Path, data: Path) -> None:
    result = cli("explain", quantized, "--float", keras, "--data", data, json_file=True)
    assert (result.code, result.err) == (0, "")
    for text in (*CAUSES.values(), "int4 per tensor", "conv", "classes", "total", "most noise:"):
        assert text in result.out
    assert [stage["cause"] for stage in result.json["stages"]] == list(CAUSES)
    lost = sum(stage["sqnr_lost_db"] for stage in result.json["stages"])
    assert lost == pytest.approx(result.json["total"]["sqnr_lost_db"])
    assert result.json["samples"] == 6
    assert {r["layer"] for r in result.json["remedies"]} <= {
        x["layer"] for x in result.json["layers"]
    }


def test_accuracy_is_that_of_run(cli: Any, quantized: Path, keras: Path, data: Path) -> None:
    words = ("--data", data, "--count", 4)
    explained = cli("explain", quantized, "--float", keras, *words, json_file=True).json
    run = cli("run", quantized, *words, json_file=True).json
    assert explained["stages"][-1]["accuracy"] == run["accuracy"]


def test_without_labels_there_is_no_accuracy(
    cli: Any, quantized: Path, keras: Path, data: Path, tmp_path: Path
) -> None:
    with np.load(data) as arrays:
        x = arrays["x_test"]
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "m.npz", x=x, y=np.linspace(0, 1, 18).reshape(6, 3))
    words = ("explain", quantized, "--float", keras, "--data")
    plain = cli(*words, tmp_path / "x.npz", json_file=True)
    assert (plain.code, plain.json["total"]["accuracy_lost"]) == (0, None)
    assert "accuracy" not in plain.out and "mean squared" not in plain.out
    assert "mean squared error" in cli(*words, tmp_path / "m.npz").out


def test_plot(cli: Any, quantized: Path, keras: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="--plot needs matplotlib")
    file = tmp_path / "m.png"
    words = ("explain", quantized, "--float", keras, "--data", data, "--plot", file)
    assert cli(*words).code == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_errors_are_one_line(
    cli: Any, quantized: Path, keras: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("explain", quantized, "--data", data)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for extra, message in (
        (("--float", quantized), "is quantized already"),
        (("--float", keras, "--plot", "x.png"), "needs matplotlib"),
        (("--float", keras, "--plot", "x.txt"), "name a file that ends in"),
        (("--float", keras, "--plot", keras), "reads or writes it already"),
        (("--float", keras, "--count", 0), "give a number of at least 1"),
    ):
        result = cli(*words, *extra)
        assert result.code == 2
        assert message in result.err
        assert result.err.count("\n") == 1
