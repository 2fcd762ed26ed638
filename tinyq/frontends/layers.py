# SPDX-License-Identifier: Apache-2.0
"""The table of supported Keras layers: which parameters matter and which values they may have.

Supporting a layer takes an entry here and a function in ``lower.py``.  Parameters that are neither
kept nor restricted (initializers, regularizers, names of scopes …) do not change inference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tinyq.errors import UnsupportedError

ACTIVATIONS: Final = ("linear", "relu", "relu6", "softmax", "sigmoid")

#: Layers that do nothing at inference.
IDENTITIES: Final = (
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "GaussianDropout",
    "GaussianNoise",
)

#: Other names of the same class, from older Keras versions and from Keras' operations.
ALIASES: Final = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}


@dataclass(frozen=True)
class LayerSpec:
    """One layer class.

    options: kept parameters with their defaults; only: allowed values of parameters (kept or not);
    weights: name of each weight and the option that switches it on (None: always there).
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    weights: tuple[tuple[str, str | None], ...] = ()


_CHANNELS_LAST: Final = {"data_format": (None, "channels_last")}
_PADDINGS: Final = {"padding": ("valid", "same")}
_WINDOW: Final = {**_CHANNELS_LAST, **_PADDINGS}
_CONV: Final = {
    **_WINDOW,
    "dilation_rate": (1, (1,), (1, 1)),
    "groups": (None, 1),
    "activation": ACTIVATIONS,
}
_BIAS: Final = ("bias", "use_bias")


def _conv(rank: int, **extra: Any) -> dict[str, Any]:
    return {
        "kernel_size": None,
        "strides": (1,) * rank,
        "padding": "valid",
        "activation": "linear",
        "use_bias": True,
        **extra,
    }


def _pool(rank: int) -> LayerSpec:
    return LayerSpec({"pool_size": (2,) * rank, "strides": None, "padding": "valid"}, _WINDOW)


_GLOBAL_POOL: Final = LayerSpec({"keepdims": False}, _CHANNELS_LAST)

LAYERS: Final[dict[str, LayerSpec]] = {
    "Conv2D": LayerSpec(_conv(2, filters=None), _CONV, (("kernel", None), _BIAS)),
    "Conv1D": LayerSpec(_conv(1, filters=None), _CONV, (("kernel", None), _BIAS)),
    "DepthwiseConv2D": LayerSpec(
        _conv(2, depth_multiplier=1), _CONV, (("depthwise_kernel", None), _BIAS)
    ),
    "SeparableConv2D": LayerSpec(
        _conv(2, filters=None, depth_multiplier=1),
        _CONV,
        (("depthwise_kernel", None), ("pointwise_kernel", None), _BIAS),
    ),
    "Dense": LayerSpec(
        {"units": None, "activation": "linear", "use_bias": True},
        {"activation": ACTIVATIONS, "lora_rank": (None,), "quantization_config": (None,)},
        (("kernel", None), _BIAS),
    ),
    "BatchNormalization": LayerSpec(
        {"axis": -1, "momentum": 0.99, "epsilon": 1e-3, "center": True, "scale": True},
        {"renorm": (False,), "virtual_batch_size": (None,)},
        (("gamma", "scale"), ("beta", "center"), ("moving_mean", None), ("moving_variance", None)),
    ),
    "ReLU": LayerSpec(
        {"max_value": None},
        {"max_value": (None, 6), "negative_slope": (None, 0), "threshold": (None, 0)},
    ),
    "Activation": LayerSpec({"activation": "linear"}, {"activation": ACTIVATIONS}),
    "Softmax": LayerSpec({"axis": -1}),
    "Add": LayerSpec(),
    "Concatenate": LayerSpec({"axis": -1}),
    "AveragePooling2D": _pool(2),
    "AveragePooling1D": _pool(1),
    "MaxPooling2D": _pool(2),
    "MaxPooling1D": _pool(1),
    "GlobalAveragePooling2D": _GLOBAL_POOL,
    "GlobalAveragePooling1D": _GLOBAL_POOL,
    "GlobalMaxPooling2D": _GLOBAL_POOL,
    "GlobalMaxPooling1D": _GLOBAL_POOL,
    "ZeroPadding2D": LayerSpec({"padding": ((1, 1), (1, 1))}, _CHANNELS_LAST),
    "ZeroPadding1D": LayerSpec({"padding": (1, 1)}, _CHANNELS_LAST),
    "Flatten": LayerSpec({}, _CHANNELS_LAST),
    "Reshape": LayerSpec({"target_shape": None}),
    **{
        name: LayerSpec({"stddev": 0.0} if name == "GaussianNoise" else {"rate": 0.0})
        for name in IDENTITIES
    },
}


def supported() -> str:
    """The supported classes in one line."""
    return ", ".join(sorted(LAYERS))


def layer_options(path: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of a layer from its Keras config, checked against the table.

    Raises:
        UnsupportedError: an unknown class, or a parameter value outside the table.
    """
    spec = LAYERS.get(kind)
    if spec is None:
        raise UnsupportedError(
            f"layer '{path}' ({kind}) is not supported; supported are {supported()}"
        )
    for name, allowed in spec.only.items():
        if name in config:
            _check_value(path, kind, name, plain(name, config[name]), allowed)
    return {name: plain(name, config.get(name, default)) for name, default in spec.options.items()}


def weight_names(kind: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the weight arrays of a layer in Keras order."""
    return tuple(name for name, switch in LAYERS[kind].weights if switch is None or options[switch])


def _check_value(path: str, kind: str, name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        choices = ", ".join(str(item) for item in allowed if item is not None)
        raise UnsupportedError(
            f"layer '{path}' ({kind}) has {name}={value}, which is not supported; "
            f"supported: {choices or 'the default'}"
        )


def plain(name: str, value: Any) -> Any:
    """A config value as Python data: NumPy scalars and JSON lists become numbers and tuples."""
    if name == "activation":
        return _activation(value)
    if isinstance(value, dict) and "value" in value.get("config", {}):
        return plain(name, value["config"]["value"])
    if isinstance(value, list | tuple):
        return tuple(plain(name, item) for item in value)
    item: Callable[[], Any] | None = getattr(value, "item", None)
    return item() if item is not None else value


def _activation(value: Any) -> Any:
    """Name of an activation: a string, a serialized function, or a serialized layer."""
    if value is None:
        return "linear"
    if isinstance(value, dict):
        config = value.get("config")
        if value.get("class_name") == "ReLU":
            options = layer_options("activation", "ReLU", config or {})
            return "relu" if options["max_value"] is None else "relu6"
        return _activation(config if isinstance(config, str) else value.get("class_name"))
    return {"softmax_v2": "softmax", "relu_v2": "relu"}.get(value, value)
