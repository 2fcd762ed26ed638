# SPDX-License-Identifier: Apache-2.0
"""The input that reaches the proof's bound, against codes that bounded training made.

For the largest sum of an output channel every input code is at the end of its range that the sign
of its weight asks for, for the smallest at the other end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tf_keras
from available import skip_unless_available
from qat_models import data_for, randomize

import tinyq.qat as qat
from tinyq import executor, passes
from tinyq.backends import find_backend
from tinyq.graph import Graph, Tensor
from tinyq.numerics import requantize
from tinyq.ops import DepthwiseConv2D, LinearOp
from tinyq.proof import prove
from tinyq.tensors import full_interval
from tinyq.verification import check_backend

pytestmark = pytest.mark.slow

L = tf_keras.layers
Codes = npt.NDArray[np.int64]
#: input shape, and a layer that computes one position from all of it
LAYERS: dict[str, tuple[tuple[int, ...], Any]] = {
    "conv": ((3, 3, 8), lambda: L.Conv2D(5, 3, name="layer")),
    "depthwise": ((5, 5, 3), lambda: L.DepthwiseConv2D(5, depth_multiplier=2, name="layer")),
    "dense": ((24,), lambda: L.Dense(4, name="layer")),
}
#: accumulator bits that bind for these kernels, by preset
WIDTHS = {"w8a8_a2q16": 13, "w8a8_a2q_plus16": 13}


def bound_layer(kind: str, preset: str, low: float) -> Graph:
    """A layer whose norm asks for more than its accumulator holds, so that the bound decides."""
    shape, make = LAYERS[kind]
    inputs = L.Input(shape, name="x")
    source = randomize(tf_keras.Model(inputs, make()(inputs)))
    options = {"accumulator_bits": WIDTHS[preset], "constrain_first_last": True}
    config = qat.read_config({"preset": preset, **options})
    model = qat.quantize(source, config, data_for(source, 16, low=low))
    layer = model.get_layer("layer")
    gain = layer.weight_variables["gain"]
    gain.assign(gain + 9.0)
    return passes.finalize(qat.to_graph(model))


def extreme_inputs(op: LinearOp, x: Tensor) -> Codes:
    """For each output channel the inputs of the largest and of the smallest sum."""
    samples = []
    for channel, image in enumerate(op.quantized.image()):
        signs = np.zeros(x.shape, np.int64)
        if isinstance(op, DepthwiseConv2D):
            signs[..., channel // op.multiplier] = np.sign(image)
        else:
            signs[...] = np.sign(image).reshape(x.shape)
        samples += [np.where(signs > 0, x.hi, x.lo), np.where(signs < 0, x.hi, x.lo)]
    return np.array(samples)


def sums(op: LinearOp, x: Codes) -> Codes:
    """What the executor accumulates, ``[N, O]``; integers of this size are exact in float64."""
    image = op.quantized.image().astype(np.float64)
    acc = op.accumulate(x.astype(np.float64), image).reshape(len(x), -1)
    return acc.astype(np.int64) + op.bias.astype(np.int64)


@pytest.fixture(
    scope="module",
    params=[(k, p, low) for k in LAYERS for p in WIDTHS for low in (-1.0, 0.0)],
    ids=lambda case: f"{case[0]} {case[1]} {'signed' if case[2] else 'unsigned'}",
)
def worst(request: pytest.FixtureRequest) -> tuple[Graph, Codes, int]:
    kind, preset, low = request.param
    graph = bound_layer(kind, preset, low)
    assert graph.tensors["x"].dtype == ("int8" if low else "uint8")
    return graph, extreme_inputs(graph.node("layer").op, graph.tensors["x"]), WIDTHS[preset]


def test_the_bound_is_reached_and_not_passed(worst: tuple[Graph, Codes, int]) -> None:
    graph, x, width = worst
    op, proof = graph.node("layer").op, prove(graph)["layer"]
    acc = sums(op, x)
    assert (acc.max(), acc.min()) == (proof.final_hi, proof.final_lo)
    bounds = op.accumulator_bounds(full_interval(graph.tensors["x"]))
    own = np.arange(acc.shape[1])
    assert np.array_equal(acc[2 * own, own], bounds.final_hi)
    assert np.array_equal(acc[2 * own + 1, own], bounds.final_lo)
    # A2Q counts every product at its largest magnitude, of either sign: up to one bit too many.
    assert width - 1 <= proof.bits <= width


def test_the_executor_computes_it(worst: tuple[Graph, Codes, int]) -> None:
    graph, x, _ = worst
    node = graph.node("layer")
    out = graph.out(node)
    got = executor.run(graph, {"x": x.astype(graph.tensors["x"].numpy_dtype)})["layer"]
    shifts = node.op.shifts(graph.ins(node), out)
    expected = requantize(sums(node.op, x), shifts, node.op.rounding, out.lo, out.hi)
    assert np.array_equal(got.reshape(expected.shape), expected)


@pytest.mark.parametrize("backend", ["host", "unicorn-m0", "unicorn-m4"])
def test_backends_compute_it(worst: tuple[Graph, Codes, int], backend: str) -> None:
    skip_unless_available(backend)
    graph, x, _ = worst
    codes = {"x": x.astype(graph.tensors["x"].numpy_dtype)}
    check = check_backend(graph, find_backend(backend), codes)
    assert (check.mismatches, check.inputs, check.passed) == (0, len(x), True)
