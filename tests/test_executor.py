# SPDX-License-Identifier: Apache-2.0
"""Operators against direct loops in Python integers, and the handling of input data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from graphs import GraphBuilder, every_op_graph, random_inputs, random_weights

from tinyq import executor
from tinyq.errors import DataError
from tinyq.graph import Graph, Preprocess
from tinyq.ops import AveragePool2D, Conv2D, DepthwiseConv2D
from tinyq.ops.windows import same_padding
from tinyq.tensors import Tensor

GEOMETRIES = [
    ((3, 3), (1, 1), (1, 1, 1, 1)),
    ((3, 3), (2, 2), (0, 1, 0, 1)),
    ((5, 2), (1, 2), (0, 3, 1, 0)),
    ((1, 1), (2, 2), (0, 0, 0, 0)),
]


def naive_conv(x, image, bias, strides, padding, depthwise):
    """Every product in Python integers, float-free; x [H, W, C], image [O, KH, KW(, I)]."""
    top, bottom, left, right = padding
    x = np.pad(x.astype(object), ((top, bottom), (left, right), (0, 0)))
    o, kh, kw = image.shape[:3]
    height = (x.shape[0] - kh) // strides[0] + 1
    width = (x.shape[1] - kw) // strides[1] + 1
    acc = np.zeros((height, width, o), object)
    for row, column, channel in itertools.product(range(height), range(width), range(o)):
        y, z = row * strides[0], column * strides[1]
        window = x[y : y + kh, z : z + kw]
        taps = image[channel].astype(object)
        if depthwise:
            window = window[..., channel * x.shape[2] // o]
        acc[row, column, channel] = int((window * taps).sum()) + int(bias[channel])
    return acc


@pytest.mark.parametrize(("kernel", "strides", "padding"), GEOMETRIES)
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_convolutions_equal_direct_loops(kernel, strides, padding, depthwise, dtype) -> None:
    rng = np.random.default_rng(7)
    source = Tensor("x", (7, 6, 3), dtype, exponent=-4)
    x = rng.integers(source.lo, source.hi + 1, (2, 7, 6, 3))
    bias = rng.integers(-5000, 5000, 6).astype(np.int32)
    if depthwise:
        w = random_weights(rng, (6, *kernel), "int8", True)
        op = DepthwiseConv2D(w, bias, "linear", "tflite", strides, padding, 2)
    else:
        w = random_weights(rng, (6, *kernel, 3), "int8", True)
        op = Conv2D(w, bias, "linear", "tflite", strides, padding)
    out = Tensor("y", op.infer_shape([source.shape]), "int8", exponent=-2)
    got = op.evaluate([x], [source], out)
    shifts = op.shifts([source], out)
    for sample, result in zip(x, got, strict=True):
        acc = naive_conv(sample, w.image(), bias, strides, padding, depthwise)
        for channel, n in enumerate(shifts):
            half = 1 << (int(n) - 1)
            for a, r in zip(
                acc[..., channel].ravel().tolist(), result[..., channel].ravel(), strict=True
            ):
                rounded = (a + half + (0 if n < 2 else (a > 0) - (a < 0))) >> int(n)
                assert r == min(max(rounded, -128), 127)


def test_large_sums_leave_float32_and_stay_exact() -> None:
    g = GraphBuilder(np.random.default_rng(1))
    x = g.input((2000,), "uint8", 0)
    g.dense(x, 3)
    graph = g.build("wide", list(g.tensors)[-1:])
    codes = random_inputs(graph, 4)
    op, t = graph.nodes[0].op, graph.tensors
    assert np.abs(op.quantized.image().astype(int)).sum(1).max() * 255 > 2**24
    acc = codes["input0"].astype(object) @ op.quantized.image().T.astype(object) + op.bias
    out = t[graph.outputs[0]]
    n = op.shifts([t["input0"]], out)
    half = [1 << (int(k) - 1) for k in n]
    expected = [
        [
            min(max((a + h + (a > 0) - (a < 0)) >> int(k), out.lo), out.hi)
            for a, k, h in zip(row, n, half, strict=True)
        ]
        for row in acc
    ]
    assert executor.run(graph, codes)[out.name].tolist() == expected


def test_average_counts_only_what_lies_inside() -> None:
    op = AveragePool2D((2, 2), (1, 1), (1, 0, 1, 0))
    t = Tensor("x", (2, 2, 1), "uint8")
    x = np.array([10, 21, 31, 40]).reshape(1, 2, 2, 1)
    # around 128, where TFLM's stored value is 0: (10+21)/2 -> 15 because -112.5 rounds to -113
    assert op.evaluate([x], [t], t).ravel().tolist() == [10, 15, 20, 25]


def test_every_tensor_stays_in_its_range() -> None:
    for seed in range(4):
        graph = every_op_graph(seed)
        for name, x in executor.run(graph, random_inputs(graph, 5, seed)).items():
            t = graph.tensors[name]
            assert x.dtype == t.numpy_dtype and x.shape[1:] == t.shape
            assert x.min() >= t.lo and x.max() <= t.hi


def test_same_padding_puts_the_odd_element_last() -> None:
    assert same_padding((32, 32), (3, 3), (2, 2)) == (0, 1, 0, 1)
    assert same_padding((49, 10), (10, 4), (2, 2)) == (4, 5, 1, 1)


def one_input_graph() -> Graph:
    g = GraphBuilder(np.random.default_rng(1))
    x = g.input((4, 1), "int8", 0)
    f = g.flatten(x)
    return g.build("one", [f])


def test_preprocessing_is_scale_times_difference() -> None:
    graph = one_input_graph()
    graph = Graph(
        graph.name, graph.tensors, graph.nodes, graph.inputs, graph.outputs, (Preprocess(0.5, 3.0),)
    )
    codes = executor.quantize_inputs(graph, [np.array([[3, 5, 4, 400]], np.uint16)])
    assert codes["input0"].ravel().tolist() == [0, 1, 1, 127]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 5)), r"shape \(2, 5\), the model needs \(N, 4, 1\)"),
        (np.zeros((2, 2, 2)), "sample shape"),
        (np.array([[0, 1, np.nan, 2]]), "NaN or infinity, first in sample 0"),
        (np.array([["a", "b", "c", "d"]]), "numbers are needed"),
        (np.zeros((0, 4)), "reshape them"),
    ],
)
def test_unfit_data_are_refused(x: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        executor.quantize_inputs(one_input_graph(), [x])
