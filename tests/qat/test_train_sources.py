# SPDX-License-Identifier: Apache-2.0
"""Streams of batches: entered at any step, of any size, augmented."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from train_models import dense, points

import tinyq.qat as qat
from tinyq.errors import DataError
from tinyq.qat.sources import augmented, first_samples, open_source, padded

pytestmark = pytest.mark.slow

CONFIG = qat.TrainConfig(batch_size=4, seed=3)


def take(stream: Any, count: int) -> list[Any]:
    return list(itertools.islice(stream, count))


def assert_same(a: Any, b: Any) -> None:
    tf.nest.map_structure(lambda x, y: np.testing.assert_array_equal(x, y), a, b)


def test_arrays_are_entered_at_any_step() -> None:
    x, y = np.arange(10), np.arange(10) % 3
    source = open_source(x, y, 1, CONFIG)
    assert source.steps_per_epoch == 3 and source.labelled
    whole = take(source.start(0), 9)
    for epoch in range(3):
        seen = np.concatenate([pair[0][0] for pair in whole[3 * epoch : 3 * epoch + 3]])
        assert sorted(seen) == list(range(10))
    assert not np.array_equal(whole[0][0][0], whole[3][0][0])
    for pair in whole:
        assert np.array_equal(pair[1], pair[0][0] % 3)
    for step in (1, 3, 5):
        assert_same(take(source.start(step), 3), whole[step : step + 3])


def test_shorter_epochs_of_arrays() -> None:
    config = qat.TrainConfig(batch_size=4, steps_per_epoch=2)
    source = open_source(np.arange(10), None, 1, config)
    assert source.steps_per_epoch == 2 and not source.labelled
    assert [len(pair[0][0]) for pair in take(source.start(0), 4)] == [4, 4, 4, 4]


def test_fingerprints_tell_data_apart() -> None:
    x, y = np.arange(6.0), np.zeros(6)
    first = open_source(x, y, 1, CONFIG).fingerprint
    assert first == open_source(x.copy(), y.copy(), 1, CONFIG).fingerprint
    for other in ((x[::-1], y), (x, y + 1), (x.astype(np.float32), y)):
        assert open_source(*other, 1, CONFIG).fingerprint != first


def dataset(count: int = 10) -> Any:
    x = tf.data.Dataset.range(count)
    return x.shuffle(count, seed=1).map(lambda i: (tf.cast(i, tf.float32), i)).batch(4)


def test_a_finite_data_set_repeats_and_is_entered_at_any_step() -> None:
    source = open_source(dataset(), None, 1, qat.TrainConfig())
    assert source.steps_per_epoch == 3 and source.labelled
    whole = take(open_source(dataset(), None, 1, qat.TrainConfig()).start(0), 8)
    assert [len(x) for x, _ in whole] == [4, 4, 2, 4, 4, 2, 4, 4]
    assert_same(take(open_source(dataset(), None, 1, qat.TrainConfig()).start(4), 4), whole[4:])


def test_endless_and_unknown_data_sets_need_a_number_of_steps() -> None:
    for endless in (dataset().repeat(), dataset().filter(lambda x, y: True)):
        with pytest.raises(DataError, match="steps_per_epoch"):
            open_source(endless, None, 1, qat.TrainConfig())
        source = open_source(endless, None, 1, qat.TrainConfig(steps_per_epoch=5))
        assert source.steps_per_epoch == 5 and len(take(source.start(0), 7)) == 7


def test_data_sets_without_labels_or_batches() -> None:
    assert not open_source(dataset().map(lambda x, y: x), None, 1, CONFIG).labelled
    with pytest.raises(DataError, match="no y"):
        open_source(dataset(), np.zeros(10), 1, CONFIG)
    empty = open_source(dataset().take(0), None, 1, qat.TrainConfig(steps_per_epoch=1))
    with pytest.raises(DataError, match="no batches"):
        next(empty.start(0))


def test_first_samples_by_position_and_by_name() -> None:
    x = np.arange(12.0).reshape(6, 2)
    named = tf.data.Dataset.from_tensor_slices(({"b": x, "a": -x}, x[:, 0])).batch(4)
    a, b = first_samples(["a", "b"], named, 5)
    assert np.array_equal(a, -x[:5]) and np.array_equal(b, x[:5])
    with pytest.raises(DataError, match="a, c"):
        first_samples(["a", "c"], named, 5)
    (alone,) = first_samples(["x"], tf.data.Dataset.from_tensor_slices(x).batch(4), 50)
    assert np.array_equal(alone, x)


@pytest.mark.parametrize(("count", "replicas", "size"), [(5, 2, 6), (1, 4, 4), (6, 3, 6)])
def test_every_replica_gets_equally_many_and_repeats_weigh_nothing(
    count: int, replicas: int, size: int
) -> None:
    batch = padded([np.arange(count)], [np.arange(count)], replicas)
    assert len(batch.inputs[0]) == len(batch.goals[0]) == len(batch.weights) == size
    weights = np.bincount(batch.inputs[0], batch.weights.astype(np.float64))
    np.testing.assert_allclose(weights, 1 / count, rtol=2.0**-22)  # float32 shares


def test_augmentation_depends_on_seed_and_step_only() -> None:
    def jitter(x: Any, y: Any, rng: np.random.Generator) -> Any:
        return x + rng.normal(size=x.shape), y

    pair = ([np.zeros(4)], np.ones(4))
    first, _ = augmented(pair, jitter, 1, 5)
    assert np.array_equal(first, augmented(pair, jitter, 1, 5)[0])
    assert not np.array_equal(first, augmented(pair, jitter, 1, 6)[0])
    assert not np.array_equal(first, augmented(pair, jitter, 2, 5)[0])
    assert augmented(pair, None, 1, 5) is pair


@pytest.fixture(scope="module")
def model() -> Any:
    return qat.quantize(dense(), qat.preset("w8a8"), points()[0])


def test_training_on_batches_of_changing_size(model: Any) -> None:
    x, y = points()
    sizes = np.array([5, 17, 1, 25])
    ends = np.cumsum(sizes)
    parts = [(x[e - n : e], y[e - n : e]) for n, e in zip(sizes, ends, strict=True)]
    spec = (tf.TensorSpec([None, 6], tf.float32), tf.TensorSpec([None], tf.int64))
    stream = tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=spec)
    config = qat.TrainConfig(epochs=10, steps_per_epoch=4, learning_rate=2e-2)
    shapes = set()

    def spy(x: Any, y: Any, rng: np.random.Generator) -> Any:
        shapes.add(x.shape)
        return x, y

    start = model.get_weights()
    losses = qat.train(model, stream, config=config, augment=spy)
    assert losses[-1] < 0.5 * losses[0]  # it learns; no promise
    assert shapes == {(int(n), 6) for n in sizes}
    model.set_weights(start)
    named = stream.map(lambda x, y: ({"x": x}, y))
    assert qat.train(model, named, config=config) == losses
    model.set_weights(start)


def test_augmented_batches_are_checked(model: Any) -> None:
    x, y = points()
    with pytest.raises(DataError, match="NaN"):
        qat.train(model, x, y, augment=lambda x, y, rng: (x * np.nan, y))
    with pytest.raises(DataError, match="no classes"):
        qat.train(model, x, y, augment=lambda x, y, rng: (x, y + 7))
