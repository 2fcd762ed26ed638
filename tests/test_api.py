# SPDX-License-Identifier: Apache-2.0
"""The Python API on arrays in memory and on files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from h5_models import small_h5

import tinyq
from tinyq import executor, passes
from tinyq.backends import BACKENDS, find_backend
from tinyq.backends.emulated import pack_samples, unpack_samples
from tinyq.errors import DataError, InputError
from tinyq.frontends.importer import to_float_graph
from tinyq.graph import Graph
from tinyq.verification import random_codes


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_h5(tmp_path_factory.mktemp("keras") / "m.h5")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def graph(keras: Path, images: np.ndarray) -> Graph:
    return tinyq.quantize(keras, images, weights="lut4", scale=1 / 255)


def test_names_are_loaded_at_first_use() -> None:
    code = (
        "import sys, tinyq\n"
        "assert 'numpy' not in sys.modules\n"
        "assert callable(tinyq.quantize) and callable(tinyq.train)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(callable(getattr(tinyq, name)) for name in tinyq.__all__)
    with pytest.raises(AttributeError, match="no attribute 'dequantize'"):
        _ = tinyq.dequantize


def test_quantized_model_agrees_with_the_float_model(
    keras: Path, images: np.ndarray, graph: Graph
) -> None:
    real = to_float_graph(keras)
    x = {real.inputs[0]: (images / 255).astype(np.float32)}
    expected = executor.predict(real, x)[real.outputs[0]].argmax(1)
    got = tinyq.run(graph, images).values[graph.outputs[0]].argmax(1)
    assert np.mean(expected == got) > 0.9


def test_drop_softmax(keras: Path, images: np.ndarray, graph: Graph) -> None:
    logits = tinyq.quantize(keras, images, scale=1 / 255, drop_softmax=True)
    assert type(logits.nodes[-1].op).__name__ == "Dense"
    assert type(graph.nodes[-1].op).__name__ == "Softmax"


def test_save_load_run(tmp_path: Path, images: np.ndarray, graph: Graph) -> None:
    tinyq.save(graph, tmp_path / "m.tq")
    loaded = tinyq.load(tmp_path / "m.tq")
    first, second = tinyq.run(graph, images), tinyq.run(tmp_path / "m.tq", [images], count=60)
    np.testing.assert_array_equal(first.codes[graph.outputs[0]], second.codes[loaded.outputs[0]])
    assert first.accuracy is None


def test_run_reports_progress(images: np.ndarray, graph: Graph) -> None:
    steps: list[tuple[str, int, int]] = []
    tinyq.run(graph, images, progress=lambda *step: steps.append(step))
    assert steps[0] == ("numpy", 0, 60)
    assert steps[-1] == ("numpy", 60, 60)


def test_verify_against_itself(images: np.ndarray, graph: Graph) -> None:
    result = tinyq.verify(graph, images, on=["numpy"], count=5)
    assert result.passed
    assert result.certificate is not None
    assert result.certificate["vectors"]["count"] == 5


def test_inspect(keras: Path, graph: Graph) -> None:
    assert tinyq.inspect(graph).quantized
    assert not tinyq.inspect(keras).quantized


def test_refusals(keras: Path, images: np.ndarray, graph: Graph) -> None:
    floating = passes.apply(to_float_graph(keras), passes.FLOAT_PIPELINE)
    with pytest.raises(InputError, match="float graph"):
        tinyq.run(floating, images)
    with pytest.raises(DataError, match="shape"):
        tinyq.run(graph, images[:, :4])
    with pytest.raises(DataError, match="at least 1"):
        tinyq.run(graph, images, count=0)
    with pytest.raises(InputError, match="give at least one"):
        tinyq.verify(graph, images, on=[])


def test_backends_are_listed_when_one_is_unknown() -> None:
    with pytest.raises(InputError, match="numpy, tflm, host, qemu-m0") as error:
        find_backend("qemu-z80")
    assert all(name in str(error.value) for name in BACKENDS)
    assert all(find_backend(name).name == name for name in BACKENDS)


def test_samples_travel_as_bytes_and_back() -> None:
    from graphs import every_op_graph

    graph = every_op_graph(2)
    codes = random_codes(graph, 3)
    packed = pack_samples(graph, codes)
    tensors = [graph.tensors[name] for name in graph.inputs]
    size = sum(t.size for t in tensors)
    records = [packed[i : i + size] for i in range(0, len(packed), size)]
    for name, array in unpack_samples(tensors, records).items():
        np.testing.assert_array_equal(array, codes[name])
        assert array.dtype == codes[name].dtype
