# SPDX-License-Identifier: Apache-2.0
"""Op determinism is on while a model is trained, and afterwards as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tensorflow.python.framework import config
from train_models import dense, points

import tinyq.qat as qat
from tinyq.qat.determinism import deterministic


class Interrupted(Exception):
    """What stops a training from within."""


@pytest.fixture(params=[False, True], ids=["off before", "on before"])
def before(request: pytest.FixtureRequest) -> Iterator[bool]:
    """A process that has determinism off, or on; it is left as it was found."""
    found = config.is_op_determinism_enabled()
    switch(request.param)
    yield request.param
    switch(found)


def switch(on: bool) -> None:
    if on:
        config.enable_op_determinism()
    else:
        config.disable_op_determinism()


def test_on_inside_and_as_before_afterwards(before: bool) -> None:
    with deterministic():
        assert config.is_op_determinism_enabled()
        with deterministic():
            pass
        assert config.is_op_determinism_enabled()
    assert config.is_op_determinism_enabled() is before


def test_as_before_after_an_error(before: bool) -> None:
    with pytest.raises(Interrupted), deterministic():
        raise Interrupted
    assert config.is_op_determinism_enabled() is before


@pytest.fixture(scope="module")
def model() -> Any:
    return qat.quantize(dense(), qat.preset("w8a8"), points()[0])


def test_training_is_deterministic(model: Any, before: bool) -> None:
    seen: list[bool] = []

    def look(report: qat.Progress) -> None:
        seen.append(config.is_op_determinism_enabled())

    qat.train(model, *points(), qat.TrainConfig(epochs=1, batch_size=24), look)
    assert seen == [True, True]
    assert config.is_op_determinism_enabled() is before


def test_an_interrupted_training_leaves_no_trace(model: Any, before: bool) -> None:
    seen: list[bool] = []

    def stop(report: qat.Progress) -> None:
        seen.append(config.is_op_determinism_enabled())
        raise Interrupted

    with pytest.raises(Interrupted):
        qat.train(model, *points(), qat.TrainConfig(epochs=1, batch_size=24), stop)
    assert seen == [True]
    assert config.is_op_determinism_enabled() is before
