# SPDX-License-Identifier: Apache-2.0
"""Rebuilding a float model keeps its function; what cannot be trained quantized is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tf_keras
from qat_models import MODELS, data_for, make, randomize

import tinyq.qat as qat
from tinyq import executor
from tinyq.errors import DataError, InputError, ModelFileError, UnsupportedError
from tinyq.frontends.keras import load_model
from tinyq.qat.prepare import prepare
from tinyq.qat.quantize import _check_copies

L = tf_keras.layers


@pytest.mark.parametrize("name", MODELS)
def test_prepared_model_computes_the_same(name: str) -> None:
    model = make(name)
    prepared = prepare(model).model
    data = data_for(model, 4)
    for a, b in zip(_outputs(model, data), _outputs(prepared, data), strict=True):
        assert a.shape == b.shape
        # Keras' own layers may add in another order: float32 sums of values of about 1.
        np.testing.assert_allclose(a, b, atol=1e-5)
    names = {type(layer).__name__ for layer in prepared.layers}
    assert not names & {"Conv1D", "SeparableConv2D", "Activation"} - {"Activation"}


def _outputs(model: Any, data: list[Any]) -> list[Any]:
    y = model(data, training=False)
    return list(y) if isinstance(y, list | tuple) else [y]


def test_sequential_nested_and_plus_through_the_frontend() -> None:
    inner_in = L.Input((5, 5, 2))
    y = L.Conv2D(2, 3, padding="same", activation="relu", name="inner_conv")(inner_in)
    inner = tf_keras.Model(inner_in, y + inner_in, name="inner")
    outer = tf_keras.Sequential(
        [L.Input((5, 5, 2)), inner, L.Flatten(), L.Dense(3, activation="softmax")], name="outer"
    )
    model = load_model(randomize_nested(outer))
    data = data_for(model, 8)
    # probabilities, from float32 sums in another order
    np.testing.assert_allclose(model(data), outer(data[0]), atol=1e-6)
    quantized = qat.quantize(model, qat.preset("w8a8"), data)
    graph = qat.to_graph(quantized)
    expected = executor.run(graph, executor.quantize_inputs(graph, data))
    for name, codes in qat.tensor_codes(quantized, data).items():
        assert np.array_equal(codes, expected[name])


def randomize_nested(model: Any) -> Any:
    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            randomize(layer)
    return model


def one(*layers: Any, shape: tuple[int | None, ...] = (8, 8, 3)) -> Callable[[], Any]:
    """A model that is a chain of fresh layers."""

    def build() -> Any:
        x = inputs = L.Input(shape, name="image")
        for layer in layers:
            x = layer()(x)
        return tf_keras.Model(inputs, x)

    return build


def shared() -> Any:
    x = inputs = L.Input((4,), name="x")
    dense = L.Dense(4, name="twice")
    return tf_keras.Model(inputs, dense(dense(x)))


def broadcasting() -> Any:
    a, b = L.Input((4, 4, 2), name="a"), L.Input((1, 1, 2), name="b")
    return tf_keras.Model([a, b], L.Add(name="sum")([a, b]))


def after_softmax() -> Any:
    x = inputs = L.Input((4,), name="x")
    a, b = L.Dense(3, activation="softmax")(x), L.Dense(3)(x)
    return tf_keras.Model(inputs, L.Concatenate(name="join")([a, b]))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "shared weights": (shared, "'twice' (Dense) has weights and is called 2 times"),
    "unknown layer": (one(lambda: L.LayerNormalization(name="norm")), "'norm' (LayerNorm"),
    "lambda": (one(lambda: L.Lambda(lambda x: x * 2, name="double")), "'double' (Lambda)"),
    "dilation": (one(lambda: L.Conv2D(2, 3, dilation_rate=2, name="far")), "'far' (Conv2D)"),
    "groups": (one(lambda: L.Conv2D(3, 3, groups=3, name="apart")), "groups=3"),
    "leaky": (one(lambda: L.ReLU(negative_slope=0.1, name="leak")), "negative_slope=0.1"),
    "relu8": (one(lambda: L.ReLU(8.0, name="top")), "max_value=8.0"),
    "tanh": (one(lambda: L.Dense(2, activation="tanh", name="t")), "activation 'tanh'"),
    "norm axis": (one(lambda: L.BatchNormalization(axis=1, name="bn")), "'bn'"),
    "softmax axis": (one(lambda: L.Softmax(axis=1, name="soft")), "axis=1"),
    "open size": (one(lambda: L.Conv2D(2, 3), shape=(None, 8, 3)), "'image'"),
    "broadcast": (broadcasting, "'sum' (Add) adds shapes"),
    "fixed exponent": (after_softmax, "'join' (Concatenate)"),
    "sequential": (lambda: tf_keras.Sequential([L.Input((4,)), L.Dense(2)]), "load_model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_models(case: str) -> None:
    build, message = REFUSED[case]
    model = build()
    with pytest.raises(UnsupportedError) as caught:
        qat.apply_scheme(prepare(model), qat.preset("w8a8"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refused_data_and_options() -> None:
    model = one(lambda: L.Flatten(), lambda: L.Dense(2), shape=(2, 2, 1))()
    good = np.ones((4, 2, 2, 1), np.float32)
    quantized = qat.quantize(model, qat.preset("w8a8"), good)
    broken = good.copy()
    broken[2, 0, 0, 0] = np.nan
    for data in (broken, good[:0], np.ones((4, 3, 2, 1)), [good, good]):
        with pytest.raises(DataError):
            qat.quantize(model, qat.preset("w8a8"), data)
    for labels in (np.array([0, 1, 2, 0]), np.array([0, 1]), np.array([0, 1, 0.5, 1]), None):
        with pytest.raises(DataError):
            qat.train(quantized, good, labels)
    with pytest.raises(InputError, match="w4a8_lut"):
        qat.preset("w5a5")
    with pytest.raises(InputError, match="lut4"):
        qat.quantize(model, qat.QuantConfig("pot5"), good)
    for options in ({"first_last": "int4"}, {"rounding": "up"}):
        with pytest.raises(InputError):
            qat.QuantConfig(**options)
    for options in ({"epochs": -1}, {"freeze_scales": 1.5}, {"batch_size": 0}):
        with pytest.raises(InputError):
            qat.TrainConfig(**options)


def test_files_of_another_kind_are_refused(tmp_path: Any) -> None:
    bad = tmp_path / "bad.keras"
    bad.write_bytes(b"PK\x03\x04 not a model")
    for path in (bad, tmp_path / "absent.keras"):
        with pytest.raises(ModelFileError):
            qat.load(path)
    with pytest.raises(ModelFileError, match=r"\.keras"):
        qat.save(None, tmp_path / "model.h5")


def test_weights_that_were_not_copied_are_noticed() -> None:
    prepared = prepare(make("residual"))
    quantized = qat.apply_scheme(prepared, qat.preset("w8a8"))
    _check_copies(prepared.model, quantized)
    for variable in quantized.get_layer("depthwise").weights:
        if variable.name.split("/")[-1] in ("moving_mean:0", "depthwise_kernel:0"):
            variable.assign(variable + 1)
    with pytest.raises(UnsupportedError, match="2 of 19 weight arrays"):
        _check_copies(prepared.model, quantized)


def test_overrides_and_first_last_choose_encodings() -> None:
    model = make("residual")
    config = qat.QuantConfig("lut3", first_last="int8", overrides={"dep*": "int4", "alone": "lut4"})
    quantized = qat.apply_scheme(prepare(model), config)
    found = {
        layer.name: layer.weight_quantizer.encoding
        for layer in quantized.layers
        if hasattr(layer, "weight_quantizer")
    }
    assert found == {
        "stem": "int8",
        "depthwise": "int4",
        "alone": "lut4",
        "point": "lut3",
        "wide": "lut3",
        "classes": "int8",
    }
