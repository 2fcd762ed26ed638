# SPDX-License-Identifier: Apache-2.0
"""Every operator against stock TFLM: equality of every tensor over random small graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import EXPONENT, assert_twin, linear_parameters, one_op, tensor

from tinyq.encodings import ENCODINGS
from tinyq.executor import run
from tinyq.numerics import requantize
from tinyq.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalMean,
    MaxPool2D,
    Pad2D,
    Relu,
    Reshape,
)
from tinyq.ops.global_mean import reciprocal
from tinyq.ops.windows import NO_PADDING, same_padding
from tinyq.tflite import run_tflm, write_tflite

SEEDS = st.integers(0, 2**32 - 1)
TYPES = st.sampled_from(["int8", "uint8"])
ACTIVATIONS = st.sampled_from(["linear", "relu", "relu6"])
#: of activations; the common width more often
WIDTHS = st.sampled_from([8, 8, 4, 3, 2])
twin = settings(max_examples=150)


@st.composite
def windows(draw, largest: int = 4):
    """Input size, kernel, strides and padding: SAME, VALID or anything smaller than the kernel."""
    kernel = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = tuple(k + draw(st.integers(0, 5)) for k in kernel)
    kind = draw(st.sampled_from(["valid", "same", "free"]))
    if kind == "valid":
        return size, kernel, strides, NO_PADDING
    if kind == "same":
        return size, kernel, strides, same_padding(size, kernel, strides)
    edges = [st.integers(0, k - 1) for k in (kernel[0], kernel[0], kernel[1], kernel[1])]
    return size, kernel, strides, draw(st.tuples(*edges))


@st.composite
def outputs(draw):
    """Type, activation and width of a layer's output, as a graph may hold them."""
    activation = draw(ACTIVATIONS)
    dtype = "int8" if activation == "linear" else draw(st.sampled_from(["uint8", "uint8", "int8"]))
    exponent = draw(st.integers(EXPONENT - 3, EXPONENT + 2))
    return activation, tensor("y", (), dtype, exponent, draw(WIDTHS))


@st.composite
def shifts(draw, channels: int):
    """Requantization shifts, per tensor or per channel."""
    count = draw(st.sampled_from([1, channels]))
    return draw(st.lists(st.integers(0, 15), min_size=count, max_size=count))


@twin
@given(windows(), outputs(), TYPES, st.data(), SEEDS)
def test_conv2d(window, output, dtype, data, seed) -> None:
    size, kernel, strides, padding = window
    rng, (activation, y) = np.random.default_rng(seed), output
    channels, filters = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    x = tensor("x", (*size, channels), dtype, bits=data.draw(WIDTHS))
    weights, bias = linear_parameters(
        rng,
        (filters, *kernel, channels),
        data.draw(st.sampled_from(list(ENCODINGS))),
        data.draw(shifts(filters)),
        y.exponent - x.exponent,
    )
    op = Conv2D(weights, bias, activation, strides=strides, padding=padding)
    assert_twin(one_op(op, [x], y), rng, data.draw(st.sampled_from(["int8", "int4"])))


@twin
@given(windows(), outputs(), TYPES, st.data(), SEEDS)
def test_depthwise_conv2d(window, output, dtype, data, seed) -> None:
    size, kernel, strides, padding = window
    rng, (activation, y) = np.random.default_rng(seed), output
    channels, multiplier = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    x = tensor("x", (*size, channels), dtype, bits=data.draw(WIDTHS))
    weights, bias = linear_parameters(
        rng,
        (channels * multiplier, *kernel),
        data.draw(st.sampled_from(list(ENCODINGS))),
        data.draw(shifts(channels * multiplier)),
        y.exponent - x.exponent,
    )
    op = DepthwiseConv2D(
        weights, bias, activation, strides=strides, padding=padding, multiplier=multiplier
    )
    assert_twin(one_op(op, [x], y), rng, data.draw(st.sampled_from(["int8", "int4"])))


@twin
@given(outputs(), TYPES, st.data(), SEEDS)
def test_dense(output, dtype, data, seed) -> None:
    rng, (activation, y) = np.random.default_rng(seed), output
    inputs, units = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 9))
    x = tensor("x", (inputs,), dtype, bits=data.draw(WIDTHS))
    weights, bias = linear_parameters(
        rng,
        (units, inputs),
        data.draw(st.sampled_from(list(ENCODINGS))),
        data.draw(shifts(units)),
        y.exponent - x.exponent,
    )
    form = data.draw(st.sampled_from(["int8", "int4"]))
    assert_twin(one_op(Dense(weights, bias, activation), [x], y), rng, form)


@pytest.mark.parametrize("shift", range(16))
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_every_accumulator_round_a_tie(shift: int, activation: str) -> None:
    """One weight of 1 and biases that walk over all remainders: rounding, tie by tie."""
    step = max(1, 2**shift // 16)
    bias = np.arange(-(2 ** (shift + 1)), 2 ** (shift + 1), step)
    bias = np.unique(np.concatenate([bias, bias - 1, bias + 1])).astype(np.int32)
    weights, _ = linear_parameters(np.random.default_rng(0), (len(bias), 1), shifts=(shift,))
    weights = replace(weights, codes=np.ones_like(weights.codes))
    y = tensor("y", (), "uint8" if activation == "relu" else "int8")
    graph = one_op(Dense(weights, bias, activation), [tensor("x", (1,))], y)
    assert_twin(graph, np.random.default_rng(shift))


@pytest.mark.parametrize("bits", [8, 7, 4, 3, 2])
@pytest.mark.parametrize(("dtype", "activation"), [("int8", "linear"), ("uint8", "relu")])
def test_every_code_is_clamped_to_the_width(dtype: str, activation: str, bits: int) -> None:
    """A weight of 1 and no shift: every code of 8 bits, clipped to those of the output."""
    weights, bias = linear_parameters(np.random.default_rng(0), (1, 1), shifts=(0,))
    weights = replace(weights, codes=np.ones_like(weights.codes))
    y = tensor("y", (), dtype, bits=bits)
    graph = one_op(Dense(weights, 0 * bias, activation), [tensor("x", (1,))], y)
    x = np.arange(-128, 128).astype(np.int8)[:, None]
    got = run_tflm(write_tflite(graph), {"x": x})["y"]
    low, high = (0, 2**bits - 1) if dtype == "uint8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    np.testing.assert_array_equal(got, np.clip(x.astype(np.int64), low, high))


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if ENCODINGS[e].bits <= 4])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "dense"])
def test_decode(encoding: str, per_channel: bool, kind: str) -> None:
    """DECODE with one table, scales per tensor and per channel, all index widths."""
    rng = np.random.default_rng(len(encoding))
    shape = {"conv2d": (9, 5, 5, 5), "depthwise_conv2d": (36, 5, 5), "dense": (13, 91)}[kind]
    ns = rng.integers(5, 12, shape[0]) if per_channel else [9]
    weights, bias = linear_parameters(rng, shape, encoding, ns)
    op, x = {
        "conv2d": (Conv2D(weights, bias), tensor("x", (6, 5, 5))),
        "depthwise_conv2d": (DepthwiseConv2D(weights, bias, multiplier=2), tensor("x", (6, 5, 18))),
        "dense": (Dense(weights, bias), tensor("x", (91,), "uint8")),
    }[kind]
    graph = one_op(op, [x], tensor("y", ()))
    expanded, compressed = (assert_twin(graph, rng, form) for form in ("int8", "decode"))
    assert b"TFLM_DECODE" in compressed and b"TFLM_DECODE" not in expanded
    assert len(compressed) < len(expanded)


@twin
@given(
    st.integers(-30, 10), st.integers(0, 18), st.integers(0, 19), outputs(), TYPES, TYPES, WIDTHS,
    SEEDS,
)  # fmt: skip
def test_add(exponent, gap, shift, output, first, second, bits, seed) -> None:
    activation, y = output
    rng = np.random.default_rng(seed)
    a = tensor("a", (3, 40), first, exponent + gap, bits)
    ins = [a, tensor("b", (3, 40), second, exponent)]
    order = [0, 1] if seed % 2 else [1, 0]
    graph = one_op(Add(activation), [ins[i] for i in order], replace(y, exponent=exponent + shift))
    assert_twin(graph, rng)


@pytest.mark.parametrize("types", [("int8", "int8"), ("uint8", "int8"), ("uint8", "uint8")])
@pytest.mark.parametrize("shift", [0, 1, 2, 5])
def test_add_of_every_pair(types: tuple[str, str], shift: int) -> None:
    """65,536 pairs at once: the rule is half away from zero, not the convolution's."""
    graph = one_op(
        Add(),
        [tensor("a", (65536,), types[0]), tensor("b", (65536,), types[1], EXPONENT + 1)],
        tensor("y", (), "int8", EXPONENT + shift),
    )
    codes = np.arange(256, dtype=np.uint8)
    pairs = np.meshgrid(codes, codes)
    inputs = {
        name: pair.reshape(1, -1).view(kind)
        for name, pair, kind in zip("ab", pairs, types, strict=True)
    }
    expected = run(graph, inputs)["y"]
    np.testing.assert_array_equal(run_tflm(write_tflite(graph), inputs)["y"], expected)
    acc = sum(inputs[n].astype(np.int64) << graph.tensors[n].exponent - EXPONENT for n in "ab")
    limits = graph.tensors["y"].lo, graph.tensors["y"].hi
    as_convolution = requantize(acc, shift, "tflite", *limits)
    differs = shift > 1 or (shift == 1 and "int8" in types)
    assert differs != np.array_equal(as_convolution, expected)


@twin
@given(windows(), ACTIVATIONS, TYPES, WIDTHS, st.data(), SEEDS)
def test_average_pool2d(window, activation, dtype, bits, data, seed) -> None:
    size, pool, strides, _ = window
    padding = data.draw(st.sampled_from([NO_PADDING, same_padding(size, pool, strides)]))
    x = tensor("x", (*size, 3), dtype, bits=bits)
    op = AveragePool2D(pool, strides, padding, activation)
    assert_twin(one_op(op, [x], replace(x, name="y")), np.random.default_rng(seed))


@twin
@given(st.tuples(*[st.integers(1, 9)] * 2), TYPES, TYPES, WIDTHS, st.integers(0, 15), SEEDS)
def test_global_mean(size, dtype, other, bits, shift, seed) -> None:
    x = tensor("x", (*size, 3), dtype, bits=bits)
    exponent = x.exponent + reciprocal(size[0] * size[1])[1] + shift
    y = tensor("y", (1, 1, 3), other, exponent, bits)
    assert_twin(one_op(GlobalMean(), [x], y), np.random.default_rng(seed))


@twin
@given(windows(), TYPES, WIDTHS, SEEDS)
def test_max_pool2d(window, dtype, bits, seed) -> None:
    size, pool, strides, padding = window
    x = tensor("x", (*size, 3), dtype, bits=bits)
    graph = one_op(MaxPool2D(pool, strides, padding), [x], replace(x, name="y"))
    assert_twin(graph, np.random.default_rng(seed))


@twin
@given(st.tuples(*[st.integers(0, 3)] * 4), TYPES, WIDTHS, SEEDS)
def test_pad2d(padding, dtype, bits, seed) -> None:
    x = tensor("x", (4, 3, 2), dtype, bits=bits)
    assert_twin(one_op(Pad2D(padding), [x], replace(x, name="y")), np.random.default_rng(seed))


@twin
@given(
    st.sampled_from(["relu", "relu6"]), TYPES, TYPES, st.sampled_from([8, 7, 4, 3, 2]), SEEDS,
    st.integers(-6, 4),
)  # fmt: skip
def test_relu(activation, dtype, out_dtype, bits, seed, exponent) -> None:
    x, y = tensor("x", (5, 40), dtype, exponent), tensor("y", (), out_dtype, exponent, bits)
    assert_twin(one_op(Relu(activation), [x], y), np.random.default_rng(seed))


@pytest.mark.parametrize("shape", [(24,), (24, 1), (2, 3, 4), (1, 24, 1), (2, 2, 3, 2)])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_reshape(shape: tuple[int, ...], dtype: str) -> None:
    x = tensor("x", (4, 3, 2), dtype)
    assert_twin(one_op(Reshape(shape), [x], replace(x, name="y")), np.random.default_rng(0))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("count", [2, 3, 10, 11, 25])
def test_concat(axis: int, count: int) -> None:
    """TFLM joins ten tensors at once; more are joined in steps."""
    shapes = [[4, 3, 2] for _ in range(count)]
    for index, shape in enumerate(shapes):
        shape[axis] = 1 + index % 3
    ins = [tensor(f"x{i}", shape, "uint8") for i, shape in enumerate(shapes)]
    graph = one_op(Concat(axis), ins, tensor("y", (), "uint8"))
    assert_twin(graph, np.random.default_rng(count))
