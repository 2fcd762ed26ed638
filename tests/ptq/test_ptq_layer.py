# SPDX-License-Identifier: Apache-2.0
"""Statistics and bias of one layer, against straightforward computation."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import float_graphs as fg
import numpy as np
import pytest

from tinyq.encodings import ENCODINGS
from tinyq.ops import LinearOp
from tinyq.ops.windows import windows
from tinyq.ptq.grids import ExponentBounds
from tinyq.ptq.layer import integer_bias, least_bias_exponents, pose, quantize_weights
from tinyq.ptq.statistics import (
    INACTIVE,
    Moments,
    from_columns,
    groups,
    may_measure_active,
    measure,
    measure_active,
    to_columns,
)
from tinyq.tensors import Tensor

OPS = {
    "conv": fg.conv(4, 6, strides=(2, 1), padding=(1, 0, 2, 1)),
    "depthwise": fg.depthwise(4, 2, padding=(1, 1, 1, 1)),
    "dense": fg.dense(4, 6),
}


def inputs(op: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Float inputs, their codes and the codes' tensor."""
    shape = (4,) if op == "dense" else (5, 6, 4)
    x = np.random.default_rng(seed).normal(size=(7, *shape)).astype(np.float32)
    tensor = Tensor("x", shape, "int8", exponent=-5)
    return x, tensor.quantize(x), tensor


def moments(name: str, rows: int = 10_000) -> Moments:
    x, codes, tensor = inputs(name)
    return measure(OPS[name], x, codes, tensor, rows, np.random.default_rng(0))


def quantized(name: str, encoding: str = "lut4", per_channel: bool = True) -> LinearOp:
    op, seen = OPS[name], moments(name)
    bounds = ExponentBounds(np.full((groups(op), 1), -100), 100)
    problem = pose(op, seen, ENCODINGS[encoding], bounds, per_channel)
    weights = quantize_weights(problem, op.weights.shape)
    bias = integer_bias(op, weights, seen, -5)
    return type(op)(**{**vars(op), "weights": weights, "bias": bias})


@pytest.mark.parametrize("name", OPS)
def test_columns_round_trip(name: str) -> None:
    weights = OPS[name].weights
    columns = to_columns(weights, groups(OPS[name]))
    assert np.array_equal(from_columns(columns, weights.shape), weights.astype(np.float64))


@pytest.mark.parametrize("name", OPS)
def test_columns_times_patches_are_the_layer(name: str) -> None:
    op = OPS[name]
    x, _, _ = inputs(name)
    columns = to_columns(op.weights, groups(op))
    if name == "dense":
        patches = x[None]
    else:
        patches = windows(x, op.kernel, op.strides, op.padding)
        if name == "conv":
            patches = patches.reshape(1, -1, columns.shape[1])
        else:
            patches = patches.reshape(-1, columns.shape[1], 4).transpose(2, 0, 1)
    result = (patches @ columns).transpose(1, 0, 2).reshape(-1, len(op.weights))
    wanted = op.accumulate(x.astype(np.float64), op.weights.astype(np.float64))
    # float64 sums in two orders
    np.testing.assert_allclose(result, wanted.reshape(result.shape), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OPS)
def test_hessian_predicts_the_variance_of_the_output(name: str) -> None:
    op = OPS[name]
    _, codes, tensor = inputs(name)
    columns = to_columns(op.weights, groups(op))
    variance = np.einsum("gkm,gkl,glm->gm", columns, moments(name).hessian, columns).reshape(-1)
    y = op.accumulate(tensor.dequantize(codes), op.weights.astype(np.float64))
    # moments are gathered from float32 patches
    np.testing.assert_allclose(variance, y.reshape(-1, len(variance)).var(0), rtol=1e-4)


def test_few_rows_are_a_reproducible_sample() -> None:
    first, second = moments("conv", 20), moments("conv", 20)
    assert np.array_equal(first.hessian, second.hessian)
    assert not np.array_equal(first.hessian, moments("conv").hessian)
    assert np.array_equal(first.mean_float, moments("conv").mean_float)


@pytest.mark.parametrize("encoding", ["int8", "int2", "lut4"])
@pytest.mark.parametrize("name", OPS)
def test_bias_is_the_nearest_unit_to_the_exact_mean(name: str, encoding: str) -> None:
    op, layer = OPS[name], quantized(name, encoding)
    x, codes, _ = inputs(name)
    acc = layer.accumulate(codes.astype(np.float64), layer.weights.image().astype(np.float64))
    y = op.accumulate(x.astype(np.float64), op.weights.astype(np.float64)) + op.bias
    wanted = y.reshape(-1, y.shape[-1]).mean(0)
    integer_mean = [
        Fraction(int(total), acc.size // acc.shape[-1])
        for total in acc.reshape(-1, acc.shape[-1]).sum(0)
    ]
    for o, exponent in enumerate(layer.weights.exponents_per_channel()):
        exact = Fraction(float(wanted[o])) / Fraction(2) ** int(exponent - 5) - integer_mean[o]
        assert abs(int(layer.bias[o]) - exact) <= Fraction(1, 2) + Fraction(1, 10**6)


def test_per_tensor_exponent_is_stored_once() -> None:
    assert quantized("conv", per_channel=False).weights.exponents.shape == (1,)
    assert quantized("conv", per_channel=True).weights.exponents.shape == (6,)


def test_least_bias_exponents() -> None:
    bias = np.array([0.0, 1.0, 1.5, -(2.0**40)])
    assert least_bias_exponents(bias, -4)[1:].tolist() == [-24, -23, 16]
    assert least_bias_exponents(bias, -4)[0] < -1000


# ---------------------------------------------------------------- moments below a rectifier


def active(name: str) -> tuple[LinearOp, Moments]:
    op = replace(OPS[name], activation="relu")
    x, codes, tensor = inputs(name)
    return op, measure_active(op, x, codes, tensor, 10_000, np.random.default_rng(0))


@pytest.mark.parametrize("name", OPS)
def test_active_moments_are_the_weighted_covariances(name: str) -> None:
    op, found = active(name)
    x, codes, tensor = inputs(name)
    real = tensor.dequantize(codes).astype(np.float64)
    float_outputs = (op.accumulate(x.astype(np.float64), op.weights.astype(np.float64))) + op.bias
    weight = np.where(float_outputs > 0, 1, INACTIVE).reshape(-1, len(op.bias))
    # w' H w is the weighted variance of the channel's output, w' mean its weighted mean.
    outputs = op.accumulate(real, op.weights.astype(np.float64)).reshape(weight.shape)
    columns = to_columns(op.weights, len(op.bias))
    assert found.groups == len(op.bias)
    mean = (weight * outputs).sum(0) / weight.sum(0)
    given = np.einsum("gk,gkm->g", found.mean_quantized, columns)
    # moments are gathered from float32 patches, the expectation in float64
    np.testing.assert_allclose(given, mean, rtol=1e-4, atol=1e-4)
    variance = (weight * (outputs - mean) ** 2).mean(0)
    given = np.einsum("gkm,gkl,glm->g", columns, found.hessian, columns)
    # the same, and a difference of squares loses a digit more
    np.testing.assert_allclose(given, variance, rtol=1e-3)


@pytest.mark.parametrize("encoding", ["pot4", "lut3", "int8"])
@pytest.mark.parametrize("name", OPS)
def test_active_moments_lower_the_error_after_the_rectifier(name: str, encoding: str) -> None:
    op, found = active(name)
    x, codes, tensor = inputs(name)
    bounds = ExponentBounds(np.full((found.groups, 1), -100), 100)
    problem = pose(op, found, ENCODINGS[encoding], bounds, True)
    weights = quantize_weights(problem, op.weights.shape)
    assert weights.image().shape == op.weights.shape
    bias = integer_bias(op, weights, found, -5) * np.ldexp(1.0, weights.exponents_per_channel() - 5)
    wanted = np.maximum(
        op.accumulate(x.astype(np.float64), op.weights.astype(np.float64)) + op.bias, 0
    )
    given = np.maximum(op.accumulate(tensor.dequantize(codes), weights.real()) + bias, 0)
    assert np.square(given - wanted).mean() < 0.05 * np.square(wanted - wanted.mean(0)).mean()


def test_active_moments_only_below_rectifiers_and_where_cheap() -> None:
    assert not may_measure_active(OPS["conv"])
    assert may_measure_active(replace(OPS["conv"], activation="relu6"))
    assert may_measure_active(fg.dense(512, 4, activation="relu"))
    assert not may_measure_active(fg.dense(512, 5, activation="relu"))
