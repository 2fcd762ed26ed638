# SPDX-License-Identifier: Apache-2.0
"""Inputs made from batch-norm statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyq.errors import InputError

keras = pytest.importorskip("tf_keras", reason="data-free calibration needs tf_keras")
from tinyq.ptq.datafree import synthesize  # noqa: E402  (skips above where TensorFlow is absent)


def model(inputs: int = 1, norm: bool = True) -> Any:
    keras.utils.set_random_seed(1)
    xs = [keras.Input((8, 8, 2), name=f"x{i}") for i in range(inputs)]
    x = keras.layers.Add()(xs) if inputs > 1 else xs[0]
    y = keras.layers.Conv2D(4, 3, name="conv")(x)
    if norm:
        y = keras.layers.BatchNormalization(name="norm")(y)
    y = keras.layers.Dense(3)(keras.layers.Flatten()(y))
    built = keras.Model(xs, y)
    if norm:
        gamma, beta = np.ones(4), np.zeros(4)
        mean, variance = np.array([1.0, -2, 0.5, 3]), np.array([0.5, 2, 1, 4])
        built.get_layer("norm").set_weights([gamma, beta, mean, variance])
    return built


def mismatch(built: Any, xs: tuple[np.ndarray, ...]) -> float:
    probe = keras.Model(built.inputs, built.get_layer("conv").output)
    y = probe(list(xs) if len(xs) > 1 else xs[0]).numpy().reshape(-1, 4)
    norm = built.get_layer("norm")
    deviation = np.sqrt(norm.moving_variance.numpy())
    shift = (y.mean(0) - norm.moving_mean.numpy()) / deviation
    return float(np.mean(shift**2) + np.mean((y.std(0) / deviation - 1) ** 2))


@pytest.mark.parametrize("bounds", [(None, None), (-4.0, 6.0)])
@pytest.mark.parametrize("inputs", [1, 2])
def test_statistics_are_met(inputs: int, bounds: tuple[float | None, float | None]) -> None:
    built = model(inputs)
    start = synthesize(built, 16, 0, *bounds, steps=0)
    made = synthesize(built, 16, 0, *bounds, steps=60)
    assert [x.shape for x in made] == [(16, 8, 8, 2)] * inputs
    assert all(x.dtype == np.float32 for x in made)
    assert mismatch(built, made) < 0.3 * mismatch(built, start)
    if bounds[0] is not None:
        assert min(x.min() for x in made) >= -4
        assert max(x.max() for x in made) <= 6


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second, other = (synthesize(model(), 8, seed, steps=5)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_model_without_batch_normalization_gets_noise_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="no batch normalization"):
        (x,) = synthesize(model(norm=False), 8)
    assert x.std() > 0.1


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="needs two ends"):
        synthesize(model(), 8, low=0.0)
    with pytest.raises(InputError, match="the lower one first"):
        synthesize(model(), 8, low=1.0, high=-1.0)
    with pytest.raises(InputError, match="at least 2"):
        synthesize(model(), 1)
