# SPDX-License-Identifier: Apache-2.0
"""Small float models that together hold every layer and structure that can be trained quantized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras

L = tf_keras.layers


def randomize(model: Any, seed: int = 0) -> Any:
    """Give every variable a generic value, so that no fold is the identity by accident."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for variable in layer.weights:
            name, shape = variable.name, tuple(variable.shape)
            if "kernel" in name:
                values.append(rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape))
            elif "gamma" in name or "variance" in name:
                values.append(rng.uniform(0.5, 2, shape))
            else:
                values.append(rng.normal(0, 0.3, shape))
        layer.set_weights(values)
    return model


def residual() -> Any:
    """Asymmetric padding, strides, depth multiplier, norms in every place, adds, pools, softmax."""
    x = inputs = L.Input((9, 9, 3), name="image")
    x = L.ZeroPadding2D(((0, 1), (1, 2)), name="border")(x)
    x = L.Conv2D(6, 3, strides=2, name="stem")(x)
    x = L.BatchNormalization(name="stem_norm")(x)
    x = shortcut = L.ReLU(6.0, name="stem_relu")(x)
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = L.BatchNormalization(scale=False, name="depthwise_norm")(x)
    x = L.Activation("relu", name="depthwise_relu")(x)
    x = L.BatchNormalization(center=False, name="alone")(x)
    x = L.Conv2D(6, 1, use_bias=False, name="point")(x)
    x = L.Add(name="sum")([x, shortcut])
    x = L.ReLU(name="sum_relu")(x)
    x = L.AveragePooling2D(2, padding="same", name="average")(x)
    x = L.Conv2D(5, (1, 3), padding="same", activation="relu6", name="wide")(x)
    x = L.Dropout(0.2, name="drop")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    x = L.Dense(7, activation="softmax", name="classes")(x)
    return tf_keras.Model(inputs, x, name="residual")


def branches() -> Any:
    """Concatenation of mixed signs, a standalone ReLU, max pool, three summands, sigmoid."""
    inputs = L.Input((8, 8, 4), name="image")
    a = L.Conv2D(4, 3, padding="same", activation="relu", name="left")(inputs)
    a = L.AveragePooling2D(3, 2, padding="same", name="left_pool")(a)
    b = L.DepthwiseConv2D(3, 2, padding="same", name="right")(inputs)
    x = L.Concatenate(name="join")([a, b])
    x = L.ReLU(name="join_relu")(x)
    x = L.MaxPooling2D(3, 2, padding="same", name="peak")(x)
    y = L.Conv2D(8, 1, name="again")(x)
    x = L.Add(name="sum")([x, y, x])
    x = L.Flatten(name="flat")(x)
    x = L.Dense(6, name="hidden")(x)
    x = L.BatchNormalization(name="hidden_norm")(x)
    x = L.ReLU(name="hidden_relu")(x)
    x = L.BatchNormalization(name="flat_norm")(x)
    x = L.Dense(3, activation="sigmoid", name="flags")(x)
    return tf_keras.Model(inputs, x, name="branches")


def sequence() -> Any:
    """1-D layers."""
    inputs = L.Input((20, 3), name="signal")
    x = L.Conv1D(6, 5, strides=2, padding="same", activation="relu", name="first")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Conv1D(4, 3, padding="causal", name="causal")(x)
    x = L.MaxPooling1D(2, name="peak")(x)
    x = L.ZeroPadding1D((1, 0), name="border")(x)
    x = L.AveragePooling1D(2, name="average")(x)
    x = L.Dense(5, activation="relu", name="each")(x)
    x = L.GlobalAveragePooling1D(name="mean")(x)
    x = L.Reshape((5, 1), name="column")(x)
    x = L.Conv1D(2, 2, name="last")(x)
    return tf_keras.Model(inputs, x, name="sequence")


def two_ended() -> Any:
    """Two inputs, two outputs, a shared pool, a separable convolution, global max."""
    one, two = L.Input((6, 6, 2), name="one"), L.Input((6, 6, 2), name="two")
    pool = L.MaxPooling2D(2, name="pool")
    a = L.SeparableConv2D(4, 3, padding="same", activation="relu", name="separable")(pool(one))
    b = L.Conv2D(4, 1, name="plain")(pool(two))
    x = L.Add(name="sum")([a, b])
    first = L.GlobalMaxPooling2D(name="peak")(x)
    second = L.GlobalAveragePooling2D(keepdims=True, name="mean")(L.ReLU(name="positive")(x))
    return tf_keras.Model([one, two], [first, second], name="two_ended")


MODELS: dict[str, Callable[[], Any]] = {
    "residual": residual,
    "branches": branches,
    "sequence": sequence,
    "two_ended": two_ended,
}


def make(name: str) -> Any:
    """A float model with generic weights."""
    return randomize(MODELS[name]())


def data_for(model: Any, count: int, seed: int = 1, low: float = -1.0) -> list[Any]:
    """Inputs with some values beyond the calibrated range."""
    rng = np.random.default_rng(seed)
    shapes = [(count, *t.shape[1:]) for t in model.inputs]
    return [rng.uniform(low, 1.5, shape).astype(np.float32) for shape in shapes]
