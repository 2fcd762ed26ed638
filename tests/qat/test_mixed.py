# SPDX-License-Identifier: Apache-2.0
"""Powers of two, sums of them and tables, mixed in one model: trained, equal everywhere."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from exactness import assert_equal_everywhere, quantized, train_briefly
from qat_models import data_for, randomize

import tinyq.qat as qat
from tinyq import api, passes
from tinyq.archive import load_graph, save_graph
from tinyq.errors import ToolMissing
from tinyq.qat.folded import FoldedLayer
from tinyq.quantizers.spec import TABLE_LEARNING
from tinyq.toolchain import host_compiler

pytestmark = pytest.mark.slow

L = tf_keras.layers
MIXED = {
    "preset": "w4a8_pot",
    "overrides": {
        "depthwise": {"weights": "apot4", "scale": "per_tensor", "activation_bits": 6},
        "point": {"weights": "lut3", "table_learning": "recluster", "learn_exponents": True},
        "classes": {"weights": "pot3", "pot_rounding": "nearest"},
    },
}
ENCODINGS = {"stem": "pot4", "depthwise": "apot4", "point": "lut3", "classes": "pot3"}


def small() -> Any:
    """A layer for each family."""
    x = inputs = L.Input((6, 6, 2), name="image")
    x = L.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = L.BatchNormalization(name="stem_norm")(x)
    x = L.ReLU(name="stem_relu")(x)
    x = L.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    x = L.Conv2D(5, 1, name="point")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    return randomize(tf_keras.Model(inputs, L.Dense(3, name="classes")(x), name="small"))


@pytest.fixture(scope="module")
def trained() -> tuple[Any, list[Any], dict[str, Any]]:
    """A trained model, data, and the weight quantizers' variables before training."""
    model = small()
    data = data_for(model, 24)
    model = qat.quantize(model, qat.read_config(MIXED), data_for(model, 16, 2))
    start = {name: _variables(model, name) for name in ENCODINGS}
    train_briefly(model, data)
    return model, data, start


def _variables(model: Any, name: str) -> dict[str, Any]:
    return {k: v.numpy() for k, v in model.get_layer(name).weight_variables.items()}


def test_every_tensor_of_a_mixed_model_is_equal(trained: Any) -> None:
    model, data, _ = trained
    graph = assert_equal_everywhere(model, data)
    found = {n.name: op.quantized.encoding for n, op in graph.linear_nodes()}
    assert found == ENCODINGS
    assert len(graph.node("depthwise").op.weights.exponents) == 1
    assert graph.tensors["depthwise"].bits == 6


def test_training_moves_what_it_should(trained: Any) -> None:
    model, _, start = trained
    moved = {
        (name, key)
        for name in ENCODINGS
        for key, value in _variables(model, name).items()
        if not np.array_equal(value, start[name][key])
    }
    assert moved == {("depthwise", "theta"), ("point", "exponent"), ("point", "table")}


def test_a_mixed_model_is_saved_and_loaded(trained: Any, tmp_path: Path) -> None:
    model, data, _ = trained
    expected = model(data, training=False)
    qat.save(model, tmp_path / "model.keras")
    loaded = qat.load(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict(data, verbose=0), expected)
    for name in ENCODINGS:
        a, b = (m.get_layer(name).weight_quantizer for m in (model, loaded))
        assert a == b
    graph = passes.finalize(qat.to_graph(model))
    save_graph(graph, tmp_path / "model.tq")
    assert str(load_graph(tmp_path / "model.tq")) == str(graph)


def verify(model: Any, *backends: str) -> None:
    """Every tensor that the backends show equals the executor's, for codes of the whole range."""
    graph = passes.finalize(qat.to_graph(model, "mixed"))
    checks = api.verify(graph, on=backends, count=6)
    assert [(c.name, c.mismatches, c.passed) for c in checks.checks] == [
        (name, 0, True) for name in backends
    ]


def test_a_mixed_model_is_equal_in_c(trained: Any) -> None:
    try:
        host_compiler()
    except ToolMissing as error:
        pytest.skip(str(error))
    verify(trained[0], "host")


def test_a_mixed_model_is_equal_in_tflm(trained: Any) -> None:
    pytest.importorskip("tflite_micro", reason="stock TFLM is not installed")
    verify(trained[0], "tflm")


def test_a_mixed_model_is_equal_on_an_emulated_core(trained: Any) -> None:
    pytest.importorskip("unicorn", reason="unicorn is not installed")
    verify(trained[0], "unicorn-m4")


def test_tables_cluster_again_between_epochs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice in three epochs: before the second and the third."""
    inputs = L.Input((8,), name="x")
    model = randomize(tf_keras.Model(inputs, L.Dense(4, name="classes")(inputs)))
    x = data_for(model, 24)[0]
    model = qat.quantize(model, qat.QuantConfig("lut3", table_learning="recluster"), x)
    layer, tables = model.get_layer("classes"), []
    original = FoldedLayer.refresh_weights

    def record(self: Any) -> None:
        original(self)
        tables.append(self.weight_variables["table"].numpy())

    monkeypatch.setattr(FoldedLayer, "refresh_weights", record)
    labels = np.random.default_rng(0).integers(0, 4, 24)
    qat.train(model, x, labels, qat.TrainConfig(epochs=3, batch_size=8, learning_rate=0.1))
    assert len(tables) == 2 and not np.array_equal(*tables)
    assert np.array_equal(layer.weight_variables["table"], tables[-1])


SCHEMES = [
    *({"weights": w, "pot_rounding": r} for w in ("pot4", "pot3") for r in ("log", "nearest")),
    *({"weights": w} for w in ("apot4", "apot3")),
    *({"weights": "lut4", "table_learning": t} for t in TABLE_LEARNING),
    {"weights": "lut3", "learn_exponents": True},
]


CASES = [
    (model, {**scheme, "scale": scale})
    for (scheme, scale), model in zip(
        itertools.product(SCHEMES, ("per_channel", "per_tensor")),
        itertools.cycle(("residual", "branches", "sequence")),
        strict=False,
    )
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "config"), CASES, ids=["-".join([m, *map(str, c.values())]) for m, c in CASES]
)
def test_every_tensor_equal_in_all_schemes(name: str, config: dict[str, Any]) -> None:
    model, data = quantized(name, qat.read_config(config))
    assert_equal_everywhere(model, data)
    train_briefly(model, data, batch_statistics=0.5)
    assert_equal_everywhere(model, data)
