# SPDX-License-Identifier: Apache-2.0
"""Free scales of channels: the function stays, the error falls, no code overflows."""

from __future__ import annotations

from dataclasses import replace

import float_graphs as fg
import numpy as np
import pytest
from ptq_graphs import perceptron, residual, samples, with_op

from tinyq.encodings import ENCODINGS
from tinyq.executor import quantize_inputs, run, run_float
from tinyq.graph import Graph
from tinyq.ops import Add, AveragePool2D, MaxPool2D, Pad2D, Relu, Reshape, Softmax
from tinyq.ptq import PtqConfig, quantize
from tinyq.ptq.codes import choose_codes, column_errors
from tinyq.ptq.grids import ExponentBounds
from tinyq.ptq.layer import Problem, is_coarse, pose
from tinyq.ptq.observe import observe
from tinyq.ptq.scales import (
    CANDIDATES,
    RECORD,
    choose_steps,
    factors,
    rescale,
    scale_limits,
    with_recorded_scales,
)
from tinyq.ptq.statistics import measure
from tinyq.tensors import Tensor

RNG = np.random.default_rng


def separable() -> Graph:
    """Layers whose channels are free, through all that passes a scale on."""
    return fg.chain(
        (6, 6, 3),
        ("a", fg.conv(3, 4, activation="relu", padding=(1, 1, 1, 1))),
        ("pad", Pad2D((1, 0, 1, 0))),
        ("b", fg.depthwise(4, 2)),
        ("relu", Relu()),
        ("max", MaxPool2D((2, 2), (1, 1))),
        ("c", fg.conv(8, 5, kernel=1, activation="relu")),
        ("mean", AveragePool2D((2, 2), (2, 2))),
        ("flat", Reshape((20,))),
        ("d", fg.dense(20, 3)),
        ("softmax", Softmax()),
    )


def limits(graph: Graph, name: str) -> np.ndarray | None:
    """Limits of a node when its output covers what was seen."""
    node = graph.node(name)
    seen = observe(graph, samples(graph), RNG(0))[node.output]
    exponent = int(np.ceil(np.log2(max(seen.high, -seen.low) / 127)))
    out = Tensor(node.output, graph.out(node).shape, "int8", exponent=exponent)
    return scale_limits(graph, node, seen, out)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_rescaling_changes_a_channel_and_no_output(name: str) -> None:
    graph = separable()
    data = {k: v.astype(np.float64) for k, v in samples(graph).items()}
    steps = RNG(1).choice(CANDIDATES, len(graph.node(name).op.bias))
    before, after = run_float(graph, data), run_float(rescale(graph, name, steps), data)
    # weights and biases are rounded to float32 after scaling, here and in the readers
    np.testing.assert_allclose(after[name], before[name] * factors(steps), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(after["d"], before["d"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_channels_that_are_read_by_weights_alone_are_free(name: str) -> None:
    assert limits(separable(), name) is not None


def test_channels_that_anything_else_reads_are_not() -> None:
    assert limits(separable(), "d") is None  # softmax
    graph = residual()
    assert limits(graph, "stem") is not None
    for name in ("left", "right", "branch", "logits"):  # sum, relu6, concatenation, softmax
        assert limits(graph, name) is None, name
    assert limits(perceptron(), "last") is None  # an output


def test_layers_that_are_called_twice_are_not() -> None:
    shared = fg.dense(5, 5, activation="relu")
    steps = [("a", shared, ["x"]), ("b", replace(shared), ["a"]), ("s", Add(), ["a", "b"])]
    graph = fg.make({"x": (5,)}, [("x0", fg.dense(5, 5), ["x"]), ("a", shared, ["x0"])], ["a"])
    assert limits(graph, "x0") is not None
    graph = fg.make({"y": (5,)}, [("x", fg.dense(5, 5), ["y"]), *steps], ["s"])
    nodes = tuple(replace(n, layers=("same",)) if n.name in "ab" else n for n in graph.nodes)
    assert limits(replace(graph, nodes=nodes), "x") is None


def test_no_factor_carries_a_channel_over_the_largest_code() -> None:
    graph = separable()
    seen = observe(graph, samples(graph), RNG(0))["a"]
    out = Tensor("a", graph.tensors["a"].shape, "uint8", exponent=-5)
    found = scale_limits(graph, graph.node("a"), seen, out)
    assert found is not None
    reach = np.abs(seen.sample).max((0, 1, 2)) * found
    fits = reach <= 255.5 * 2.0**-5 * (1 + 1e-6)
    assert (fits | (found == 1)).all()
    assert found.min() >= 1


def problem(encoding: str, per_channel: bool = True) -> Problem:
    op, rng = fg.dense(9, 12), RNG(3)
    x = rng.normal(size=(300, 9)).astype(np.float32)
    tensor = Tensor("x", (9,), "int8", exponent=-5)
    moments = measure(op, x, tensor.quantize(x), tensor, 300, rng)
    bounds = ExponentBounds(np.full((1, 12), -100), 100)
    return pose(op, moments, ENCODINGS[encoding], bounds, per_channel)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("encoding", ["pot4", "apot4", "int3", "lut3"])
def test_chosen_scales_lower_every_columns_error(encoding: str, per_channel: bool) -> None:
    case = problem(encoding, per_channel)
    scales = factors(choose_steps(case, np.full(12, 9.0)))
    grid = case.grid()

    def errors(scale: np.ndarray) -> np.ndarray:
        target = case.target * scale
        values = choose_codes(target, case.hessian, grid)
        return column_errors(target, values, case.hessian)[0] / scale**2

    plain = errors(np.ones(12))
    assert (errors(scales) <= plain * (1 + 1e-9)).all()
    assert errors(scales).sum() < 0.8 * plain.sum()


def test_limits_are_kept() -> None:
    steps = choose_steps(problem("pot4"), np.repeat([1.0, 9.0], 6))
    assert steps[:6].max() <= 0
    assert steps[6:].max() > 0
    assert np.abs(steps).max() <= 8


def test_coarse_encodings() -> None:
    coarse = {name for name, encoding in ENCODINGS.items() if is_coarse(encoding)}
    assert coarse == set(ENCODINGS) - {"int8", "lut4"}


def test_recorded_scales_explain_the_inner_tensors() -> None:
    graph = separable()
    data = samples(graph, 200)
    quantized = quantize(graph, data, PtqConfig(weights="apot4"))
    twin = with_recorded_scales(graph, quantized.meta)
    codes = run(quantized, quantize_inputs(quantized, [data["x"]]))
    plain, scaled = run_float(graph, data), run_float(twin, data)
    for name in ("a", "b", "c"):
        given = quantized.tensors[name].dequantize(codes[name])
        error = np.square(given - scaled[name]).mean() / np.square(scaled[name]).mean()
        assert error < 0.03, name
        assert np.square(given - scaled[name]).mean() < np.square(given - plain[name]).mean()
    assert RECORD not in quantize(graph, data, PtqConfig(weights="lut4")).meta
    assert with_recorded_scales(graph, {}) is graph


def test_a_layer_on_a_bad_position_between_the_levels_is_saved() -> None:
    # All weights 1.5 times a power of two: the worst for powers of two, exact after a factor.
    graph = perceptron(10, 16, 4)
    signs = np.where(graph.node("first").op.weights > 0, 1.5, -1.5).astype(np.float32)
    graph = with_op(graph, "first", weights=signs)
    data = samples(graph, 200)
    quantized = quantize(graph, data, PtqConfig(weights="pot4", overrides={"second": "int8"}))
    steps = with_recorded_scales(graph, quantized.meta).node("first").op.weights / signs
    offset = np.abs(np.log2(1.5 * steps) - np.rint(np.log2(1.5 * steps)))
    assert np.median(offset) < 1 / 16
