# SPDX-License-Identifier: Apache-2.0
"""One small network trained in every family of quantizers: Keras = executor = C = TFLM = Cortex-M4.

Equality of every tensor, in Keras eagerly, compiled and reloaded from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from available import skip_unless_available
from exactness import assert_equal_everywhere, train_briefly
from qat_models import data_for, randomize

import tinyq.qat as qat
from tinyq import api, executor, passes
from tinyq.graph import Graph

pytestmark = pytest.mark.slow

L = tf_keras.layers
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "tqt3": {"weights": "int3", "activation_bits": 3, "input_bits": 2, "output_bits": 3},
    "lsq3": {"weights": "int3", "scale_learning": "lsq", "activation_bits": 3, "output_bits": 3},
    "lsq2": {
        "weights": "int2", "scale_learning": "lsq", "activation_bits": 2, "scale": "per_tensor",
    },
    "llsq8": {"weights": "int8", "scale_learning": "llsq"},
    "llsq4": {"preset": "w4a4_llsq"},
    "a2q4": {"preset": "w4a4_a2q12", "constrain_first_last": True, "scale": "per_tensor"},
    "a2q_plus8": {"preset": "w8a8_a2q_plus16", "constrain_first_last": True},
    "lut2 nf4": {"weights": "lut2", "table_learning": "fixed:nf4", "learn_exponents": True},
    "lut3 gradient": {"weights": "lut3"},
    "apot3": {"weights": "apot3"},
    "pot4 nearest": {"weights": "pot4", "pot_rounding": "nearest"},
}  # fmt: skip
#: of this family the trained model also runs in QEMU, a second emulator of the same core
IN_QEMU = "a2q4"


def network() -> Any:
    """Every kind of layer with weights; A2Q+ centres those of ``wide``."""
    x = inputs = L.Input((8, 8, 2), name="image")
    x = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = L.BatchNormalization(name="stem_norm")(x)
    x = L.ReLU(name="stem_relu")(x)
    x = L.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    x = L.Conv2D(8, 2, name="wide")(x)
    x = L.Conv2D(6, 1, activation="relu", name="point")(x)
    x = L.MaxPooling2D(2, 1, name="peak")(x)
    x = L.Flatten(name="flat")(x)
    return randomize(tf_keras.Model(inputs, L.Dense(3, name="classes")(x), name="network"))


def images(graph: Graph) -> list[Any]:
    """The codes of every layer's weights."""
    return [op.quantized.image() for _, op in graph.linear_nodes()]


def train_family(name: str) -> tuple[Any, list[Any]]:
    """A model that training has changed, and inputs beyond what it was calibrated on."""
    source = network()
    data = data_for(source, 24)
    model = qat.quantize(source, qat.read_config(FAMILIES[name]), data_for(source, 16, 2))
    start = images(qat.to_graph(model))
    train_briefly(model, data)
    moved = [
        not np.array_equal(a, b) for a, b in zip(start, images(qat.to_graph(model)), strict=True)
    ]
    assert sum(moved) >= 3
    return model, data


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request: pytest.FixtureRequest) -> tuple[Any, list[Any]]:
    return train_family(request.param)


def assert_same(got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert set(got) == set(expected)
    for name, codes in expected.items():
        assert np.array_equal(got[name], codes), f"{name} differs"


def test_keras_in_every_way_equals_the_executor(
    trained: tuple[Any, list[Any]], tmp_path: Path
) -> None:
    model, data = trained
    graph = assert_equal_everywhere(model, data)
    eager = qat.tensor_codes(model, data)
    assert_same(qat.tensor_codes(model, data, compiled=True), eager)
    qat.save(model, tmp_path / "model.keras")
    loaded = qat.load(tmp_path / "model.keras")
    assert_same(qat.tensor_codes(loaded, data), eager)
    assert all(map(np.array_equal, images(qat.to_graph(loaded)), images(graph)))
    final = passes.finalize(graph)
    ends = executor.run(final, executor.quantize_inputs(final, data))
    assert np.array_equal(ends[final.outputs[0]], eager[graph.outputs[0]])


def assert_verified(model: Any, backend: str) -> None:
    """Codes of the whole range of the input; every tensor that the backend shows."""
    if backend == "tflm":
        pytest.importorskip("tflite_micro", reason="stock TFLM is not installed")
    else:
        skip_unless_available(backend)
    (check,) = api.verify(passes.finalize(qat.to_graph(model)), on=backend, count=6).checks
    assert (check.mismatches, check.selftest in (None, 0), check.passed) == (0, True, True)
    assert len(check.tensors) >= 5


@pytest.mark.parametrize("backend", ["host", "tflm", "unicorn-m4"])
def test_backends_equal_the_executor(trained: tuple[Any, list[Any]], backend: str) -> None:
    assert_verified(trained[0], backend)


def test_qemu_equals_the_executor() -> None:
    assert_verified(train_family(IN_QEMU)[0], "qemu-m4")
