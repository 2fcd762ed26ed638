# SPDX-License-Identifier: Apache-2.0
"""The quantization scheme for tfmot: configs that annotate layers, transforms that replace them.

``quantize_annotate_layer`` attaches a ``LayerConfig`` to each layer; ``quantize_apply`` hands
model and configs to ``Layout``, whose transforms compose:

    Fold         Conv2D | DepthwiseConv2D | Dense          -> folded layer, linear
    FoldNorm     BatchNormalization <- folded layer        -> folded layer with the norm
    Standalone   BatchNormalization                        -> folded 1x1 depthwise layer
    FoldReLU     ReLU <- folded layer | QuantAdd           -> the same with an activation
    ...          Add, Concatenate, ReLU, pools, Softmax    -> their quantized layers

Traps of tfmot's ModelTransformer that shape this file: it remembers matches by the *class name* of
a transform (so each is a class of its own), it anchors patterns without grouping alternatives (so
they are grouped here), and it copies weights by name and is silent about missing ones (so
``quantize`` compares them afterwards).  Its QuantizeWrapper is not used: it quantizes the kernel
before folding, and its output quantizer cannot know the shift.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict
from typing import Any, Final

import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_config,
    quantize_layout_transform,
    quantize_registry,
    quantize_scheme,
    utils,
)
from tensorflow_model_optimization.python.core.quantization.keras.graph_transformations import (
    model_transformer,
    transforms,
)

from tinyq.qat.elementwise import (
    QuantAdd,
    QuantConcatenate,
    QuantInput,
    QuantReLU,
    QuantSigmoid,
    QuantSoftmax,
)
from tinyq.qat.folded import (
    QuantBatchNormalization,
    QuantConv2D,
    QuantDense,
    QuantDepthwiseConv2D,
)
from tinyq.qat.pooling import QuantAveragePooling2D, QuantGlobalAveragePooling2D, QuantGlobalMean
from tinyq.quantizers import Activation, LayerSpec, activation_quantizer, weight_quantizer

Node = transforms.LayerNode
Pattern = transforms.LayerPattern

_LINEAR: Final = "(?:Conv2D|DepthwiseConv2D|Dense)"
_FOLDED: Final = "tinyq>(?:QuantConv2D|QuantDepthwiseConv2D|QuantDense)"
_WITH_ACTIVATION: Final = f"(?:{_FOLDED}|tinyq>QuantBatchNormalization|tinyq>QuantAdd)"


@tf_keras.utils.register_keras_serializable("tinyq")
class LayerConfig(quantize_config.QuantizeConfig):
    """How one layer is quantized; attach it with tfmot's ``quantize_annotate_layer``.

    Attributes:
        spec: encoding, scale, widths; the sign of the output follows from the structure.
        source: name of the user's layer.
        narrow: activations of fewer than 8 bits, here or in the whole model: means over the whole
            image own an exponent.
    """

    def __init__(
        self,
        spec: LayerSpec | dict[str, Any] | None = None,
        source: str = "",
        narrow: bool = False,
    ) -> None:
        self.spec = LayerSpec(**spec) if isinstance(spec, dict) else spec or LayerSpec()
        self.source = source
        self.narrow = narrow

    def weight_quantizer(self, channel_axes: tuple[int, ...]) -> Any:
        """A new quantizer for the layer's weights."""
        return weight_quantizer(self.spec, channel_axes)

    def activation_quantizer(self) -> Activation:
        """A new quantizer for the layer's output."""
        return activation_quantizer(self.spec)

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The kernel of a folded layer and its quantizer."""
        return [(layer.kernel, layer.weight_quantizer)]

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """None: the activation is part of the output's requantization."""
        return []

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """The output quantizer of a folded layer."""
        return [layer.activation_quantizer]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Replace the kernel of a folded layer."""
        (layer.kernel,) = quantize_weights

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing to replace."""

    def get_config(self) -> dict[str, Any]:
        return {"spec": asdict(self.spec), "source": self.source, "narrow": self.narrow}


def _config(match: Any) -> LayerConfig:
    found = match.metadata.get("quantize_config")
    return found if found is not None else LayerConfig(source=match.layer["config"]["name"])


def _node(layer: Any, match: Any = None, weights: Any = None, inputs: Any = None) -> Any:
    """A replacement that keeps the metadata of what it replaces."""
    config = utils.serialize_layer(layer, use_legacy_format=True)
    config["name"] = config["config"]["name"]
    metadata = match.metadata if match is not None else {}
    return Node(config, weights, inputs or [], metadata)


class _Replace(transforms.Transform):
    """Replaces layers of one class, weightless ones, by ``make(config of the layer, common)``."""

    class_name: str

    def pattern(self) -> Any:
        return Pattern(self.class_name)

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        """The quantized layer."""
        raise NotImplementedError

    def replacement(self, match_layer: Any) -> Any:
        config, own = match_layer.layer["config"], _config(match_layer)
        common = {"name": config["name"], "source_layers": [own.source]}
        return _node(self.make(config, common, own), match_layer)


class Fold(transforms.Transform):
    """A linear layer becomes a folded layer without norm and activation."""

    def pattern(self) -> Any:
        return Pattern(_LINEAR)

    def replacement(self, match_layer: Any) -> Any:
        config, own = match_layer.layer["config"], _config(match_layer)
        kind = match_layer.layer["class_name"]
        axes = (-2, -1) if kind == "DepthwiseConv2D" else (-1,)
        common = {
            "name": config["name"],
            "source_layers": [own.source],
            "weight_quantizer": own.weight_quantizer(axes),
            "activation_quantizer": own.activation_quantizer(),
            "use_bias": config["use_bias"],
            "rounding": own.spec.rounding,
        }
        return _node(_linear_layer(kind, config, common), match_layer, match_layer.weights)


def _linear_layer(kind: str, config: dict[str, Any], common: dict[str, Any]) -> Any:
    if kind == "Dense":
        return QuantDense(config["units"], **common)
    window = (config["kernel_size"], config["strides"], config["padding"])
    if kind == "Conv2D":
        return QuantConv2D(config["filters"], *window, **common)
    return QuantDepthwiseConv2D(*window, config["depth_multiplier"], **common)


def _norm_options(config: dict[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in ("epsilon", "momentum", "center", "scale")}


class FoldNorm(transforms.Transform):
    """A batch normalization that follows a folded layer goes into it."""

    def pattern(self) -> Any:
        folded = Pattern(_FOLDED, {"batch_norm": "None", "activation": "linear"})
        return Pattern("BatchNormalization", {}, [folded])

    def replacement(self, match_layer: Any) -> Any:
        (folded,) = match_layer.input_layers
        options = _norm_options(match_layer.layer["config"])
        folded.layer["config"]["batch_norm"] = options
        _add_source(folded, match_layer)
        weights = OrderedDict([*folded.weights.items(), *match_layer.weights.items()])
        return Node(folded.layer, weights, [], folded.metadata)


class Standalone(transforms.Transform):
    """A batch normalization with no folded layer before it becomes a layer of its own."""

    def pattern(self) -> Any:
        return Pattern("BatchNormalization")

    def replacement(self, match_layer: Any) -> Any:
        config, own = match_layer.layer["config"], _config(match_layer)
        layer = QuantBatchNormalization(
            name=config["name"],
            source_layers=[own.source],
            weight_quantizer=own.weight_quantizer((-1,)),
            activation_quantizer=own.activation_quantizer(),
            batch_norm=_norm_options(config),
            use_bias=False,
            rounding=own.spec.rounding,
        )
        return _node(layer, match_layer, match_layer.weights)


class FoldReLU(transforms.Transform):
    """A ReLU that follows a folded layer or an addition becomes its activation."""

    def pattern(self) -> Any:
        return Pattern("ReLU", {}, [Pattern(_WITH_ACTIVATION, {"activation": "linear"})])

    def replacement(self, match_layer: Any) -> Any:
        (before,) = match_layer.input_layers
        before.layer["config"]["activation"] = _relu_name(match_layer.layer["config"])
        _add_source(before, match_layer)
        return Node(before.layer, before.weights, [], before.metadata)


def _relu_name(config: dict[str, Any]) -> str:
    return "relu" if config["max_value"] is None else "relu6"


def _add_source(folded: Any, match: Any) -> None:
    """Note another user's layer that a folded layer stands for."""
    name, sources = _config(match).source, folded.layer["config"]["source_layers"]
    if name not in sources:
        folded.layer["config"]["source_layers"] = [*sources, name]


class ReplaceInput(transforms.Transform):
    """An input gets a quantizer behind it."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def pattern(self) -> Any:
        return Pattern("InputLayer")

    def replacement(self, match_layer: Any) -> Any:
        name = match_layer.layer["config"]["name"]
        match_layer.metadata = {}
        quantizer = Activation(self.bits, True, "mse")
        layer = QuantInput(quantizer, name=f"{name}_codes", source_layers=[name])
        return _node(layer, inputs=[match_layer])


class ReplaceAdd(_Replace):
    """Add."""

    class_name = "Add"

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        return QuantAdd(own.activation_quantizer(), **common)


class ReplaceConcatenate(_Replace):
    """Concatenate."""

    class_name = "Concatenate"

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        return QuantConcatenate(config["axis"], **common)


class ReplaceReLU(_Replace):
    """A ReLU that nothing took over."""

    class_name = "ReLU"

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        return QuantReLU(_relu_name(config), **common)


class ReplaceAveragePooling(_Replace):
    """AveragePooling2D."""

    class_name = "AveragePooling2D"

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        window = (config["pool_size"], config["strides"], config["padding"])
        return QuantAveragePooling2D(*window, **common)


class ReplaceGlobalAveragePooling(_Replace):
    """GlobalAveragePooling2D."""

    class_name = "GlobalAveragePooling2D"

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        keepdims = bool(config["keepdims"])
        if own.narrow:
            return QuantGlobalMean(own.activation_quantizer(), keepdims, **common)
        return QuantGlobalAveragePooling2D(keepdims, **common)


class ReplaceSoftmax(_Replace):
    """Softmax."""

    class_name = "Softmax"

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        return QuantSoftmax(**common)


class ReplaceSigmoid(_Replace):
    """Activation('sigmoid'); the other activations are layers of their own by now."""

    class_name = "Activation"

    def make(self, config: dict[str, Any], common: dict[str, Any], own: LayerConfig) -> Any:
        return QuantSigmoid(**common)


class Layout(quantize_layout_transform.QuantizeLayoutTransform):
    """Replaces every layer; hands no layer back to tfmot for wrapping."""

    def __init__(self, input_bits: int) -> None:
        self.input_bits = input_bits

    def apply(self, model: Any, layer_quantize_map: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """tfmot's entry point."""
        steps = [
            Fold(),
            FoldNorm(),
            Standalone(),
            ReplaceAdd(),
            FoldReLU(),
            ReplaceReLU(),
            ReplaceConcatenate(),
            ReplaceAveragePooling(),
            ReplaceGlobalAveragePooling(),
            ReplaceSoftmax(),
            ReplaceSigmoid(),
            ReplaceInput(self.input_bits),
        ]
        transformer = model_transformer.ModelTransformer(
            model, steps, set(layer_quantize_map), layer_quantize_map
        )
        return transformer.transform()[0], {}


class Registry(quantize_registry.QuantizeRegistry):
    """No layer is left for tfmot's own wrapper."""

    def supports(self, layer: Any) -> bool:
        return False

    def get_quantize_config(self, layer: Any) -> None:
        return None


class Scheme(quantize_scheme.QuantizeScheme):
    """The scheme for ``tfmot.quantization.keras.quantize_apply``."""

    def __init__(self, input_bits: int = 8) -> None:
        self.input_bits = input_bits

    def get_layout_transformer(self) -> Layout:
        return Layout(self.input_bits)

    def get_quantize_registry(self) -> Registry:
        return Registry()
