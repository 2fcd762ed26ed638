# SPDX-License-Identifier: Apache-2.0
"""The training driver: it learns, follows its schedule and repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras
from train_models import blobs, classifier

import tinyq.qat as qat
from tinyq import executor
from tinyq.errors import DataError, InputError, UnsupportedError
from tinyq.qat.quantize import variables_by_group

L = tf_keras.layers


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def pair_model() -> Any:
    """Two inputs, a class and a real number."""
    tf_keras.utils.set_random_seed(5)
    one, two = L.Input((3,), name="one"), L.Input((2,), name="two")
    x = L.Concatenate(name="join")([one, two])
    kind = L.Dense(2, activation="softmax", name="kind")(x)
    size = L.Dense(1, name="size")(x)
    data = [np.random.default_rng(i).normal(size=(64, n)) for i, n in ((0, 3), (1, 2))]
    model = tf_keras.Model([one, two], [kind, size])
    return qat.quantize(model, qat.preset("w8a8"), data), data


@pytest.mark.slow
def test_several_inputs_and_outputs(pair_model: Any) -> None:
    model, (one, two) = pair_model
    labels = [(one[:, 0] > 0).astype(int), one.sum(1, keepdims=True) - two[:, :1]]
    config = qat.TrainConfig(
        epochs=40, batch_size=32, learning_rate=5e-2, loss=("classes", "squares")
    )
    losses = qat.train(model, [one, two], labels, config)
    assert losses[-1] < 0.2 * losses[0]
    kinds, sizes = model.predict([one, two], verbose=0)
    assert (kinds.argmax(-1) == labels[0]).mean() > 0.9
    assert np.abs(sizes - labels[1]).mean() < 0.5 * np.abs(labels[1]).mean()


@pytest.mark.parametrize(
    ("labels", "loss", "error", "message"),
    [
        (np.zeros(64), "auto", DataError, "list with one array each"),
        ([np.zeros(64)], "auto", DataError, "list with one array each"),
        ([np.zeros(64), np.zeros(64)], ("auto",), InputError, "1 losses for 2 outputs"),
        ([np.zeros(64), np.zeros(63)], ("auto", "squares"), DataError, "one number for each"),
        ([np.zeros(64), np.full(64, np.nan)], ("auto", "squares"), DataError, "NaN"),
        (None, "auto", UnsupportedError, "2 inputs and 2 outputs"),
    ],
)
def test_labels_that_do_not_fit_several_outputs(
    pair_model: Any, labels: Any, loss: Any, error: type[Exception], message: str
) -> None:
    model, data = pair_model
    with pytest.raises(error, match=message):
        qat.train(model, data, labels, qat.TrainConfig(loss=loss))


def test_inputs_of_different_length(pair_model: Any) -> None:
    model, (one, two) = pair_model
    labels = [np.zeros(64), np.zeros(64)]
    with pytest.raises(DataError, match="64, 60 samples"):
        qat.train(model, [one, two[:60]], labels, qat.TrainConfig(loss=("classes", "squares")))
