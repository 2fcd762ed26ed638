# SPDX-License-Identifier: Apache-2.0
"""Accuracy of post-training quantization on the MLPerf Tiny models.

Calibration and test samples are disjoint.  Prints a table and writes ``ptq_accuracy.json``: rows of
model, weights, accuracy, float_accuracy (null without labels), agreement with the float model's
top-1, error (RMS of the output's difference / RMS of the output) and processor seconds of
quantization.

    python benchmarks/ptq_accuracy.py DATA MODELS [-o benchmarks/results] [--models ic,kws,vww,ad]
        [--weights int8,lut4,lut3:int8] [--test 8000] [--seed 0]

``lut3:int8`` is lut3 with the first and the last layer in int8.

MODELS holds ic_resnet8.h5, kws_dscnn.h5, vww_mobilenetv1_025.h5 and ad_autoencoder.h5.  DATA holds
full/cifar10_jpegq_packed.npz, dev/mlperf_kws01_part.npz and dev/gsc_v1_mini300.npz.  There are no
labelled data for vww and ad: vww sees enlarged CIFAR-10 images, ad data made from its statistics.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from accuracy_tasks import MFCC_SCALE, Samples, cifar_samples, kws_samples

from tinyq.data import CALIBRATION_SAMPLES as CALIBRATION
from tinyq.data import Dataset, choose
from tinyq.executor import predict, quantize_inputs
from tinyq.frontends.importer import to_float_graph
from tinyq.passes import FLOAT_PIPELINE, apply, finalize
from tinyq.ptq import PtqConfig, quantize

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Task:
    """A model, its calibration and test inputs as it sees them, labels where there are any."""

    name: str
    model: Path
    calibration: Array
    test: Array
    labels: Array | None = None


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    model: str
    weights: str
    accuracy: float | None
    float_accuracy: float | None
    agreement: float | None
    error: float
    seconds: float


def ic(data: Path, models: Path, test: int) -> Task:
    """Image classification: raw pixels."""
    samples = cifar_samples(data).head(CALIBRATION, test)
    return _task("ic", models / "ic_resnet8.h5", samples)


def kws(data: Path, models: Path, test: int) -> Task:
    """Keyword spotting in the units of the model: another corpus calibrates than is tested."""
    samples = kws_samples(data)
    samples = replace(samples, x=MFCC_SCALE * samples.x, x_test=MFCC_SCALE * samples.x_test)
    return _task("kws", models / "kws_dscnn.h5", samples.head(len(samples.x), test))


def _task(name: str, model: Path, samples: Samples) -> Task:
    return Task(name, model, samples.x, samples.x_test, samples.y_test)


def vww(data: Path, models: Path, test: int) -> Task:
    """Visual wake words: CIFAR-10 images enlarged to 96x96, 0..1."""

    def enlarged(x: Array) -> Array:
        return np.ascontiguousarray(x.repeat(3, 1).repeat(3, 2) / np.float32(255))

    samples = cifar_samples(data).head(CALIBRATION, min(test, 500))
    model = models / "vww_mobilenetv1_025.h5"
    return Task("vww", model, enlarged(samples.x), enlarged(samples.x_test))


def ad(data: Path, models: Path, test: int) -> Task:
    """Anomaly detection: inputs made from batch-norm statistics."""
    from tinyq.ptq.datafree import synthesize

    model = models / "ad_autoencoder.h5"
    (x,) = synthesize(model, CALIBRATION + 256, seed=0)
    return Task("ad", model, x[:CALIBRATION], x[CALIBRATION:])


TASKS: dict[str, Callable[[Path, Path, int], Task]] = {"ic": ic, "kws": kws, "vww": vww, "ad": ad}


def measure(task: Task, weights: list[str], seed: int) -> list[Row]:
    """One row for each encoding."""
    graph = apply(to_float_graph(task.model, task.name), FLOAT_PIPELINE)
    (name,), (output,) = graph.inputs, graph.outputs
    reference = predict(graph, {name: task.test})[output]
    rows = []
    for asked in weights:
        start = time.process_time()
        encoding, _, first_last = asked.partition(":")
        config = PtqConfig(weights=encoding, first_last=first_last or "same", seed=seed)
        chosen = choose(Dataset((task.calibration,)), CALIBRATION, seed).inputs[0]
        quantized = finalize(quantize(graph, {name: chosen}, config))
        seconds = time.process_time() - start
        codes = predict(quantized, quantize_inputs(quantized, [task.test]))[output]
        rows.append(_row(task, asked, quantized.tensors[output].dequantize(codes), reference))
        rows[-1] = Row(**{**asdict(rows[-1]), "seconds": round(seconds, 2)})
        print(_text(rows[-1]), flush=True)
    return rows


def _row(task: Task, weights: str, outputs: Array, reference: Array) -> Row:
    chosen, wanted = outputs.argmax(-1), reference.argmax(-1)
    labelled = task.labels is not None
    error = np.sqrt(np.mean((outputs - reference) ** 2) / np.mean(reference**2))
    return Row(
        task.name,
        weights,
        float(np.mean(chosen == task.labels)) if labelled else None,
        float(np.mean(wanted == task.labels)) if labelled else None,
        float(np.mean(chosen == wanted)) if task.name != "ad" else None,
        float(error),
        0.0,
    )


def _text(row: Row) -> str:
    def number(value: float | None) -> str:
        return f"{value:9.4f}" if value is not None else "        -"

    figures = (row.accuracy, row.float_accuracy, row.agreement, row.error)
    return f"{row.model:6}{row.weights:11}{''.join(map(number, figures))}{row.seconds:8.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--models", dest="names", default=",".join(TASKS))
    parser.add_argument("--weights", default="int8,lut4")
    parser.add_argument("--test", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{'model':6}{'weights':11} accuracy    float    agree    error seconds")
    rows = [
        row
        for name in options.names.split(",")
        for row in measure(
            TASKS[name](options.data, options.models, options.test),
            options.weights.split(","),
            options.seed,
        )
    ]
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    (options.output / "ptq_accuracy.json").write_text(text)


if __name__ == "__main__":
    main()
