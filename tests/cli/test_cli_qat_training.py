# SPDX-License-Identifier: Apache-2.0
"""``tinyq qat``: teachers, phases, checkpoints, events and strategies from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from h5_models import small_h5


@pytest.fixture
def words(tmp_path: Path, data: Path) -> list[Any]:
    pytest.importorskip("tensorflow_model_optimization", reason="tfmot is not installed")
    keras = small_h5(tmp_path / "m.h5")
    return ["qat", keras, "--data", data, "--scale", "1/255", "--epochs", 2]


@pytest.mark.slow
def test_a_finished_training_is_found_again(cli: Any, tmp_path: Path, words: list[Any]) -> None:
    options = ["--warmup", 0.1, "--gradual", 0.3, "--distill", 0.5, "--distribute", "mirrored"]
    folders = ["--checkpoint", tmp_path / "run", "--log-dir", tmp_path / "logs"]
    first, again = tmp_path / "first.tq", tmp_path / "again.tq"
    done = cli(*words, *options, *folders, "-o", first)
    assert (done.code, done.err) == (0, "")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["training.npz"]
    assert any("tfevents" in path.name for path in (tmp_path / "logs").iterdir())
    saved = (tmp_path / "run" / "training.npz").stat().st_mtime_ns
    assert cli(*words, *options, *folders, "-o", again).code == 0
    assert first.read_bytes() == again.read_bytes()
    assert (tmp_path / "run" / "training.npz").stat().st_mtime_ns == saved
    other = cli(*words, *folders, "-o", again)
    assert other.code == 2 and "another training: schedule" in other.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--distribute", "cloud"], "mirrored, workers"),
        (["--distribute", "workers"], "TF_CONFIG"),
        (["--gradual", "2"], "fraction"),
        (["--checkpoint", "FILE"], "not a folder"),
    ],
)
def test_impossible_options(
    cli: Any,
    tmp_path: Path,
    words: list[Any],
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    (tmp_path / "file").touch()
    given = [tmp_path / "file" if word == "FILE" else word for word in options]
    done = cli(*words, *given, "-o", tmp_path / "m.tq")
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
    assert message in done.err and not (tmp_path / "m.tq").exists()
