# SPDX-License-Identifier: Apache-2.0
"""Losses against NumPy formulas, and distillation from a float model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from train_models import dense, points

import tinyq.qat as qat
from tinyq.errors import InputError
from tinyq.qat.losses import (
    Head,
    Objective,
    class_divergence,
    flag_divergence,
    make_objective,
    teacher_logits,
)

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def assert_float32(got: Any, expected: Any) -> None:
    """Equal but for float32: exponentials, logarithms, and sums that cancel."""
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_class_divergence(temperature: float) -> None:
    z, t = RNG.normal(size=(2, 5, 3)).astype(np.float32) * 3
    p, q = softmax(t.astype(np.float64) / temperature), softmax(z.astype(np.float64) / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(-1)
    assert_float32(class_divergence(z, t, temperature), expected)
    assert np.array_equal(class_divergence(t, t, temperature), np.zeros(5))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_flag_divergence(temperature: float) -> None:
    z, t = RNG.normal(size=(2, 5, 3)).astype(np.float32) * 3
    p, q = (1 / (1 + np.exp(-a.astype(np.float64) / temperature)) for a in (t, z))
    expected = temperature**2 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert_float32(flag_divergence(z, t, temperature), expected)
    assert np.array_equal(flag_divergence(t, t, temperature), np.zeros((5, 3)))


def test_teacher_logits_undo_probabilities() -> None:
    z = RNG.normal(size=(4, 3)).astype(np.float32)
    classes = Head("c", "classes", (3,), True)
    back = teacher_logits(classes, tf.nn.softmax(z))
    assert_float32(tf.nn.softmax(back), tf.nn.softmax(z))
    flags = teacher_logits(Head("f", "flags", (3,), True), tf.sigmoid(z))
    assert_float32(flags, z)
    assert teacher_logits(Head("c", "classes", (3,), False), z) is z
    certain = teacher_logits(classes, tf.constant([[0.0, 1.0, 0.0]]))
    assert np.isfinite(certain).all()


def test_labels_and_teacher_are_mixed_by_weight() -> None:
    head = Head("c", "classes", (3,), False)
    z, t = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    goals = [np.array([0, 1, 2, 1])]

    def losses(hard: float, soft: float) -> Any:
        return Objective((head,), hard, soft, 2.0).sample_losses([z], goals, [t]).numpy()

    entropy = -np.log(softmax(z)[np.arange(4), goals[0]])
    assert_float32(losses(1, 0), entropy)
    assert np.array_equal(losses(0, 1), class_divergence(z, t, 2.0))
    mixed = 0.25 * entropy + 0.75 * class_divergence(z, t, 2.0).numpy()
    assert_float32(losses(0.25, 0.75), mixed)


@pytest.fixture(scope="module")
def student() -> tuple[Any, Any, Any]:
    """A teacher, a student with other weights, and samples."""
    teacher, (x, _) = dense(seed=9), points()
    teacher.set_weights([3 * array for array in teacher.get_weights()])
    return teacher, qat.quantize(dense(), qat.preset("w8a8"), x), x


def divergence(teacher: Any, model: Any, x: Any) -> float:
    p = teacher.predict(x, verbose=0).astype(np.float64)
    q = np.maximum(model.predict(x, verbose=0), 2.0**-9)
    return float((p * np.log(p / q)).sum(-1).mean())


def test_a_teacher_is_enough(student: tuple[Any, Any, Any]) -> None:
    teacher, model, x = student
    start, before = model.get_weights(), divergence(teacher, model, x)
    known = teacher.get_weights()
    config = qat.TrainConfig(epochs=40, batch_size=24, learning_rate=5e-2)
    losses = qat.train(model, x, config=config, teacher=teacher)
    # no promise: a student of other weights comes clearly closer
    assert losses[-1] < 0.3 * losses[0]
    assert divergence(teacher, model, x) < 0.3 * before
    for a, b in zip(known, teacher.get_weights(), strict=True):
        assert np.array_equal(a, b)
    model.set_weights(start)


def test_objectives(student: tuple[Any, Any, Any]) -> None:
    _, model, _ = student
    config = qat.TrainConfig(distillation=0.75)

    def weights(labelled: bool, taught: bool) -> tuple[float, float]:
        objective = make_objective(model, config, labelled, taught)
        return objective.hard, objective.soft

    assert weights(True, True) == (0.25, 0.75)
    assert weights(True, False) == (1.0, 0.0) == weights(False, False)
    assert weights(False, True) == (0.0, 1.0)
    assert make_objective(model, config, True, False).heads[0].kind == "classes"
    for loss in ("squares", "flags"):
        with pytest.raises(InputError, match="use 'classes'"):
            make_objective(model, qat.TrainConfig(loss=loss), True, False)
