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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from tinyq.data import CALIBRATION_SAMPLES, as_dataset
from tinyq.errors import DataError, InputError
from tinyq.evaluate import Score, score
from tinyq.files import write_tree
from tinyq.graph import Graph
from tinyq.inputs import Array, Data, calibration_data, import_model, test_data, training_data
from tinyq.kernels.program import Target
from tinyq.measurement import Cost, Size, measure_profile, measure_size
from tinyq.progress import Progress, silent
from tinyq.report import GraphReport, report_graph
from tinyq.training import QAT_EPOCHS, train
from tinyq.verification import BackendCheck, batch_size, check_backend, random_codes
from tinyq.waterfall import Explanation
from tinyq.waterfall import explain as explain_graph

__all__ = [
    "QAT_EPOCHS",
    "Run",
    "Verification",
    "as_dataset",
    "calibration_data",
    "explain",
    "export",
    "import_model",
    "inspect",
    "load",
    "profile",
    "quantize",
    "run",
    "save",
    "size",
    "test_data",
    "train",
    "training_data",
    "verify",
]

Model = Graph | str | os.PathLike[str]
#: inputs made where no data calibrate; more cost memory and gain nothing measurable
SYNTHETIC_SAMPLES: Final = 64
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
