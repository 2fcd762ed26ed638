# SPDX-License-Identifier: Apache-2.0
"""The same training on one device, on two, and in two processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from train_models import blobs, classifier, noisy

import tinyq.qat as qat
from tinyq import executor
from tinyq.archive import load_graph
from tinyq.qat.replicas import from_chief, is_chief, workers

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def test_one_replica_computes_what_no_strategy_computes() -> None:
    x, y = blobs(32)
    config = qat.TrainConfig(epochs=2, batch_size=16, batch_statistics=1.0)
    plain = qat.quantize(classifier(), qat.preset("w8a8"), x)
    expected = qat.train(plain, x, y, config)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        mirrored = qat.quantize(classifier(), qat.preset("w8a8"), x)
    assert qat.train(mirrored, x, y, config) == expected
    for a, b in zip(plain.get_weights(), mirrored.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_one_process_is_the_chief_and_agrees_with_itself() -> None:
    strategy = tf.distribute.get_strategy()
    arrays = [np.arange(3), np.float32([1.5])]
    assert workers(strategy) == 1 and is_chief(strategy)
    assert all(a is b for a, b in zip(from_chief(strategy, arrays), arrays, strict=True))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback device that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def run_processes(name: str, folder: Path, count: int) -> None:
    """Start all processes of a training, and wait for them."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
    started = []
    for index in range(count):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parent)))}
        env["no_proxy"] = env["NO_PROXY"] = "127.0.0.1"
        if count > 1:
            task = {"type": "worker", "index": index}
            env["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        words = [sys.executable, str(HERE / "train_worker.py"), name, str(folder)]
        started.append(
            subprocess.Popen(
                words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        for process in started:
            output, _ = process.communicate(timeout=280)
            assert process.returncode == 0, output[-3000:]
    finally:
        for process in started:
            process.kill()


def results(folder: Path, task: int) -> dict[str, Any]:
    with np.load(folder / f"{task}.npz") as file:
        return dict(file)


def assert_exact(folder: Path, task: int) -> None:
    """The exported graph computes the codes that the Keras model of that process computed."""
    graph, found = load_graph(folder / f"{task}.tq"), results(folder, task)
    expected = executor.run(graph, executor.quantize_inputs(graph, [found["x"]]))
    names = [key for key in found if key.startswith("codes_")]
    assert len(names) > 3
    for key in names:
        assert np.array_equal(found[key], expected[key.removeprefix("codes_")])


def assert_learned(found: dict[str, Any]) -> None:
    start = qat.quantize(noisy(), qat.preset("w4a8_lut"), found["x"]).get_weights()
    moved = [not np.array_equal(w, found[f"weights_{i}"]) for i, w in enumerate(start)]
    assert sum(moved) > len(moved) / 2
    assert found["losses"][-1] < found["losses"][0]


@pytest.mark.parametrize("name", ["workers", "fit"])
def test_two_workers_train_one_model(name: str, tmp_path: Path) -> None:
    run_processes(name, tmp_path, 2)
    first, second = results(tmp_path, 0), results(tmp_path, 1)
    assert sorted(first) == sorted(second)
    for key, array in first.items():
        assert np.array_equal(array, second[key]), key
    assert (tmp_path / "0.tq").read_bytes() == (tmp_path / "1.tq").read_bytes()
    assert_exact(tmp_path, 0)
    assert_exact(tmp_path, 1)
    assert_learned(first)


def test_two_workers_resume_from_the_checkpoint_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run_processes("workers", tmp_path, 2)
    first = (tmp_path / "0.tq").read_bytes()
    assert len(results(tmp_path, 0)["steps"]) == len(results(tmp_path, 1)["steps"]) == 12
    for path in tmp_path.glob("?.*"):
        path.unlink()
    run_processes("workers", tmp_path, 2)
    assert (tmp_path / "0.tq").read_bytes() == first == (tmp_path / "1.tq").read_bytes()
    assert len(results(tmp_path, 0)["steps"]) == len(results(tmp_path, 1)["steps"]) == 0


def test_two_devices_train_one_model(tmp_path: Path) -> None:
    run_processes("mirrored", tmp_path, 1)
    assert_exact(tmp_path, 0)
    assert_learned(results(tmp_path, 0))
