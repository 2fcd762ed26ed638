# SPDX-License-Identifier: Apache-2.0
"""One function per Keras layer: from options and weights to nodes of the float graph.

Fused activations become nodes of their own and SAME becomes explicit padding; 1-D layers run as 2-D
ones of height 1 between two reshapes; a Dense layer on more than one dimension is a 1x1
convolution.  Folding and fusing is the passes' business, not done here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from tinyq.errors import InputError, UnsupportedError
from tinyq.frontends.builder import FloatArray, GraphBuilder
from tinyq.frontends.layers import IDENTITIES
from tinyq.frontends.network import Layer, describe
from tinyq.ops import (
    Add,
    AveragePool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    MaxPool2D,
    Op,
    Pad2D,
    Relu,
    Reshape,
    Sigmoid,
    Softmax,
)
from tinyq.ops.windows import NO_PADDING, Padding, Pair, same_padding
from tinyq.tensors import Shape

Lowering = Callable[[GraphBuilder, Layer, Sequence[str]], str]


# ---------------------------------------------------------------- helpers


def _pair(value: Any) -> Pair:
    """(height, width) of an int, a 1-tuple (1-D layers: height 1) or a pair."""
    if isinstance(value, int):
        return value, value
    sizes = tuple(int(v) for v in value)
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _padding(layer: Layer, shape: Shape, kernel: Pair, strides: Pair) -> Padding:
    if layer.options["padding"] == "valid":
        return NO_PADDING
    return same_padding(shape, kernel, strides)


def _weight(layer: Layer, index: int, shape: Sequence[int]) -> FloatArray:
    """A weight array whose shape is what the layer's options and input ask for."""
    array = layer.weights[index]
    if array.shape != tuple(shape):
        raise UnsupportedError(
            f"{describe(layer)} holds weights of shape {array.shape} where {tuple(shape)} is "
            "expected; save the model again with Keras"
        )
    return array


def _bias(b: GraphBuilder, layer: Layer, count: int) -> FloatArray:
    if layer.options["use_bias"]:
        return _weight(layer, len(layer.weights) - 1, (count,))
    return b.share(layer, "bias", lambda: np.zeros(count, np.float32))


def _need_rank(b: GraphBuilder, layer: Layer, x: str, rank: int) -> Shape:
    shape = b.shape(x)
    if len(shape) != rank:
        raise UnsupportedError(f"{describe(layer)} needs a {rank}-D input, got shape {shape}")
    return shape


def _activate(b: GraphBuilder, layer: Layer, x: str, activation: str, suffix: bool = True) -> str:
    """A node for an activation; none for "linear"."""
    ops: dict[str, Op] = {
        "relu": Relu("relu"),
        "relu6": Relu("relu6"),
        "softmax": Softmax(),
        "sigmoid": Sigmoid(),
    }
    if activation == "linear":
        return x
    return b.emit(layer, ops[activation], [x], f"_{activation}" if suffix else "")


def _with_height(lower: Lowering) -> Lowering:
    """A 1-D layer as its 2-D form on (1, width, channels)."""

    def lower_1d(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
        shape = _need_rank(b, layer, xs[0], 2)
        flat = b.emit(layer, Reshape((1, *shape)), xs, "_expand")
        y = lower(b, layer, [flat])
        out = b.shape(y)
        return b.emit(layer, Reshape(out[1:]), [y], "_squeeze") if len(out) == 3 else y

    return lower_1d


# ---------------------------------------------------------------- layers with weights


def _conv2d(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    o = layer.options
    shape = _need_rank(b, layer, xs[0], 3)
    kernel, strides, filters = _pair(o["kernel_size"]), _pair(o["strides"]), int(o["filters"])
    one_d = layer.kind == "Conv1D"
    wanted = (*(kernel[1:] if one_d else kernel), shape[2], filters)
    array = _weight(layer, 0, wanted).reshape(*kernel, shape[2], filters)
    op = Conv2D(
        weights=b.share(layer, "kernel", lambda: _channels_first(array)),
        bias=_bias(b, layer, filters),
        strides=strides,
        padding=_padding(layer, shape, kernel, strides),
    )
    return _activate(b, layer, b.emit(layer, op, xs), o["activation"])


def _channels_first(kernel: FloatArray) -> FloatArray:
    """[…, O] → [O, …]."""
    return np.ascontiguousarray(np.moveaxis(kernel, -1, 0))


def _depthwise(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> DepthwiseConv2D:
    """The depthwise part of a layer, without bias; output channel c * multiplier + m."""
    o = layer.options
    shape = _need_rank(b, layer, xs[0], 3)
    kernel, strides = _pair(o["kernel_size"]), _pair(o["strides"])
    multiplier = int(o["depth_multiplier"])
    count = shape[2] * multiplier
    array = _weight(layer, 0, (*kernel, shape[2], multiplier)).reshape(*kernel, count)
    return DepthwiseConv2D(
        weights=b.share(layer, "depthwise_kernel", lambda: _channels_first(array)),
        bias=b.share(layer, "depthwise_bias", lambda: np.zeros(count, np.float32)),
        strides=strides,
        padding=_padding(layer, shape, kernel, strides),
        multiplier=multiplier,
    )


def _depthwise_conv2d(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    op = _depthwise(b, layer, xs)
    biased = DepthwiseConv2D(
        weights=op.weights,
        bias=_bias(b, layer, len(op.bias)),
        strides=op.strides,
        padding=op.padding,
        multiplier=op.multiplier,
    )
    return _activate(b, layer, b.emit(layer, biased, xs), layer.options["activation"])


def _separable_conv2d(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    filters = int(layer.options["filters"])
    middle = b.emit(layer, _depthwise(b, layer, xs), xs, "_depthwise")
    array = _weight(layer, 1, (1, 1, b.shape(middle)[2], filters))
    op = Conv2D(
        weights=b.share(layer, "pointwise_kernel", lambda: _channels_first(array)),
        bias=_bias(b, layer, filters),
    )
    return _activate(b, layer, b.emit(layer, op, [middle]), layer.options["activation"])


def _dense(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    units = int(layer.options["units"])
    shape = b.shape(xs[0])
    array = _weight(layer, 0, (shape[-1], units))
    weights = b.share(layer, "kernel", lambda: _channels_first(array))
    bias = _bias(b, layer, units)
    if len(shape) == 1:
        y = b.emit(layer, Dense(weights=weights, bias=bias), xs)
    else:
        y = _pointwise(b, layer, xs[0], Conv2D(weights=weights[:, None, None], bias=bias))
    return _activate(b, layer, y, layer.options["activation"])


def _pointwise(b: GraphBuilder, layer: Layer, x: str, op: Conv2D) -> str:
    """A 1x1 convolution over the last axis of a tensor of any rank."""
    shape = b.shape(x)
    if len(shape) == 3:
        return b.emit(layer, op, [x])
    image = b.emit(layer, Reshape((1, int(np.prod(shape[:-1])), shape[-1])), [x], "_expand")
    y = b.emit(layer, op, [image])
    return b.emit(layer, Reshape((*shape[:-1], b.shape(y)[-1])), [y], "_squeeze")


def _batch_normalization(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    shape = b.shape(xs[0])
    _check_last_axis(layer, shape)
    scale = b.share(layer, "scale", lambda: _normalization(layer, shape[-1])[0])
    offset = b.share(layer, "offset", lambda: _normalization(layer, shape[-1])[1])
    return b.emit(layer, BatchNorm(scale, offset), xs)


def _normalization(layer: Layer, count: int) -> tuple[FloatArray, FloatArray]:
    """scale = gamma / sqrt(variance + epsilon), offset = beta - mean * scale; float64 inside."""
    arrays = [_weight(layer, i, (count,)).astype(np.float64) for i in range(len(layer.weights))]
    mean, variance = arrays[-2:]
    gamma = arrays[0] if layer.options["scale"] else np.ones(count)
    beta = arrays[-3] if layer.options["center"] else np.zeros(count)
    widened = variance + layer.options["epsilon"]
    if not (widened > 0).all():
        raise InputError(
            f"{describe(layer)}: moving variance {variance.min():g} is negative; retrain the model"
        )
    scale = gamma / np.sqrt(widened)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)


# ---------------------------------------------------------------- activations


def _check_last_axis(layer: Layer, shape: Shape) -> None:
    axis = layer.options["axis"]
    if axis not in (-1, (-1,), len(shape), (len(shape),)):
        raise UnsupportedError(
            f"{describe(layer)} has axis={axis}, supported is the last axis ({len(shape)}) only"
        )


def _relu(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    kind = "relu" if layer.options["max_value"] is None else "relu6"
    return _activate(b, layer, xs[0], kind, suffix=False)


def _activation(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    return _activate(b, layer, xs[0], layer.options["activation"], suffix=False)


def _softmax(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    _check_last_axis(layer, b.shape(xs[0]))
    return b.emit(layer, Softmax(), xs)


# ---------------------------------------------------------------- pooling and padding


def _pool(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    shape = _need_rank(b, layer, xs[0], 3)
    one_d = layer.kind.endswith("1D")
    pool = _window(layer.options["pool_size"], one_d)
    strides = _window(layer.options["strides"] or layer.options["pool_size"], one_d)
    kind = AveragePool2D if layer.kind.startswith("Average") else MaxPool2D
    return b.emit(layer, kind(pool, strides, _padding(layer, shape, pool, strides)), xs)


def _window(value: Any, one_d: bool) -> Pair:
    """Window of a pooling layer; 1-D sizes may be plain integers."""
    return _pair((value,)) if one_d and isinstance(value, int) else _pair(value)


def _global_pool(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    height, width, channels = _need_rank(b, layer, xs[0], 3)
    kind = AveragePool2D if "Average" in layer.kind else MaxPool2D
    y = b.emit(layer, kind((height, width), (height, width)), xs)
    if layer.options["keepdims"]:
        return y
    return b.emit(layer, Reshape((channels,)), [y], "_flat")


def _zero_padding(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    _need_rank(b, layer, xs[0], 3)
    return b.emit(layer, Pad2D(_borders(layer)), xs)


def _borders(layer: Layer) -> Padding:
    """top, bottom, left, right of n, (n, m) or ((top, bottom), (left, right))."""
    value = layer.options["padding"]
    if layer.kind == "ZeroPadding1D":
        left, right = (value, value) if isinstance(value, int) else value
        return 0, 0, left, right
    rows, columns = (value, value) if isinstance(value, int) else value
    top, bottom = (rows, rows) if isinstance(rows, int) else rows
    left, right = (columns, columns) if isinstance(columns, int) else columns
    return top, bottom, left, right


# ---------------------------------------------------------------- shapes and joins


def _flatten(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    return b.emit(layer, Reshape((int(np.prod(b.shape(xs[0]))),)), xs)


def _reshape(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    target = [int(d) for d in layer.options["target_shape"]]
    known = int(np.prod([d for d in target if d != -1]))
    total = int(np.prod(b.shape(xs[0])))
    return b.emit(layer, Reshape(tuple(total // known if d == -1 else d for d in target)), xs)


def _add(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    """A sum of n tensors as a chain; only its end carries the layer's plain name."""
    total = xs[0]
    for index, x in enumerate(xs[1:]):
        suffix = "" if index == len(xs) - 2 else f"_partial{index + 1}"
        total = b.emit(layer, Add(), [total, x], suffix)
    return total


def _concatenate(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    axis, rank = int(layer.options["axis"]), len(b.shape(xs[0]))
    position = axis + rank if axis < 0 else axis - 1
    if not 0 <= position < rank:
        raise UnsupportedError(
            f"{describe(layer)} has axis={axis}, supported are 1..{rank} and -{rank}..-1"
        )
    return b.emit(layer, Concat(position), xs)


def _nothing(b: GraphBuilder, layer: Layer, xs: Sequence[str]) -> str:
    return xs[0]


LOWERINGS: Final[dict[str, Lowering]] = {
    "Conv2D": _conv2d,
    "Conv1D": _with_height(_conv2d),
    "DepthwiseConv2D": _depthwise_conv2d,
    "SeparableConv2D": _separable_conv2d,
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
    "ReLU": _relu,
    "Activation": _activation,
    "Softmax": _softmax,
    "Add": _add,
    "Concatenate": _concatenate,
    "AveragePooling2D": _pool,
    "AveragePooling1D": _with_height(_pool),
    "MaxPooling2D": _pool,
    "MaxPooling1D": _with_height(_pool),
    "GlobalAveragePooling2D": _global_pool,
    "GlobalAveragePooling1D": _with_height(_global_pool),
    "GlobalMaxPooling2D": _global_pool,
    "GlobalMaxPooling1D": _with_height(_global_pool),
    "ZeroPadding2D": _zero_padding,
    "ZeroPadding1D": _with_height(_zero_padding),
    "Flatten": _flatten,
    "Reshape": _reshape,
    **dict.fromkeys(IDENTITIES, _nothing),
}
