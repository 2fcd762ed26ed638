# SPDX-License-Identifier: Apache-2.0
"""Choice of codes: never worse than rounding, on the grid, optimal where that can be checked."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyq.ptq.codes import (
    Grid,
    choose_codes,
    column_errors,
    corrected_target,
    damped,
    nearest_level,
)

LEVELS = np.array([-7.0, -4, -1, 0, 2, 3, 9])


def problem(seed: int, groups: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Columns, a damped Hessian of correlated inputs, a grid."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(groups, rows, rows))
    x = rng.normal(size=(groups, 50, rows)) @ mixing
    weights = rng.normal(size=(groups, rows, columns)) * 3
    exponents = rng.integers(-2, 2, (groups, columns))
    return weights, damped(x.swapaxes(1, 2) @ x / 50), Grid(LEVELS, exponents)


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 9), st.integers(1, 4))
def test_no_column_is_worse_than_rounded(seed: int, groups: int, rows: int, columns: int) -> None:
    weights, hessian, grid = problem(seed, groups, rows, columns)
    chosen = column_errors(weights, choose_codes(weights, hessian, grid), hessian)
    assert (chosen <= column_errors(weights, grid.nearest(weights), hessian)).all()


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 9), st.integers(1, 4))
def test_values_are_levels_times_steps(seed: int, groups: int, rows: int, columns: int) -> None:
    weights, hessian, grid = problem(seed, groups, rows, columns)
    assert np.isin(grid.image(choose_codes(weights, hessian, grid)), LEVELS).all()


def test_finds_most_of_the_gain_of_exhaustive_search() -> None:
    gained = possible = 0.0
    for seed in range(20):
        weights, hessian, grid = problem(seed, 1, 4, 1)
        options = np.array(list(itertools.product(LEVELS, repeat=4)))[:, :, None] * grid.steps[0]
        optimum = column_errors(np.broadcast_to(weights, options.shape), options, hessian).min()
        rounded = column_errors(weights, grid.nearest(weights), hessian).sum()
        chosen = column_errors(weights, choose_codes(weights, hessian, grid), hessian).sum()
        assert chosen >= optimum * (1 - 1e-9)
        gained, possible = gained + rounded - chosen, possible + rounded - optimum
    assert gained > 0.9 * possible


def test_nearest_level_against_all_distances() -> None:
    values = np.linspace(-12, 12, 977)
    nearest = LEVELS[np.abs(values[:, None] - LEVELS).argmin(1)]
    assert np.array_equal(nearest_level(values, LEVELS), nearest)


def test_target_is_the_weights_when_inputs_are_equal() -> None:
    weights, hessian, _ = problem(1, 2, 5, 3)
    # a linear system solved in float64
    np.testing.assert_allclose(corrected_target(weights, hessian, hessian), weights, rtol=1e-9)


def test_target_undoes_a_scaled_input() -> None:
    weights, hessian, _ = problem(1, 1, 5, 3)
    # x^ = 2 x: H = 4 cov(x), C = 2 cov(x); without damping the target is w / 2
    target = corrected_target(weights, 4 * hessian, 2 * hessian)
    before = column_errors(weights / 2, weights, hessian).sum()
    assert column_errors(weights / 2, target, hessian).sum() < 0.05 * before


def test_constant_inputs_do_no_harm() -> None:
    weights, hessian, grid = problem(3, 1, 4, 2)
    hessian[:, 2], hessian[:, :, 2] = 0, 0
    values = choose_codes(weights, damped(hessian), grid)
    assert np.isfinite(values).all()
    zero = damped(np.zeros((1, 4, 4)))
    assert np.array_equal(choose_codes(weights, zero, grid), grid.nearest(weights))
