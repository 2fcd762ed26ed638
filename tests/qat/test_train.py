# SPDX-License-Identifier: Apache-2.0
"""The training driver: it learns, follows its schedule and repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras

import tinyq.qat as qat
from tinyq import executor
from tinyq.errors import DataError, UnsupportedError
from tinyq.qat.quantize import variables_by_group
from tinyq.qat.train import LOSSES, _Trainer

L = tf_keras.layers


def blobs(count: int = 96) -> tuple[Any, Any]:
    """Two classes: a bright left or a bright right half."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.4, (count, 4, 4, 1)).astype(np.float32)
    y = rng.integers(0, 2, count)
    for image, label in zip(x, y, strict=True):
        image[:, 2 * label : 2 * label + 2] += 0.5
    return x, y


def classifier() -> Any:
    tf_keras.utils.set_random_seed(3)
    inputs = L.Input((4, 4, 1), name="image")
    x = L.Conv2D(4, 3, use_bias=False, name="conv")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="relu")(x)
    x = L.Flatten(name="flat")(x)
    x = L.Dense(2, activation="softmax", name="classes")(x)
    return tf_keras.Model(inputs, x)


@pytest.fixture(scope="module")
def lut_model() -> Any:
    return qat.quantize(classifier(), qat.preset("w2a8_lut"), blobs()[0])


def test_training_learns_and_repeats(lut_model: Any) -> None:
    x, y = blobs()
    start = lut_model.get_weights()
    config = qat.TrainConfig(epochs=4, batch_size=32, learning_rate=2e-2)
    reports: list[qat.Progress] = []
    losses = qat.train(lut_model, x, y, config, reports.append)
    assert losses[-1] < 0.8 * losses[0]
    assert [r.step for r in reports] == list(range(1, 13)) and reports[0].steps == 12
    assert [r.epoch for r in reports] == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    accuracy = (lut_model.predict(x, verbose=0).argmax(-1) == y).mean()
    assert accuracy == 1.0
    end = lut_model.get_weights()
    lut_model.set_weights(start)
    assert qat.train(lut_model, x, y, config) == losses
    for a, b in zip(end, lut_model.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_batch_statistics_move_then_freeze() -> None:
    x, y = blobs(32)
    model = qat.quantize(classifier(), qat.preset("w8a8"), x)
    norm = model.get_layer("conv")
    seen = []
    config = qat.TrainConfig(epochs=4, batch_size=32, batch_statistics=0.5)
    qat.train(model, x, y, config, lambda _: seen.append(norm.moving_mean.numpy().copy()))
    assert not np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[1], seen[2]) and np.array_equal(seen[2], seen[3])
    assert not norm.batch_statistics


def test_variables_fall_into_their_groups(lut_model: Any) -> None:
    groups = {k: {v.name for v in vs} for k, vs in variables_by_group(lut_model).items()}
    assert {n.split("/")[1] for n in groups["table"]} == {"weight_table:0"}
    assert {n.split("/")[1] for n in groups["scale"]} == {"activation_theta:0"}
    kinds = {n.split("/")[1] for n in groups["weight"]}
    assert kinds == {"kernel:0", "gamma:0", "beta:0", "bias:0"}


def test_rates_follow_the_schedule(lut_model: Any) -> None:
    config = qat.TrainConfig(epochs=10, batch_size=10)
    trainer = _Trainer(lut_model, config, LOSSES["classes"], 100)
    assert trainer.rates() == {"weight": 1e-3, "scale": 1e-2, "table": 0.2}
    trainer.done = 50
    halfway = trainer.rates()
    assert halfway["weight"] == pytest.approx(5e-4) and halfway["scale"] == pytest.approx(5e-3)
    trainer.done = 70
    assert trainer.rates()["scale"] == 0.0
    trainer.done = 100
    assert trainer.rates()["weight"] == 0.0


def test_autoencoder_reconstructs_without_labels() -> None:
    tf_keras.utils.set_random_seed(1)
    inputs = L.Input((6,), name="x")
    y = L.Dense(6, name="out")(L.Dense(3, activation="relu", name="code")(inputs))
    x = np.random.default_rng(0).uniform(0, 1, (64, 2)).astype(np.float32)[:, [0, 1, 0, 1, 0, 1]]
    model = qat.quantize(tf_keras.Model(inputs, y), qat.preset("w8a8"), x)
    losses = qat.train(model, x, None, qat.TrainConfig(epochs=6, learning_rate=5e-2))
    assert losses[-1] < 0.7 * losses[0]


def test_a_sigmoid_learns_flags() -> None:
    x, y = blobs()
    inputs = L.Input((4, 4, 1), name="image")
    z = L.Dense(1, activation="sigmoid", name="right")(L.Flatten(name="flat")(inputs))
    model = qat.quantize(tf_keras.Model(inputs, z), qat.preset("w8a8"), x)
    qat.train(model, x, y, qat.TrainConfig(epochs=8, batch_size=32, learning_rate=5e-2))
    assert ((model.predict(x, verbose=0)[:, 0] > 0.5) == y).all()
    with pytest.raises(DataError, match="0 or 1"):
        qat.train(model, x, y + 1)
    with pytest.raises(DataError, match="one flag"):
        qat.train(model, x, np.stack([y, y], 1))


def test_keras_fit_trains_it_too() -> None:
    x, y = blobs(32)
    model = qat.quantize(classifier(), qat.preset("w4a8"), x)
    before = model.get_layer("conv").kernel.numpy()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=1, verbose=0)
    assert not np.array_equal(before, model.get_layer("conv").kernel.numpy())
    graph = qat.to_graph(model)
    expected = executor.run(graph, executor.quantize_inputs(graph, [x]))
    for name, codes in qat.tensor_codes(model, x).items():
        assert np.array_equal(codes, expected[name])


def test_several_outputs_are_refused() -> None:
    inputs = L.Input((4,), name="x")
    model = tf_keras.Model(inputs, [L.Dense(2)(inputs), L.Dense(3)(inputs)])
    x = np.ones((4, 4), np.float32)
    with pytest.raises(UnsupportedError, match="2 outputs"):
        qat.train(qat.quantize(model, qat.preset("w8a8"), x), x, np.zeros(4))
