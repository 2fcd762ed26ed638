# SPDX-License-Identifier: Apache-2.0
"""Means over the whole image: which own an exponent, what they compute, and their gradient."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from exactness import assert_equal_everywhere, train_briefly
from qat_models import randomize

import tinyq.qat as qat
from tinyq.errors import UnsupportedError
from tinyq.ops import AveragePool2D, GlobalMean
from tinyq.ops.global_mean import reciprocal
from tinyq.qat.pooling import QuantGlobalMean

L = tf_keras.layers
W4A4 = qat.preset("w4a4_llsq")
RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(24, 6, 5, 3)).astype(np.float32)


def network(mean: Any, activation: str = "relu") -> Any:
    """A convolution, a mean, a dense layer."""
    x = inputs = L.Input((6, 5, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", activation=activation, name="conv")(x)
    x = L.Flatten(name="flat")(mean(x))
    return randomize(tf_keras.Model(inputs, L.Dense(3, name="classes")(x)))


def whole(keepdims: bool = False) -> Any:
    """A mean over the whole image."""
    return L.GlobalAveragePooling2D(keepdims=keepdims, name="mean")


def mean_of(model: Any, config: qat.QuantConfig) -> tuple[Any, Any]:
    """The mean's operator and output."""
    graph = qat.to_graph(qat.quantize(model, config, [IMAGES]))
    (node,) = (n for n in graph.nodes if isinstance(n.op, AveragePool2D | GlobalMean))
    return node.op, graph.out(node)


def widths(**overrides: int) -> dict[str, Any]:
    """Activation bits of single layers."""
    return {name: {"activation_bits": bits} for name, bits in overrides.items()}


@pytest.mark.parametrize(
    ("mean", "config", "bits"),
    [
        (whole(), W4A4, 4),
        (whole(keepdims=True), W4A4, 4),
        (L.AveragePooling2D((6, 5), name="mean"), W4A4, 4),
        (whole(), replace(W4A4, overrides=widths(mean=8)), 8),
        (whole(), replace(W4A4, overrides=widths(conv=8)), 4),
        (whole(), qat.QuantConfig(overrides=widths(mean=6)), 6),
        (whole(), qat.preset("w4a8_lut"), None),
        (L.AveragePooling2D((3, 5), name="mean"), W4A4, None),
        (L.AveragePooling2D((6, 5), padding="same", name="mean"), W4A4, None),
    ],
    ids=[
        "4 bits", "kept dimensions", "a window of the image's size", "8 bits after 4",
        "4 bits after 8", "6 bits here alone", "8 bits", "a smaller window", "padding",
    ],
)  # fmt: skip
def test_means_of_few_bits_own_an_exponent(mean: Any, config: Any, bits: int | None) -> None:
    op, out = mean_of(network(mean), config)
    assert isinstance(op, AveragePool2D if bits is None else GlobalMean)
    assert bits is None or out.bits == bits


def test_too_large_a_mean_is_refused_before_training() -> None:
    inputs = L.Input((256, 129, 1), name="image")
    x = L.Conv2D(1, 1, activation="relu", name="conv")(inputs)
    model = tf_keras.Model(inputs, L.Dense(2, name="classes")(whole()(x)))
    data = [np.zeros((1, 256, 129, 1), np.float32)]
    with pytest.raises(UnsupportedError, match="'mean': a mean of 33024 elements"):
        qat.quantize(model, W4A4, data)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_exact_after_training(activation: str, keepdims: bool) -> None:
    model = qat.quantize(network(whole(keepdims), activation), W4A4, [IMAGES[:8]])
    (layer,) = (x for x in model.layers if isinstance(x, QuantGlobalMean))
    assert layer.signed == (activation == "linear")
    (step,) = layer.trainable_variables
    before = step.numpy()
    train_briefly(model, [IMAGES])
    # LLSQ keeps a step that is better than its double and its half
    assert (step.numpy() != before) == (activation == "relu")
    assert_equal_everywhere(model, [3 * IMAGES])


def rounded(value: Fraction, shift: int) -> int:
    """The rule of convolutions, from its definition: two roundings."""
    if shift == 0:
        return int(value)
    sign = (value > 0) - (value < 0)
    half = Fraction(2 ** (shift - 1) + (sign if shift > 1 else 0))
    return int((value + half) // 2**shift)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_forward_and_gradient_by_an_independent_formula(activation: str) -> None:
    model = qat.quantize(network(whole(), activation), W4A4, [IMAGES])
    (layer,) = (x for x in model.layers if isinstance(x, QuantGlobalMean))
    (source,) = layer.producers
    e_x, e_out = int(source.exponent()), int(layer.exponent())
    low, high = source.code_range
    codes = RNG.integers(low, high + 1, (64, 6, 5, 4))
    codes[0], codes[1], codes[2] = high, low, 0
    x = tf.constant(codes * 2.0**e_x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer.compute(x, True)
    got = np.rint(np.ldexp(y.numpy(), -e_out)).astype(int)
    factor, exponent = reciprocal(30)
    shift = e_out - e_x - exponent
    below, above = layer.code_range
    sums = codes.sum((1, 2))
    free = np.vectorize(lambda s: rounded(Fraction(int(factor * s)), shift))(sums)
    np.testing.assert_array_equal(got, np.clip(free, below, above))
    assert (free != got).any()
    gradient = tape.gradient(y, x).numpy()
    inside = (free >= below) & (free <= above)
    wanted = np.where(inside, np.float32(factor * 2.0**exponent), np.float32(0))
    np.testing.assert_array_equal(gradient, np.broadcast_to(wanted[:, None, None], x.shape))
