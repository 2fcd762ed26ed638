# SPDX-License-Identifier: Apache-2.0
"""Keras configurations to ``Network``: both dialects, nested models opened, sums normalized.

A configuration is what ``model.get_config()`` returns and what ``.h5`` and ``.keras`` files hold as
JSON.  The dialects differ in how a call names its inputs:

* Keras 2: ``[["conv", node, tensor, {}]]``; an operation's further operands sit in its kwargs;
* Keras 3: ``{"args": [tensor …], "kwargs": {}}`` with ``keras_history`` inside each tensor.

``x + y`` (``TFOpLambda``, ``TensorFlowOpLayer``, Keras 3's ``ops.Add``) becomes an ``Add`` layer;
the few activations that exist as operations become ``Activation`` layers.

Absent on purpose: any execution of what a configuration names.  Classes are looked up in the table
of ``layers.py`` only, so a Lambda layer's code is never loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tinyq.errors import UnsupportedError
from tinyq.frontends.layers import ALIASES, layer_options, weight_names
from tinyq.frontends.network import INPUT, Call, Layer, Network, checked_weights

#: Weight arrays of every layer, keyed by the names of the models around it and its own.
WeightMap = Mapping[tuple[str, ...], Sequence[Any]]
#: name, node index, tensor index: which call of which layer made a tensor
Reference = tuple[str, int, int]

_OPERATIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "Add": ("Add", {}),
    "AddV2": ("Add", {}),
    "math.add": ("Add", {}),
    "__operators__.add": ("Add", {}),
    "Relu": ("Activation", {"activation": "relu"}),
    "nn.relu": ("Activation", {"activation": "relu"}),
    "Relu6": ("Activation", {"activation": "relu6"}),
    "nn.relu6": ("Activation", {"activation": "relu6"}),
    "Sigmoid": ("Activation", {"activation": "sigmoid"}),
    "math.sigmoid": ("Activation", {"activation": "sigmoid"}),
    "Softmax": ("Softmax", {}),
}


def is_model(entry: Mapping[str, Any]) -> bool:
    """True for the entry of a nested model, whatever its class is called."""
    config = entry.get("config")
    return isinstance(config, dict) and isinstance(config.get("layers"), list | tuple)


def is_operation(entry: Mapping[str, Any]) -> bool:
    """True for a Keras 3 operation: it has a node in the model but is no layer."""
    return ".ops." in str(entry.get("module")) or entry["class_name"] in (
        "Relu",
        "Relu6",
        "Sigmoid",
    )


def layer_name(entry: Mapping[str, Any]) -> str:
    """Name of a layer entry."""
    return str(entry["config"].get("name") or entry.get("name"))


def network_from_config(config: Mapping[str, Any], weights: WeightMap) -> Network:
    """The flat network of a Sequential or Functional configuration.

    Args:
        config: the model's own configuration, with "layers".
        weights: arrays of every layer with weights.

    Raises:
        UnsupportedError: a layer, a parameter or a connection outside the supported set.
        InputError: weights with NaN or infinity.
    """
    flat = _Flattener(weights)
    name = str(config.get("name") or "model")
    inputs = tuple(flat.feed(shape, label) for label, shape in _input_shapes(config))
    outputs = flat.model(config, (), inputs)
    return Network(name, _unique_names(flat.layers), tuple(flat.calls), inputs, outputs)


@dataclass
class _Flattener:
    """Collects layers and calls while models are walked depth first."""

    weights: WeightMap
    layers: list[Layer] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    known: dict[tuple[str, ...], int] = field(default_factory=dict)

    def feed(self, shape: Sequence[int | None], name: str) -> int:
        """A call that stands for an input of the whole network."""
        self.layers.append(Layer(name, name, INPUT, {"shape": tuple(shape)}))
        return self.call(len(self.layers) - 1, ())

    def call(self, layer: int, inputs: tuple[int, ...]) -> int:
        """A new call; returns its index."""
        self.calls.append(Call(layer, inputs))
        return len(self.calls) - 1

    def layer(self, entry: Mapping[str, Any], scope: tuple[str, ...]) -> int:
        """Index of a layer, made at its first use."""
        key = (*scope, layer_name(entry))
        if key not in self.known:
            self.layers.append(_read_layer(entry, key, self.weights))
            self.known[key] = len(self.layers) - 1
        return self.known[key]

    def apply(
        self, entry: Mapping[str, Any], scope: tuple[str, ...], inputs: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Calls of one layer entry; a nested model adds the calls of all its layers."""
        if is_model(entry):
            return self.model(entry["config"], (*scope, layer_name(entry)), inputs)
        return (self.call(self.layer(entry, scope), inputs),)

    def model(
        self, config: Mapping[str, Any], scope: tuple[str, ...], inputs: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Calls of a whole model; returns the calls that make its outputs."""
        if "output_layers" in config:
            return self.functional(config, scope, inputs)
        current = inputs
        for entry in config["layers"]:
            if entry["class_name"] != INPUT:
                current = self.apply(entry, scope, current)
        return current

    def functional(
        self, config: Mapping[str, Any], scope: tuple[str, ...], inputs: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Calls of a functional model in an order in which every input exists already."""
        made: dict[tuple[str, int], tuple[int, ...]] = {}
        for (name, node, _), call in zip(_references(config["input_layers"]), inputs, strict=True):
            made[name, node] = (call,)
        counting = _Counting.of(config)
        pending = list(_nodes(config, counting))
        while pending:
            waiting = []
            for entry, node, sources in pending:
                if all((name, index) in made for name, index, _ in sources):
                    given = tuple(made[name, index][tensor] for name, index, tensor in sources)
                    made[layer_name(entry), node] = self.apply(entry, scope, given)
                else:
                    waiting.append((entry, node, sources))
            if len(waiting) == len(pending):
                raise UnsupportedError(
                    f"layer '{_path(scope, waiting[0][0])}' has inputs that no layer of the model "
                    "makes; save the model again with Keras"
                )
            pending = waiting
        outputs = _references(config["output_layers"])
        return tuple(made[n, i - counting.outputs.get(n, 0)][t] for n, i, t in outputs)


def _path(scope: Sequence[str], entry: Mapping[str, Any]) -> str:
    return "/".join((*scope, layer_name(entry)))


def _read_layer(entry: Mapping[str, Any], key: tuple[str, ...], weights: WeightMap) -> Layer:
    path = "/".join(key)
    kind, config = _normalized(entry, path)
    options = layer_options(path, kind, config)
    arrays = checked_weights(path, kind, weight_names(kind, options), weights.get(key, ()))
    return Layer(key[-1], path, kind, options, arrays)


def _normalized(entry: Mapping[str, Any], path: str) -> tuple[str, Mapping[str, Any]]:
    """Class and config of an entry; operations become the layers that do the same."""
    kind, config = str(entry["class_name"]).split(">")[-1], entry["config"]
    operation = kind
    if kind == "TFOpLambda":
        operation = str(config.get("function"))
    elif kind == "TensorFlowOpLayer":
        operation = str(config.get("node_def", {}).get("op"))
    elif not is_operation(entry):
        return ALIASES.get(kind, kind), config
    if operation not in _OPERATIONS:
        raise UnsupportedError(
            f"layer '{path}' ({kind}) is the operation {operation}, which is not supported; use "
            "Keras layers, for example Add instead of tf.add"
        )
    layer, extra = _OPERATIONS[operation]
    return layer, {**config, **extra}


def _unique_names(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Layers whose names occur once: a taken name gets its model's name in front, or a number."""
    taken: set[str] = set()
    out = []
    for layer in layers:
        candidates = (layer.name, layer.path.replace("/", "_"))
        name = next((c for c in candidates if c not in taken), "")
        number = 2
        while not name or name in taken:
            name = f"{candidates[1]}_{number}"
            number += 1
        taken.add(name)
        out.append(Layer(name, layer.path, layer.kind, layer.options, layer.weights))
    return tuple(out)


# ---------------------------------------------------------------- inputs


def _batch_shape(config: Mapping[str, Any]) -> Sequence[int | None] | None:
    """Shape with batch of an InputLayer or of a first layer that carries one."""
    for key in ("batch_shape", "batch_input_shape"):
        if config.get(key):
            shape: Sequence[int | None] = config[key]
            return shape
    return None


def _input_shapes(config: Mapping[str, Any]) -> list[tuple[str, tuple[int | None, ...]]]:
    """Name and shape without batch of every input of a model."""
    entries = {layer_name(entry): entry for entry in config["layers"]}
    if "input_layers" in config:
        names = [name for name, _, _ in _references(config["input_layers"])]
        found = [(name, _batch_shape(entries[name]["config"])) for name in names]
    else:
        found = [_sequential_input(config)]
    for name, shape in found:
        if shape is None:
            raise UnsupportedError(
                f"input '{name}' has no shape: build the model with an Input layer and save again"
            )
    return [(name, tuple(shape[1:])) for name, shape in found if shape is not None]


def _sequential_input(config: Mapping[str, Any]) -> tuple[str, Sequence[int | None] | None]:
    """The input of a Sequential model: its InputLayer, its first layer's shape, or its build's."""
    entries = config["layers"]
    if not entries:
        raise UnsupportedError(f"model '{config.get('name')}' has no layers")
    first = entries[0]
    if is_model(first):
        inner = _input_shapes(first["config"])
        return inner[0][0], (None, *inner[0][1])
    shape = _batch_shape(first["config"]) or config.get("build_input_shape")
    name = layer_name(first)
    return (name if first["class_name"] == INPUT else f"{name}_input"), shape


# ---------------------------------------------------------------- connections


def _references(value: Any) -> list[Reference]:
    """Every tensor reference inside nested lists, tuples, dicts and serialized tensors."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            return _references(value["config"]["keras_history"])
        return [ref for item in value.values() for ref in _references(item)]
    if not isinstance(value, list | tuple):
        return []
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        more = _references(value[3]) if len(value) > 3 else []
        here = [] if value[1] < 0 else [(value[0], value[1], int(value[2]))]
        return [*here, *more]
    return [ref for item in value for ref in _references(item)]


@dataclass(frozen=True)
class _Counting:
    """Number of the first call of every nested model, in layers' inputs and in the outputs.

    Where a model's own definition counts as call 0 its first use is call 1.  Keras 2 counts so
    everywhere, Keras 3 only in the outputs and only for functional models.  Every call of a saved
    model is referred to, so the right pair is one with which the references name all calls.
    """

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]

    @staticmethod
    def of(config: Mapping[str, Any]) -> _Counting:
        """The counting of a functional configuration, in which inputs are relative to outputs."""
        uses = [entry.get("inbound_nodes", []) for entry in config["layers"]]
        inner, outer = _calls(uses), _calls(config["output_layers"])
        inputs, outputs = {}, {}
        for entry in filter(is_model, config["layers"]):
            name = layer_name(entry)
            pair = _first_calls(entry, inner.get(name, set()), outer.get(name, set()))
            inputs[name], outputs[name] = pair[0], pair[1] - pair[0]
        return _Counting(inputs, outputs)


def _calls(value: Any) -> dict[str, set[int]]:
    """Numbers of the calls that references name, by layer."""
    found: dict[str, set[int]] = {}
    for name, node, _ in _references(value):
        found.setdefault(name, set()).add(node)
    return found


def _first_calls(entry: Mapping[str, Any], inner: set[int], outer: set[int]) -> tuple[int, int]:
    """Numbers of a nested model's first call in inputs and in outputs: the likeliest that fit."""
    nodes = entry.get("inbound_nodes", [])
    new = any(isinstance(node, Mapping) for node in nodes)
    functional = "output_layers" in entry["config"]
    likely = [(0, 1), (1, 1), (0, 0)] if new and functional else [(0, 0), (1, 1)]
    for a, b in likely:
        if {i - a for i in inner} | {i - b for i in outer} == set(range(len(nodes))):
            return a, b
    return 0, 0


def _nodes(
    config: Mapping[str, Any], counting: _Counting
) -> Iterator[tuple[Mapping[str, Any], int, list[Reference]]]:
    """(entry, call number, inputs) of every call in a functional configuration."""
    for entry in config["layers"]:
        first = counting.inputs.get(layer_name(entry), 0)
        for index, node in enumerate(entry.get("inbound_nodes", [])):
            _check_constants(entry, node)
            yield entry, first + index, _references(node)


def _check_constants(entry: Mapping[str, Any], node: Any) -> None:
    """Refuse a sum with a constant, such as ``x + 1``: it has fewer than two tensors."""
    if is_model(entry) or len(_references(node)) > 1:
        return
    if _normalized(entry, layer_name(entry))[0] == "Add":
        raise UnsupportedError(
            f"layer '{layer_name(entry)}' ({entry['class_name']}) adds a constant, which is not "
            "supported; add two tensors, or use BatchNormalization or a bias"
        )
