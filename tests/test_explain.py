# SPDX-License-Identifier: Apache-2.0
"""The accuracy waterfall: losses that add up, exact stages, pairing, remedies, the picture."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_graphs import chain
from graphs import GraphBuilder, every_op_graph, random_inputs
from h5_models import CONV, DENSE, small_h5, small_weights, write_h5
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyq
from tinyq import executor
from tinyq.encodings import ENCODINGS, encode_image
from tinyq.errors import InputError, OutputError, ToolMissing
from tinyq.frontends.importer import to_float_graph
from tinyq.graph import Graph, validate
from tinyq.ops import AveragePool2D, Conv2D, Dense, LinearOp, Reshape
from tinyq.plotting import require_plotting
from tinyq.waterfall import CAUSES, Explanation
from tinyq.waterfall.layers import PARTS
from tinyq.waterfall.plot import draw
from tinyq.waterfall.simulate import decibels, quantizing, simulate
from tinyq.waterfall.stages import file_ops, run_integers
from tinyq.waterfall.weights import Storage, levels, on_grid, on_ideal_grid

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (48, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_h5(tmp_path_factory.mktemp("keras") / "m.h5")


@pytest.fixture(scope="module")
def labels(keras: Path) -> np.ndarray:
    """What the float model says, but for every fourth sample."""
    real = to_float_graph(keras)
    found = executor.predict(real, {real.inputs[0]: (IMAGES / 255).astype(np.float32)})
    return (found[real.outputs[0]].argmax(1) + (np.arange(len(IMAGES)) % 4 == 0)) % 3


@pytest.fixture(scope="module")
def graph(keras: Path) -> Graph:
    return tinyq.quantize(keras, IMAGES, weights="int3", per_channel=False, scale=1 / 255)


@pytest.fixture(scope="module")
def result(graph: Graph, keras: Path, labels: np.ndarray) -> Explanation:
    data = tinyq.api.as_dataset(IMAGES, labels)
    return tinyq.explain(graph, keras, data)


def dequantized(graph: Graph) -> Graph:
    """The float graph whose weights and biases are exactly those of an integer graph."""
    ops = file_ops(graph)
    nodes = tuple(replace(n, op=ops.get(n.name, n.op)) for n in graph.nodes)
    tensors = {
        name: replace(t, dtype="float32", bits=8, exponent=0) for name, t in graph.tensors.items()
    }
    return validate(replace(graph, nodes=nodes, tensors=tensors))


def conv_dense(rounding: str) -> Graph:
    g = GraphBuilder(np.random.default_rng(3), ("int8", "lut4", "int4"), rounding)
    conv = g.conv(g.input((6, 6, 2), "int8", -6), 5)
    return g.build("net", [g.dense(g.flatten(g.depthwise(conv)), 4)])


def test_losses_add_up(result: Explanation) -> None:
    first, last = result.stages[0], result.stages[-1]
    assert [stage.cause for stage in result.stages] == list(CAUSES)
    # sums of differences telescope up to float64's rounding
    assert sum(s.sqnr_lost for s in result.stages) == pytest.approx(first.sqnr - last.sqnr)
    assert sum(s.accuracy_lost or 0 for s in result.stages) == pytest.approx(result.accuracy_lost)
    shares = sum(s.noise_share for s in result.stages)
    assert shares == pytest.approx(1 - first.noise / last.noise)


def test_the_ends_are_the_float_model_and_the_executor(
    result: Explanation, graph: Graph, keras: Path, labels: np.ndarray
) -> None:
    run = tinyq.run(graph, tinyq.api.as_dataset(IMAGES, labels))
    assert result.stages[-1].score.accuracy == run.accuracy
    assert result.stages[0].score.accuracy == 0.75
    real = to_float_graph(keras)
    x = (IMAGES.astype(np.float32) * np.float32(1 / 255)).astype(np.float64)
    y0 = executor.predict(real, {real.inputs[0]: x})[real.outputs[0]]
    error = ((run.values[graph.outputs[0]] - y0) ** 2).sum() / (y0**2).sum()
    # the float graph is folded and its channels rescaled in float32 before it runs
    assert result.stages[-1].noise == pytest.approx(error, rel=1e-6)
    assert result.stages[0].sqnr > 120


def test_layers_are_inputs_and_makers(result: Explanation) -> None:
    assert [layer.op for layer in result.layers] == ["input", "Conv2D", "Dense", "Softmax"]
    assert sum(layer.share for layer in result.layers) == pytest.approx(1)
    conv = result.layers[1]
    assert conv.stored == "int3 per tensor"
    assert set(conv.noise) == set(PARTS)
    assert conv.noise["weights"] > conv.noise["activations"]
    assert 0 < conv.noise["rounding"] != conv.noise["scales"] > 0
    assert set(result.layers[0].noise) == {"activations", "clipping", "all"}
    assert set(result.layers[-1].noise) == {"activations", "clipping", "integers", "all"}


def test_noise_of_a_layers_integer_arithmetic() -> None:
    x = RNG.normal(size=(40, 8, 8, 1)).astype(np.float32)
    floats = two_layers(1.0)
    graph = quantized(floats, x, "int8", True)
    dense = tinyq.explain(graph, floats, x).layers[-1]
    codes = graph.tensors["x"].quantize(x)
    values = tinyq.executor.run(graph, {"x": codes})
    (node,) = (n for n in graph.nodes if isinstance(n.op, Dense))
    (source,), out = graph.ins(node), graph.out(node)
    steps = np.ldexp(1.0, node.op.quantized.exponents_per_channel() + source.exponent)
    sums = values[source.name] @ node.op.quantized.image().T.astype(np.int64) + node.op.bias
    exact = np.clip(np.floor(sums * steps / 2.0**out.exponent + 0.5), out.lo, out.hi)
    error = ((exact - values[out.name]) ** 2).sum() / (exact**2).sum()
    assert dense.noise["integers"] == pytest.approx(error, abs=1e-15)
    linear = [n for n, _ in graph.linear_nodes()]
    nodes = (
        replace(n, op=replace(n.op, rounding="half_up")) if n in linear else n for n in graph.nodes
    )
    half_up = validate(replace(graph, nodes=tuple(nodes)))
    layers = tinyq.explain(half_up, floats, x).layers
    assert [layer.noise["integers"] for layer in layers if layer.stored] == [0, 0]


def test_an_input_alone_by_hand(graph: Graph, keras: Path, result: Explanation) -> None:
    real = to_float_graph(keras)
    x = IMAGES.astype(np.float32) * np.float32(1 / 255)
    image = graph.tensors[graph.inputs[0]]
    codes = np.clip(np.floor(x / 2.0**image.exponent + 0.5), image.lo, image.hi)
    y0, y = (
        executor.predict(real, {real.inputs[0]: v.astype(np.float64)})[real.outputs[0]]
        for v in (x, codes * 2.0**image.exponent)
    )
    noise = ((y - y0) ** 2).sum() / (y0**2).sum()
    # layers are evaluated in float32
    assert result.layers[0].noise["all"] == pytest.approx(noise, rel=1e-2)


def test_clipping_stage_is_exact_where_the_rounding_rule_is_the_simulated_one() -> None:
    graph = conv_dense("half_up")
    codes = random_inputs(graph, 9)
    xs = {name: graph.tensors[name].dequantize(q) for name, q in codes.items()}
    effects = {name: quantizing(t) for name, t in graph.tensors.items()}
    values = simulate(graph, xs, file_ops(graph), effects)
    expected = run_integers(graph, xs)
    for name in graph.outputs:
        np.testing.assert_array_equal(values[name], expected[name])


def test_weights_that_are_codes_cost_nothing() -> None:
    graph = every_op_graph(2, ("int8", "lut4", "pot4", "int4"))
    raw = random_inputs(graph, 12)
    real = [graph.tensors[n].dequantize(q).astype(np.float32) for n, q in raw.items()]
    found = tinyq.explain(graph, dequantized(graph), real)
    noise = {stage.cause: stage.noise for stage in found.stages}
    # biases of float64 sums, in the order of another summation
    assert max(noise["weights"], noise["scales"], noise["fitting"]) < 1e-20
    assert noise["activations"] > 1e-9
    assert found.accuracy_lost is None
    assert {"Conv2D", "Add", "AveragePool2D", "Softmax", "Sigmoid"} <= {x.op for x in found.layers}
    assert not {"Concat", "MaxPool2D", "Pad2D", "Relu"} & {x.op for x in found.layers}


@given(st.integers(0, 2**32 - 1), st.sampled_from(["int4", "int2", "lut3", "pot4"]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_ideal_scales_are_never_worse(seed: int, encoding: str, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    form = ENCODINGS[encoding]
    table = rng.choice(np.arange(-127, 128), form.table_entries, False) if form.uses_table else None
    exponents = rng.integers(-9, -3, 3 if per_channel else 1)
    entries = [0] if table is None else table
    image = rng.choice(entries, (3, 5))
    weights = encode_image(image, form, exponents, table)
    values = rng.normal(size=(3, 5)) * rng.choice([0.01, 0.3, 2])
    rounded, ideal = on_grid(values, weights), on_ideal_grid(values, weights)
    errors = [((w - values) ** 2).sum() for w in (ideal, rounded)]
    assert errors[0] <= errors[1]
    grid = levels(weights)[None] * np.ldexp(1.0, weights.exponents_per_channel())[:, None]
    nearest = np.abs(values[..., None] - grid[:, None, :]).min(2)
    # ties may go to either level
    np.testing.assert_allclose(np.abs(rounded - values), nearest, rtol=0, atol=1e-15)


def test_ideal_scales_find_a_scale_between_powers_of_two() -> None:
    codes = RNG.integers(-7, 8, (4, 30))
    codes[:, 0] = 7
    weights = encode_image(codes, ENCODINGS["int4"], np.array([-5]))
    step = 2 ** (-5 + 3 / 8)
    np.testing.assert_allclose(on_ideal_grid(codes * step, weights), codes * step, rtol=1e-12)
    assert np.abs(on_grid(codes * step, weights) - codes * step).max() > 0.01


# ---------------------------------------------------------------- pairing


def test_removed_channels_become_part_of_the_bias(tmp_path: Path) -> None:
    arrays = small_weights()
    arrays["conv"]["kernel"][..., 1] = 0
    arrays["conv"]["bias"][1] = 0.7
    steps = [("Conv2D", "conv", CONV), ("Flatten", "flat", {}), ("Dense", "classes", DENSE)]
    path = write_h5(tmp_path / "m.h5", steps, arrays)
    graph = tinyq.quantize(path, IMAGES, scale=1 / 255)
    assert graph.tensors["conv"].channels == (0, 2, 3)
    found = tinyq.explain(graph, path, IMAGES)
    assert found.removed_channels == 16
    assert found.stages[1].sqnr > 35
    assert found.stages[-1].sqnr > 25


def test_layers_are_found_by_their_keras_names(graph: Graph, keras: Path) -> None:
    new = {node.name: f"quant_{node.name}" for node in graph.nodes}
    nodes = tuple(replace(node, name=new[node.name]) for node in graph.nodes)
    renamed = tinyq.explain(replace(graph, nodes=nodes), keras, IMAGES)
    assert renamed.stages == tinyq.explain(graph, keras, IMAGES).stages


def test_a_dropped_softmax_is_dropped_from_the_float_model(keras: Path) -> None:
    graph = tinyq.quantize(keras, IMAGES, scale=1 / 255, drop_softmax=True)
    found = tinyq.explain(graph, keras, IMAGES)
    assert [layer.op for layer in found.layers] == ["input", "Conv2D", "Dense"]
    assert found.stages[-1].sqnr > 25


def flat_model(tmp_path: Path, seed: int = 0, extra: tuple = ()) -> Path:
    steps = [("Conv2D", "conv", CONV), *extra, ("Flatten", "flat", {}), ("Dense", "classes", DENSE)]
    return write_h5(tmp_path / f"{seed}.h5", steps, small_weights(seed))


def test_another_model_is_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weights are not those of 'tiny' \(median cosine"):
        tinyq.explain(graph, flat_model(tmp_path, seed=9), IMAGES)
    wide = dict(small_weights(), classes={"kernel": np.ones((64, 5)), "bias": np.zeros(5)})
    steps = [
        ("Conv2D", "conv", CONV),
        ("Flatten", "f", {}),
        ("Dense", "classes", {**DENSE, "units": 5}),
    ]
    with pytest.raises(InputError, match=r"outputs \[\(5,\)\], 'tiny' has \[\(3,\)\]"):
        tinyq.explain(graph, write_h5(tmp_path / "w.h5", steps, wide), IMAGES)
    only = [("Flatten", "flat", {}), ("Dense", "classes", DENSE)]
    one = write_h5(tmp_path / "o.h5", only, {"classes": small_weights()["classes"]})
    with pytest.raises(InputError, match="has 1 layers with weights, 'tiny' has 2"):
        tinyq.explain(graph, one, IMAGES)
    with pytest.raises(InputError, match="quantized already"):
        tinyq.explain(graph, graph, IMAGES)


def test_other_kernels_and_other_connections_are_refused(graph: Graph, keras: Path) -> None:
    floats = to_float_graph(keras)
    for node, op in floats.linear_nodes():
        if isinstance(op, Conv2D):
            wrong = replace(op, weights=np.zeros((4, 1, 1, 1), np.float32), padding=(0, 0, 0, 0))
            shifted = replace(op, padding=(1, 0, 1, 0))
            conv = node
    for op, message in ((wrong, r"layer 'conv' \(Conv2D"), (shifted, "connected otherwise")):
        nodes = tuple(replace(n, op=op) if n is conv else n for n in floats.nodes)
        with pytest.raises(InputError, match=message):
            tinyq.explain(graph, validate(replace(floats, nodes=nodes)), IMAGES)


# ---------------------------------------------------------------- remedies


def two_layers(spread: float) -> Graph:
    """A convolution, whose filters shrink by ``spread`` from one to the next, and a dense layer."""
    rng = np.random.default_rng(8)
    kernel = rng.normal(size=(6, 3, 3, 1)) * spread ** -np.arange(6.0)[:, None, None, None]
    dense = rng.normal(size=(4, 6 * 36)) * np.repeat(spread ** np.arange(6.0)[None], 36, 0).ravel()
    conv = Conv2D(kernel.astype(np.float32), np.zeros(6, np.float32), "relu")
    last = Dense(dense.astype(np.float32) / 10, np.zeros(4, np.float32))
    return chain((8, 8, 1), ("conv", conv), ("flat", Reshape((216,))), ("dense", last))


def quantized(floats: Graph, x: np.ndarray, weights: str, per_channel: bool) -> Graph:
    from tinyq import ptq

    config = ptq.PtqConfig(weights, per_channel=per_channel)
    return tinyq.passes.finalize(ptq.quantize(floats, {"x": x}, config))


def test_per_channel_exponents_are_the_cheapest_for_unequal_filters() -> None:
    x = RNG.normal(size=(40, 8, 8, 1)).astype(np.float32)
    floats = two_layers(1.7)
    graph = quantized(floats, x, "int4", False)
    found = tinyq.explain(graph, floats, x)
    remedies = {r.layer: r for r in found.remedies if r.cause == "weights"}
    assert "per-channel exponents here" in remedies["conv"].action
    assert remedies["conv"].bytes == graph.tensors["conv"].shape[-1] - 1
    assert remedies["conv"].remaining <= 0.5
    assert remedies["conv"].output_sqnr > found.stages[-1].sqnr


def test_a_narrow_range_is_seen_as_clipping() -> None:
    x = RNG.normal(size=(40, 8, 8, 1)).astype(np.float32)
    floats = two_layers(1.0)
    graph = quantized(floats, x, "int8", True)
    narrow = {
        name: replace(t, exponent=t.exponent - 2) if name in ("conv", "flat") else t
        for name, t in graph.tensors.items()
    }
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, LinearOp) and node.inputs[0] == "flat":
            op = replace(op, bias=(op.bias * 4).astype(np.int32))
        nodes.append(replace(node, op=op))
    found = tinyq.explain(validate(replace(graph, tensors=narrow, nodes=tuple(nodes))), floats, x)
    shares = {stage.cause: stage.noise_share for stage in found.stages}
    assert shares["clipping"] > 0.9
    best = found.remedies[0]
    exponent = narrow["conv"].exponent
    assert (best.layer, best.cause, best.bytes) == ("conv", "clipping", 0)
    assert best.action in {
        f"wider activation range: exponent {exponent + step} instead of {exponent}"
        for step in (1, 2)
    }


def narrow_residual() -> Graph:
    """A residual block that is averaged, all of its values in 4 bits."""
    g = GraphBuilder(np.random.default_rng(2), ("int8",))

    def narrow(name: str) -> str:
        t = g.tensors[name]
        g.tensors[name] = replace(t, bits=4, exponent=t.exponent + t.bits - 4)
        return name

    x = g.input((8, 8, 2), "int8", -6)
    stem = narrow(g.conv(x, 6))  # a factor as well as a summand
    total = narrow(g.add(narrow(g.conv(stem, 6, activation="linear")), stem, "relu"))
    mean = g.apply(AveragePool2D((8, 8), (8, 8)), [total])
    return g.build("net", [g.dense(g.flatten(mean), 4)])


def test_sums_are_widened_together() -> None:
    graph = narrow_residual()
    floats = dequantized(graph)
    x = RNG.normal(size=(40, 8, 8, 2)).astype(np.float32)
    found = tinyq.explain(graph, floats, x)
    group = [r for r in found.remedies if r.action == "8-bit activations, all of them"]
    names = [node.output for node in graph.nodes if not isinstance(node.op, Reshape | Dense)]
    names.remove(graph.nodes[0].output)
    assert [(r.layer, r.cause, r.bytes) for r in group] == [
        (", ".join(f"keras/{name}" for name in names), "activations", 0)
    ]
    y0 = simulate(floats, {"input0": x})
    errors = []
    for bits in (4, 8):
        forms = {n: replace(graph.tensors[n], bits=bits) for n in names}
        finer = {n: replace(t, exponent=t.exponent + 4 - bits) for n, t in forms.items()}
        effects = {n: quantizing(t) for n, t in finer.items()}
        y = simulate(floats, y0, {}, effects)
        errors.append(sum(((y[o] - y0[o]) ** 2).sum() for o in graph.outputs))
    # layers are evaluated in float32
    assert group[0].remaining == pytest.approx(errors[1] / errors[0], rel=1e-3)
    assert group[0].remaining < 0.5


def test_stored_bytes() -> None:
    assert Storage("int8", True).bytes((10, 3, 3, 2)) == 10 * 18 + 10
    assert Storage("lut4", False).bytes((10, 3, 3, 1)) == 10 * 5 + 16 + 1
    assert str(Storage("lut4", False)) == "lut4 per tensor"


def test_decibels_are_finite() -> None:
    assert (decibels(0.0), decibels(1.0), decibels(0.01)) == (150, 0, 20)


# ---------------------------------------------------------------- picture


def test_plot(result: Explanation) -> None:
    pytest.importorskip("matplotlib", reason="--plot needs matplotlib")
    assert draw(result, "png").startswith(b"\x89PNG")
    unlabelled = tuple(replace(s, score=tinyq.evaluate.Score()) for s in result.stages)
    assert b"<svg" in draw(replace(result, stages=unlabelled), "svg")


def test_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolMissing, match="pip install matplotlib"):
        require_plotting(Path("x.png"))
    with pytest.raises(OutputError, match=r"ends in \.png"):
        require_plotting(Path("x.bmp"))


def test_channels_that_ptq_rescaled_are_compared_in_their_own_units(
    keras: Path, labels: np.ndarray
) -> None:
    graph = tinyq.quantize(keras, IMAGES, weights="pot4", scale=1 / 255)
    assert graph.meta["channel_scales"]
    data = tinyq.api.as_dataset(IMAGES, labels)
    forgotten = replace(graph, meta={})
    right, wrong = (tinyq.explain(g, keras, data) for g in (graph, forgotten))
    assert right.stages[1].sqnr > wrong.stages[1].sqnr
    # both ends are the same networks; rescaling rounds weights to float32
    assert right.stages[-1].sqnr == pytest.approx(wrong.stages[-1].sqnr, abs=1e-5)
