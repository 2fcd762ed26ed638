# SPDX-License-Identifier: Apache-2.0
"""``tinyq.train`` on data sets, with a teacher, and what its arguments mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from train_models import dense, points

import tinyq.qat as qat
from tinyq import api, executor, training
from tinyq.errors import InputError

pytestmark = pytest.mark.slow


def test_arguments_override_a_schedule() -> None:
    schedule = qat.TrainConfig(epochs=9, warmup=0.2, wide_weights=0.1, temperature=2.0)
    given = {
        "epochs": 3, "batch_size": 64, "seed": 0, "learning_rate": None, "warmup": 0.0,
        "wide_weights": 0.5, "distillation": None,
    }  # fmt: skip
    expected = qat.TrainConfig(epochs=3, warmup=0.2, wide_weights=0.5, temperature=2.0)
    assert training._schedule(schedule, given) == expected
    kept = training._schedule(schedule, {**given, "epochs": None})
    assert kept == replace(expected, epochs=9)
    assert training._schedule(None, given) == qat.TrainConfig(wide_weights=0.5)


def test_other_rates_follow_the_learning_rate() -> None:
    slow = training._schedule(None, {"learning_rate": 2.5e-4})
    assert (slow.learning_rate, slow.scale_rate, slow.table_rate) == (2.5e-4, 2.5e-3, 0.05)
    schedule = qat.TrainConfig(learning_rate=0.5, scale_rate=0.25, table_rate=0.0)
    plain = training._schedule(schedule, {"learning_rate": 1e-3})  # the default, but given
    assert (plain.learning_rate, plain.scale_rate, plain.table_rate) == (1e-3, 5e-4, 0.0)
    frozen = qat.TrainConfig(learning_rate=0.0)
    assert training._schedule(frozen, {"learning_rate": 0.1}) == replace(frozen, learning_rate=0.1)


def test_a_data_set_and_a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = points()
    raw = (x * 20 + 50).astype(np.float32)
    stream = tf.data.Dataset.from_tensor_slices((raw, y)).batch(20)
    seen: dict[str, Any] = {}
    original = qat.train

    def spy(model: Any, *args: Any, **options: Any) -> list[float]:
        seen.update(options, losses=original(model, *args, **options))
        return seen["losses"]

    monkeypatch.setattr(qat, "train", spy)
    graph = api.train(
        dense(), stream, weights="int8", epochs=4, learning_rate=2e-2, distill=0.3,
        scale=1 / 20, offset=50.0,
    )  # fmt: skip
    assert seen["losses"][-1] < seen["losses"][0]
    assert np.array_equal(seen["teacher"].predict(x, verbose=0), dense().predict(x, verbose=0))
    codes = executor.run(graph, executor.quantize_inputs(graph, [raw]))[graph.outputs[0]]
    assert (codes.argmax(-1) == y).mean() > 0.6  # three classes: chance is 1/3


def test_preprocessed_data_sets() -> None:
    x = np.arange(6, dtype=np.uint8).reshape(3, 2)
    plain = tf.data.Dataset.from_tensor_slices(x).batch(3)
    (got,) = qat.preprocessed(plain, 0.5, 1.0).as_numpy_iterator()
    assert np.array_equal(got, (x.astype(np.float32) - 1) / 2)
    named = tf.data.Dataset.from_tensor_slices(({"a": x}, x[:, 0])).batch(3)
    ((inputs, labels),) = qat.preprocessed(named, 2.0, 0.0).as_numpy_iterator()
    assert np.array_equal(inputs["a"], x * 2.0) and np.array_equal(labels, x[:, 0])


def test_unknown_strategies() -> None:
    with pytest.raises(InputError, match="mirrored, workers"):
        qat.strategy_scope("cloud")
