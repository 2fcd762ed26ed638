# SPDX-License-Identifier: Apache-2.0
"""One process of a distributed training, unchanged but for the scope of its strategy.

python train_worker.py STRATEGY FOLDER    STRATEGY: "workers" (TF_CONFIG says which), "mirrored"
(two devices in one process) or "fit" (workers, trained by Keras)

Writes FOLDER/<task>.tq and FOLDER/<task>.npz: the model's input, its codes of every tensor, its
weights, the losses and the steps done.  With checkpoints in FOLDER/run where that folder exists.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from train_models import blobs, noisy

import tinyq.qat as qat
from tinyq.archive import save_graph

CONFIG = qat.TrainConfig(
    epochs=3, batch_size=27, learning_rate=1e-2, batch_statistics=0.5, wide_weights=0.3
)


def make_strategy(name: str) -> Any:
    """The strategy that the command line names."""
    if name == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return tf.distribute.MultiWorkerMirroredStrategy()


def fit(model: Any, x: Any, y: Any) -> list[float]:
    """Keras' own loop."""
    model.compile(tf_keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    history = model.fit(data, epochs=6, verbose=0)
    return [float(loss) for loss in history.history["loss"]]


def main(name: str, folder: Path) -> None:
    """Train and write what the test compares."""
    strategy = make_strategy(name)
    tf_keras.utils.set_random_seed(0)
    x, y = blobs()
    steps: list[int] = []
    with strategy.scope():
        model = qat.quantize(noisy(), qat.preset("w4a8_lut"), x)
    if name == "fit":
        losses = fit(model, x, y)
    else:
        run = folder / "run"
        where = run if run.exists() else None
        losses = qat.train(
            model, x, y, CONFIG, lambda p: steps.append(p.step), checkpoint_dir=where
        )
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0)
    save_graph(qat.to_graph(model), folder / f"{task}.tq")
    codes = {f"codes_{k}": v for k, v in qat.tensor_codes(model, x).items()}
    weights = {f"weights_{i}": w for i, w in enumerate(model.get_weights())}
    np.savez(folder / f"{task}.npz", x=x, losses=losses, steps=steps, **codes, **weights)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
