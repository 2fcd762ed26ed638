# SPDX-License-Identifier: Apache-2.0
"""The Python API, which the command line calls; also reachable as ``tinyq.quantize`` and so on.

    import tinyq
    model = tinyq.quantize("net.h5", "data.npz", weights="lut4")
    tinyq.save(model, "net.tq")
    print(tinyq.run(model, "data.npz", on="qemu-m4").accuracy)
    tinyq.verify(model, "data.npz", on=["host", "qemu-m4"]).passed
    tinyq.export(model, "out", name="net")

``model`` is a graph or the path of a ``.tq`` file.  ``data`` is the path of an ``.npz`` file, an
array, or a sequence of arrays, one per input.  Errors are ``tinyq.errors.TinyqError``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import executor, passes, project
from tinyq.archive import is_graph_file, load_graph, save_graph
from tinyq.backends import Backend, EmulatedBackend, find_backend
from tinyq.backends.sources import MODEL_NAME
from tinyq.certificate import library_files, make_certificate
from tinyq.cores import find_core
from tinyq.data import (
    CALIBRATION_SAMPLES,
    Dataset,
    as_dataset,
    choose,
    load_calibration_data,
    load_test_data,
    load_training_data,
)
from tinyq.errors import DataError, InputError
from tinyq.evaluate import Score, score
from tinyq.files import write_tree
from tinyq.graph import Graph, Preprocess
from tinyq.kernels.program import Target
from tinyq.measurement import Cost, Size, measure_profile, measure_size
from tinyq.progress import Progress, silent
from tinyq.report import GraphReport, report_graph
from tinyq.verification import BackendCheck, batch_size, check_backend, random_codes
from tinyq.waterfall import Explanation
from tinyq.waterfall import explain as explain_graph

__all__ = [
    "Run",
    "Verification",
    "explain",
    "export",
    "inspect",
    "load",
    "profile",
    "quantize",
    "run",
    "save",
    "size",
    "train",
    "verify",
]

Array = npt.NDArray[Any]
Model = Graph | str | os.PathLike[str]
Data = str | os.PathLike[str] | Array | Sequence[Array] | Dataset
#: inputs made where no data calibrate; more cost memory and gain nothing measurable
SYNTHETIC_SAMPLES: Final = 64
#: passes over the training data unless told otherwise
QAT_EPOCHS: Final = 10
#: where the codes of a training come from
STARTS: Final = ("rounded", "least_squares")
FORMATS: Final = ("c", "platformio", "tflite")
#: test samples that ``explain`` takes unless told otherwise
EXPLAIN_SAMPLES: Final = 256

load = load_graph
save = save_graph


def as_graph(model: Model) -> Graph:
    """The integer graph that ``model`` is or names.

    Raises:
        ModelFileError, ArchiveError: the file is missing, damaged or from another version.
        InputError: it is a float graph.
    """
    graph = model if isinstance(model, Graph) else load_graph(Path(model))
    if graph.is_float:
        raise InputError(f"'{graph.name}' is a float graph; quantize it first")
    return graph


# ---------------------------------------------------------------- quantize


def quantize(
    model: Any,
    data: Data | None = None,
    *,
    weights: str = "int8",
    first_last: str = "same",
    per_channel: bool = True,
    scale: float = 1.0,
    offset: float = 0.0,
    samples: int = CALIBRATION_SAMPLES,
    seed: int = 0,
    name: str | None = None,
    drop_softmax: bool = False,
    progress: Progress = silent,
) -> Graph:
    """Post-training quantization: a Keras model becomes an integer graph.

    Args:
        model: path of a Keras file, or a model object of tf_keras or Keras 3.
        data: calibrates; ``None`` calibrates on batch-norm statistics instead.
        weights: key of ``encodings.ENCODINGS``.
        first_last: "same", or "int8" for the first and the last layers.
        per_channel: one weight exponent per output channel instead of one per layer.
        scale, offset: the model's input is (x - offset) * scale of what ``data`` holds.
        samples: at most so many samples calibrate, chosen by ``seed``.
        name: name of the model in C; the Keras model's name by default.
        drop_softmax: leave out a softmax at the output.

    Raises:
        ModelFileError, UnsupportedError, DataError, InputError: see their messages.
    """
    from tinyq import ptq

    config = ptq.PtqConfig(weights, first_last=first_last, per_channel=per_channel, seed=seed)
    graph = import_model(model, name, scale, offset, drop_softmax)
    if data is None:
        from tinyq.ptq.datafree import synthesize

        made = synthesize(model, min(samples, SYNTHETIC_SAMPLES), seed, progress=progress)
        inputs = dict(zip(graph.inputs, made, strict=True))
    else:
        chosen = calibration_data(graph, data, samples, seed)
        inputs = executor.preprocess_inputs(graph, chosen.inputs)
    prepared = passes.apply(graph, passes.FLOAT_PIPELINE)
    return passes.finalize(ptq.quantize(prepared, inputs, config, progress))


def train(
    model: Any,
    data: Data,
    labels: Array | None = None,
    *,
    weights: str | None = None,
    preset: str | None = None,
    config: Any = None,
    first_last: str | None = None,
    per_channel: bool | None = None,
    epochs: int | None = None,
    batch: int = 64,
    learning_rate: float | None = None,
    warmup: float = 0.0,
    gradual: float = 0.0,
    distill: float | None = None,
    start: str = "rounded",
    schedule: Any = None,
    augment: Any = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    log_dir: str | os.PathLike[str] | None = None,
    distribute: str | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    seed: int = 0,
    name: str | None = None,
    drop_softmax: bool = False,
    progress: Progress = silent,
) -> Graph:
    """Quantization-aware training: calibrates, trains on, and returns the integer graph.

    Args:
        data: training samples; a file's labels are used.  Also a ``tf.data.Dataset`` of batches
            (x, y) or x.
        labels: int ``[N]``, for ``data`` in memory; without any the model learns from the float
            model where ``distill`` is given, else to reconstruct its input.
        weights: key of ``encodings.ENCODINGS``; overrides the preset's.
        preset: key of ``qat.PRESETS``; "w4a8_lut" where neither it nor ``config`` is given.
        config: what ``qat.read_config`` takes: a ``qat.QuantConfig``, or options for all and for
            single layers in a dictionary or a YAML file.
        first_last, per_channel: override those of the preset or of ``config``.
        epochs: passes over the data; ``QAT_EPOCHS`` where neither it nor ``schedule`` is given.
        batch, learning_rate, warmup: of the training; see ``qat.TrainConfig``.
        gradual: fraction of the steps in which weights keep 8 bits.
        distill: learn from the float model, with this weight beside the labels.
        start: from each weight's nearest code ("rounded"), or from the codes that post-training
            quantization chooses together ("least_squares"), for low rates and few data.
        schedule: a ``qat.TrainConfig`` with everything else; the arguments above override it where
            they are not at their defaults.
        augment, checkpoint_dir, log_dir: see ``qat.train``.
        distribute: "mirrored" trains on all devices of this machine, "workers" in all processes
            that TF_CONFIG names, each of which calls this; by default the current strategy.

    Other arguments and errors as in ``quantize``.
    """
    import tinyq.qat as training
    from tinyq.frontends.keras import build_model, read_network

    options = _quant_config(preset, config, weights, first_last, per_channel)
    _check_start(start, gradual)
    passes_over = QAT_EPOCHS if epochs is None and schedule is None else epochs
    given = {
        "epochs": passes_over, "batch_size": batch, "seed": seed, "learning_rate": learning_rate,
        "warmup": warmup, "wide_weights": gradual, "distillation": distill,
    }  # fmt: skip
    chosen = _schedule(schedule, given)
    with training.strategy_scope(distribute):
        network = read_network(model)
        graph = import_model(network, name, scale, offset)
        teacher = build_model(network)
        x, y, sample = _samples(graph, teacher, data, labels, seed)
        quantized = training.quantize(build_model(network), options, sample)
        if start == "least_squares":
            training.adopt(quantized, _least_squares(quantized, graph, sample, options, seed))
    training.train(
        quantized, x, y, chosen, _steps(progress),
        teacher=None if distill is None else teacher, augment=augment,
        checkpoint_dir=checkpoint_dir, log_dir=log_dir,
    )  # fmt: skip
    exported = training.to_graph(quantized, graph.name, graph.preprocess, not drop_softmax)
    return passes.finalize(exported)


def _check_start(start: str, gradual: float) -> None:
    if start not in STARTS:
        raise InputError(f"start='{start}' is unknown; choose one of {', '.join(STARTS)}")
    if start == "least_squares" and gradual:
        raise InputError(
            "start='least_squares' has no effect with gradual, which rounds weights anew; use one"
        )


def _least_squares(
    model: Any, graph: Graph, sample: Sequence[Array], options: Any, seed: int
) -> Graph:
    """Post-training quantization of a float graph, each layer encoded as in a quantized model."""
    import glob

    from tinyq import ptq

    encodings = {
        glob.escape(layer.source_layers[0]): layer.weight_quantizer.encoding
        for layer in model.layers
        if hasattr(layer, "weight_quantizer")
    }
    config = ptq.PtqConfig(
        options.weights,
        overrides=encodings,
        per_channel=options.scale == "per_channel",
        zero_negligible=False,
        seed=seed,
    )
    inputs = dict(zip(graph.inputs, sample, strict=True))
    return ptq.quantize(passes.apply(graph, passes.FLOAT_PIPELINE), inputs, config)


def _schedule(schedule: Any, given: Mapping[str, Any]) -> Any:
    """A ``TrainConfig`` with the arguments that are not at their defaults."""
    import tinyq.qat as training

    plain = training.TrainConfig()
    changed = {k: v for k, v in given.items() if v is not None and v != getattr(plain, k)}
    return replace(schedule or plain, **changed)


def _samples(
    graph: Graph, model: Any, data: Any, labels: Array | None, seed: int
) -> tuple[Any, Any, list[Array]]:
    """Inputs and labels to train on, as the model sees them, and inputs to calibrate on."""
    import tinyq.qat as training

    if training.is_dataset(data):
        first = graph.preprocess[0]
        stream = training.preprocessed(data, first.scale, first.offset)
        names = list(model.input_names)
        return stream, labels, training.first_samples(names, stream, CALIBRATION_SAMPLES)
    samples = training_data(graph, data, labels)
    real = list(executor.preprocess_inputs(graph, samples.inputs).values())
    sample = choose(Dataset(tuple(real)), CALIBRATION_SAMPLES, seed)
    return real, samples.labels, list(sample.inputs)


def _quant_config(
    preset: str | None,
    config: Any,
    weights: str | None,
    first_last: str | None,
    per_channel: bool | None,
) -> Any:
    """The ``QuantConfig`` that a preset or a configuration describes, with what overrides it."""
    import tinyq.qat as training

    if preset is not None and config is not None:
        raise InputError(f"preset '{preset}' and config exclude each other; name it in the config")
    default = training.preset(preset or "w4a8_lut")
    chosen = default if config is None else training.read_config(config)
    scale = {True: "per_channel", False: "per_tensor", None: chosen.scale}[per_channel]
    first_last = first_last or chosen.first_last
    return replace(chosen, weights=weights or chosen.weights, scale=scale, first_last=first_last)


def _steps(progress: Progress) -> Callable[[Any], None]:
    """A listener of training steps that tells them on."""
    return lambda step: progress("train", step.step, step.steps)


def import_model(
    model: Any,
    name: str | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    drop_softmax: bool = False,
) -> Graph:
    """The float graph of a Keras model, its preprocessing noted."""
    from tinyq.frontends.importer import to_float_graph
    from tinyq.passes.drop_identities import drop_final_softmax

    _check_preprocessing(scale, offset)
    if isinstance(model, str | os.PathLike) and is_graph_file(Path(model)):
        raise InputError(f"{model} is quantized already; give the Keras model it was made from")
    graph = to_float_graph(model, name)
    if drop_softmax:
        graph = drop_final_softmax(graph)
    return replace(graph, preprocess=(Preprocess(scale, offset),) * len(graph.inputs))


def _check_preprocessing(scale: float, offset: float) -> None:
    """Both must be numbers in float32, in which they are applied."""
    with np.errstate(over="ignore"):
        single = np.float32(scale)
        finite = np.isfinite(single) and np.isfinite(np.float32(offset))
    if not finite or single == 0:
        raise InputError(
            f"scale {scale} and offset {offset} must be finite, the scale not 0 (as float32)"
        )


def calibration_data(graph: Graph, data: Data, samples: int, seed: int) -> Dataset:
    """At most ``samples`` calibration samples of a file or of arrays."""
    if isinstance(data, str | os.PathLike):
        return load_calibration_data(Path(data), graph.inputs, samples, seed)
    return choose(_in_memory(data), samples, seed)


def training_data(graph: Graph, data: Data, labels: Array | None = None) -> Dataset:
    """All training samples of a file or of arrays, with labels where there are any."""
    if isinstance(data, str | os.PathLike):
        return load_training_data(Path(data), graph.inputs)
    return data if isinstance(data, Dataset) else as_dataset(data, labels)


def test_data(graph: Graph, data: Data, count: int | None = None) -> Dataset:
    """The first ``count`` test samples of a file or of arrays."""
    if isinstance(data, str | os.PathLike):
        return load_test_data(Path(data), graph.inputs, count)
    if count is not None and count < 1:
        raise DataError(f"{count} samples asked for; give a number of at least 1")
    return _in_memory(data).take(slice(0, count))


def _in_memory(data: Any) -> Dataset:
    return data if isinstance(data, Dataset) else as_dataset(data)


# ---------------------------------------------------------------- run


@dataclass(frozen=True)
class Run:
    """What a backend computed.

    Attributes:
        backend: its name.
        codes: codes ``[N, *shape]`` of every output.
        values: the same as real numbers, float64.
        score: accuracy or mean squared error, where labels or the shapes allow it.
    """

    backend: str
    codes: Mapping[str, Array]
    values: Mapping[str, npt.NDArray[np.float64]]
    score: Score

    @property
    def count(self) -> int:
        """Samples."""
        return len(next(iter(self.codes.values())))

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy, 0..1."""
        return self.score.accuracy


def run(
    model: Model,
    data: Data,
    on: str = "numpy",
    count: int | None = None,
    progress: Progress = silent,
) -> Run:
    """Run the test samples on one backend.

    Raises:
        DataError: the data do not fit; InputError: no such backend; ToolMissing: see its message.
    """
    graph = as_graph(model)
    backend = find_backend(on)
    samples = test_data(graph, data, count)
    real = executor.preprocess_inputs(graph, samples.inputs)
    codes = {name: graph.tensors[name].quantize(x) for name, x in real.items()}
    parts: list[Mapping[str, Array]] = []
    progress(backend.name, 0, len(samples))
    for batch in executor.batches(codes, batch_size(graph)):
        parts.append(backend.run(graph, batch, keep_all=False))
        done = sum(len(part[graph.outputs[0]]) for part in parts)
        progress(backend.name, done, len(samples))
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in graph.outputs}
    values = {name: graph.tensors[name].dequantize(q) for name, q in outputs.items()}
    first, source = graph.outputs[0], graph.inputs[0]
    return Run(backend.name, outputs, values, score(values[first], samples.labels, real[source]))


# ---------------------------------------------------------------- verify


@dataclass(frozen=True)
class Verification:
    """What every backend showed, and the certificate where all of it was equal."""

    checks: tuple[BackendCheck, ...]
    certificate: Mapping[str, Any] | None

    @property
    def passed(self) -> bool:
        """All tensors of all backends are equal, all self-tests passed."""
        return all(check.passed for check in self.checks)


def verify(
    model: Model,
    data: Data | None = None,
    on: str | Sequence[str] = ("host",),
    count: int = 32,
    seed: int = 0,
    core: str = "generic",
    kernels: Mapping[str, str] | None = None,
    ram: int | None = None,
    progress: Progress = silent,
) -> Verification:
    """Compare every tensor that backends show with the NumPy executor; equality only.

    Args:
        data: test samples; ``None`` draws codes from the whole range of the inputs by ``seed``.
        on: names of backends, or one name.
        count: samples.
        core: whose kernels ``host`` runs; emulated cores run their own.
        kernels: kernel by layer: see ``Target.overrides``.
        ram: bytes that the arena may have: see ``Target.ram``.
    """
    graph = as_graph(model)
    names = [on] if isinstance(on, str) else on
    backends = [find_backend(name, core, kernels, ram) for name in dict.fromkeys(names)]
    if not backends:
        raise InputError("no backend named; give at least one")
    codes = input_codes(graph, data, count, seed)
    checks = tuple(check_backend(graph, backend, codes, progress) for backend in backends)
    passed = all(check.passed for check in checks)
    return Verification(checks, certify(graph, backends, checks, codes) if passed else None)


def input_codes(graph: Graph, data: Data | None, count: int, seed: int) -> dict[str, Array]:
    """Codes of test samples, or random ones."""
    if data is not None:
        return executor.quantize_inputs(graph, test_data(graph, data, count).inputs)
    if count < 1:
        raise DataError(f"{count} samples asked for; give a number of at least 1")
    return random_codes(graph, count, seed)


def certify(
    graph: Graph,
    backends: Sequence[Backend],
    checks: Sequence[BackendCheck],
    codes: Mapping[str, Array],
) -> dict[str, Any]:
    """The certificate of checks that all passed; it names the generated code of every target."""
    targets = [Target(), *(b.kernels for b in backends if isinstance(b, EmulatedBackend))]
    sources: dict[str, Mapping[str, bytes | str]] = {
        f"generated for {target.label}": dict(
            project.render_model(graph, MODEL_NAME, target=target)
        )
        for target in targets
    }
    return make_certificate(graph, checks, codes, {**sources, "library": dict(library_files())})


# ---------------------------------------------------------------- explain


def explain(
    model: Model,
    float_model: Any,
    data: Data,
    count: int | None = EXPLAIN_SAMPLES,
    progress: Progress = silent,
) -> Explanation:
    """What quantization costs by cause and by layer, and the cheapest remedies.

    Args:
        model: the quantized model.
        float_model: what it was made from: a Keras file, a model object, or a float graph.
        data: test samples, with labels where there are any.
        count: only the first so many.

    Raises:
        InputError: the models do not belong together; DataError: the data do not fit;
        others as ``quantize``.
    """
    graph = as_graph(model)
    given = isinstance(float_model, Graph)
    floats = float_model if given else import_model(float_model, graph.name)
    if not floats.is_float:
        raise InputError(f"'{floats.name}' is quantized already; give the float model")
    samples = test_data(graph, data, count)
    inputs = executor.preprocess_inputs(graph, samples.inputs)
    return explain_graph(graph, floats, inputs, samples.labels, progress)


# ---------------------------------------------------------------- export, inspect, measure


def export(
    model: Model,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    format: str = "c",
    core: str = "generic",
    kernels: Mapping[str, str] | None = None,
    ram: int | None = None,
    compressed: bool = False,
) -> tuple[str, ...]:
    """Write a model as C sources, as a PlatformIO library or as a ``.tflite`` file.

    Args:
        folder: where to write; made if it does not exist.
        name: prefix of the C functions; the graph's name by default.
        format: key of ``FORMATS``.
        core: what the code is meant for: its kernels, and the environment that ``pio run`` builds.
            Kernels for ``generic`` run everywhere; those for a core do too, only slowly.
        kernels: kernel by layer, ``{"conv2d_*": "portable"}``: see ``Target.overrides``.
        ram: bytes that the arena may have: see ``Target.ram``.
        compressed: ``.tflite`` only: weights of at most 16 levels stay indices (TFLM's DECODE).

    Returns:
        the paths relative to ``folder``.

    Raises:
        InputError: an unknown format or core, a name that C does not allow.
        OutputError: the folder cannot be written.
    """
    graph = as_graph(model)
    if format not in FORMATS:
        raise InputError(f"unknown format '{format}'; choose one of {', '.join(FORMATS)}")
    target = Target(find_core(core), dict(kernels or {}), ram)
    chosen = graph.name if name is None else name
    if format == "tflite":
        from tinyq.tflite import write_tflite

        file = f"{_check_file_name(chosen)}.tflite"
        data = write_tflite(graph, "decode" if compressed else "int8")
        write_tree(Path(folder), {file: data})
        return (file,)
    if format == "platformio":
        return project.export_platformio(graph, Path(folder), chosen, target=target)
    return project.export_c(graph, Path(folder), chosen, target=target)


def _check_file_name(name: str) -> str:
    """The name, if it is one of a file in a folder and leads nowhere else."""
    if not name or name != Path(name).name:
        raise InputError(f"--name {name!r} is not the name of a file: leave out folders")
    return name


def inspect(
    model: Any,
    core: str = "generic",
    kernels: Mapping[str, str] | None = None,
    ram: int | None = None,
) -> GraphReport:
    """Describe a ``.tq`` file, a graph or a Keras model; kernels and memory for a core."""
    target = Target(find_core(core), dict(kernels or {}), ram)
    if isinstance(model, Graph):
        return report_graph(model, target)
    if isinstance(model, str | os.PathLike) and is_graph_file(Path(model)):
        return report_graph(load_graph(Path(model)), target)
    return report_graph(import_model(model), target)


def size(
    model: Model,
    core: str = "m4",
    kernels: Mapping[str, str] | None = None,
    ram: int | None = None,
) -> Size:
    """Flash and RAM of a model and the kernel library, built for a core."""
    return measure_size(as_graph(model), core, Target(find_core(core), dict(kernels or {}), ram))


def profile(
    model: Model,
    on: str = "qemu-m4",
    kernels: Mapping[str, str] | None = None,
    ram: int | None = None,
) -> Cost:
    """What one inference costs: instructions, modelled cycles, stack, flash, layer by layer.

    Args:
        on: an emulated core, ``qemu-m4`` or ``unicorn-m4``; ``m4`` is the former.
        kernels: kernel by layer: see ``Target.overrides``.
        ram: bytes that the arena may have: see ``Target.ram``.
    """
    return measure_profile(as_graph(model), on, kernels, ram)
