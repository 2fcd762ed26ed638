# SPDX-License-Identifier: Apache-2.0
"""How tables are learned: by gradient, by clustering again, not at all; and their exponents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tinyq.errors import InputError
from tinyq.quantizers import LayerSpec, Lut, weight_quantizer
from tinyq.quantizers.lut import DISTRIBUTIONS, laplace_quantile, nearest, quantile_levels
from tinyq.quantizers.spec import TABLE_LEARNING

#: as published with QLoRA, to four digits
NF4 = [-1, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0, 0.0796, 0.1609, 0.2461, 0.3379,
       0.4407, 0.5626, 0.7230, 1]  # fmt: skip


def weights(seed: int = 0) -> Any:
    w = np.random.default_rng(seed).laplace(0, 0.1, (3, 3, 4, 8))
    return (w * 2.0 ** np.arange(-4, 4)).astype(np.float32)


def built(quantizer: Any, w: Any) -> dict[str, Any]:
    variables = quantizer.build(w.shape, "weight", tf_keras.layers.Layer())
    quantizer.initialize(w, variables)
    return variables


def error(quantizer: Any, w: Any, variables: Any) -> float:
    return float(((quantizer(w, False, variables).numpy().astype(np.float64) - w) ** 2).sum())


def test_normal_quantiles_are_those_of_nf4() -> None:
    levels = quantile_levels(16, DISTRIBUTIONS["fixed:nf4"])
    np.testing.assert_allclose(levels, NF4, atol=6e-5)  # four digits


@pytest.mark.parametrize("size", [16, 8, 4])
@pytest.mark.parametrize("learning", DISTRIBUTIONS)
def test_quantile_levels(size: int, learning: str) -> None:
    levels = quantile_levels(size, DISTRIBUTIONS[learning])
    assert len(levels) == size and (np.diff(levels) > 0).all()
    assert (levels[0], levels[size // 2 - 1], levels[-1]) == (-1, 0, 1)


def test_laplace_quantile_inverts_its_distribution() -> None:
    x = np.array([-3.0, -0.5, 0.0, 0.1, 4.0])
    p = np.where(x < 0, np.exp(x) / 2, 1 - np.exp(-x) / 2)
    np.testing.assert_allclose([laplace_quantile(v) for v in p], x, atol=1e-12)  # float64


@pytest.mark.parametrize("bits", [4, 3, 2])
@pytest.mark.parametrize("learning", DISTRIBUTIONS)
@pytest.mark.parametrize("scale", ["per_channel", "per_tensor"])
def test_fixed_tables_are_a_rounded_shape_of_the_best_size(
    bits: int, learning: str, scale: str
) -> None:
    w, quantizer = weights(), Lut(bits, scale, (-1,), learning)
    variables = built(quantizer, w)
    assert not variables["table"].trainable
    table, levels = quantizer.table(variables), quantile_levels(2**bits, DISTRIBUTIONS[learning])
    sizes = 127 * 2.0 ** (-np.arange(8) / 8)
    candidates = [np.floor(size * levels + 0.5) for size in sizes]
    assert any(np.array_equal(table, c) for c in candidates)

    axes = (0, 1, 2) if scale == "per_channel" else (0, 1, 2, 3)
    peak = np.abs(w).max(axes, keepdims=True)

    def least_error(c: Any) -> float:
        top = np.ceil(np.log2(peak / c.max()))
        trials = [2.0 ** (top - step) for step in range(3)]
        parts = [((nearest(w / s, c) * s - w) ** 2).sum(axes) for s in trials]
        return float(np.min(parts, 0).sum())

    best = min(map(least_error, candidates))
    assert error(quantizer, w, variables) == pytest.approx(best, rel=1e-9)  # order of summation


def test_clustering_again_follows_the_weights() -> None:
    w = weights()
    quantizer = Lut(4, "per_channel", (-1,), "recluster")
    variables = built(quantizer, w)
    assert not variables["table"].trainable
    moved = (np.sign(w) * np.abs(w) ** 0.5 * np.abs(w).max((0, 1, 2)) ** 0.5).astype(np.float32)
    before, exponent = error(quantizer, moved, variables), variables["exponent"].numpy()
    quantizer.refresh(moved, variables)
    assert error(quantizer, moved, variables) < 0.7 * before  # 0.49 for these weights; no promise
    assert np.array_equal(variables["exponent"], exponent)
    assert 0 in quantizer.table(variables)
    again = variables["table"].numpy()
    quantizer.refresh(moved, variables)
    assert np.array_equal(variables["table"], again)


@pytest.mark.parametrize("learning", [x for x in TABLE_LEARNING if x != "recluster"])
def test_other_tables_are_not_clustered_again(learning: str) -> None:
    quantizer = Lut(4, "per_channel", (-1,), learning)
    variables = built(quantizer, weights())
    table = variables["table"].numpy()
    quantizer.refresh(weights(5), variables)
    assert np.array_equal(variables["table"], table)


@pytest.mark.parametrize("learning", TABLE_LEARNING)
def test_zeros_and_constants_have_tables(learning: str) -> None:
    for value in (0.0, -0.3):
        w = np.full((2, 3), value, np.float32)
        quantizer = Lut(2, "per_tensor", (-1,), learning)
        variables = built(quantizer, w)
        quantizer.refresh(w, variables)
        got = quantizer(w, False, variables).numpy()
        assert np.isfinite(got).all() and 0 in quantizer.table(variables)
        assert np.abs(got - w).max() <= abs(value) / 64  # half a code of at least 32


@pytest.mark.parametrize("scale", ["per_channel", "per_tensor"])
def test_learned_exponents(scale: str) -> None:
    quantizer = Lut(3, scale, (-1,), "gradient", True)
    variables = built(quantizer, weights())
    assert variables["exponent"].trainable
    table = quantizer.table(variables)
    exponent = np.ceil(variables["exponent"].numpy().astype(np.float64))
    fixed = Lut(3, scale)
    assert np.array_equal(built(fixed, weights())["exponent"], exponent)
    w = 2 * weights(3)
    w[0, 0, 0] = table.max() * 2.0 ** exponent[..., 0, :]  # the outer entry itself is inside
    # whole numbers, whose sums are exact in float32
    upstream = np.random.default_rng(1).integers(-9, 10, w.shape).astype(np.float32)
    x = tf.Variable(w)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantizer(x, True, variables) * upstream)
    to_x, to_theta, to_table = tape.gradient(loss, [x, variables["exponent"], variables["table"]])
    assert np.array_equal(to_x, upstream)

    scaled = w / 2.0**exponent
    codes = table[np.argmin(np.abs(scaled[..., None] - table), -1)]
    outside = (scaled < table.min()) | (scaled > table.max())
    assert outside.any() and not outside[0, 0, 0].any()
    slope = np.where(outside, codes, codes - scaled) * 2.0**exponent * np.log(2) * upstream
    axes = (0, 1, 2) if scale == "per_channel" else (0, 1, 2, 3)
    # float32 products and sums against float64 ones; sums may cancel
    close = 1e-6 * np.abs(slope).sum(axes, keepdims=True)
    assert (np.abs(to_theta - slope.sum(axes, keepdims=True)) <= close).all()
    members = np.where(codes == table[-1], upstream * 2.0**exponent, 0).sum()
    got = to_table.numpy()[variables["table"].numpy() == table[-1]].sum()
    assert got == members


@pytest.mark.parametrize("learning", TABLE_LEARNING)
def test_factory_and_serialization(learning: str) -> None:
    spec = LayerSpec("lut3", table_learning=learning, learn_exponents=True)
    quantizer = weight_quantizer(spec, (-2, -1))
    config = tf_keras.utils.serialize_keras_object(quantizer)
    restored = tf_keras.utils.deserialize_keras_object(config)
    assert restored == quantizer and restored.get_config()["learning"] == learning
    assert restored != weight_quantizer(LayerSpec("lut3", table_learning=learning), (-2, -1))


def test_unknown_learning_is_refused() -> None:
    for make in (lambda: Lut(4, learning="fixed:cauchy"), lambda: LayerSpec(table_learning="no")):
        with pytest.raises(InputError, match="recluster"):
            make()


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_exponents_of_their_own_never_cost_accuracy(bits: int) -> None:
    """Channels of one distribution: fitting each its own exponent must not end in a worse table."""
    for seed in range(4):
        w = np.random.default_rng(seed).laplace(0, 0.1, (3, 3, 8, 16)).astype(np.float32)
        own, common = (Lut(bits, scale) for scale in ("per_channel", "per_tensor"))
        assert error(own, w, built(own, w)) <= error(common, w, built(common, w))
