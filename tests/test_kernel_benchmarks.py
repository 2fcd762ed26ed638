# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of kernels and models: that the edges are edges, and what the tables say."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import kernel_layers as layers
import numpy as np
import pytest

from tinyq import executor
from tinyq.cores import find_core
from tinyq.errors import TinyqError
from tinyq.kernels import KERNELS
from tinyq.kernels.program import PORTABLE, Target, compile_graph
from tinyq.numerics import INT16_MAX
from tinyq.tensors import full_interval

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    """A script of the benchmarks; ``kernels`` would be the package of tests."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


kernels = load("kernels")
SMALL = layers.Shape("S", "small", layers.Conv2D, (4, 4, 3), (4, 3, 3, 3))
SMALL_FOUR_BITS = replace(SMALL, weights=(12, 3, 3, 3), bits=4)
SMALL_FUSED = replace(SMALL, activation="linear", adds=True)


def first_word(stem: str) -> str:
    """A kernel's stem begins as its operator's."""
    return stem.partition("_")[0]


def default_cases() -> list[Any]:
    lists = kernels.CORES.split(","), list(layers.SHAPES), kernels.WEIGHTS.split(",")
    return list(kernels.cases(*lists))


def test_every_kernel_is_measured() -> None:
    left, graphs = set(KERNELS), cache(layers.usual_graph)
    for case in default_cases():
        stems = {stem for stem in left if first_word(stem) == first_word(case.shape.kind.stem)}
        graph = graphs(case.shape, case.weights) if stems else None
        left -= {stem for stem in stems if layers.find_program(graph, case.core, stem)}
    assert not left


@pytest.mark.parametrize(
    ("stem", "core", "limit"), [("conv2d_lanes", "m4", INT16_MAX), ("conv2d_dsp", "m4", 2**23 - 1)]
)
def test_edge_of_a_kernel(stem: str, core: str, limit: int) -> None:
    graph, bound = layers.edge_graph(SMALL, "int4", core, stem)
    assert bound == limit
    node, target = graph.node("layer"), Target(find_core(core), {"*": stem})
    more = node.op.bias + np.array([1, 0, 0, -1], np.int32)
    beyond = replace(graph, nodes=(replace(node, op=replace(node.op, bias=more)),))
    compile_graph(graph, target)
    with pytest.raises(TinyqError, match="does not apply"):
        compile_graph(beyond, target)


@pytest.mark.parametrize(
    ("shape", "stem", "core", "edge"),
    [
        ("AP", "average_pool2d_dsp", "m4", 257),
        ("AP", "average_pool2d_mve", "m55", 257),
        ("AD", "add_dsp", "m4", 14),
        ("AD", "add_mve", "m55", 7),
    ],
)
def test_edge_without_weights(shape: str, stem: str, core: str, edge: int) -> None:
    layer = layers.SHAPES[shape]
    graph, bound = layers.edge_graph(layer, layers.WEIGHTLESS, core, stem)
    assert graph == layers.weightless_graph(layer, edge)
    assert bound == (257 * 255 if shape == "AP" else (128 << edge) + 255)
    assert layers.find_program(layers.weightless_graph(layer, edge + 1), core, stem) is None


def test_edge_inputs_reach_the_bound() -> None:
    graph, bound = layers.edge_graph(SMALL, "int4", "m4", "conv2d_dsp")
    op = graph.node("layer").op
    x = layers.edge_inputs(SMALL, graph)["x"]
    sums = op.accumulate(x.astype(np.float64), op.quantized.image() * 1.0) + op.bias
    assert np.abs(sums).max() + compile_graph(graph).proof["layer"].margin == bound


@pytest.mark.parametrize("shape", [SMALL, SMALL_FUSED, layers.SHAPES["A2"], layers.SHAPES["F0"]])
def test_biases_cancel_driven_sums(shape: Any) -> None:
    graph = layers.driven_graph(shape, "int8", "m4", PORTABLE)
    op, y = graph.node("layer").op, graph.tensors["y"]
    x = layers.driven_inputs(shape, graph)
    outputs = executor.run(graph, x)["y"]
    middle = outputs if outputs.ndim == 2 else outputs[:, y.shape[0] // 2, y.shape[1] // 2]
    assert [middle[c, c] for c in range(4)] == [(y.lo + y.hi + 1) // 2] * 4
    ends = op.accumulator_bounds(full_interval(graph.tensors["x"]))
    middle_sums = (y.lo + y.hi + 1) // 2 << 1
    assert ends.final_hi[:2].tolist() == [middle_sums] * 2
    assert ends.final_lo[2:4].tolist() == [middle_sums] * 2


def test_equal_codes_drive_all_sums_of_four_bits() -> None:
    graph = layers.driven_graph(SMALL_FOUR_BITS, "int4", "m4", "conv2d_nibbles")
    image = graph.node("layer").op.quantized.image().reshape(12, -1)
    assert [np.unique(row).tolist() for row in image[[4, 5, 10, 11]]] == [[7], [7], [-7], [-7]]
    x = layers.driven_inputs(SMALL_FOUR_BITS, graph)["x"]
    assert [np.unique(sample).tolist() for sample in x[4:]] == [[15], [0]]
    outputs = executor.predict(graph, {"x": x})["y"]
    assert outputs[[4, 5, 4, 5], 2, 2, [4, 5, 10, 11]].tolist() == [8, 8, 8, 8]


def test_an_addition_is_measured_with_its_layer() -> None:
    graph = layers.usual_graph(SMALL_FUSED, "int8")
    fused = layers.find_program(graph, "m4", "conv2d_dsp_add")
    assert len(fused.steps) == 1
    assert layers.find_program(graph, "m4", "conv2d_dsp") is None
    portable = layers.find_program(graph, "m4", PORTABLE)
    assert [step.stems for step in portable.steps] == [("conv2d",), ("add",)]


@pytest.mark.parametrize("shape", [SMALL, SMALL_FOUR_BITS, SMALL_FUSED])
def test_usual_outputs_are_alive(shape: Any) -> None:
    for encoding in ("int8", "int4", "lut4", "pot4"):
        graph = layers.usual_graph(shape, encoding)
        outputs = executor.predict(graph, layers.usual_inputs(graph))[graph.outputs[0]]
        assert len(np.unique(outputs)) > 10


def test_tables(tmp_path: Path) -> None:
    rows = [
        kernels.Row("C1", "m4", "int8", stem, 100, count, 150, 200, 9, 8, 7, 6, 0, 5, 0)
        for stem, count in (("conv2d_dsp", 100), ("conv2d", 350))
    ]
    kernels.write(tmp_path, rows)
    assert "| C1 | int8 | conv2d_dsp | 1.000 | 1.50..2.00 | 3.5 | 2.28 |" in (
        (tmp_path / "kernels.md").read_text()
    )
    assert json.loads((tmp_path / "kernels.json").read_text())["rows"][1]["instructions"] == 350


def test_models_stand_beside_the_field(tmp_path: Path) -> None:
    models = load("models")
    row = models.Row("kws", "m4", "int8", 2_656_768, 3_000_000, 17_000, 16_000, 30_000, 0, 2, {})
    models.write(tmp_path / "models.json", tmp_path, [row])
    text = (tmp_path / "models.md").read_text()
    assert "| kws | int8 | **tinyq** | 3,000,000 | 1.13 | 17,000 | 30,000 | 0 (2 samples) |" in text
    assert "| kws | int8 | TFLM, CMSIS-NN | 7,696,437 | 2.90 | 23,380 | 108,264 |" in text
    content = json.loads((tmp_path / "models.json").read_text())
    assert content["rows"][0]["instructions"] == 3_000_000
    assert all(figure["source"] for figure in content["field"])
