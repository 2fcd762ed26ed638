# SPDX-License-Identifier: Apache-2.0
"""Small things to train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import tf_keras

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


def noisy() -> Any:
    """A classifier with every kind of noise, and a norm that can learn statistics."""
    tf_keras.utils.set_random_seed(4)
    inputs = L.Input((4, 4, 1), name="image")
    x = L.GaussianNoise(0.1, name="noise")(inputs)
    x = L.Conv2D(4, 3, use_bias=False, name="conv")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="relu")(x)
    x = L.SpatialDropout2D(0.2, name="maps")(x)
    x = L.Flatten(name="flat")(x)
    x = L.GaussianDropout(0.1, name="blur")(x)
    x = L.Dropout(0.2, name="drop")(x)
    x = L.Dense(2, activation="softmax", name="classes")(x)
    return tf_keras.Model(inputs, x)


def dense(inputs: int = 6, outputs: int = 3, seed: int = 2) -> Any:
    """One hidden layer; the quickest to build."""
    tf_keras.utils.set_random_seed(seed)
    x = entry = L.Input((inputs,), name="x")
    x = L.Dense(8, activation="relu", name="hidden")(x)
    return tf_keras.Model(entry, L.Dense(outputs, activation="softmax", name="out")(x))


def points(count: int = 48) -> tuple[Any, Any]:
    """Three classes by the largest of the first three coordinates."""
    x = np.random.default_rng(7).normal(size=(count, 6)).astype(np.float32)
    return x, x[:, :3].argmax(1)
