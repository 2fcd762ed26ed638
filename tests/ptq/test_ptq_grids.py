# SPDX-License-Identifier: Apache-2.0
"""Tables and exponents: zero pinned, integers, distinct, minimal, bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyq.encodings import ENCODINGS, fixed_levels
from tinyq.ptq.codes import Grid, choose_codes, column_errors, damped, nearest_level
from tinyq.ptq.grids import (
    MAX_SPREAD,
    ExponentBounds,
    covering_exponents,
    fit_grid,
    fit_levels,
    refit_levels,
)

UNBOUNDED = ExponentBounds(np.full((1, 1), -1000), 1000)


def columns(seed: int = 0, shape: tuple[int, ...] = (1, 30, 6)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.laplace(size=shape) * np.exp(rng.normal(size=(shape[0], 1, shape[2])))


@given(st.integers(0, 2**31), st.integers(1, 200), st.sampled_from([4, 8, 16]))
def test_table_invariants(seed: int, count: int, entries: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.clip(rng.normal(size=count) * rng.choice([0.1, 20, 300]), -127, 127)
    table = fit_levels(values, rng.random(count), entries)
    assert 1 <= len(table) <= entries
    assert 0 in table
    assert (np.diff(table) > 0).all()
    assert np.array_equal(table, np.rint(table))
    assert np.abs(table).max() <= 127


def test_table_is_exact_when_there_are_few_values() -> None:
    values = np.array([-90.0, -90, -3, 0, 0, 17, 127])
    assert set(fit_levels(values, np.ones(7), 8)) >= set(values)


def test_table_follows_the_weight() -> None:
    values = np.concatenate([np.linspace(-120, -20, 50), np.linspace(20, 120, 50)])
    heavy_left = fit_levels(values, np.repeat([1000.0, 1], 50), 8)
    heavy_right = fit_levels(values, np.repeat([1.0, 1000], 50), 8)
    assert (heavy_left < 0).sum() > (heavy_right < 0).sum()


def test_all_zero_weights_give_a_grid() -> None:
    for name, encoding in ENCODINGS.items():
        grid = fit_grid(np.zeros((1, 4, 2)), np.ones((1, 4)), encoding, UNBOUNDED, True)
        assert not grid.nearest(np.zeros((1, 4, 2))).any(), name


@pytest.mark.parametrize("largest", [1, 7, 127])
def test_covering_exponents_are_minimal(largest: int) -> None:
    w = columns()
    e = covering_exponents(w, largest, True)
    reach = np.abs(w).max(1)
    assert (reach <= largest * 2.0**e).all()
    assert (reach > largest * 2.0 ** (e - 1)).all()
    assert (covering_exponents(w, largest, False) == e.max()).all()


def test_exactly_full_range_needs_no_larger_exponent() -> None:
    assert covering_exponents(np.full((1, 1, 1), 127 / 64), 127, True) == -6


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", ENCODINGS)
def test_grid_of_every_encoding(name: str, per_channel: bool) -> None:
    encoding, w = ENCODINGS[name], columns()
    grid = fit_grid(w, np.ones((1, 30)), encoding, UNBOUNDED, per_channel)
    fixed = fixed_levels(encoding)
    if fixed is not None:
        assert np.array_equal(grid.levels, fixed)
    assert grid.exponents.shape == (1, 6)
    assert per_channel or len(np.unique(grid.exponents)) == 1
    assert ((grid.nearest(w) - w) ** 2).sum() < (w**2).sum()


def test_bounds_hold() -> None:
    bounds = ExponentBounds(np.full((1, 6), -5), -4)
    for name in ENCODINGS:
        grid = fit_grid(columns(), np.ones((1, 30)), ENCODINGS[name], bounds, True)
        assert grid.exponents.min() >= -5, name
        assert grid.exponents.max() <= -4, name


def test_dead_channels_stay_near_the_others() -> None:
    w = columns()
    w[:, :, 2] *= 2.0**-60
    for name in ENCODINGS:
        grid = fit_grid(w, np.ones((1, 30)), ENCODINGS[name], UNBOUNDED, True)
        assert grid.exponents.min() >= grid.exponents.max() - MAX_SPREAD - 1, name


def test_refitted_table_serves_its_codes_better() -> None:
    w = columns(3, (1, 40, 8))
    x = np.random.default_rng(1).normal(size=(100, 40))
    hessian = damped((x.T @ x / 100)[None])
    grid = fit_grid(w, np.ones((1, 40)), ENCODINGS["lut3"], UNBOUNDED, True)
    bad = Grid(np.unique(np.append(np.rint(grid.levels * 0.8), 0)), grid.exponents)
    values = choose_codes(w, hessian, bad)
    table = refit_levels(w, values, hessian, bad)
    index = np.searchsorted(bad.levels, np.rint(bad.image(values)))
    assert 0 in table
    assert len(table) == len(bad.levels)
    moved = table[index] * bad.steps[:, None]
    assert column_errors(w, moved, hessian).sum() < column_errors(w, values, hessian).sum()


def test_ties_are_decided_the_same_way_everywhere() -> None:
    assert nearest_level(np.array([0.5, -0.5]), np.array([-1.0, 0, 1])).tolist() == [0.0, -1.0]
