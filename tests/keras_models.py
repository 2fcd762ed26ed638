# SPDX-License-Identifier: Apache-2.0
"""Small models, the same in tf_keras and in Keras 3, with weights that are not the initial ones."""

from __future__ import annotations

from typing import Any

import numpy as np

RNG = np.random.default_rng(11)


def randomize(model: Any, seed: int = 5) -> Any:
    """Random weights for every layer; variances stay positive."""
    rng = np.random.default_rng(seed)
    for layer in flat_layers(model):
        arrays = [rng.normal(size=w.shape) * 0.4 for w in layer.get_weights()]
        if "BatchNorm" in type(layer).__name__:
            arrays[-1] = np.abs(arrays[-1]) + 0.3
        layer.set_weights([a.astype(np.float32) for a in arrays])
    return model


def weights_by_path(model: Any, scope: str = "") -> dict[str, list[np.ndarray]]:
    """Arrays of every layer that has weights, under the names of the models around it."""
    found: dict[str, list[np.ndarray]] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found.update(weights_by_path(layer, f"{scope}{layer.name}/"))
        elif layer.weights:
            found[scope + layer.name] = layer.get_weights()
    return found


def flat_layers(model: Any) -> list[Any]:
    """All layers, those of nested models included."""
    found = []
    for layer in model.layers:
        found += flat_layers(layer) if hasattr(layer, "layers") else [layer]
    return found


def branch(keras: Any, name: str) -> Any:
    """A functional model with ``x + y`` and a frozen layer between trainable ones."""
    layers = keras.layers
    x = layers.Input((6, 6, 4))
    y = layers.Conv2D(4, 3, padding="same", name="conv", activation="relu")(x)
    frozen = layers.BatchNormalization(name="bn")
    frozen.trainable = False
    y = layers.Conv2D(4, 1, name="point")(frozen(y))
    return keras.Model(x, y + x, name=name)


def nested(keras: Any) -> Any:
    """Nested functional and Sequential models, a shared model, a shared layer, two outputs."""
    layers = keras.layers
    x = layers.Input((6, 6, 3), name="image")
    y = layers.Conv2D(4, 1, name="conv", activation="relu6")(x)
    shared = branch(keras, "branch")
    y = shared(shared(y))
    head = keras.Sequential(
        [
            layers.Input((6, 6, 4)),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(6.0),
            layers.Dropout(0.1),
            layers.SeparableConv2D(4, 3, padding="same", name="separable"),
        ],
        name="head",
    )
    twice = layers.Conv2D(4, 1, name="twice")
    z = layers.GlobalAveragePooling2D()(twice(twice(head(y))))
    first = layers.Dense(3, activation="softmax", name="first")(z)
    second = layers.Dense(2, name="second")(layers.Concatenate()([z, z]))
    return randomize(keras.Model(x, [first, second], name="nested"))


def sequential(keras: Any) -> Any:
    """A Sequential model."""
    layers = keras.layers
    stack = [
        layers.Input((8, 8, 1)),
        layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(scale=False),
        layers.Activation("relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, activation="sigmoid"),
    ]
    return randomize(keras.Sequential(stack, name="stack"))


def samples(model: Any, count: int = 3) -> list[np.ndarray]:
    """Inputs for every input of a model."""
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    return [RNG.normal(size=(count, *shape)).astype(np.float32) for shape in shapes]


def predictions(model: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a model at inference."""
    result = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return [y.numpy() for y in (result if isinstance(result, list | tuple) else [result])]
