# SPDX-License-Identifier: Apache-2.0
"""One row of ``accuracy.py``: train, export, compare, judge; nothing twice.

Every result carries the hash of what made it: recipe, seed, data files, float model and code.  What
is found under that hash is not made again; a training that was interrupted goes on from its last
epoch.  Code counts without comments and docstrings.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import accuracy_tasks
import numpy as np
from accuracy_methods import FLOAT, Method
from accuracy_tasks import Array, Samples, Task

import tinyq
from tinyq import executor, qat
from tinyq.archive import load_graph, save_graph
from tinyq.backends import find_backend
from tinyq.data import CALIBRATION_SAMPLES, Dataset, choose
from tinyq.files import write_atomic
from tinyq.graph import Graph
from tinyq.passes import FLOAT_PIPELINE, apply, finalize
from tinyq.report import GraphReport, report_graph
from tinyq.resources import firmware_dir, templates_dir
from tinyq.verification import check_backend

BACKENDS: Final = ("host", "qemu-m4", "tflm")
#: samples compared: every tensor of Keras in its three forms, every tensor of each backend
KERAS_COUNT: Final = 256
BACKEND_COUNT: Final = 32
TRAINING_CODE: Final = ("qat", "quantizers", "encodings.py", "numerics.py")
PTQ_CODE: Final = ("ptq", "passes", "ops", "frontends", "encodings.py", "numerics.py")
CHECKING_CODE: Final = (
    "ops", "passes", "codegen", "tflite", "backends", "emulators", "encodings.py", "numerics.py",
    "graph.py", "tensors.py", "executor.py", "proof.py", "compression.py", "report.py",
)  # fmt: skip


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


# ---------------------------------------------------------------- hashes


def digest(value: Any) -> str:
    """Of plain data."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def file_digest(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def code_digest(paths: Iterator[Path]) -> str:
    """Of what sources do: Python without comments and docstrings, other files as they are."""
    parts = [_program(path) if path.suffix == ".py" else file_digest(path) for path in paths]
    return digest(parts)


def _program(path: Path) -> str:
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not _is_table(node)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_table(node: ast.AST) -> bool:
    """The tasks and their form: what counts of them is in each task's recipe."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node.name in ("Task", "quick")
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TASKS"


@functools.cache
def package_digest(names: tuple[str, ...]) -> str:
    """Of modules and packages of tinyq."""
    root = Path(tinyq.__file__).parent
    found = (p for name in names for p in sorted((root / name).rglob("*.py")) or [root / name])
    return code_digest(iter(found))


@functools.cache
def checking_digest() -> str:
    """Of everything that exports, runs and judges a graph."""
    sources = [*templates_dir().rglob("*.j2"), *(firmware_dir() / "lib" / "tinyq").rglob("*.[ch]")]
    own = Path(__file__)
    return digest([package_digest(CHECKING_CODE), code_digest(iter([*sorted(sources), own]))])


def start_inputs(unit: Unit, places: Places) -> dict[str, Any]:
    """What the float model that methods start from depends on."""
    task = unit.task
    return {
        "start": {k: v for k, v in task.recipe().items() if k in ("task", "start")},
        "seed": unit.seed,
        "cut": unit.cut,
        "validate": unit.validate,
        "files": {name: file_digest(places.data / name) for name in task.files},
        "model": file_digest(places.models / task.model) if task.model else "",
        "code": code_digest(iter([Path(accuracy_tasks.__file__)])),
    }


def training_inputs(unit: Unit, places: Places) -> dict[str, Any]:
    """What the trained, not yet exported, model depends on."""
    code = {"ptq": PTQ_CODE, "qat": TRAINING_CODE, "float": ()}[kind(unit.method)]
    if unit.task.least_squares and code:
        code = tuple(sorted({*code, *PTQ_CODE}))
    return {
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

    class Batches(tf_keras.utils.Sequence):  # type: ignore[misc]
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
        fit_float(model, samples, task, _seeded(task.start, unit.seed))
        return model

    key = digest(start_inputs(unit, places))
    return cached_model(places.cache / f"{task.name}-start-{key}.keras", make)


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
        qat.adopt(model, ptq_graph(start, unit.method.config.weights, unit.seed, samples))
    partial = places.cache / f"partial-{key}"
    qat.train(
        model, samples.x, samples.y, unit.method.training(unit.task.schedule, unit.seed),
        teacher=float_model(unit, places, samples), augment=unit.task.augment,
        checkpoint_dir=partial,
    )  # fmt: skip
    qat.to_graph(model)  # exponents that training left too fine are raised in the model itself
    _save_whole(path, lambda temporary: qat.save(model, temporary))
    shutil.rmtree(partial, ignore_errors=True)
    return qat.load(path)


def calibration(samples: Samples, seed: int) -> list[Array]:
    """Training inputs that choose the first exponents."""
    return list(choose(Dataset((samples.x,)), CALIBRATION_SAMPLES, seed).inputs)


def ptq_graph(model: Any, weights: str, seed: int, samples: Samples) -> Graph:
    """Post-training quantization of a float model; no channel is removed."""
    from tinyq import ptq
    from tinyq.frontends.importer import to_float_graph

    graph = apply(to_float_graph(model), FLOAT_PIPELINE)
    inputs = dict(zip(graph.inputs, calibration(samples, seed), strict=True))
    return ptq.quantize(graph, inputs, ptq.PtqConfig(weights, seed=seed))


def keras_checks(model: Any, graph: Graph, x: Array, scratch: Path) -> dict[str, Any]:
    """Every tensor of the Keras model, eager, compiled and reloaded, against the executor."""
    expected = executor.run(graph, executor.quantize_inputs(graph, [x]))
    qat.save(model, scratch / "again.keras")
    forms = {
        "keras": qat.tensor_codes(model, x),
        "keras-graph": qat.tensor_codes(model, x, compiled=True),
        "keras-reloaded": qat.tensor_codes(qat.load(scratch / "again.keras"), x),
    }
    return {
        name: {
            "inputs": len(x),
            "tensors": len(codes),
            "mismatches": int(sum((q != expected[t]).sum() for t, q in codes.items())),
        }
        for name, codes in forms.items()
    }


def final_check(whole: Graph, final: Graph, x: Array) -> dict[str, Any]:
    """Outputs before and after the passes that remove constant channels."""
    first, last = (
        executor.predict(graph, executor.quantize_inputs(graph, [x])) for graph in (whole, final)
    )
    wrong = sum(
        (first[a] != last[b]).sum() for a, b in zip(whole.outputs, final.outputs, strict=True)
    )
    return {"inputs": len(x), "tensors": len(last), "mismatches": int(wrong)}


def backend_checks(graph: Graph, x: Array) -> dict[str, Any]:
    """Every tensor of each backend against the executor."""
    codes = executor.quantize_inputs(graph, [x])
    found = {name: check_backend(graph, find_backend(name), codes) for name in BACKENDS}
    return {
        name: {"inputs": c.inputs, "tensors": len(c.tensors), "mismatches": c.mismatches}
        for name, c in found.items()
    }


# ---------------------------------------------------------------- rows


def classes(graph: Graph, x: Array) -> Array:
    """Top-1 of an integer graph."""
    codes = executor.predict(graph, executor.quantize_inputs(graph, [x]), 128)
    return codes[graph.outputs[0]].reshape(len(x), -1).argmax(1)


def quantized_figures(graph: Graph) -> dict[str, Any]:
    """What the proof and the weights say."""
    report = report_graph(graph)
    bits = [layer.accumulator_bits for layer in report.layers if layer.accumulator_bits]
    return {
        "accumulator_bits": max(bits),
        "inner_accumulator_bits": max(bits[1:-1]),
        "sparsity": report.compression.sparsity,
        "weight_bytes": report.compression.stored_bytes,
        "entropy_bytes": report.compression.entropy_bytes,
        "weights": report.compression.weights,
        "compression": report.compression.ratio,
        "layers": _layer_bits(report),
    }


def _layer_bits(report: GraphReport) -> dict[str, int]:
    return {each.name: each.accumulator_bits for each in report.layers if each.accumulator_bits}


def float_figures(model: Any) -> dict[str, Any]:
    """The same for a float model."""
    weights = int(
        sum(w.shape.num_elements() for w in model.trainable_variables if "kernel" in w.name)
    )
    return {
        "accumulator_bits": None,
        "inner_accumulator_bits": None,
        "sparsity": 0.0,
        "weight_bytes": 4 * weights,
        "weights": weights,
        "mismatches": None,
    }


def quantized_graph(unit: Unit, places: Places, samples: Samples) -> tuple[Graph, dict[str, Any]]:
    """The graph to be judged, and the checks of the Keras model that it came from."""
    if kind(unit.method) == "ptq":
        model = float_model(unit, places, samples)
        return finalize(ptq_graph(model, unit.method.ptq, unit.seed, samples)), {}
    model = trained_model(unit, places, samples)
    whole = qat.to_graph(model, unit.task.name)
    final = finalize(whole)
    x = samples.x_test[:KERAS_COUNT]
    with tempfile.TemporaryDirectory() as folder:
        checks = keras_checks(model, whole, x, Path(folder))
    return final, {**checks, "passes": final_check(whole, final, x)}


def make_row(unit: Unit, places: Places) -> dict[str, Any]:
    """One row, made or found; its graph and itself are under ``results``."""
    made_of = {"trained": training_inputs(unit, places), "checked": checking_digest()}
    key = digest(made_of)
    path = places.results / f"{unit.stem}.json"
    if path.exists() and json.loads(path.read_text())["hash"] == key:
        return {**json.loads(path.read_text()), "found": True}
    began = time.monotonic()
    samples = unit.samples(places)
    reference = float_model(unit, places, samples)
    wanted = reference.predict(samples.x_test, batch_size=256, verbose=0).argmax(-1)
    if kind(unit.method) == "float":
        chosen, figures = wanted, float_figures(reference)
        save_float(reference, path.with_suffix(".keras"))
    else:
        graph, checks = quantized_graph(unit, places, samples)
        checks |= backend_checks(graph, samples.x_test[:BACKEND_COUNT])
        chosen, figures = classes(graph, samples.x_test), quantized_figures(graph)
        figures["mismatches"] = sum(check["mismatches"] for check in checks.values())
        figures["checks"] = checks
        save_graph(graph, path.with_suffix(".tq"))
        assert load_graph(path.with_suffix(".tq"))
    row = {
        "task": unit.task.name,
        "method": unit.method.name,
        "seed": unit.seed,
        "accuracy": float(np.mean(chosen == samples.y_test)),
        "float_accuracy": float(np.mean(wanted == samples.y_test)),
        "agreement": float(np.mean(chosen == wanted)),
        **figures,
        "train_samples": len(samples.x),
        "test_samples": len(samples.x_test),
        "validation": unit.validate,
        "seconds": round(time.monotonic() - began),
        "made_of": made_of,
        "hash": key,
    }
    write_atomic(path, json.dumps(row, indent=1) + "\n")
    return row
