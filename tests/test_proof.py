# SPDX-License-Identifier: Apache-2.0
"""The bounds hold for every input, and an input that reaches them exists."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import GraphBuilder, every_op_graph, random_inputs, random_weights

from tinyq import executor, proof
from tinyq.errors import ProofError
from tinyq.graph import Graph, Node, validate
from tinyq.ops import Dense
from tinyq.tensors import Tensor


def dense_graph(weights, bias, exponent: int, dtype: str = "uint8") -> Graph:
    x = Tensor("x", (weights.shape[1],), dtype, exponent=0)
    y = Tensor("y", (weights.shape[0],), "int8", exponent=exponent)
    node = Node("d", Dense(weights, bias), ("x",), ("y",), ("fc",))
    return validate(Graph("g", {"x": x, "y": y}, (node,), ("x",), ("y",)))


@pytest.mark.parametrize("seed", range(6))
def test_codes_lie_within_their_intervals(seed: int) -> None:
    graph = every_op_graph(seed)
    bounds = proof.intervals(graph)
    for name, x in executor.run(graph, random_inputs(graph, 40, seed)).items():
        assert (x >= bounds[name].lo).all() and (x <= bounds[name].hi).all(), name


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_the_worst_input_reaches_the_bound(dtype: str) -> None:
    rng = np.random.default_rng(3)
    w = random_weights(rng, (4, 50))
    bias = rng.integers(-999, 999, 4).astype(np.int32)
    graph = dense_graph(w, bias, 8, dtype)
    proved = proof.prove(graph)["d"]
    image = w.image().astype(np.int64)
    lo, hi = graph.tensors["x"].lo, graph.tensors["x"].hi
    top = (np.where(image > 0, hi, lo) * image).sum(1) + bias
    bottom = (np.where(image > 0, lo, hi) * image).sum(1) + bias
    assert proved.final_hi == top.max() and proved.final_lo == bottom.min()
    assert proved.partial_hi >= proved.final_hi and proved.partial_lo <= proved.final_lo


def test_partial_sums_in_the_worst_order_stay_inside() -> None:
    rng = np.random.default_rng(4)
    w = random_weights(rng, (3, 40))
    bias = np.array([-500, 0, 700], np.int32)
    proved = proof.prove(dense_graph(w, bias, 9, "int8"))["d"]
    for _ in range(50):
        x = rng.integers(-128, 128, 40)
        for row, b in zip(w.image().astype(np.int64), bias, strict=True):
            terms = np.append(row * x, b)
            ordered = np.cumsum(np.sort(terms)[:: rng.choice([-1, 1])])
            assert proved.partial_lo <= ordered.min() and ordered.max() <= proved.partial_hi


def test_margin_and_bits_include_rounding() -> None:
    w = random_weights(np.random.default_rng(0), (1, 1))
    base = dense_graph(w, np.zeros(1, np.int32), int(w.exponents[0]) + 8)
    proved = proof.prove(base)["d"]
    assert proved.margin == 2**7 + 1
    limit = 2 ** (proved.bits - 1)
    assert proved.partial_hi + proved.margin < limit
    assert proved.magnitude >= limit // 2


def test_overflow_is_refused_with_the_layer_and_the_bits() -> None:
    w = random_weights(np.random.default_rng(0), (1, 2000))
    graph = dense_graph(w, np.array([2**31 - 1], np.int32), 8)
    with pytest.raises(ProofError, match=r"'fc': its accumulator needs 33 bits, the limit is 32"):
        proof.prove(graph)


def test_sixteen_bit_verdict_is_tight() -> None:
    g = GraphBuilder(np.random.default_rng(1), ("int2",))
    x = g.input((100,), "uint8", 0)
    g.dense(x, 2)
    graph = g.build("narrow", list(g.tensors)[-1:])
    proved = next(iter(proof.prove(graph).values()))
    assert proved.fits_int16 == (proved.magnitude <= 32767)
    assert proved.fits_int16 == (proved.bits <= 16)
