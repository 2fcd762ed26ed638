# SPDX-License-Identifier: Apache-2.0
"""Rates and phases as functions of the step."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tinyq.errors import InputError
from tinyq.qat.schedule import Phase, TrainConfig, phase_at, rates_at


def test_rates_follow_one_cosine() -> None:
    config = TrainConfig()
    assert rates_at(config, 0, 100) == {
        "weight": 1e-3,
        "scale": 1e-2,
        "table": 0.2,
        "gain": 1e-2,
    }
    halfway = rates_at(config, 50, 100)
    # the cosine of a rounded pi/2 is not quite 0
    assert halfway["weight"] == pytest.approx(5e-4) and halfway["scale"] == pytest.approx(5e-3)
    assert rates_at(config, 69, 100)["scale"] > 0 and rates_at(config, 70, 100)["scale"] == 0
    assert rates_at(config, 100, 100)["weight"] == 0


def test_warmup_rises_to_the_top_of_the_cosine() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1)
    rates = [rates_at(config, step, 100)["weight"] for step in range(101)]
    assert rates[:10] == [(i + 1) / 11 for i in range(10)]
    assert rates[10] == 1.0 == max(rates)
    assert rates[55] == pytest.approx(0.5)  # 0.45 / 0.9 and pi/2 are rounded
    assert rates[100] == 0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_phases_end_at_their_fractions() -> None:
    config = TrainConfig(batch_statistics=0.5, wide_weights=0.2, float_activations=0.3)
    assert phase_at(config, 0, 10) == Phase(True, True, True)
    assert phase_at(config, 2, 10) == Phase(True, False, True)
    assert phase_at(config, 3, 10) == Phase(True, False, False)
    assert phase_at(config, 5, 10) == Phase()
    assert phase_at(TrainConfig(), 0, 10) == Phase()


@pytest.mark.parametrize(
    "options",
    [
        {"warmup": 1.0},
        {"wide_weights": -0.1},
        {"float_activations": 1.5},
        {"distillation": 2.0},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"loss": "hinge"},
        {"loss": ("auto", "hinge")},
        {"steps_per_epoch": 0},
    ],
)
def test_impossible_schedules(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        TrainConfig(**options)
