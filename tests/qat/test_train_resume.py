# SPDX-License-Identifier: Apache-2.0
"""A training that was interrupted and resumed ends with the same bits as one that was not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import train_job
from train_models import dense, points

import tinyq.qat as qat
from tinyq import archive
from tinyq.errors import InputError, ModelFileError
from tinyq.qat.checkpoint import FILE_NAME, State, digest, load_state, save_state

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


class Interrupted(Exception):
    """What stops a training from within."""


def stop_after(step: int) -> Any:
    def progress(report: qat.Progress) -> None:
        if report.step == step:
            raise Interrupted

    return progress


@pytest.fixture(scope="module")
def model() -> Any:
    return train_job.fresh()


@pytest.fixture(scope="module")
def small() -> Any:
    return qat.quantize(dense(), qat.preset("w8a8"), points()[0])


@pytest.fixture(scope="module")
def whole(model: Any) -> tuple[Any, list[Any], list[float]]:
    """Weights before and after a training without interruption, and its losses."""
    start = model.get_weights()
    losses = train_job.train(model)
    return start, model.get_weights(), losses


def assert_equal(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=True):
        assert np.array_equal(x, y)


def test_resume_in_the_middle_of_an_epoch(small: Any, tmp_path: Path) -> None:
    x, y = points()
    config = qat.TrainConfig(epochs=2, batch_size=10, learning_rate=1e-2)
    start = small.get_weights()
    losses = qat.train(small, x, y, config)
    end = small.get_weights()
    assert_differ(start, end)
    small.set_weights(start)
    options: dict[str, Any] = {"checkpoint_dir": tmp_path / "new" / "run", "checkpoint_steps": 3}
    with pytest.raises(Interrupted):
        qat.train(small, x, y, config, stop_after(8), **options)
    small.set_weights(start)
    seen: list[int] = []
    assert qat.train(small, x, y, config, lambda p: seen.append(p.step), **options) == losses
    assert seen == [7, 8, 9, 10]
    assert_equal(small.get_weights(), end)
    small.set_weights(start)
    assert qat.train(small, x, y, config, stop_after(1), **options) == losses
    assert_equal(small.get_weights(), end)
    assert [path.name for path in (tmp_path / "new" / "run").iterdir()] == [FILE_NAME]
    small.set_weights(start)


def assert_differ(a: list[Any], b: list[Any]) -> None:
    assert any(not np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_resume_with_everything_that_has_a_state(
    model: Any, whole: tuple[Any, list[Any], list[float]], tmp_path: Path
) -> None:
    start, end, losses = whole
    assert_differ(start, end)
    folder = tmp_path
    seen: list[int] = []
    for stop in (1, 3, 5):
        model.set_weights(start)
        with pytest.raises(Interrupted):
            train_job.train(model, stop_after(stop), checkpoint_dir=folder)
    model.set_weights(start)
    assert train_job.train(model, lambda p: seen.append(p.step), checkpoint_dir=folder) == losses
    assert seen == [5, 6, 7, 8, 9]
    assert_equal(model.get_weights(), end)
    model.set_weights(start)


def test_resume_after_a_kill(
    model: Any, whole: tuple[Any, list[Any], list[float]], tmp_path: Path
) -> None:
    start, end, losses = whole
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, str(HERE / "train_job.py"), str(tmp_path)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "step 5":
                process.kill()
    assert process.returncode < 0
    seen: list[int] = []
    model.set_weights(start)
    assert train_job.train(model, lambda p: seen.append(p.step), checkpoint_dir=tmp_path) == losses
    assert seen[0] >= 5 and seen[-1] == 9
    assert_equal(model.get_weights(), end)
    archive.save_graph(qat.to_graph(model), tmp_path / "resumed.tq")
    model.set_weights(end)
    archive.save_graph(qat.to_graph(model), tmp_path / "whole.tq")
    assert (tmp_path / "resumed.tq").read_bytes() == (tmp_path / "whole.tq").read_bytes()
    model.set_weights(start)


def test_checkpoints_of_another_training_are_refused(small: Any, tmp_path: Path) -> None:
    model, (x, y) = small, points()
    config = qat.TrainConfig(epochs=1)
    start = model.get_weights()
    qat.train(model, x, y, config, checkpoint_dir=tmp_path)
    after = model.get_weights()

    def again(weights: Any, labels: Any, config: qat.TrainConfig, message: str) -> None:
        model.set_weights(weights)
        with pytest.raises(InputError, match=f"another training: {message} differ"):
            qat.train(model, x, labels, config, checkpoint_dir=tmp_path)

    again(after, y, config, "first weights")
    again(start, 2 - y, config, "data")
    again(start, y, qat.TrainConfig(epochs=2), "schedule")
    (tmp_path / FILE_NAME).write_bytes((tmp_path / FILE_NAME).read_bytes()[:1000])
    model.set_weights(start)
    with pytest.raises(ModelFileError, match="damaged"):
        qat.train(model, x, y, config, checkpoint_dir=tmp_path)
    model.set_weights(start)


def test_states_come_back_whole(tmp_path: Path) -> None:
    assert load_state(tmp_path, {}) is None
    arrays = (np.float32([1.5, 2]), np.array(7), np.zeros((0, 2)))
    save_state(tmp_path, State(3, (0.1, 1 / 3, 2.0), arrays), {"data": "a"})
    back = load_state(tmp_path, {"data": "a"})
    assert back is not None and (back.step, back.losses) == (3, (0.1, 1 / 3, 2.0))
    assert_equal(list(back.arrays), list(arrays))
    assert [a.dtype for a in back.arrays] == [a.dtype for a in arrays]
    with pytest.raises(InputError, match="data differ"):
        load_state(tmp_path, {"data": "b"})


def test_digests_tell_arrays_and_values_apart() -> None:
    parts = [np.zeros(2), np.zeros((1, 2)), np.zeros(2, np.float32), np.ones(2), 0, "0", {"a": 0}]
    assert len({digest(part) for part in parts}) == len(parts)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def single(x: float) -> float:
    """As events hold it."""
    return float(np.float32(x))


def test_events_for_tensorboard(small: Any, tmp_path: Path) -> None:
    model, (x, y) = small, points(32)
    start = model.get_weights()
    reports: list[qat.Progress] = []
    config = qat.TrainConfig(epochs=2, batch_size=16)
    losses = qat.train(model, x, y, config, reports.append, log_dir=tmp_path / "logs")
    model.set_weights(start)
    (file,) = (tmp_path / "logs").iterdir()
    curves: dict[str, dict[int, float]] = {}
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            curves.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    assert curves["loss"] == {r.step: single(r.loss) for r in reports}
    assert curves["epoch_loss"] == {2: single(losses[0]), 4: single(losses[1])}
    assert curves["rate/weight"] == {r.step: single(r.rate) for r in reports}
    assert set(curves) == {"loss", "epoch_loss", "rate/weight", "rate/scale"}
