# SPDX-License-Identifier: Apache-2.0
"""Nested models that are called more than once, or both read and given out.

Keras 3 counts their calls from 0 in the inputs of layers and from 1 in the outputs of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import predictions, randomize, samples

from tinyq import executor
from tinyq.frontends.importer import to_float_graph


@pytest.fixture(scope="module", params=["tf_keras", "keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    """Keras 2 and Keras 3."""
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed")


def functional_part(keras: Any) -> Any:
    x = keras.layers.Input((4, 4, 2))
    return keras.Model(x, keras.layers.Conv2D(2, 3, padding="same", activation="relu")(x))


def sequential_part(keras: Any) -> Any:
    conv = keras.layers.Conv2D(2, 3, padding="same", activation="relu")
    return keras.Sequential([keras.layers.Input((4, 4, 2)), conv])


def twice_to_the_output(part: Any, x: Any, layers: Any) -> Any:
    return part(part(x))


def read_and_given_out(part: Any, x: Any, layers: Any) -> Any:
    y = part(x)
    return [y, layers.Flatten()(y)]


def first_of_two_given_out(part: Any, x: Any, layers: Any) -> Any:
    y = part(x)
    return [y, layers.Flatten()(part(y))]


@pytest.mark.parametrize("suffix", [".h5", ".keras", ""])
@pytest.mark.parametrize("part", [functional_part, sequential_part])
@pytest.mark.parametrize(
    "connect", [twice_to_the_output, read_and_given_out, first_of_two_given_out]
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_nested_model_called_again(
    keras: Any, connect: Callable[..., Any], part: Callable[[Any], Any], suffix: str, tmp_path: Path
) -> None:
    x = keras.layers.Input((4, 4, 2))
    model = randomize(keras.Model(x, connect(part(keras), x, keras.layers)))
    source = model
    if suffix:
        source = tmp_path / f"model{suffix}"
        model.save(source)
    graph = to_float_graph(source)
    inputs = samples(model)
    got = executor.predict(graph, dict(zip(graph.inputs, inputs, strict=True)))
    for name, expected in zip(graph.outputs, predictions(model, inputs), strict=True):
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5)
