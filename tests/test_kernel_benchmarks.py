# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of kernels and models: that the edges are edges, and what the tables say."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinyq import executor
from tinyq.cores import find_core
from tinyq.errors import TinyqError
from tinyq.kernels.program import Target, compile_graph
from tinyq.numerics import INT16_MAX

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    """A script of the benchmarks; ``kernels`` would be the package of tests."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


kernels = load("kernels")
SMALL = kernels.Shape("S", "small", kernels.Conv2D, (4, 4, 3), (4, 3, 3, 3))


@pytest.mark.parametrize(
    ("stem", "core", "limit"), [("conv2d_lanes", "m4", INT16_MAX), ("conv2d_dsp", "m4", 2**23 - 1)]
)
def test_edge_of_a_kernel(stem: str, core: str, limit: int) -> None:
    graph, bound = kernels.edge_graph(SMALL, "int4", core, stem)
    assert bound == limit
    node, target = graph.node("layer"), Target(find_core(core), {"*": stem})
    more = node.op.bias + np.array([1, 0, 0, -1], np.int32)
    beyond = replace(graph, nodes=(replace(node, op=replace(node.op, bias=more)),))
    compile_graph(graph, target)
    with pytest.raises(TinyqError, match="does not apply"):
        compile_graph(beyond, target)


def test_edge_inputs_reach_the_bound() -> None:
    graph, bound = kernels.edge_graph(SMALL, "int4", "m4", "conv2d_dsp")
    op = graph.node("layer").op
    x = kernels.edge_inputs(SMALL, graph)
    sums = op.accumulate(x.astype(np.float64), op.quantized.image() * 1.0) + op.bias
    assert np.abs(sums).max() + compile_graph(graph).proof["layer"].margin == bound


def test_usual_outputs_are_alive() -> None:
    for encoding in ("int8", "int4", "lut4"):
        graph = kernels.usual_graph(SMALL, encoding)
        outputs = executor.predict(graph, {"x": kernels.usual_inputs(graph)})["y"]
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
