# SPDX-License-Identifier: Apache-2.0
"""Brings a float model into the few layer classes that the quantization scheme knows.

Rebuilt layer by layer in tf_keras, same function, same weights:

- 1-D tensors ``[L, C]`` travel as ``[1, L, C]``, so 1-D layers become 2-D ones of height 1;
- Dense on more than one dimension becomes a 1x1 convolution, SeparableConv2D two convolutions;
- activations inside a layer and Activation layers become ReLU, Softmax or sigmoid layers;
- a sum of three or more tensors becomes a chain of sums of two;
- a layer without weights that is called twice becomes two layers.

Nested and Sequential models, ``x + y`` and Keras 3 are the frontend's business
(``tinyq.frontends.keras.load_model``).  Absent on purpose: layers with weights that are called
twice.  Their calls would need one output exponent each, and tfmot would leave them unquantized
without a word; they are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import tf_keras

from tinyq.errors import UnsupportedError
from tinyq.qat.links import GENERATED

Layers = tf_keras.layers
Handler = Callable[["Builder", Any, "Sequence[Value]"], "Value"]


@dataclass(frozen=True)
class Value:
    """A symbolic tensor; ``lifted`` when it stands for a tensor without its height of 1."""

    tensor: Any
    lifted: bool = False

    @property
    def rank(self) -> int:
        """Dimensions without the batch, as the user sees them."""
        return len(self.tensor.shape) - 1 - self.lifted


@dataclass(frozen=True)
class Prepared:
    """The rebuilt model, and for each of its layers the user's layer that it stands for."""

    model: Any
    sources: Mapping[str, str]


@dataclass
class Builder:
    """Makes layers with unique names and remembers what to copy into them."""

    sources: dict[str, str] = field(default_factory=dict)
    copies: list[tuple[Any, list[Any]]] = field(default_factory=list)

    def name(self, layer: Any, suffix: str = "") -> str:
        """A new layer name close to the user's."""
        wanted = name = f"{layer.name}{suffix}"
        count = 1
        while name in self.sources:
            count += 1
            name = f"{wanted}_{count}"
        self.sources[name] = layer.name
        return name

    def apply(self, made: Any, xs: Any, weights: list[Any] | None = None) -> Any:
        """Call a new layer and note its weights."""
        tensor = made(xs)
        if weights:
            self.copies.append((made, weights))
        return tensor

    def clone(self, layer: Any, xs: Any, **changes: Any) -> Any:
        """A copy of the layer with some options changed, called on ``xs``."""
        config = {**layer.get_config(), **changes, "name": self.name(layer)}
        return self.apply(type(layer).from_config(config), xs, layer.get_weights())

    def lift(self, layer: Any, tensor: Any) -> Value:
        """``[L, C]`` becomes ``[1, L, C]``; other ranks stay."""
        if len(tensor.shape) != 3:
            return Value(tensor)
        name = self.name(layer, f"{GENERATED}lift")
        return Value(Layers.Reshape((1, *tensor.shape[1:]), name=name)(tensor), True)


def prepare(model: Any) -> Prepared:
    """Rebuild a flat functional tf_keras model (see the module's docstring).

    Raises:
        UnsupportedError: a layer, an option or a structure that cannot be trained quantized.
    """
    _check_model(model)
    builder = Builder()
    values: dict[tuple[str, int], Value] = {}
    for node in _nodes(model):
        xs = [values[_key(t)] for t in node.keras_inputs]
        handle = HANDLERS.get(type(node.layer).__name__, _unsupported)
        values[_key(node.outputs)] = handle(builder, node.layer, xs)
    inputs = [values[_key(t)].tensor for t in model.inputs]
    outputs = [_lower_output(builder, t, values[_key(t)]) for t in model.outputs]
    rebuilt = tf_keras.Model(_real_inputs(inputs), outputs, name=model.name)
    for made, weights in builder.copies:
        made.set_weights(weights)
    return Prepared(rebuilt, dict(builder.sources))


def _check_model(model: Any) -> None:
    nested = [layer.name for layer in model.layers if isinstance(layer, tf_keras.Model)]
    functional = isinstance(model, tf_keras.Model) and getattr(model, "_is_graph_network", False)
    if isinstance(model, tf_keras.Sequential) or not functional or nested:
        what = f"holds the nested model '{nested[0]}'" if nested else "is not functional"
        raise UnsupportedError(
            f"model '{model.name}' {what}; open it with tinyq.frontends.keras.load_model first"
        )
    for layer in model.layers:
        calls = sum(node.layer is layer for node in _nodes(model))
        if calls > 1 and layer.weights:
            raise UnsupportedError(
                f"layer '{layer.name}' ({type(layer).__name__}) has weights and is called {calls} "
                "times; quantization-aware training needs a layer per call (post-training "
                "quantization can share them)"
            )


def _nodes(model: Any) -> list[Any]:
    """The calls of a model in topological order."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth]]


def _key(tensor: Any) -> tuple[str, int]:
    """Layer and call that made a tensor."""
    history = tensor._keras_history
    return history.layer.name, history.node_index


def _real_inputs(inputs: list[Any]) -> list[Any]:
    """The InputLayer tensors behind (possibly lifted) inputs."""
    found = []
    for tensor in inputs:
        layer = tensor._keras_history.layer
        is_input = isinstance(layer, Layers.InputLayer)
        found.append(tensor if is_input else layer.inbound_nodes[0].keras_inputs[0])
    return found


def _lower_output(builder: Builder, original: Any, value: Value) -> Any:
    """A model output in the shape that the user knows."""
    if not value.lifted:
        return value.tensor
    layer = original._keras_history.layer
    shape = tuple(value.tensor.shape[2:])
    return Layers.Reshape(shape, name=builder.name(layer, f"{GENERATED}drop"))(value.tensor)


# ---------------------------------------------------------------- handlers


def _unsupported(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    raise UnsupportedError(
        f"layer '{layer.name}' ({type(layer).__name__}) cannot be trained quantized; supported "
        f"are {', '.join(sorted(HANDLERS))}"
    )


def _refuse(layer: Any, what: str, remedy: str) -> UnsupportedError:
    return UnsupportedError(f"layer '{layer.name}' ({type(layer).__name__}) {what}; {remedy}")


def _input(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    shape = layer.input_shape[0][1:]
    if any(size is None for size in shape):
        raise _refuse(layer, f"has shape {shape}", "build the model with fixed sizes")
    tensor = tf_keras.Input(shape, name=builder.name(layer))
    return builder.lift(layer, tensor)


def _same(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    return Value(builder.clone(layer, xs[0].tensor), xs[0].lifted)


def _plain(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    """A layer that takes 2-D tensors or makes its input flat."""
    _check_format(layer)
    return Value(builder.clone(layer, xs[0].tensor))


def _activation_name(layer: Any) -> str:
    config = layer.get_config()["activation"]
    if isinstance(config, dict):
        config = config.get("config", config)
        config = config.get("name", config) if isinstance(config, dict) else config
    return str(config)


def _activate(builder: Builder, layer: Any, name: str, value: Value, suffix: str) -> Value:
    """An activation as a layer of its own."""
    if name == "linear":
        return value
    makers: dict[str, Callable[[str], Any]] = {
        "relu": lambda n: Layers.ReLU(name=n),
        "relu6": lambda n: Layers.ReLU(6.0, name=n),
        "softmax": lambda n: Layers.Softmax(name=n),
        "sigmoid": lambda n: Layers.Activation("sigmoid", name=n),
    }
    if name not in makers:
        raise _refuse(
            layer, f"has the activation '{name}'", f"supported are linear, {', '.join(makers)}"
        )
    return Value(makers[name](builder.name(layer, suffix))(value.tensor), value.lifted)


def _activation(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    return _activate(builder, layer, _activation_name(layer), xs[0], "")


def _relu(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    config = layer.get_config()
    slope, threshold = config["negative_slope"], config["threshold"]
    top = config["max_value"]
    if slope or threshold or top not in (None, 6, 6.0):
        what = f"has max_value={top}, negative_slope={slope}, threshold={threshold}"
        raise _refuse(layer, what, "supported are ReLU and ReLU6")
    return _activate(builder, layer, "relu" if top is None else "relu6", xs[0], "")


def _softmax(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    axis, rank = layer.get_config()["axis"], xs[0].rank
    if axis not in (-1, rank):
        raise _refuse(layer, f"has axis={axis}", "only the last axis is supported")
    return _activate(builder, layer, "softmax", xs[0], "")


def _check_conv(layer: Any) -> None:
    config = layer.get_config()
    dilation = config.get("dilation_rate", 1)
    if config.get("groups", 1) != 1 or any(d != 1 for d in _as_tuple(dilation)):
        what = f"has groups={config.get('groups', 1)}, dilation_rate={dilation}"
        raise _refuse(layer, what, "both must be 1")
    _check_format(layer)


def _check_format(layer: Any) -> None:
    if layer.get_config().get("data_format") == "channels_first":
        raise _refuse(layer, "has data_format=channels_first", "use channels_last")


def _as_tuple(value: Any) -> tuple[int, ...]:
    return (int(value),) if isinstance(value, int) else tuple(int(v) for v in value)


def _conv(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    _check_conv(layer)
    y = Value(builder.clone(layer, xs[0].tensor, activation="linear"))
    return _activate(builder, layer, _activation_name(layer), y, "_activation")


def _separable(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    _check_conv(layer)
    c, weights = layer.get_config(), layer.get_weights()
    depthwise = Layers.DepthwiseConv2D(
        c["kernel_size"],
        c["strides"],
        c["padding"],
        c["depth_multiplier"],
        use_bias=False,
        name=builder.name(layer, "_depthwise"),
    )
    y = builder.apply(depthwise, xs[0].tensor, weights[:1])
    pointwise = Layers.Conv2D(c["filters"], 1, use_bias=c["use_bias"], name=builder.name(layer))
    y = builder.apply(pointwise, y, weights[1:])
    return _activate(builder, layer, _activation_name(layer), Value(y), "_activation")


def _conv1d(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    _check_conv(layer)
    c, weights, x = layer.get_config(), layer.get_weights(), xs[0].tensor
    (size,), (stride,) = _as_tuple(c["kernel_size"]), _as_tuple(c["strides"])
    if c["padding"] == "causal":
        border = ((0, 0), (size - 1, 0))
        x = Layers.ZeroPadding2D(border, name=builder.name(layer, f"{GENERATED}causal"))(x)
    padding = "valid" if c["padding"] == "causal" else c["padding"]
    made = Layers.Conv2D(
        c["filters"],
        (1, size),
        (1, stride),
        padding,
        use_bias=c["use_bias"],
        name=builder.name(layer),
    )
    y = builder.apply(made, x, [weights[0][None], *weights[1:]])
    return _activate(builder, layer, _activation_name(layer), Value(y, True), "_activation")


def _dense(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    x, c, weights = xs[0], layer.get_config(), layer.get_weights()
    if x.rank == 1:
        y = builder.clone(layer, x.tensor, activation="linear")
    else:
        made = Layers.Conv2D(c["units"], 1, use_bias=c["use_bias"], name=builder.name(layer))
        y = builder.apply(made, x.tensor, [weights[0][None, None], *weights[1:]])
    value = Value(y, x.lifted)
    return _activate(builder, layer, _activation_name(layer), value, "_activation")


def _batch_norm(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    (axis,) = _as_tuple(layer.get_config()["axis"])
    if axis not in (-1, xs[0].rank):
        raise _refuse(layer, f"has axis={axis}", "only the last axis is supported")
    return Value(builder.clone(layer, xs[0].tensor, axis=-1), xs[0].lifted)


def _add(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    if len({tuple(x.tensor.shape) for x in xs}) != 1:
        shapes = [tuple(x.tensor.shape[1:]) for x in xs]
        raise _refuse(layer, f"adds shapes {shapes}", "broadcasting is not supported")
    total = xs[0].tensor
    for index, x in enumerate(xs[1:], start=1):
        suffix = "" if index == len(xs) - 1 else f"_part{index}"
        total = Layers.Add(name=builder.name(layer, suffix))([total, x.tensor])
    return Value(total, xs[0].lifted)


def _concatenate(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    axis = int(layer.get_config()["axis"])
    if axis > 0 and xs[0].lifted:
        axis += 1
    tensors = [x.tensor for x in xs]
    made = Layers.Concatenate(axis % len(tensors[0].shape), name=builder.name(layer))
    return Value(made(tensors), xs[0].lifted)


def _average(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    """A window of the image's size is a global average."""
    whole = tuple(layer.pool_size) == tuple(xs[0].tensor.shape[1:3])
    if not whole or layer.padding != "valid":
        return _plain(builder, layer, xs)
    _check_format(layer)
    made = Layers.GlobalAveragePooling2D(keepdims=True, name=builder.name(layer))
    return Value(made(xs[0].tensor))


def _pool1d(made: Any) -> Handler:
    def handle(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
        _check_format(layer)
        c = layer.get_config()
        pool, strides = (1, *_as_tuple(c["pool_size"])), (1, *_as_tuple(c["strides"]))
        pooled = made(pool, strides, c["padding"], name=builder.name(layer))
        return Value(pooled(xs[0].tensor), True)

    return handle


def _global_pool1d(made: Any) -> Handler:
    def handle(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
        _check_format(layer)
        keep = bool(layer.get_config()["keepdims"])
        return Value(made(keepdims=keep, name=builder.name(layer))(xs[0].tensor), keep)

    return handle


def _zero_padding1d(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    border = ((0, 0), _as_tuple(layer.get_config()["padding"]))
    return Value(Layers.ZeroPadding2D(border, name=builder.name(layer))(xs[0].tensor), True)


def _spatial_dropout1d(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    made = Layers.SpatialDropout2D(layer.get_config()["rate"], name=builder.name(layer))
    return Value(made(xs[0].tensor), True)


def _reshape(builder: Builder, layer: Any, xs: Sequence[Value]) -> Value:
    shape = tuple(layer.output_shape[1:])
    return builder.lift(layer, Layers.Reshape(shape, name=builder.name(layer))(xs[0].tensor))


HANDLERS: Final[dict[str, Handler]] = {
    "InputLayer": _input,
    "Conv2D": _conv,
    "DepthwiseConv2D": _conv,
    "SeparableConv2D": _separable,
    "Conv1D": _conv1d,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
    "Add": _add,
    "Concatenate": _concatenate,
    "AveragePooling2D": _average,
    "MaxPooling2D": _plain,
    "GlobalAveragePooling2D": _plain,
    "GlobalMaxPooling2D": _plain,
    "ZeroPadding2D": _plain,
    "AveragePooling1D": _pool1d(Layers.AveragePooling2D),
    "MaxPooling1D": _pool1d(Layers.MaxPooling2D),
    "GlobalAveragePooling1D": _global_pool1d(Layers.GlobalAveragePooling2D),
    "GlobalMaxPooling1D": _global_pool1d(Layers.GlobalMaxPooling2D),
    "ZeroPadding1D": _zero_padding1d,
    "SpatialDropout1D": _spatial_dropout1d,
    "Flatten": _plain,
    "Reshape": _reshape,
    "Dropout": _same,
    "SpatialDropout2D": _same,
    "GaussianDropout": _same,
    "GaussianNoise": _same,
}
