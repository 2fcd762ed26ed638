# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware training from a Keras model to its integer graph: ``tinyq.train``.

The steps are those of ``tinyq.qat``; here they get their arguments, their data and their order.
TensorFlow is imported at the first call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tinyq import executor, passes
from tinyq.data import CALIBRATION_SAMPLES, Dataset, choose
from tinyq.errors import InputError
from tinyq.graph import Graph
from tinyq.inputs import Array, Data, import_model, training_data
from tinyq.progress import Progress, silent

#: passes over the training data unless told otherwise
QAT_EPOCHS: Final = 10
#: where the codes of a training come from
STARTS: Final = ("rounded", "least_squares")
#: arguments of ``train`` that count whenever they are not None, a default of ``TrainConfig`` or not
_OPTIONAL: Final = ("epochs", "learning_rate", "distillation")


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
        batch, learning_rate, warmup: of the training; see ``qat.TrainConfig``.  The rates of
            exponents and tables change in proportion to the learning rate; about 2e-4 with
            ``start="least_squares"`` for a model that is trained well.
        gradual: fraction of the steps in which weights keep 8 bits.
        distill: learn from the float model, with this weight beside the labels.
        start: from each weight's nearest code ("rounded"), or from the codes that post-training
            quantization chooses together ("least_squares"), for low rates and few data.
        schedule: a ``qat.TrainConfig`` with everything else; the arguments above override it where
            they are given.
        augment, checkpoint_dir, log_dir: see ``qat.train``.
        distribute: "mirrored" trains on all devices of this machine, "workers" in all processes
            that TF_CONFIG names, each of which calls this; by default the current strategy.

    Other arguments and errors as in ``quantize``.
    """
    from tinyq import qat
    from tinyq.frontends.keras import build_model, read_network

    options = _quant_config(preset, config, weights, first_last, per_channel)
    _check_start(start, gradual)
    passes_over = QAT_EPOCHS if epochs is None and schedule is None else epochs
    given = {
        "epochs": passes_over, "batch_size": batch, "seed": seed, "learning_rate": learning_rate,
        "warmup": warmup, "wide_weights": gradual, "distillation": distill,
    }  # fmt: skip
    chosen = _schedule(schedule, given)
    with qat.strategy_scope(distribute):
        network = read_network(model)
        graph = import_model(network, name, scale, offset)
        teacher = build_model(network)
        x, y, sample = _samples(graph, teacher, data, labels, seed)
        quantized = qat.quantize(build_model(network), options, sample)
        if start == "least_squares":
            qat.adopt(quantized, _least_squares(quantized, graph, sample, options, seed))
    qat.train(
        quantized, x, y, chosen, _steps(progress),
        teacher=None if distill is None else teacher, augment=augment,
        checkpoint_dir=checkpoint_dir, log_dir=log_dir,
    )  # fmt: skip
    exported = qat.to_graph(quantized, graph.name, graph.preprocess, not drop_softmax)
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
    """A ``TrainConfig`` with the arguments that were given; the other rates follow the first."""
    from tinyq import qat

    plain = qat.TrainConfig()
    base = schedule or plain
    changed = {
        k: v
        for k, v in given.items()
        if v is not None and (k in _OPTIONAL or v != getattr(plain, k))
    }
    if "learning_rate" in changed and base.learning_rate:
        ratio = changed["learning_rate"] / base.learning_rate
        changed |= {k: getattr(base, k) * ratio for k in ("scale_rate", "table_rate")}
    return replace(base, **changed)


def _samples(
    graph: Graph, model: Any, data: Any, labels: Array | None, seed: int
) -> tuple[Any, Any, list[Array]]:
    """Inputs and labels to train on, as the model sees them, and inputs to calibrate on."""
    from tinyq import qat

    if qat.is_dataset(data):
        first = graph.preprocess[0]
        stream = qat.preprocessed(data, first.scale, first.offset)
        names = list(model.input_names)
        return stream, labels, qat.first_samples(names, stream, CALIBRATION_SAMPLES)
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
    from tinyq import qat

    if preset is not None and config is not None:
        raise InputError(f"preset '{preset}' and config exclude each other; name it in the config")
    default = qat.preset(preset or "w4a8_lut")
    chosen = default if config is None else qat.read_config(config)
    scale = {True: "per_channel", False: "per_tensor", None: chosen.scale}[per_channel]
    first_last = first_last or chosen.first_last
    return replace(chosen, weights=weights or chosen.weights, scale=scale, first_last=first_last)


def _steps(progress: Progress) -> Callable[[Any], None]:
    """A listener of training steps that tells them on."""
    return lambda step: progress("train", step.step, step.steps)
