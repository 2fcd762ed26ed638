# SPDX-License-Identifier: Apache-2.0
"""A learning rate that is no number is bad input, not a crash in the first step."""

from __future__ import annotations

import pytest

from tinyq.errors import InputError

schedule = pytest.importorskip("tinyq.qat.schedule", reason="TensorFlow is not installed")


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0])
def test_rates_that_are_no_rates_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match=r"learning_rate=.* must be a number of 0 or more"):
        schedule.TrainConfig(learning_rate=rate)
