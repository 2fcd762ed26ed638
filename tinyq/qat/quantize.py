# SPDX-License-Identifier: Apache-2.0
"""From a float model to a fake-quantized one that equals the integer executor.

prepare -> annotate -> tfmot's quantize_apply(Scheme) -> check the copies -> signs -> calibrate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from tinyq.errors import UnsupportedError
from tinyq.qat.calibrate import calibrate, resolve_signs
from tinyq.qat.config import QuantConfig, Role, check_patterns, layer_spec
from tinyq.qat.elementwise import QuantInput
from tinyq.qat.links import TRANSPARENT, OwnerLayer, QuantLayer
from tinyq.qat.prepare import Prepared, prepare
from tinyq.qat.scheme import LayerConfig, Scheme

_WEIGHTED: Final = ("Conv2D", "DepthwiseConv2D", "Dense")


def quantize(model: Any, config: QuantConfig, data: Any) -> Any:
    """A quantized copy of ``model``, calibrated and ready to train or to export.

    Args:
        model: flat functional ``tf_keras.Model`` (``tinyq.frontends.keras.load_model`` makes one).
        config: encodings, scales and widths.
        data: float32 calibration inputs ``[N, ...]`` as the model sees them, or a list with one
            array per input; some hundred samples.

    Returns:
        a functional ``tf_keras.Model``.  Its variables are copies; ``model`` is unchanged.
        Regularizers, constraints and the compiled state of ``model`` are left behind.

    Raises:
        UnsupportedError: a layer that cannot be trained quantized.
        DataError: calibration data of the wrong shape, or with NaN.
    """
    prepared = prepare(model)
    quantized = apply_scheme(prepared, config)
    resolve_signs(quantized)
    calibrate(quantized, data)
    return quantized


def apply_scheme(prepared: Prepared, config: QuantConfig) -> Any:
    """The prepared model with every layer replaced, weights copied and compared."""
    annotated = _annotate(prepared, config)
    api = tfmot.quantization.keras
    applied = api.quantize_apply(
        annotated, Scheme(config.input_bits), quantized_layer_name_prefix=""
    )
    # tfmot leaves every layer with two inbound nodes; a clone has one.
    clone = tf_keras.models.clone_model(applied)
    clone.set_weights(applied.get_weights())
    _check_quantized(clone)
    check_patterns(config, _configurable(clone))
    _check_copies(prepared.model, clone)
    return clone


def _annotate(prepared: Prepared, config: QuantConfig) -> Any:
    weighted = [x.name for x in prepared.model.layers if type(x).__name__ in _WEIGHTED]
    outer = {weighted[0], weighted[-1]} if weighted else set()
    final = _final_layers(prepared.model)

    def wrap(layer: Any) -> Any:
        role = Role(
            outer=layer.name in outer,
            final=layer.name in final,
            standalone=type(layer).__name__ == "BatchNormalization",
        )
        source = prepared.sources[layer.name]
        spec = layer_spec(config, source, role)
        narrow = min(spec.activation_bits, config.activation_bits) < 8
        own = LayerConfig(spec, source, narrow)
        return tfmot.quantization.keras.quantize_annotate_layer(layer, own)

    return tf_keras.models.clone_model(prepared.model, clone_function=wrap)


def _final_layers(model: Any) -> set[str]:
    """Layers whose output reaches a model output through activations only."""
    found: set[str] = set()
    for tensor in model.outputs:
        layer = tensor._keras_history.layer
        while True:
            found.add(layer.name)
            node = layer.inbound_nodes[0]
            if type(layer).__name__ in _WEIGHTED or len(node.keras_inputs) != 1:
                break
            layer = node.keras_inputs[0]._keras_history.layer
    return found


def _configurable(model: Any) -> set[str]:
    """The user's layers whose options are in use: those that others are folded into."""
    return {
        layer.source_layers[0]
        for layer in model.layers
        if isinstance(layer, OwnerLayer) and not isinstance(layer, QuantInput)
    }


def _check_quantized(model: Any) -> None:
    for layer in model.layers:
        known = isinstance(layer, QuantLayer | tf_keras.layers.InputLayer)
        if not known and type(layer).__name__ not in TRANSPARENT:
            raise UnsupportedError(
                f"layer '{layer.name}' ({type(layer).__name__}) stays unquantized; it is not "
                "supported in this place"
            )


def _check_copies(source: Any, quantized: Any) -> None:
    """Every trained array of the source must have arrived: tfmot copies by name, silently."""
    wanted, present = _arrays(source), _arrays(quantized)
    copied = sum(1 for array in wanted if any(_equal(array, got) for got in present))
    if copied != len(wanted):
        raise UnsupportedError(
            f"{len(wanted) - copied} of {len(wanted)} weight arrays of '{source.name}' were not "
            "copied into the quantized model; rename layers whose weights share a name"
        )


def _arrays(model: Any) -> list[Any]:
    return [array for layer in model.layers for array in layer.get_weights()]


def _equal(a: Any, b: Any) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b))


def variables_by_group(model: Any) -> Mapping[str, list[Any]]:
    """Trainable variables by learning-rate group: "weight", "scale", "table", "gain"."""
    named: dict[int, str] = {}
    for layer in model.layers:
        for kind in ("weight", "activation"):
            quantizer: Any = getattr(layer, f"{kind}_quantizer", None)
            for key, variable in getattr(layer, f"{kind}_variables", {}).items():
                named[id(variable)] = quantizer.groups.get(key, "weight")
    groups: dict[str, list[Any]] = {"weight": [], "scale": [], "table": [], "gain": []}
    for variable in model.trainable_variables:
        groups[named.get(id(variable), "weight")].append(variable)
    return groups
