# SPDX-License-Identifier: Apache-2.0
"""Start a training from an integer graph of the same network instead of from rounded weights.

Post-training quantization chooses the codes of a layer together, by what they do to its outputs;
that is a far better start than each weight's nearest level, and a short training at a low rate goes
on from there.  Kernels, biases and exponents are set so that the model computes what the graph
computes; latent weights lie in the middle of their codes.

Layers whose quantizer cannot take the graph's codes (another encoding, a bounded accumulator),
outputs of another width and means that own an exponent, which the graph's averages inherit, keep
what calibration gave them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyq.errors import InputError
from tinyq.graph import Graph, Node
from tinyq.ops import Add, LinearOp
from tinyq.qat.calibrate import legalize, quant_layers
from tinyq.qat.elementwise import QuantInput
from tinyq.qat.folded import FoldedLayer, QuantDepthwiseConv2D
from tinyq.qat.links import OwnerLayer
from tinyq.qat.pooling import QuantGlobalMean

Float64 = npt.NDArray[np.float64]


def adopt(model: Any, graph: Graph) -> int:
    """Set a calibrated model's weights, tables and exponents from ``graph``.

    Args:
        model: what ``quantize`` returned.
        graph: an integer graph of the same float model, no channel removed.

    Returns:
        the number of layers whose codes were taken over.

    Raises:
        InputError: the graph is of another network.
    """
    waiting = list(graph.nodes)
    taken = 0
    for layer in quant_layers(model):
        if isinstance(layer, QuantInput):
            name = layer.inbound_nodes[0].keras_inputs[0]._keras_history.layer.name
            _adopt_output(layer, graph, name if name in graph.tensors else graph.inputs[0])
        elif isinstance(layer, OwnerLayer) and not isinstance(layer, QuantGlobalMean):
            node = _next_of(waiting, layer)
            _adopt_output(layer, graph, node.output)
            if isinstance(layer, FoldedLayer):
                taken += _adopt_weights(layer, node, graph.tensors[node.inputs[0]].exponent)
    legalize(model)
    return taken


def _next_of(waiting: list[Node], layer: OwnerLayer) -> Node:
    """The first node left that stands for the layer; it is taken from ``waiting``.

    One layer of the user may be several: a convolution in two parts, a chain of sums, an activation
    at the end.  Both sides hold them in the order in which they are computed.
    """
    found = [node for node in waiting if not set(layer.source_layers).isdisjoint(node.layers)]
    if not found:
        raise InputError(f"layer '{layer.name}' is not in the graph; quantize the same model")
    kind = LinearOp if isinstance(layer, FoldedLayer) else Add
    node = next((node for node in found if isinstance(node.op, kind)), found[0])
    waiting.remove(node)
    return node


def _adopt_output(layer: Any, graph: Graph, name: str) -> None:
    tensor, quantizer = graph.tensors[name], layer.activation_quantizer
    if tensor.bits == quantizer.bits and tensor.signed == quantizer.signed:
        quantizer.set_exponent(float(tensor.exponent), layer.activation_variables)


def _adopt_weights(layer: FoldedLayer, node: Node, source: int) -> bool:
    op, quantizer = node.op, layer.weight_quantizer
    if not isinstance(op, LinearOp) or op.quantized.encoding != quantizer.encoding:
        return False
    weights = op.quantized
    per_channel = weights.exponents_per_channel().astype(np.float64)
    exponents = weights.exponents.astype(np.float64)
    if not quantizer.adopt(exponents, weights.table, layer.weight_variables):
        return False
    image = weights.image().astype(np.float64)
    real = image * 2.0 ** per_channel.reshape(-1, *(1,) * (image.ndim - 1))
    _assign_kernel(layer, _keras_layout(layer, real))
    _assign_bias(layer, op.bias * 2.0 ** (per_channel + source))
    return True


def _keras_layout(layer: FoldedLayer, values: Float64) -> Float64:
    """``[O, ...]`` to the layout of the layer's kernel."""
    if isinstance(layer, QuantDepthwiseConv2D):
        return values.transpose(1, 2, 0).reshape(layer.kernel.shape)
    return np.moveaxis(values, 0, -1).reshape(layer.kernel.shape)


def _assign_kernel(layer: FoldedLayer, folded: Float64) -> None:
    scale = 1.0 if layer.batch_norm is None else layer.spread(layer.factor())
    kernel = tf.math.divide_no_nan(tf.constant(folded, tf.float32), scale)
    if isinstance(layer.kernel, tf.Variable):
        layer.kernel.assign(kernel)


def _assign_bias(layer: FoldedLayer, folded: Float64) -> None:
    """Let whatever of the bias can train make up the difference."""
    missing = tf.constant(folded, tf.float32) - layer.folded()[1]
    if layer.batch_norm is not None and layer.batch_norm["center"]:
        layer.beta.assign_add(missing)
    elif layer.use_bias:
        factor = 1.0 if layer.batch_norm is None else layer.factor()
        layer.bias.assign_add(tf.math.divide_no_nan(missing, factor * tf.ones_like(missing)))
