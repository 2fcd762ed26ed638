# SPDX-License-Identifier: Apache-2.0
"""Bounded accumulators in whole models: the exporter's proof confirms the width, in any state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tf_keras
from exactness import assert_equal_everywhere, quantized, train_briefly
from qat_models import data_for

import tinyq.qat as qat
from tinyq import proof
from tinyq.graph import Graph
from tinyq.passes import finalize
from tinyq.qat.config import Role, layer_spec

pytestmark = pytest.mark.slow

L = tf_keras.layers


def proved_bits(graph: Graph) -> dict[str, int]:
    return {name: p.bits for name, p in proof.prove(graph).items()}


def small() -> Any:
    """A convolution wide enough to be centred, a depthwise one, a norm alone, a dense layer."""
    x = inputs = L.Input((6, 6, 4), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = L.Conv2D(6, 3, name="wide")(x)
    x = L.BatchNormalization(name="wide_norm")(x)
    x = L.ReLU(name="wide_relu")(x)
    x = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = L.Conv2D(8, 1, activation="relu", name="point")(x)
    x = L.BatchNormalization(name="alone")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    return tf_keras.Model(inputs, L.Dense(5, name="last")(x), name="small")


@pytest.fixture(scope="module")
def plus() -> tuple[Any, list[Any]]:
    model = small()
    rng = np.random.default_rng(3)
    for variable in model.variables:
        scale = 0.3 if "kernel" in variable.name else 0.1
        offset = 1.0 if "gamma" in variable.name or "variance" in variable.name else 0.0
        variable.assign(
            np.abs(offset + rng.normal(0, scale, variable.shape))
            if offset
            else rng.normal(0, scale, variable.shape)
        )
    data = data_for(model, 24)
    config = qat.preset("w8a8_a2q_plus16")
    return qat.quantize(model, config, data), data


CONSTRAINED = ("wide", "depthwise", "point", "alone")


def test_every_layer_but_first_and_last_is_proved(plus: tuple[Any, list[Any]]) -> None:
    model, data = plus
    bits = proved_bits(assert_equal_everywhere(model, data))
    assert max(bits[name] for name in CONSTRAINED) == 16
    assert bits["wide"] == 16
    train_briefly(model, data)
    graph = assert_equal_everywhere(model, data)
    assert all(proved_bits(graph)[name] <= 16 for name in CONSTRAINED)
    assert all(proved_bits(finalize(graph)).get(name, 0) <= 16 for name in CONSTRAINED)


@pytest.mark.parametrize("seed", range(3))
def test_any_state_exports_within_the_width(plus: tuple[Any, list[Any]], seed: int) -> None:
    """Variables that no training would reach: huge norms, tiny scales, large biases."""
    model, data = plus
    saved = model.get_weights()
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        value = variable.numpy()
        spread = 6.0 if "gain" in variable.name or "theta" in variable.name else 2.0
        variable.assign(value + spread * rng.normal(0, 1, value.shape))
    graph = assert_equal_everywhere(model, data)
    model.set_weights(saved)
    assert all(proved_bits(graph)[name] <= 16 for name in CONSTRAINED)


def test_preset_of_four_bits_with_signed_inputs() -> None:
    config = replace(qat.preset("w4a4_a2q12"), constrain_first_last=True)
    model, data = quantized("sequence", config)
    graph = assert_equal_everywhere(model, data)
    assert max(proved_bits(graph).values()) == 12


@pytest.mark.exhaustive
@pytest.mark.parametrize("preset", [p for p in qat.PRESETS if "a2q" in p])
@pytest.mark.parametrize("name", ["residual", "branches", "two_ended"])
def test_presets(name: str, preset: str) -> None:
    config = replace(qat.preset(preset), constrain_first_last=True)
    model, data = quantized(name, config)
    for options in ({}, {"batch_statistics": 0.5}):
        graph = assert_equal_everywhere(model, data)
        assert max(proved_bits(graph).values()) <= config.accumulator_bits
        train_briefly(model, data, **options)


def test_widths_by_layer() -> None:
    config = replace(
        qat.preset("w8a8_a2q16"), overrides={"wide": {"accumulator_bits": 18}, "point": "lut4"}
    )
    assert layer_spec(config, "wide", Role()).accumulator_bits == 18
    assert layer_spec(config, "point", Role()).method == ""
    assert layer_spec(config, "other", Role(outer=True)).method == ""
    every = replace(config, constrain_first_last=True)
    outer = layer_spec(every, "other", Role(outer=True))
    assert (outer.method, outer.zero_center) == ("a2q", False)
    alone = layer_spec(config, "other", Role(standalone=True))
    assert (alone.method, alone.weights) == ("a2q", "int8")


def test_a_width_by_name_bounds_the_first_layer() -> None:
    model = small()
    data = data_for(model, 16)

    def proved_first(**options: Any) -> int:
        config = replace(qat.preset("w8a8_a2q16"), **options)
        return proved_bits(qat.to_graph(qat.quantize(model, config, data)))["first"]

    assert proved_first() > 14
    assert proved_first(overrides={"first": {"accumulator_bits": 14}}) == 14


@pytest.mark.parametrize("norm", [False, True])
def test_the_bias_takes_up_the_mean_of_what_projection_removes(norm: bool) -> None:
    x = inputs = L.Input((6, 6, 8), name="image")
    x = L.Conv2D(5, 3, name="conv")(x)
    x = L.BatchNormalization(name="norm")(x) if norm else x
    model = tf_keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    model.layers[1].set_weights([rng.normal(0.1, 0.2, (3, 3, 8, 5)), rng.normal(0, 1, 5)])
    data = data_for(model, 64, low=0.0)
    config = replace(qat.preset("w8a8_a2q_plus16"), accumulator_bits=14, constrain_first_last=True)
    quantized_model = qat.quantize(model, config, data)
    layer = quantized_model.get_layer("conv")
    real = model(data[0]).numpy()
    got = quantized_model(data[0], training=False).numpy()
    step = 2.0 ** float(layer.exponent())
    assert np.abs(real - got).mean() > 2 * step
    # Not exactly: a bias that moves leaves another room for the weights.
    assert np.abs((real - got).mean((0, 1, 2))).max() < 2 * step
    assert np.abs(real.mean((0, 1, 2))).max() > 20 * step
