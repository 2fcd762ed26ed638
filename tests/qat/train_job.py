# SPDX-License-Identifier: Apache-2.0
"""A training with everything that has a state; run as a program it can be killed.

python train_job.py FOLDER    trains with checkpoints in FOLDER and prints every step
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from train_models import blobs, noisy

import tinyq.qat as qat

CONFIG = qat.TrainConfig(
    epochs=3,
    batch_size=32,
    learning_rate=1e-2,
    warmup=0.2,
    batch_statistics=0.6,
    wide_weights=0.4,
    float_activations=0.2,
    seed=11,
)


def jitter(x: Any, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Augmentation that draws."""
    return x + rng.normal(0, 0.02, x.shape), y


def fresh() -> Any:
    """The quantized model that every run starts from."""
    return qat.quantize(noisy(), qat.preset("w4a8_lut"), blobs()[0])


def train(
    model: Any, progress: Callable[[qat.Progress], None] | None = None, **options: Any
) -> list[float]:
    """Train with a teacher, labels and augmentation."""
    x, y = blobs()
    return qat.train(
        model,
        x,
        y,
        CONFIG,
        progress,
        teacher=noisy(),
        augment=jitter,
        checkpoint_steps=2,
        **options,
    )


def main() -> None:
    """Print "step N" after each step."""
    train(fresh(), lambda p: print("step", p.step, flush=True), checkpoint_dir=sys.argv[1])


if __name__ == "__main__":
    main()
