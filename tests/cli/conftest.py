# SPDX-License-Identifier: Apache-2.0
"""A small quantized model, data for it, and the command line as a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import GraphBuilder

from tinyq.archive import save_graph
from tinyq.cli import main
from tinyq.errors import ToolMissing
from tinyq.graph import Graph, Preprocess
from tinyq.toolchain import arm_compiler, host_compiler

Cli = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str
    json: Any = None


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run a command; ``json_file=True`` adds ``--json`` and reads the file."""

    def call(*words: object, json_file: bool = False) -> Outcome:
        target = tmp_path / "result.json"
        target.unlink(missing_ok=True)
        extra = ["--json", str(target)] if json_file else []
        capfd.readouterr()
        code = main([*map(str, words), *extra])
        out, err = capfd.readouterr()
        content = json.loads(target.read_text()) if target.exists() else None
        return Outcome(code, out, err, content)

    return call


def small_graph() -> Graph:
    """Convolution and dense with table weights: 8x8x1 images, 3 classes."""
    g = GraphBuilder(np.random.default_rng(1), ("lut4",))
    conv = g.conv(g.input((8, 8, 1), "uint8", -8), 4, (3, 3), (2, 2))
    graph = g.build("small", [g.dense(g.flatten(conv), 3)])
    return replace(graph, preprocess=(Preprocess(1 / 256),))


@pytest.fixture(scope="session")
def graph() -> Graph:
    """The small graph."""
    return small_graph()


@pytest.fixture
def model(tmp_path: Path, graph: Graph) -> Path:
    """Its ``.tq`` file."""
    path = tmp_path / "small.tq"
    save_graph(graph, path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images and labels for it, with training and test halves."""
    rng = np.random.default_rng(2)
    path = tmp_path / "data.npz"
    arrays = {
        "x_train": rng.integers(0, 256, (40, 8, 8)).astype(np.uint8),
        "y_train": rng.integers(0, 3, 40),
        "x_test": rng.integers(0, 256, (6, 8, 8)).astype(np.uint8),
        "y_test": rng.integers(0, 3, 6),
    }
    np.savez(path, **arrays)
    return path


@pytest.fixture
def host() -> None:
    """Skips where there is no C compiler."""
    try:
        host_compiler()
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def arm() -> None:
    """Skips where there is no compiler for Cortex-M."""
    try:
        arm_compiler()
    except ToolMissing as error:
        pytest.skip(str(error))
