# SPDX-License-Identifier: Apache-2.0
"""Keras models of any origin as one flat functional tf_keras model, or as a ``Network``.

    read_network(source)   files are read without TensorFlow, SavedModels and objects through it
    load_model(source)     the network rebuilt in tf_keras, layer by layer, weights assigned

``source`` is a path (``.h5``, ``.keras``, SavedModel folder) or a model object of tf_keras or of
Keras 3.  What comes out has no nested models, no ``x + y`` and no compiled state; regularizers,
constraints and dtype policies are dropped: everything is float32.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tinyq.errors import ModelFileError, ToolMissing, UnsupportedError
from tinyq.frontends.config import network_from_config
from tinyq.frontends.files import MALFORMED, damaged, file_kind, read_h5, read_keras
from tinyq.frontends.network import INPUT, Layer, Network, describe

#: a path, or a model object of tf_keras or Keras 3 (neither is typed)
Source = str | os.PathLike[str] | Any


def read_network(source: Source) -> Network:
    """Read a Keras model into plain data.

    Raises:
        ModelFileError: the file is missing, damaged or no Keras model.
        InputError: weights with NaN or infinity.
        UnsupportedError: a layer or parameter outside the supported set.
    """
    if isinstance(source, Network):
        return source
    if not isinstance(source, str | os.PathLike):
        return _network_from_object(source)
    path = Path(source)
    kind = file_kind(path)
    if kind == "saved_model":
        return _network_from_object(_load_saved_model(path))
    config, weights = (read_h5 if kind == "h5" else read_keras)(path)
    try:
        return network_from_config(config, weights)
    except MALFORMED as error:
        raise damaged(path, error) from error


def load_model(source: Source) -> Any:
    """Load a Keras model as a flat functional ``tf_keras.Model`` with its weights.

    Layer names are the user's; in nested models a name that is taken gets its model's name in
    front.  A layer that is called twice stays one layer with two calls.

    Raises:
        as ``read_network``; ToolMissing without tf_keras.
    """
    return build_model(read_network(source))


def build_model(network: Network) -> Any:
    """A functional ``tf_keras.Model`` of a network.

    Raises:
        UnsupportedError: shapes that do not fit, or weights of another shape than the layer's.
    """
    keras = _import_tf_keras()
    made: dict[int, Any] = {}
    tensors: list[Any] = []
    for call in network.calls:
        layer = network.layers[call.layer]
        if layer.kind == INPUT:
            tensors.append(keras.Input(layer.options["shape"], name=_scope_name(layer.name)))
            continue
        if call.layer not in made:
            made[call.layer] = _make_layer(keras, layer)
        tensors.append(_apply(made[call.layer], layer, [tensors[i] for i in call.inputs]))
    for index, built in made.items():
        _assign(built, network.layers[index])
    return keras.Model(
        [tensors[i] for i in network.inputs],
        [tensors[i] for i in network.outputs],
        name=_scope_name(network.name),
    )


def _import_tf_keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tf_keras
    except ImportError as error:
        raise ToolMissing("this step needs tf_keras: pip install tinyq-mcu[train]") from error
    return tf_keras


def _scope_name(name: str) -> str:
    """A name that TensorFlow accepts for a scope."""
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return cleaned if re.match(r"[A-Za-z0-9.]", cleaned) else f"layer{cleaned}"


def _make_layer(keras: Any, layer: Layer) -> Any:
    options = {name: value for name, value in layer.options.items() if value is not None}
    return getattr(keras.layers, layer.kind)(name=_scope_name(layer.name), **options)


def _apply(built: Any, layer: Layer, inputs: list[Any]) -> Any:
    try:
        return built(inputs if len(inputs) > 1 else inputs[0])
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        shapes = [tuple(x.shape[1:]) for x in inputs]
        raise UnsupportedError(
            f"{describe(layer)} cannot take inputs of shape {shapes}: {reason}"
        ) from error


def _assign(built: Any, layer: Layer) -> None:
    expected = [tuple(w.shape) for w in built.weights]
    got = [w.shape for w in layer.weights]
    if expected != got:
        raise UnsupportedError(
            f"{describe(layer)} holds weights of shapes {got} where {expected} are expected; save "
            "the model again with Keras"
        )
    if layer.weights:
        built.set_weights(list(layer.weights))


# ---------------------------------------------------------------- objects


def _network_from_object(model: Any) -> Network:
    """The network of a tf_keras or Keras 3 model, or of what a SavedModel revived."""
    try:
        config = model.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        config = {}
    if not isinstance(config, dict) or "layers" not in config:
        raise UnsupportedError(
            f"{type(model).__name__} is no functional or Sequential Keras model: its layers cannot "
            "be listed; rebuild it with the functional or Sequential API"
        )
    return network_from_config(config, _object_weights(model, ()))


def _object_weights(model: Any, scope: tuple[str, ...]) -> dict[tuple[str, ...], list[Any]]:
    found: dict[tuple[str, ...], list[Any]] = {}
    for layer in model.layers:
        key = (*scope, layer.name)
        if hasattr(layer, "layers"):
            found.update(_object_weights(layer, key))
        else:
            found[key] = layer.get_weights()
    return found


def _load_saved_model(path: Path) -> Any:
    keras = _import_tf_keras()
    if not (path / "keras_metadata.pb").is_file():
        raise ModelFileError(
            f"SavedModel {path} was not written by Keras 2 (no keras_metadata.pb), so its layers "
            "are unknown; save the model as .keras or .h5"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # TensorFlow raises a dozen types for a damaged folder
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"SavedModel {path} cannot be read ({reason}); save it again"
        ) from error
