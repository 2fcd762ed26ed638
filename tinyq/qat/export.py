# SPDX-License-Identifier: Apache-2.0
"""The integer graph of a fake-quantized model, and the model's own codes to compare it with.

Codes, tables, exponents and biases are read once, as integers, from the evaluation in TensorFlow;
nothing is folded again in NumPy, where the last bit of a float could differ.

SAME becomes explicit padding; a global pool becomes a pool and a Reshape; a standalone batch
normalization becomes a 1x1 depthwise convolution, between Reshapes where its input is flat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq import ops
from tinyq.encodings import ENCODINGS, Weights, encode_image
from tinyq.errors import GraphError, ProofError, UnsupportedError
from tinyq.graph import Graph, Node, Preprocess, Tensor, unique_name, validate
from tinyq.ops.windows import NO_PADDING, Padding, same_padding
from tinyq.proof import prove
from tinyq.qat.calibrate import check_inputs, legalize
from tinyq.qat.elementwise import (
    QuantAdd,
    QuantConcatenate,
    QuantInput,
    QuantReLU,
    QuantSigmoid,
    QuantSoftmax,
)
from tinyq.qat.folded import (
    FoldedLayer,
    QuantBatchNormalization,
    QuantConv2D,
    QuantDense,
    QuantDepthwiseConv2D,
)
from tinyq.qat.links import GENERATED, QuantLayer, find_producer
from tinyq.qat.pooling import QuantAveragePooling2D, QuantGlobalAveragePooling2D, QuantGlobalMean
from tinyq.tensors import Shape

INT32_MAX: Final = 2**31 - 1


def to_graph(
    model: Any,
    name: str = "model",
    preprocess: Sequence[Preprocess] = (),
    softmax: bool = True,
) -> Graph:
    """The integer graph that computes exactly what the quantized Keras model computes.

    Output exponents that training left too fine for their accumulator are raised in ``model``
    first, so that both agree.

    Args:
        model: what ``quantize`` or ``load`` returned, trained or not.
        name: of the graph; made a C identifier.
        preprocess: one entry per input, stored for later use.
        softmax: False drops a final softmax; the output is then the logits.

    Raises:
        UnsupportedError: a layer that is not quantized.
        ProofError: weights or biases that do not fit their types, or an accumulator that exceeds
            the width that its layer was trained for.
    """
    legalize(model)
    return _lower(model, name, preprocess, softmax)[0]


def tensor_codes(
    model: Any, data: Any, batch: int = 64, compiled: bool = False
) -> dict[str, npt.NDArray[np.int64]]:
    """Codes of every tensor that the Keras model computes, under the names of ``to_graph``.

    Args:
        model: a quantized model; ``data``: float32 inputs ``[N, ...]`` or a list of them.
        batch: samples at once.
        compiled: compute in a TensorFlow graph, with its optimizations, instead of eagerly.

    Returns:
        int64 ``[N, *shape]`` by tensor name.

    Raises:
        GraphError: a value of the Keras model is no multiple of its exponent.
    """
    arrays = check_inputs(model, data)
    outputs = _lower(model, "model", (), True)[1]
    layers = [layer for layer in model.layers if layer.name in outputs]
    probe = tf_keras.Model(model.inputs, [layer.output for layer in layers])
    compute = tf.function(probe, autograph=False) if compiled else probe
    parts = [
        compute([x[start : start + batch] for x in arrays], training=False)
        for start in range(0, len(arrays[0]), batch)
    ]
    columns = zip(*parts, strict=True)
    return {
        outputs[layer.name]: _codes(layer, np.concatenate(column))
        for layer, column in zip(layers, columns, strict=True)
    }


def _codes(layer: Any, values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    exponent = int(find_producer(layer.output).exponent().numpy())
    codes = np.ldexp(values.astype(np.float64), -exponent)
    if not np.array_equal(codes, np.round(codes)):
        raise GraphError(f"layer '{layer.name}' holds values between the codes of its exponent")
    return codes.astype(np.int64)


# ---------------------------------------------------------------- lowering


@dataclass
class _Builder:
    """The graph while it grows.

    outputs: from a Keras layer to its tensor; promised: from a node to the accumulator bits that
    its layer was trained for.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)

    def tensor(self, wanted: str, shape: Shape, source: QuantLayer) -> str:
        """A tensor with the type and exponent of ``source``'s output."""
        name = unique_name(wanted, set(self.tensors))
        dtype = "int8" if source.signed else "uint8"
        exponent = int(source.exponent().numpy())
        self.tensors[name] = Tensor(name, shape, dtype, source.bits, exponent)
        return name

    def emit(self, layer: Any, op: ops.Op, inputs: Sequence[str], suffix: str = "") -> str:
        """A node for a layer; returns its output tensor, typed as the layer's output."""
        shape = op.infer_shape([self.tensors[x].shape for x in inputs])
        source = layer if isinstance(layer, QuantLayer) else find_producer(layer.output)
        return self._add(layer, op, inputs, shape, source, suffix)

    def reshape(self, layer: Any, x: str, shape: Shape, suffix: str) -> str:
        """A Reshape of ``x``, typed as ``x``."""
        if self.tensors[x].shape == shape:
            return x
        producer = layer.producers[0] if suffix == "_in" else layer
        return self._add(layer, ops.Reshape(shape), [x], shape, producer, suffix)

    def _add(
        self,
        layer: Any,
        op: ops.Op,
        inputs: Sequence[str],
        shape: Shape,
        source: QuantLayer,
        suffix: str,
    ) -> str:
        out = self.tensor(layer.name.replace(GENERATED, "_") + suffix, shape, source)
        layers = getattr(layer, "source_layers", ()) or (layer.name.split(GENERATED)[0],)
        self.nodes.append(Node(out, op, tuple(inputs), (out,), tuple(layers)))
        if isinstance(layer, FoldedLayer) and isinstance(op, ops.LinearOp):
            bits = layer.weight_quantizer.accumulator_bits
            if bits is not None:
                self.promised[out] = bits
        return out


def _lower(
    model: Any, name: str, preprocess: Sequence[Preprocess], softmax: bool
) -> tuple[Graph, dict[str, str]]:
    builder, inputs = _Builder(), {}
    final = {t._keras_history.layer.name for t in model.outputs}
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.InputLayer):
            continue
        sources = [t._keras_history.layer.name for t in layer.inbound_nodes[0].keras_inputs]
        if isinstance(layer, QuantInput):
            inputs[sources[0]] = builder.tensor(sources[0], _shape(layer), layer)
            builder.outputs[layer.name] = inputs[sources[0]]
        elif isinstance(layer, QuantSoftmax) and layer.name in final and not softmax:
            builder.outputs[layer.name] = builder.outputs[sources[0]]
        else:
            xs = [builder.outputs[source] for source in sources]
            builder.outputs[layer.name] = _lowering(layer)(builder, layer, xs)
    graph = Graph(
        unique_name(name, set()),
        builder.tensors,
        tuple(builder.nodes),
        tuple(inputs[n] for n in model.input_names),
        tuple(builder.outputs[t._keras_history.layer.name] for t in model.outputs),
        tuple(preprocess),
        {"method": "qat"},
    )
    _check_promises(validate(graph), builder.promised)
    return graph, builder.outputs


def _check_promises(graph: Graph, promised: Mapping[str, int]) -> None:
    """ProofError where the exact proof needs more bits than a layer was trained for."""
    if not promised:
        return
    proofs = prove(graph)
    for name, bits in promised.items():
        if proofs[name].bits > bits:
            raise ProofError(
                f"layer '{graph.node(name).label}': trained for accumulators of {bits} bits, but "
                f"the proof needs {proofs[name].bits}; train it again"
            )


def _shape(layer: Any) -> Shape:
    return tuple(int(size) for size in layer.output.shape[1:])


def _lowering(layer: Any) -> Callable[[_Builder, Any, Sequence[str]], str]:
    found = LOWERINGS.get(type(layer).__name__)
    if found is None:
        raise UnsupportedError(
            f"layer '{layer.name}' ({type(layer).__name__}) is not quantized; export what "
            "tinyq.qat.quantize returned"
        )
    return found


def integers(layer: FoldedLayer) -> tuple[Weights, npt.NDArray[np.int32]]:
    """Weights ``[O, ...]`` and bias ``[O]`` of a folded layer as integers.

    Raises:
        ProofError: a bias of more than 32 bits.
    """
    p = layer.parameters()
    codes, bias = p.codes.numpy(), p.bias.numpy().astype(np.float64)
    if np.abs(bias).max(initial=0) > INT32_MAX:
        raise ProofError(
            f"layer '{layer.name}': a bias of {np.abs(bias).max():.3g} accumulator units exceeds "
            "32 bits; retrain with a smaller input exponent"
        )
    image = _output_first(layer, codes).astype(np.int64)
    exponents = p.exponent.numpy().ravel().astype(np.int64)
    quantizer = layer.weight_quantizer
    encoding = ENCODINGS[quantizer.encoding]
    table = quantizer.table(layer.weight_variables)
    return encode_image(image, encoding, exponents, table), bias.astype(np.int32)


def _output_first(layer: FoldedLayer, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Keras' kernel layout to ``[O, ...]``."""
    if isinstance(layer, QuantConv2D):
        return codes.transpose(3, 0, 1, 2)
    if isinstance(layer, QuantDepthwiseConv2D):
        height, width, channels, multiplier = codes.shape
        return codes.reshape(height, width, channels * multiplier).transpose(2, 0, 1)
    if isinstance(layer, QuantBatchNormalization):
        return codes.reshape(-1, 1, 1)
    return codes.T


def _padding(layer: Any, shape: Shape, kernel: Sequence[int]) -> Padding:
    if layer.padding == "valid":
        return NO_PADDING
    (kh, kw), (sh, sw) = kernel, layer.strides
    return same_padding(shape, (int(kh), int(kw)), (int(sh), int(sw)))


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return int(first), int(second)


def _conv(b: _Builder, layer: QuantConv2D, xs: Sequence[str]) -> str:
    weights, bias = integers(layer)
    padding = _padding(layer, b.tensors[xs[0]].shape, layer.kernel_size)
    strides = _pair(layer.strides)
    return b.emit(
        layer, ops.Conv2D(weights, bias, layer.activation, layer.rounding, strides, padding), xs
    )


def _depthwise(b: _Builder, layer: QuantDepthwiseConv2D, xs: Sequence[str]) -> str:
    weights, bias = integers(layer)
    padding = _padding(layer, b.tensors[xs[0]].shape, layer.kernel_size)
    op = ops.DepthwiseConv2D(
        weights,
        bias,
        layer.activation,
        layer.rounding,
        strides=_pair(layer.strides),
        padding=padding,
        multiplier=layer.depth_multiplier,
    )
    return b.emit(layer, op, xs)


def _dense(b: _Builder, layer: QuantDense, xs: Sequence[str]) -> str:
    return b.emit(layer, ops.Dense(*integers(layer), layer.activation, layer.rounding), xs)


def _batch_norm(b: _Builder, layer: QuantBatchNormalization, xs: Sequence[str]) -> str:
    shape = b.tensors[xs[0]].shape
    x = b.reshape(layer, xs[0], (1,) * (3 - len(shape)) + shape, "_in")
    op = ops.DepthwiseConv2D(*integers(layer), layer.activation, layer.rounding)
    y = b.emit(layer, op, [x], "" if len(shape) == 3 else "_flat")
    return b.reshape(layer, y, shape, "")


def _average(b: _Builder, layer: QuantAveragePooling2D, xs: Sequence[str]) -> str:
    padding = _padding(layer, b.tensors[xs[0]].shape, layer.pool_size)
    op = ops.AveragePool2D(_pair(layer.pool_size), _pair(layer.strides), padding)
    return b.emit(layer, op, xs)


def _global_average(
    b: _Builder, layer: QuantGlobalAveragePooling2D | QuantGlobalMean, xs: Sequence[str]
) -> str:
    height, width, channels = b.tensors[xs[0]].shape
    op: ops.Op = ops.AveragePool2D((height, width), (height, width))
    if isinstance(layer, QuantGlobalMean):
        op = ops.GlobalMean()
    if layer.keepdims:
        return b.emit(layer, op, xs)
    return b.reshape(layer, b.emit(layer, op, xs, "_pool"), (channels,), "")


def _max(b: _Builder, layer: Any, xs: Sequence[str]) -> str:
    padding = _padding(layer, b.tensors[xs[0]].shape, layer.pool_size)
    return b.emit(layer, ops.MaxPool2D(_pair(layer.pool_size), _pair(layer.strides), padding), xs)


def _global_max(b: _Builder, layer: Any, xs: Sequence[str]) -> str:
    height, width, _ = b.tensors[xs[0]].shape
    op = ops.MaxPool2D((height, width), (height, width))
    if len(layer.output.shape) == 4:
        return b.emit(layer, op, xs)
    return _reshape(b, layer, [b.emit(layer, op, xs, "_pool")])


def _pad(b: _Builder, layer: Any, xs: Sequence[str]) -> str:
    (top, bottom), (left, right) = layer.padding
    return b.emit(layer, ops.Pad2D((top, bottom, left, right)), xs)


def _reshape(b: _Builder, layer: Any, xs: Sequence[str]) -> str:
    return b.emit(layer, ops.Reshape(_shape(layer)), xs)


def _identity(b: _Builder, layer: Any, xs: Sequence[str]) -> str:
    return xs[0]


LOWERINGS: Final[dict[str, Callable[[_Builder, Any, Sequence[str]], str]]] = {
    QuantConv2D.__name__: _conv,
    QuantDepthwiseConv2D.__name__: _depthwise,
    QuantDense.__name__: _dense,
    QuantBatchNormalization.__name__: _batch_norm,
    QuantAdd.__name__: lambda b, layer, xs: b.emit(layer, ops.Add(layer.activation), xs),
    QuantConcatenate.__name__: lambda b, layer, xs: b.emit(layer, ops.Concat(layer.axis - 1), xs),
    QuantReLU.__name__: lambda b, layer, xs: b.emit(layer, ops.Relu(layer.activation), xs),
    QuantSoftmax.__name__: lambda b, layer, xs: b.emit(layer, ops.Softmax(), xs),
    QuantSigmoid.__name__: lambda b, layer, xs: b.emit(layer, ops.Sigmoid(), xs),
    QuantAveragePooling2D.__name__: _average,
    QuantGlobalAveragePooling2D.__name__: _global_average,
    QuantGlobalMean.__name__: _global_average,
    "MaxPooling2D": _max,
    "GlobalMaxPooling2D": _global_max,
    "ZeroPadding2D": _pad,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Dropout": _identity,
    "SpatialDropout2D": _identity,
    "GaussianDropout": _identity,
    "GaussianNoise": _identity,
}
