# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline: options, errors, reproducibility, accuracy, special layers."""

from __future__ import annotations

from dataclasses import replace

import float_graphs as fg
import numpy as np
import pytest
from ptq_graphs import perceptron, residual, samples, with_op

from tinyq.archive import graph_to_bytes
from tinyq.encodings import ENCODINGS
from tinyq.errors import DataError, GraphError, InputError
from tinyq.executor import predict, quantize_inputs, run, run_float
from tinyq.graph import Graph, validate
from tinyq.ops import Add
from tinyq.proof import prove
from tinyq.ptq import PtqConfig, quantize
from tinyq.ptq.config import layer_encodings
from tinyq.ptq.layer import BIAS_BITS
from tinyq.ptq.negligible import negligible_channels, zero_negligible
from tinyq.ptq.observe import observe
from tinyq.ptq.search import output_error, search_exponents


def error(graph: Graph, quantized: Graph, seed: int = 5) -> float:
    """RMS of the outputs' difference on new samples, relative to the outputs."""
    data = samples(graph, 60, seed)
    wanted = run_float(graph, data)
    codes = run(quantized, quantize_inputs(quantized, [data[name] for name in graph.inputs]))
    (name,) = graph.outputs
    difference = quantized.tensors[name].dequantize(codes[name]) - wanted[name]
    return float(np.sqrt(np.mean(difference**2) / np.mean(wanted[name] ** 2)))


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_on_every_operator(encoding: str, per_channel: bool) -> None:
    graph = residual()
    config = PtqConfig(weights=encoding, per_channel=per_channel)
    quantized = quantize(graph, samples(graph), config)
    prove(quantized)
    assert {op.weights.encoding for _, op in quantized.linear_nodes()} == {encoding}
    assert [node.name for node in quantized.nodes] == [node.name for node in graph.nodes]
    assert quantized.tensors.keys() == graph.tensors.keys()


def test_more_bits_are_more_accurate() -> None:
    graph = perceptron(16, 24, 6)
    errors = [
        error(graph, quantize(graph, samples(graph, 200), PtqConfig(weights=name)))
        for name in ("int8", "lut4", "lut3", "lut2")
    ]
    assert errors == sorted(errors)
    assert errors[0] < 0.05
    assert errors[1] < 0.15


def test_the_walk_sees_what_the_executor_computes() -> None:
    graph = residual()
    quantized = quantize(graph, samples(graph), PtqConfig(weights="lut3"))
    # The mean of the integer logits, over the calibration data, is the mean of the float ones.
    data = samples(graph)
    codes = run(quantized, quantize_inputs(quantized, [data["x"]]))
    node = quantized.node("logits")
    acc = node.op.accumulate(
        codes["flat"].astype(np.float64), node.op.weights.image().astype(np.float64)
    )
    unit = node.op.weights.exponents_per_channel() + quantized.tensors["flat"].exponent
    mean = np.ldexp(acc.mean(0) + node.op.bias, unit)
    wanted = run_float(graph, {n: x.astype(np.float64) for n, x in data.items()})["logits"].mean(0)
    assert (np.abs(mean - wanted) <= np.ldexp(0.5, unit) + 1e-5 * np.abs(wanted)).all()


def test_mixed_encodings() -> None:
    graph = residual()
    overrides = {"st*": "int8", "logits": "lut2", "*": "int3"}
    config = PtqConfig(weights="lut4", overrides=overrides)
    quantized = quantize(graph, samples(graph), config)
    found = {node.name: op.weights.encoding for node, op in quantized.linear_nodes()}
    assert found == {
        "stem": "int8",
        "left": "int3",
        "right": "int3",
        "branch": "int3",
        "logits": "lut2",
    }


def test_first_and_last_layers() -> None:
    config = PtqConfig(weights="lut4", first_last="int8", overrides={"logits": "int4"})
    assert layer_encodings(residual(), config) == {
        "stem": "int8",
        "left": "lut4",
        "right": "lut4",
        "branch": "lut4",
        "logits": "int4",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "lut5"}, "unknown weight encoding 'lut5'; choose one of int8"),
        ({"overrides": {"a": "bits"}}, "unknown weight encoding 'bits'"),
        ({"first_last": "last"}, "unknown first_last 'last'"),
        ({"rounding": "half_away"}, "unknown rounding 'half_away'"),
        ({"activations": "kl"}, "unknown activations 'kl'"),
        ({"negligible_threshold": 1.0}, "negligible_threshold 1.0"),
        ({"rows": 0}, "rows is 0"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PtqConfig(**options)


def test_a_pattern_that_matches_nothing() -> None:
    graph = perceptron()
    with pytest.raises(InputError, match="no layer with weights matches 'conv'; there are: first,"):
        quantize(graph, samples(graph), PtqConfig(overrides={"conv": "int8"}))


def test_wrong_calibration_data() -> None:
    graph = perceptron()
    good = samples(graph)["x"]
    nan = good.copy()
    nan[3, 1] = np.nan
    for data, message in (
        ({"x": good[:, :5]}, r"input 'x' have shape \(40, 5\), the model needs \(N, 10\)"),
        ({"x": nan}, "NaN or infinity, first in sample 3"),
        ({"x": good[:0]}, r"shape \(0, 10\)"),
        ({"y": good}, r"for inputs \['y'\], but the model's are \['x'\]"),
        ({}, r"for inputs \[\]"),
    ):
        with pytest.raises(DataError, match=message):
            quantize(graph, data)


def test_inputs_with_different_numbers_of_samples() -> None:
    steps = [("s", Add(), ["a", "b"]), ("y", fg.dense(3, 2), ["s"])]
    graph = fg.make({"a": (3,), "b": (3,)}, steps, ["y"])
    data = samples(graph)
    with pytest.raises(DataError, match="different numbers of samples"):
        quantize(graph, {"a": data["a"], "b": data["b"][:7]})


def test_a_float_model_that_overflows() -> None:
    graph = perceptron()
    huge = with_op(graph, "second", weights=np.full((12, 12), 3e38, np.float32))
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(DataError, match="layer 'second' gives"),
    ):
        quantize(huge, samples(graph), PtqConfig(zero_negligible=False))


def test_graphs_that_are_not_ready() -> None:
    graph = fg.chain((4,), ("a", fg.dense(4, 3)), ("n", fg.norm(3)))
    with pytest.raises(GraphError, match="layer 'n': fold batch normalization"):
        quantize(graph, samples(graph))
    done = quantize(perceptron(), samples(perceptron()))
    with pytest.raises(GraphError, match="quantized already"):
        quantize(done, samples(perceptron()))


@pytest.mark.parametrize("weights", ["int8", "lut4"])
def test_the_same_seed_gives_the_same_bytes(weights: str) -> None:
    graph = residual()
    config = PtqConfig(weights=weights, rows=100, seed=3)
    first, second = (graph_to_bytes(quantize(graph, samples(graph), config)) for _ in range(2))
    assert first == second
    other = quantize(graph, samples(graph), replace(config, seed=4))
    assert weights == "int8" or graph_to_bytes(other) != first


def test_facts_are_kept() -> None:
    graph = replace(perceptron(), meta={"origin": "here"})
    config = PtqConfig(weights="lut4", overrides={"last": "int8"}, per_channel=False)
    meta = quantize(graph, samples(graph, 17), config).meta
    assert meta["origin"] == "here"
    assert (meta["quantization"], meta["weights"], meta["overrides"]) == (
        "ptq",
        "lut4",
        "last=int8",
    )
    assert (meta["per_channel"], meta["calibration_samples"]) == ("false", "17")


def test_progress_names_every_layer() -> None:
    told: list[tuple[str, int, int]] = []
    graph = perceptron()
    quantize(graph, samples(graph), progress=lambda *step: told.append(step))
    assert [what for what, _, _ in told] == ["first", "second", "last", "net"]
    assert [done for _, done, _ in told] == [0, 1, 2, 3]


def test_half_up_rounding_is_passed_on() -> None:
    graph = perceptron()
    quantized = quantize(graph, samples(graph), PtqConfig(rounding="half_up"))
    assert {op.rounding for _, op in quantized.linear_nodes()} == {"half_up"}


# ---------------------------------------------------------------- special layers


def test_a_shared_layer_is_quantized_once_with_a_bias_for_each_call() -> None:
    shared = fg.dense(5, 5)
    steps = [
        ("a", shared, ["x"]),
        ("b", replace(shared), ["a"]),
        ("s", Add(), ["a", "b"]),
    ]
    graph = fg.make({"x": (5,)}, steps, ["s"])
    nodes = tuple(replace(n, layers=("same",)) if n.name in "ab" else n for n in graph.nodes)
    graph = replace(graph, nodes=nodes)
    quantized = quantize(graph, samples(graph))
    first, second = quantized.node("a").op, quantized.node("b").op
    assert first.weights is second.weights
    assert error(graph, quantized) < 0.03


def test_dead_channels_keep_accumulator_and_bias_small() -> None:
    graph = fg.chain((6, 6, 2), ("a", fg.conv(2, 4)), ("b", fg.conv(4, 3)))
    weights, bias = graph.node("a").op.weights.copy(), np.full(4, 3.0, np.float32)
    weights[1] *= 1e-17
    weights[2] = 0
    dead = with_op(graph, "a", weights=weights, bias=bias)
    for encoding in ("int8", "lut4"):
        config = PtqConfig(weights=encoding, zero_negligible=False)
        quantized = quantize(dead, samples(graph), config)
        for _, op in quantized.linear_nodes():
            assert np.abs(op.bias).max() <= 2 ** (BIAS_BITS + 1)
            spread = op.weights.exponents_per_channel()
            assert spread.max() - spread.min() <= 17
        prove(quantized)
        assert error(dead, quantized) < 0.2


def test_negligible_channels_are_those_below_the_threshold() -> None:
    weights = np.array([[1.0, 0.5], [9e-5, 0], [0, 0], [1.1e-4, 0]], np.float32)
    assert negligible_channels(weights, 1e-4).tolist() == [False, True, False, False]


def test_negligible_channels_are_zeroed_and_reported() -> None:
    graph = perceptron()
    weights = graph.node("first").op.weights.copy()
    weights[[2, 7]] *= 1e-7
    small = with_op(graph, "first", weights=weights)
    kept, count = zero_negligible(small, samples(graph), 1e-4)
    assert count == 2
    zero = ~kept.node("first").op.weights.any(1)
    assert np.flatnonzero(zero).tolist() == [2, 7]
    quantized = quantize(small, samples(graph))
    assert quantized.meta["zeroed_channels"] == "2"
    off = quantize(small, samples(graph), PtqConfig(zero_negligible=False))
    assert off.meta["zeroed_channels"] == "0"


def test_channels_that_a_later_layer_amplifies_are_not_negligible() -> None:
    graph = perceptron()
    weights, reader = (graph.node(n).op.weights.copy() for n in ("first", "second"))
    weights[2] *= 5e-5
    reader[:, 2] *= 1e6
    bias = np.zeros(12, np.float32)
    important = with_op(graph, "first", weights=weights, bias=bias)
    important = with_op(important, "second", weights=reader)
    kept, count = zero_negligible(important, samples(graph), 1e-4)
    assert count == 0
    assert kept is important


def test_the_exponent_search_does_not_raise_the_error() -> None:
    graph = residual()
    data = samples(graph)
    quantized = quantize(graph, data, PtqConfig(weights="lut3"))
    # A class that is far too coarse must be found.
    coarse = replace(quantized.tensors["stem"], exponent=quantized.tensors["stem"].exponent + 2)
    worse = validate(replace(quantized, tensors={**quantized.tensors, "stem": coarse}))
    seen = observe(graph, data, np.random.default_rng(0))
    found = search_exponents(worse, seen)
    assert output_error(found, seen) < output_error(worse, seen)
    searched = quantize(graph, data, PtqConfig(weights="lut3", exponent_search=True))
    assert output_error(searched, seen) <= output_error(quantized, seen)
    prove(searched)


def test_two_outputs_and_an_output_that_is_read_again() -> None:
    steps = [
        ("a", fg.dense(4, 4, activation="relu"), ["x"]),
        ("b", fg.dense(4, 3), ["a"]),
        ("c", fg.dense(4, 2), ["a"]),
    ]
    graph = fg.make({"x": (4,)}, steps, ["a", "c", "b"])
    quantized = quantize(graph, samples(graph))
    outputs = predict(quantized, quantize_inputs(quantized, [samples(graph)["x"]]))
    assert list(outputs) == ["a", "c", "b"]


def test_one_sample_and_constant_data_are_enough_to_finish() -> None:
    graph = residual()
    for data in (samples(graph, 1), {"x": np.zeros((3, 6, 6, 3), np.float32)}):
        prove(quantize(graph, data, PtqConfig(weights="lut4")))


def test_a_graph_without_weights() -> None:
    graph = fg.make({"a": (3,), "b": (3,)}, [("s", Add(), ["a", "b"])], ["s"])
    assert error(graph, quantize(graph, samples(graph, 500))) < 0.03
