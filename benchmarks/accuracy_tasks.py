# SPDX-License-Identifier: Apache-2.0
"""The tasks of ``accuracy.py``: data, float models, how long each is trained.

    fashion   Fashion-MNIST, a CNN of 28,074 parameters with a depthwise layer, from scratch
    cifar     CIFAR-10 (JPEG), MLPerf Tiny's ResNet8, adapted to these images first
    digits    spoken digits, MLPerf Tiny's DS-CNN with ten classes, from scratch
    kws       MLPerf Tiny's keyword spotting on 300 words, learned from the float model

A task has a *start*: a trained float model of that seed.  From it every method is fine-tuned by the
task's schedule, and so is the float model that the methods are compared with.  Test samples are
read for the figures of the table and for nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.qat import QuantConfig, TrainConfig

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]
MFCC_SCALE, MFCC_OFFSET = np.float32(0.5847029), np.float32(83)


@dataclass(frozen=True)
class Samples:
    """Inputs as the model sees them, float32 ``[N, ...]``, and classes ``[N]``."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array

    def head(self, train: int, test: int) -> Samples:
        """The first so many."""
        return Samples(self.x[:train], self.y[:train], self.x_test[:test], self.y_test[:test])

    def validation(self, count: int) -> Samples:
        """The last training samples in place of the test samples: to choose recipes by."""
        x, y = self.x, self.y
        return Samples(x[:-count], y[:-count], x[-count:], y[-count:])


@dataclass(frozen=True)
class Task:
    """One data set and one model.

    Attributes:
        files: under DATA; model: under MODELS, "" to build one.
        load: reads the samples; build: a new model, ``None`` where ``model`` is loaded.
        start: training of the float model that methods start from; no epochs: as it is.
        schedule: of the fine-tuning, float and quantized.
        augment: of training batches.
        tune_float: fine-tune the float model that rows are compared with, on the labels, as long
            as the quantized ones; else it stays as it is.  They learn from labels and, in the
            schedule's proportion of ``distillation``, from that model.
        least_squares: start from the codes of post-training quantization, where a quantizer can.
        input_unit: what 1 of ``load``'s inputs is in those of the model file.
        narrow: schedule of methods with activations of less than 8 bits, and of the float model
            that these are compared with; ``None``: no other.
        powers: the same for methods with power-of-two weights.
        held_out: training samples that ``--validate`` judges by.
    """

    name: str
    files: tuple[str, ...]
    load: Callable[[Path], Samples]
    start: TrainConfig
    schedule: TrainConfig
    model: str = ""
    build: Callable[[], Any] | None = None
    augment: Callable[[Array, Array, Any], Pair] | None = None
    tune_float: bool = True
    least_squares: bool = False
    input_unit: float = 1.0
    narrow: TrainConfig | None = None
    powers: TrainConfig | None = None
    held_out: int = 0

    def learned_by(self, config: QuantConfig | None) -> Task:
        """The task as methods with this quantization learn it."""
        special = None
        if config is not None and config.activation_bits < 8:
            special = self.narrow
        elif config is not None and config.weights.startswith("pot"):
            special = self.powers
        return self if special is None else replace(self, schedule=special)

    def recipe(self) -> dict[str, Any]:
        """What of the task a result depends on, but for the files and the code."""
        return {
            "task": self.name,
            "start": vars(self.start),
            "input_unit": self.input_unit,
            "schedule": vars(self.schedule),
            "tune_float": self.tune_float,
            "least_squares": self.least_squares,
        }


# ---------------------------------------------------------------- data


def fashion_samples(data: Path) -> Samples:
    """28x28 pixels in 0..1."""
    with np.load(data / "full" / "fashion_mnist28.npz") as arrays:
        x, x_test = (
            arrays[f"x_{half}"][..., None].astype(np.float32) / 255 for half in ("train", "test")
        )
        return Samples(x, arrays["y_train"], x_test, arrays["y_test"])


def cifar_samples(data: Path) -> Samples:
    """32x32x3 pixels in 0..255, from JPEG scans that share one header."""
    from PIL import Image

    def images(header: Array, offsets: Array, scans: Array) -> Array:
        files = (header.tobytes() + scans[a:b].tobytes() for a, b in pairwise(offsets))
        decoded = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
        return np.stack(decoded).astype(np.float32)

    with np.load(data / "full" / "cifar10_jpegq_packed.npz") as a:
        x, x_test = (
            images(a[f"hdr_{half}"], a[f"off_{half}"], a[f"data_{half}"])
            for half in ("train", "test")
        )
        return Samples(x, a["y_train"], x_test, a["y_test"])


def _mfcc(codes: Array) -> Array:
    """Real MFCCs of int8 codes."""
    return (codes.astype(np.float32) - MFCC_OFFSET) * MFCC_SCALE


def digits_samples(data: Path) -> Samples:
    """49x10 MFCCs of spoken digits."""
    with np.load(data / "dev" / "fsdd_digits.npz") as a:
        return Samples(_mfcc(a["x_train"]), a["y_train"], _mfcc(a["x_test"]), a["y_test"])


def kws_samples(data: Path) -> Samples:
    """49x10 MFCCs of twelve keywords: one corpus to train on, another to test on.

    In units of MFCC_SCALE, the step of the files: integers, which no exponent of 0 rounds.
    """

    def mfcc(codes: Array) -> Array:
        return codes.astype(np.float32) - MFCC_OFFSET

    with np.load(data / "dev" / "gsc_v1_mini300.npz") as a:
        x, y = mfcc(a["x"]), a["y"]
    with np.load(data / "dev" / "mlperf_kws01_part.npz") as a:
        return Samples(x, y, mfcc(a["x"]), a["y"])


# ---------------------------------------------------------------- augmentation


def shift_and_flip(x: Array, y: Array, rng: Any) -> Pair:
    """Images moved by up to 3 pixels (reflected at the border), half of them mirrored."""
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)), "reflect")
    size = x.shape[1]
    moved = np.empty_like(x)
    for i, (top, left, mirrored) in enumerate(rng.integers(0, (7, 7, 2), (len(x), 3))):
        image = padded[i, top : top + size, left : left + size]
        moved[i] = image[:, ::-1] if mirrored else image
    return moved, y


def shift_in_time(x: Array, y: Array, rng: Any) -> Pair:
    """Frames moved by up to 4, the outermost repeated, each coefficient louder or softer by 1 %."""
    frames = np.arange(x.shape[1])
    steps = rng.integers(-4, 5, (len(x), 1))
    index = np.clip(frames + steps, 0, len(frames) - 1)
    moved = np.take_along_axis(x, index[:, :, None, None], axis=1)
    gain = rng.normal(1.0, 0.01, (len(x), 1, x.shape[2], 1))
    return (moved * gain).astype(np.float32), y


def mix_clips(x: Array, y: Array, rng: Any) -> Pair:
    """Clips moved in time and mixed two by two, for learning from a teacher."""
    moved, _ = shift_in_time(x, y, rng)
    share = rng.uniform(size=(len(x), 1, 1, 1)).astype(np.float32)
    return share * moved + (1 - share) * moved[rng.permutation(len(x))], y


# ---------------------------------------------------------------- models


def _layers(steps: Sequence[tuple[str, Any]], shape: tuple[int, ...], classes: int) -> Any:
    """Convolutions (filters, kernel, stride) and depthwise 3x3 layers, each with norm and ReLU."""
    import tf_keras
    from tf_keras import layers

    x = inputs = layers.Input(shape)
    for kind, size in steps:
        if kind == "conv":
            filters, kernel, stride = size
            x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
        else:
            x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(classes)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(inputs, layers.Softmax()(x))


def fashion_model() -> Any:
    """28,074 parameters, 1.38 million MACs."""
    steps = [
        ("conv", (16, 3, 2)),
        ("depthwise", None),
        ("conv", (32, 1, 1)),
        ("conv", (64, 3, 2)),
        ("depthwise", None),
        ("conv", (96, 1, 1)),
    ]
    return _layers(steps, (28, 28, 1), 10)


def digits_model() -> Any:
    """The DS-CNN of MLPerf Tiny with ten classes and without dropout."""
    block: list[tuple[str, Any]] = [("depthwise", None), ("conv", (64, 1, 1))]
    return _layers([("conv", (64, (10, 4), 2)), *block * 4], (49, 10, 1), 10)


# ---------------------------------------------------------------- the tasks

TASKS = {
    task.name: task
    for task in (
        Task(
            "fashion",
            ("full/fashion_mnist28.npz",),
            fashion_samples,
            start=TrainConfig(epochs=6, batch_size=128, learning_rate=2e-3),
            schedule=TrainConfig(epochs=12, batch_size=128, batch_statistics=0.5, distillation=0.0),
            powers=TrainConfig(
                epochs=12, learning_rate=4e-3, batch_statistics=0.5, distillation=0.0
            ),
            build=fashion_model,
            held_out=5000,
        ),
        Task(
            "cifar",
            ("full/cifar10_jpegq_packed.npz",),
            cifar_samples,
            start=TrainConfig(epochs=3),
            schedule=TrainConfig(epochs=4, learning_rate=2e-4, scale_rate=1e-3, table_rate=0.02),
            model="ic_resnet8.h5",
            augment=shift_and_flip,
            least_squares=True,
            narrow=TrainConfig(epochs=4, learning_rate=6e-4, scale_rate=3e-3, table_rate=0.02),
            held_out=5000,
        ),
        Task(
            "digits",
            ("dev/fsdd_digits.npz",),
            digits_samples,
            start=TrainConfig(epochs=20, batch_size=32, learning_rate=2e-3),
            schedule=TrainConfig(epochs=8, batch_size=32, batch_statistics=0.5),
            build=digits_model,
            augment=shift_in_time,
            held_out=450,
        ),
        Task(
            "kws",
            ("dev/gsc_v1_mini300.npz", "dev/mlperf_kws01_part.npz"),
            kws_samples,
            start=TrainConfig(epochs=0),
            schedule=TrainConfig(
                epochs=45,
                batch_size=32,
                learning_rate=3e-5,
                scale_rate=3e-4,
                table_rate=6e-3,
                distillation=1.0,
            ),
            model="kws_dscnn.h5",
            input_unit=float(MFCC_SCALE),
            augment=mix_clips,
            tune_float=False,
            least_squares=True,
            held_out=100,
        ),
    )
}


def quick(task: Task) -> Task:
    """The same, trained briefly, for a check of the whole path."""
    start = replace(task.start, epochs=min(task.start.epochs, 8), batch_size=32)
    return replace(task, start=start, schedule=replace(task.schedule, epochs=2, batch_size=32))
