# SPDX-License-Identifier: Apache-2.0
"""First exponents: signs from the structure, weights from the kernels, activations from data.

Layers are initialized in topological order on the output of the already quantized layers before
them.  ``legalize`` raises output exponents that training has moved below an accumulator's: a left
shift is refused by the kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyq.errors import DataError
from tinyq.qat.determinism import deterministic
from tinyq.qat.elementwise import QuantConcatenate, QuantInput, QuantReLU
from tinyq.qat.folded import FoldedLayer
from tinyq.qat.links import OwnerLayer, QuantLayer

#: values of one tensor that the exponent search looks at
MAX_VALUES: Final = 200_000
#: samples that calibration runs on at once
MAX_SAMPLES: Final = 512
#: below every real exponent, so that layers not calibrated yet do not weigh in their group
UNSET_EXPONENT: Final = -64.0


def quant_layers(model: Any) -> list[QuantLayer]:
    """The quantized layers in topological order."""
    return [layer for layer in model.layers if isinstance(layer, QuantLayer)]


def check_inputs(model: Any, data: Any) -> list[npt.NDArray[np.float32]]:
    """Arrays float32, one per input of the model.

    Raises:
        DataError: wrong number of arrays, wrong shapes, no samples, NaN or infinity.
    """
    arrays = list(data) if isinstance(data, list | tuple) else [data]
    if len(arrays) != len(model.inputs):
        raise DataError(f"the model has {len(model.inputs)} inputs, got {len(arrays)} arrays")
    result = []
    for tensor, array in zip(model.inputs, arrays, strict=True):
        x, wanted = np.asarray(array, np.float32), tuple(tensor.shape[1:])
        if x.ndim == 0 or x.shape[1:] != wanted or len(x) == 0:
            raise DataError(
                f"data for input '{tensor.name}' have shape {x.shape}, the model needs "
                f"(N, {', '.join(map(str, wanted))})"
            )
        if not np.isfinite(x).all():
            raise DataError(f"data for input '{tensor.name}' hold NaN or infinity; clean them")
        result.append(x)
    return result


def resolve_signs(model: Any) -> None:
    """Unsigned codes where values cannot be negative, unless a concatenation mixes signs."""
    for layer in quant_layers(model):
        if isinstance(layer, OwnerLayer) and not isinstance(layer, QuantInput):
            layer.activation_quantizer.signed = not layer.never_negative
    _unify_signs(model)


def _unify_signs(model: Any) -> None:
    """Members of a concatenation share their signedness, through poolings and standalone ReLUs."""
    joined = [x for x in quant_layers(model) if isinstance(x, QuantConcatenate)]
    changed = True
    while changed:
        changed = False
        for layer in joined:
            if len({p.signed for p in layer.producers}) > 1:
                changed = True
                for producer in layer.producers:
                    _make_signed(producer)


def _make_signed(layer: QuantLayer) -> None:
    if isinstance(layer, OwnerLayer):
        layer.activation_quantizer.signed = True
    elif isinstance(layer, QuantReLU):
        layer.signed_codes = True
    else:
        for producer in layer.producers:
            _make_signed(producer)


@deterministic()
def calibrate(model: Any, data: Any) -> None:
    """Set every exponent and table from the trained weights and ``data`` (see ``quantize``)."""
    every = check_inputs(model, data)
    _input_signs(model, every)
    arrays = [x[:MAX_SAMPLES] for x in every]
    for layer in quant_layers(model):
        if isinstance(layer, OwnerLayer):
            layer.activation_quantizer.set_exponent(UNSET_EXPONENT, layer.activation_variables)
    values: dict[str, Any] = {}
    feeds = {t._keras_history.layer.name: x for t, x in zip(model.inputs, arrays, strict=True)}
    for layer in model.layers:
        if layer.name in feeds:
            values[layer.name] = tf.constant(feeds[layer.name])
            continue
        x = layer_inputs(layer, values)
        if isinstance(layer, OwnerLayer):
            _initialize(layer, x)
        values[layer.name] = layer(x)
    legalize(model)


def layer_inputs(layer: Any, values: Mapping[str, Any]) -> Any:
    """What a layer is called with, from the values of the layers before it."""
    inputs = layer.inbound_nodes[0].keras_inputs
    tensors = [values[t._keras_history.layer.name] for t in inputs]
    return tensors[0] if len(tensors) == 1 else tensors


def _input_signs(model: Any, arrays: Sequence[npt.NDArray[np.float32]]) -> None:
    inputs = {t._keras_history.layer.name: x for t, x in zip(model.inputs, arrays, strict=True)}
    for layer in quant_layers(model):
        if isinstance(layer, QuantInput):
            name = layer.inbound_nodes[0].keras_inputs[0]._keras_history.layer.name
            layer.activation_quantizer.signed = bool(inputs[name].min() < 0)
    _unify_signs(model)


def _initialize(layer: OwnerLayer, x: Any) -> None:
    if isinstance(layer, FoldedLayer):
        layer.initialize_weights(x)
    y = layer.real_output(x).numpy().ravel()
    step = max(1, -(-y.size // MAX_VALUES))
    layer.activation_quantizer.initialize(y[::step], layer.activation_variables)


def refresh_weights(model: Any) -> None:
    """Let weight quantizers adapt what no gradient trains; called between epochs."""
    for layer in quant_layers(model):
        if isinstance(layer, FoldedLayer):
            layer.refresh_weights()


def legalize(model: Any) -> None:
    """Raise each output exponent to its finest legal value, so that every shift is >= 0."""
    layers = [x for x in quant_layers(model) if isinstance(x, OwnerLayer)]
    for _ in range(len(layers) + 1):
        raised = [layer for layer in layers if _raise_exponent(layer)]
        if not raised:
            return


def _raise_exponent(layer: OwnerLayer) -> bool:
    floor = float(np.max(layer.accumulator_exponent().numpy()))
    if float(layer.exponent().numpy()) >= floor:
        return False
    layer.activation_quantizer.set_exponent(floor, layer.activation_variables)
    return True
