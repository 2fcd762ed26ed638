# SPDX-License-Identifier: Apache-2.0
"""Models of both Keras generations, in every file format, become one flat tf_keras model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras_models as small
import numpy as np
import pytest

from tinyq.frontends.importer import to_float_graph
from tinyq.frontends.keras import load_model, read_network

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras"),
]

BUILDERS = {"nested": small.nested, "sequential": small.sequential}
#: Keras 3 writes no SavedModel that names its layers
FORMS = [
    (generation, form)
    for generation in ("tf_keras", "keras3")
    for form in ("object", "h5", "keras", "SavedModel")
    if (generation, form) != ("keras3", "SavedModel")
]


@pytest.fixture(scope="module", params=FORMS, ids="-".join)
def form(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """A generation of Keras and a form of its models."""
    generation, name = request.param
    return request.getfixturevalue(generation), name


@pytest.fixture(scope="module", params=BUILDERS)
def pair(request: Any, form: tuple[Any, str], tmp_path_factory: Any) -> tuple[Any, Any]:
    """A model and the same model as a path or object to load."""
    keras, name = form
    model = BUILDERS[request.param](keras)
    if name == "object":
        return model, model
    suffix = "" if name == "SavedModel" else f".{name}"
    path = tmp_path_factory.mktemp("models") / f"model{suffix}"
    model.save(path)
    return model, path


def test_every_form_gives_the_same_flat_model(pair: tuple[Any, Any]) -> None:
    original, source = pair
    model = load_model(source)
    assert type(model).__module__.startswith("tf_keras")
    assert not any(hasattr(layer, "layers") for layer in model.layers)
    assert not any("Lambda" in type(layer).__name__ for layer in model.layers)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    inputs = small.samples(model)
    for got, expected in zip(
        small.predictions(model, inputs), small.predictions(original, inputs), strict=True
    ):
        # the flattened model may add in another order: float32
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_every_weight_arrives_unchanged_at_its_layer(pair: tuple[Any, Any]) -> None:
    original, source = pair
    got = {layer.path: layer.weights for layer in read_network(source).layers if layer.weights}
    expected = small.weights_by_path(original)
    assert got.keys() == expected.keys()
    for path, arrays in expected.items():
        for mine, theirs in zip(got[path], arrays, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_layers_that_share_stay_shared(tf_keras: Any) -> None:
    model = load_model(small.nested(tf_keras))
    assert len(model.get_layer("twice").inbound_nodes) == 2
    graph = to_float_graph(model)
    calls = [node for node in graph.nodes if node.layers == ("twice",)]
    assert [node.name for node in calls] == ["twice", "twice_2"]
    assert calls[0].op.weights is calls[1].op.weights


def test_names_of_nested_layers_keep_their_path(keras: Any) -> None:
    graph = to_float_graph(small.nested(keras))
    by_layer = {node.layers[0]: node.name for node in graph.nodes}
    assert {"conv", "branch/conv", "head/conv"} <= set(by_layer)
    assert by_layer["branch/conv"].startswith("branch_conv")


def test_files_are_imported_without_tensorflow(tf_keras: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    small.nested(tf_keras).save(path)
    code = (
        "import sys; from tinyq.frontends.importer import to_float_graph;"
        f"print(len(to_float_graph({str(path)!r}).nodes));"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_loading_twice_changes_nothing(tf_keras: Any) -> None:
    once = load_model(small.nested(tf_keras))
    again = load_model(once)
    assert [layer.name for layer in again.layers] == [layer.name for layer in once.layers]
    inputs = small.samples(once)
    for a, b in zip(small.predictions(once, inputs), small.predictions(again, inputs), strict=True):
        np.testing.assert_array_equal(a, b)
