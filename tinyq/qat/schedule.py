# SPDX-License-Identifier: Apache-2.0
"""How long, how fast and in which phases a quantized model is trained.

Everything that changes during a training is a pure function of the step here: the learning rates (a
linear warm-up, then one cosine to zero) and the phase (what is not quantized or frozen yet).  A
training that is resumed at any step therefore goes on as if it had never stopped.

Absent on purpose: schedules that look at the loss; they would not resume to the same result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from tinyq.errors import InputError

#: "auto": flags for a model that ends in a sigmoid, the input again without labels, else classes
LOSS_NAMES: Final = ("auto", "classes", "flags", "squares")
_FRACTIONS: Final = (
    "freeze_scales",
    "batch_statistics",
    "wide_weights",
    "float_activations",
    "distillation",
)


@dataclass(frozen=True)
class TrainConfig:
    """How a quantized model is trained.

    Attributes:
        epochs, batch_size: passes over the data and samples a step (of all replicas together; a
            ``tf.data.Dataset`` brings its own batches).
        steps_per_epoch: ends an epoch early; needed for data sets of unknown or infinite length.
        learning_rate: of kernels, biases and batch normalization (Adam, cosine to zero).
        scale_rate: of the exponents' theta, and of the norms' logarithms (A2Q), which never freeze.
        table_rate: of table entries, which are numbers up to 127.
        warmup: fraction of the steps over which all rates rise from zero.
        freeze_scales: fraction of the steps after which exponents stay; they would flip otherwise.
        batch_statistics: fraction of the steps that normalize by batch statistics; 0 keeps the
            statistics of the trained model throughout.
        wide_weights: fraction of the steps with 8-bit weights; the quantizers are then fitted to
            the weights of that moment.
        float_activations: fraction of the steps with real activations (the input is always
            quantized).
        loss: of all outputs or one name for each, of ``LOSS_NAMES``.
        distillation: weight of the teacher's loss, where there are teacher and labels.
        temperature: that softens the classes or flags of teacher and student.
        seed: of shuffling, noise layers and augmentation.
    """

    epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-3
    scale_rate: float = 1e-2
    table_rate: float = 0.2
    freeze_scales: float = 0.7
    batch_statistics: float = 0.0
    seed: int = 0
    warmup: float = 0.0
    wide_weights: float = 0.0
    float_activations: float = 0.0
    steps_per_epoch: int | None = None
    loss: str | tuple[str, ...] = "auto"
    distillation: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1:
            raise InputError(f"epochs={self.epochs}, batch_size={self.batch_size}: use 0.., 1..")
        if self.steps_per_epoch is not None and self.steps_per_epoch < 1:
            raise InputError(f"steps_per_epoch={self.steps_per_epoch}: use 1 or more")
        for name in _FRACTIONS:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)} is no fraction from 0 to 1")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup={self.warmup} is no fraction from 0 to below 1")
        for name in ("learning_rate", "scale_rate", "table_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{name}={getattr(self, name)} must be a number of 0 or more")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature={self.temperature} must be above 0")
        for name in (self.loss,) if isinstance(self.loss, str) else self.loss:
            if name not in LOSS_NAMES:
                raise InputError(f"loss='{name}' is unknown; use one of {', '.join(LOSS_NAMES)}")


class Phase(NamedTuple):
    """What is special about a step.

    batch_statistics: batch normalizations learn; wide_weights: 8-bit weights; float_activations:
    activations are real numbers.
    """

    batch_statistics: bool = False
    wide_weights: bool = False
    float_activations: bool = False


def phase_at(config: TrainConfig, step: int, steps: int) -> Phase:
    """The phase of a step, counted from 0."""
    fractions = (config.batch_statistics, config.wide_weights, config.float_activations)
    return Phase(*(step < fraction * steps for fraction in fractions))


def rates_at(config: TrainConfig, step: int, steps: int) -> Mapping[str, float]:
    """Learning rate of each group of variables at a step, counted from 0."""
    position, rising = step / max(steps, 1), config.warmup * steps
    if step < rising:
        factor = (step + 1) / (math.floor(rising) + 1)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (position - config.warmup) / (1 - config.warmup)))
    scale = config.scale_rate if position < config.freeze_scales else 0.0
    return {
        "weight": config.learning_rate * factor,
        "scale": scale * factor,
        "table": config.table_rate * factor,
        "gain": config.scale_rate * factor,
    }
