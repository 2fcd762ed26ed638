# SPDX-License-Identifier: Apache-2.0
"""The forward pass in training: phases, and noise that is a function of seed and step.

Keras' noise layers draw from states that cannot be saved.  Here each draws from (seed, step, layer,
replica), so that a resumed training sees the same noise, and every replica its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import tensorflow as tf
import tf_keras

from tinyq.qat.calibrate import layer_inputs, quant_layers
from tinyq.qat.elementwise import QuantInput, UnitLayer
from tinyq.qat.folded import FoldedLayer
from tinyq.qat.links import QuantLayer
from tinyq.qat.schedule import Phase

Tensor = Any


def logits_model(model: Any) -> Any:
    """The same layers up to the output of the last one before a final softmax or sigmoid."""
    return tf_keras.Model(model.inputs, [_before_units(tensor) for tensor in model.outputs])


def _before_units(tensor: Any) -> Any:
    layer = tensor._keras_history.layer
    while isinstance(layer, UnitLayer):
        tensor = layer.inbound_nodes[0].keras_inputs[0]
        layer = tensor._keras_history.layer
    return tensor


def forward(network: Any, inputs: Sequence[Tensor], seed: Tensor) -> tuple[list[Tensor], Tensor]:
    """Outputs of a model in training, and the sum of its layers' own losses.

    Args:
        network: what ``logits_model`` made.
        inputs: one tensor ``[N, ...]`` per input.
        seed: int32 ``[2]``, different for each step and replica.
    """
    names = [t._keras_history.layer.name for t in network.inputs]
    values = dict(zip(names, inputs, strict=True))
    losses = []
    for index, layer in enumerate(network.layers):
        if layer.name in values:
            continue
        x = layer_inputs(layer, values)
        if type(layer).__name__ in NOISE:
            own = tf.random.experimental.stateless_fold_in(seed, index)
            values[layer.name] = NOISE[type(layer).__name__](layer, x, own)
        else:
            quantized = isinstance(layer, QuantLayer)
            values[layer.name] = layer(x, training=True) if quantized else layer(x)
            losses += layer.losses
    outputs = [values[t._keras_history.layer.name] for t in network.outputs]
    return outputs, tf.add_n(losses) if losses else tf.constant(0.0)


@contextmanager
def phase_applied(model: Any, phase: Phase) -> Iterator[None]:
    """Layers behave as in ``phase`` while this is open, which is while a step is traced."""
    _set_phase(model, phase)
    try:
        yield
    finally:
        _set_phase(model, Phase())


def _set_phase(model: Any, phase: Phase) -> None:
    set_batch_statistics(model, phase.batch_statistics)
    for layer in quant_layers(model):
        layer.float_output = phase.float_activations and not isinstance(layer, QuantInput)
        if isinstance(layer, FoldedLayer):
            layer.wide_weights = phase.wide_weights


def set_batch_statistics(model: Any, active: bool) -> None:
    """Let batch normalizations use (and learn) batch statistics in training, or freeze them."""
    for layer in quant_layers(model):
        if isinstance(layer, FoldedLayer):
            layer.batch_statistics = active


# ---------------------------------------------------------------- noise


def _dropout(layer: Any, x: Tensor, seed: Tensor) -> Tensor:
    """Zero a fraction of the values and enlarge the others."""
    if not 0 < layer.rate < 1:
        return x * (1.0 - layer.rate)
    shape = _noise_shape(layer, x)
    kept = tf.random.stateless_uniform(shape, seed) >= layer.rate
    return tf.where(kept, x / (1.0 - layer.rate), 0.0)


def _noise_shape(layer: Any, x: Tensor) -> Tensor:
    actual = tf.unstack(tf.shape(x))
    if type(layer).__name__ == "SpatialDropout2D":
        wanted: Sequence[Any] = (None, 1, 1, None)
    else:
        wanted = layer.noise_shape or [None] * len(actual)
    return tf.stack([n if w is None else w for n, w in zip(actual, wanted, strict=True)])


def _gaussian_dropout(layer: Any, x: Tensor, seed: Tensor) -> Tensor:
    """Multiply by noise of mean 1 and the variance of dropout."""
    deviation = (layer.rate / (1.0 - layer.rate)) ** 0.5
    return x * tf.random.stateless_normal(tf.shape(x), seed, 1.0, deviation)


def _gaussian_noise(layer: Any, x: Tensor, seed: Tensor) -> Tensor:
    """Add noise."""
    return x + tf.random.stateless_normal(tf.shape(x), seed, 0.0, layer.stddev)


NOISE: Final[dict[str, Callable[[Any, Tensor, Tensor], Tensor]]] = {
    "Dropout": _dropout,
    "SpatialDropout2D": _dropout,
    "GaussianDropout": _gaussian_dropout,
    "GaussianNoise": _gaussian_noise,
}
