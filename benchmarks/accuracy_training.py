# SPDX-License-Identifier: Apache-2.0
"""The models behind the rows of ``accuracy.py``: float, quantized in training or after it.

Each is made once: it is kept in the cache under the hash of its recipe, seed, data files, float
model and code.  A training that was interrupted goes on from its last epoch.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accuracy_tasks
import numpy as np
from accuracy_hashes import (
    PTQ_CODE,
    TRAINING_CODE,
    closure_digest,
    digest,
    file_digest,
    package_digest,
)
from accuracy_methods import FLOAT, Method
from accuracy_tasks import Array, Samples, Task

from tinyq import qat
from tinyq.data import CALIBRATION_SAMPLES, Dataset, choose
from tinyq.graph import Graph
from tinyq.passes import FLOAT_PIPELINE, apply


@dataclass(frozen=True)
class Places:
    """Folders: data and models are read, ``cache`` holds Keras models, ``results`` rows."""

    data: Path
    models: Path
    cache: Path
    results: Path


@dataclass(frozen=True)
class Unit:
    """One row to be made; ``samples`` are cut to (train, test), or validated without test ones."""

    task: Task
    method: Method
    seed: int
    cut: tuple[int, int] | None = None
    validate: bool = False

    @property
    def stem(self) -> str:
        """Of its files."""
        method = "".join(c if c.isalnum() or c in "+=" else "-" for c in self.method.name)
        return f"{self.task.name}/{method}-{self.seed}"

    def samples(self, places: Places) -> Samples:
        """What it learns from and is judged by."""
        found = self.task.load(places.data)
        if self.validate:
            found = found.validation(self.task.held_out)
        return found.head(*self.cut) if self.cut else found


def start_inputs(unit: Unit, places: Places) -> dict[str, Any]:
    """What the float model that methods start from depends on."""
    task = unit.task
    return {
        "start": {k: v for k, v in task.recipe().items() if k in ("task", "start", "input_unit")},
        "seed": unit.seed,
        "cut": unit.cut,
        "validate": unit.validate,
        "files": {name: file_digest(places.data / name) for name in task.files},
        "model": file_digest(places.models / task.model) if task.model else "",
        "code": [closure_digest(Path(__file__), ["start_model"]), _task_digest(task)],
    }


def _task_digest(task: Task) -> str:
    """Of the functions that a task is made of."""
    functions = (task.load, task.build, task.augment)
    names = [function.__name__ for function in functions if function is not None]
    return closure_digest(Path(accuracy_tasks.__file__), names)


def training_inputs(unit: Unit, places: Places) -> dict[str, Any]:
    """What the trained, not yet exported, model depends on."""
    code, function = {
        "ptq": (PTQ_CODE, "ptq_graph"),
        "qat": (TRAINING_CODE, "trained_model"),
        "float": ((), "float_model"),
    }[kind(unit.method)]
    if unit.task.least_squares and code:
        code = tuple(sorted({*code, *PTQ_CODE}))
    return {
        "function": closure_digest(Path(__file__), [function]),
        "start": start_inputs(unit, places),
        "task": unit.task.recipe(),
        "method": unit.method.recipe(),
        "code": package_digest(code) if code else "",
    }


def kind(method: Method) -> str:
    """ "float", "ptq" or "qat"."""
    return "ptq" if method.ptq else "qat" if method.config else "float"


# ---------------------------------------------------------------- float models


def fit_float(model: Any, samples: Samples, task: Task, config: qat.TrainConfig) -> None:
    """Train in place as ``qat.train`` does: Adam, one cosine, the task's augmentation."""
    import tf_keras

    if not config.epochs:
        return
    tf_keras.utils.set_random_seed(config.seed)
    batches = _batches(samples, task, config)
    rate = tf_keras.optimizers.schedules.CosineDecay(
        config.learning_rate, config.epochs * len(batches)
    )
    model.compile(tf_keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(batches, epochs=config.epochs, verbose=0, shuffle=False)


def _batches(samples: Samples, task: Task, config: qat.TrainConfig) -> Any:
    """Shuffled and augmented batches of every epoch."""
    import tf_keras

    class Batches(tf_keras.utils.Sequence):
        def __init__(self) -> None:
            super().__init__()
            self.rng = np.random.default_rng(config.seed)
            self.order = self.rng.permutation(len(samples.x))

        def __len__(self) -> int:
            return -(-len(samples.x) // config.batch_size)

        def __getitem__(self, index: int) -> tuple[Array, Array]:
            chosen = self.order[index * config.batch_size : (index + 1) * config.batch_size]
            pair = samples.x[chosen], samples.y[chosen]
            return pair if task.augment is None else task.augment(*pair, self.rng)

        def on_epoch_end(self) -> None:
            self.order = self.rng.permutation(len(samples.x))

    return Batches()


def cached_model(path: Path, make: Callable[[], Any]) -> Any:
    """A Keras model that is made once."""
    import tf_keras

    if path.exists():
        return tf_keras.models.load_model(path, compile=False)
    model = make()
    save_float(model, path)
    return model


def save_float(model: Any, path: Path) -> None:
    """Save a float model without the state of its optimizer."""
    import tf_keras

    plain = tf_keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    _save_whole(path, plain.save)


def _save_whole(path: Path, save: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        save(temporary)
        temporary.replace(path)


def start_model(unit: Unit, places: Places, samples: Samples) -> Any:
    """The float model that every method of a task and seed starts from."""
    from tinyq.frontends.keras import load_model

    task = unit.task

    def make() -> Any:
        import tf_keras

        tf_keras.utils.set_random_seed(unit.seed)
        model = task.build() if task.build else load_model(places.models / task.model)
        if task.input_unit != 1:
            scale_inputs(model, task.input_unit)
        fit_float(model, samples, task, _seeded(task.start, unit.seed))
        return model

    key = digest(start_inputs(unit, places))
    return cached_model(places.cache / f"{task.name}-start-{key}.keras", make)


def scale_inputs(model: Any, factor: float) -> None:
    """Let a model see its inputs as ``factor`` times what they are: kernels of the first layers."""
    for layer in {
        node.layer for each in model.inputs for node in each._keras_history.layer.outbound_nodes
    }:
        kernel, *bias = layer.get_weights()
        layer.set_weights([factor * kernel, *bias])


def float_model(unit: Unit, places: Places, samples: Samples) -> Any:
    """The float model fine-tuned as long as the others: what they are compared with."""
    task = unit.task
    float_unit = Unit(task, FLOAT, unit.seed, unit.cut, unit.validate)

    def make() -> Any:
        model = start_model(unit, places, samples)
        if task.tune_float:
            fit_float(model, samples, task, _seeded(task.schedule, unit.seed))
        return model

    key = digest(training_inputs(float_unit, places))
    return cached_model(places.cache / f"{task.name}-float-{key}.keras", make)


def _seeded(config: qat.TrainConfig, seed: int) -> qat.TrainConfig:
    return FLOAT.training(config, seed)


# ---------------------------------------------------------------- quantized models


def trained_model(unit: Unit, places: Places, samples: Samples) -> Any:
    """The model of a quantization-aware training."""
    key = digest(training_inputs(unit, places))
    path = places.cache / f"{unit.task.name}-qat-{key}.keras"
    if path.exists():
        return qat.load(path)
    start = start_model(unit, places, samples)
    assert unit.method.config is not None
    model = qat.quantize(start, unit.method.config, calibration(samples, unit.seed))
    if unit.task.least_squares:
        config = unit.method.config
        per_channel = config.scale == "per_channel"
        qat.adopt(model, ptq_graph(start, config.weights, unit.seed, samples, per_channel))
    partial = places.cache / f"partial-{key}"
    schedule = unit.method.training(unit.task.schedule, unit.seed)
    qat.train(
        model, samples.x, samples.y, schedule,
        teacher=float_model(unit, places, samples) if schedule.distillation else None,
        augment=unit.task.augment, checkpoint_dir=partial,
    )  # fmt: skip
    qat.to_graph(model)  # exponents that training left too fine are raised in the model itself
    _save_whole(path, lambda temporary: qat.save(model, temporary))
    shutil.rmtree(partial, ignore_errors=True)
    return qat.load(path)


def calibration(samples: Samples, seed: int) -> list[Array]:
    """Training inputs that choose the first exponents."""
    return list(choose(Dataset((samples.x,)), CALIBRATION_SAMPLES, seed).inputs)


def ptq_graph(
    model: Any, weights: str, seed: int, samples: Samples, per_channel: bool = True
) -> Graph:
    """Post-training quantization of a float model; no channel is removed."""
    from tinyq import ptq
    from tinyq.frontends.importer import to_float_graph

    graph = apply(to_float_graph(model), FLOAT_PIPELINE)
    inputs = dict(zip(graph.inputs, calibration(samples, seed), strict=True))
    return ptq.quantize(graph, inputs, ptq.PtqConfig(weights, per_channel=per_channel, seed=seed))
