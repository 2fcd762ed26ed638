# SPDX-License-Identifier: Apache-2.0
"""Small integer graphs, built directly, and the one assertion about their twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tinyq.encodings import ENCODINGS, Weights, code_range
from tinyq.executor import run
from tinyq.graph import Graph, Node, Tensor, validate
from tinyq.ops import Op
from tinyq.tflite import run_tflm, write_tflite

pytest.importorskip("tflite_micro", reason="stock TFLM is not installed")

EXPONENT = -4


def tensor(
    name: str, shape: Sequence[int], dtype: str = "int8", exponent: int = EXPONENT, bits: int = 8
) -> Tensor:
    return Tensor(name, tuple(shape), dtype, bits, exponent)


def one_op(op: Op, ins: Sequence[Tensor], out: Tensor) -> Graph:
    """A graph of one node; the output's shape is inferred."""
    shaped = replace(out, shape=op.infer_shape([x.shape for x in ins]))
    names = tuple(x.name for x in ins)
    node = Node("node", op, names, (shaped.name,), ("user_layer",))
    tensors = {t.name: t for t in (*ins, shaped)}
    return validate(Graph("model", tensors, (node,), names, (shaped.name,)))


def random_weights(
    rng: np.random.Generator, shape: Sequence[int], encoding: str, exponents: Sequence[int]
) -> Weights:
    form = ENCODINGS[encoding]
    low, high = code_range(form)
    codes = rng.integers(low, high + 1, shape).astype(np.int8)
    # Extremes are rare in large layers and absent from small ones otherwise.
    codes.reshape(-1)[rng.integers(0, codes.size, 2)] = (low, high)
    entries = rng.integers(-127, 128, form.table_entries).astype(np.int8)
    table = np.sort(entries) if form.uses_table else None
    return Weights(encoding, codes, np.array(exponents, np.int32), table)


def linear_parameters(
    rng: np.random.Generator,
    shape: Sequence[int],
    encoding: str = "int8",
    shifts: Sequence[int] = (7,),
    out_minus_in: int = 0,
) -> tuple[Weights, np.ndarray]:
    """Weights and bias of a layer with the given shifts n (one, or one a channel)."""
    exponents = [out_minus_in - n for n in shifts]
    spread = np.broadcast_to(np.left_shift(120, np.array(shifts)), shape[0])
    bias = rng.integers(-spread, spread + 1).astype(np.int32)
    return random_weights(rng, shape, encoding, exponents), bias


def random_inputs(graph: Graph, rng: np.random.Generator, count: int = 3) -> dict[str, np.ndarray]:
    """Uniform codes; the last sample holds extremes only."""
    inputs = {}
    for name in graph.inputs:
        t = graph.tensors[name]
        codes = rng.integers(t.lo, t.hi + 1, (count, *t.shape))
        codes[-1] = rng.choice([t.lo, t.hi], t.shape)
        inputs[name] = codes.astype(t.numpy_dtype)
    return inputs


def assert_twin(graph: Graph, rng: np.random.Generator, weights: str = "int8") -> bytes:
    """Every tensor that TFLM computes equals the executor's, in value and type."""
    inputs = random_inputs(graph, rng)
    model = write_tflite(graph, weights)
    expected, got = run(graph, inputs), run_tflm(model, inputs)
    assert set(got) == set(expected)
    for name, codes in expected.items():
        assert got[name].dtype == codes.dtype, name
        np.testing.assert_array_equal(got[name], codes, err_msg=name)
    return model
