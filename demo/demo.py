# SPDX-License-Identifier: Apache-2.0
"""From a Keras model to an emulated Cortex-M4: train, quantize, prove, export, build, run, compare.

Trains a small CNN on the Fashion-MNIST subset in demo/data, fine-tunes it with 4-bit lookup-table
weights, exports a PlatformIO project, builds it with ``pio run`` and runs the test set on a
Cortex-M4 under QEMU.  Everything it makes is under build/demo.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import tinyq
from tinyq import executor
from tinyq.backends.emulated import pack_samples, unpack_samples
from tinyq.boards import core_boards
from tinyq.cli.console import own_standard_error
from tinyq.emulators import RunRequest, emulator
from tinyq.graph import Graph
from tinyq.proof import prove
from tinyq.toolchain import Image, arm_compiler

HERE = Path(__file__).resolve().parent
DATA = HERE / "data" / "fashion_mnist_subset.npz"
OUT = HERE.parent / "build" / "demo"
SEED, FLOAT_EPOCHS, QAT_EPOCHS = 1, 12, 4
console = Console()


def build_cnn():
    """A CNN of about 25,000 parameters: convolutions, a depthwise layer, a residual, batch norm."""
    import tf_keras as keras

    layers = keras.layers

    def block(x, filters: int, size: int, strides: int = 1):
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = keras.Input((28, 28, 1), name="image")
    x = layers.MaxPooling2D(2)(block(inputs, 16, 3))
    x = block(x, 32, 3)
    x = layers.MaxPooling2D(2)(x)
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    x = layers.Add()([block(y, 32, 1), x])
    x = block(x, 48, 3, 2)
    x = layers.Dropout(0.25)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="fashion")


def train_float(data: dict[str, np.ndarray]):
    """The float model; kept under the hash of what made it."""
    import tf_keras as keras

    recipe = Path(__file__).read_bytes() + DATA.read_bytes()
    path = OUT / f"float-{hashlib.sha256(recipe).hexdigest()[:16]}.keras"
    if path.exists():
        return keras.models.load_model(path)
    keras.utils.set_random_seed(SEED)
    model = build_cnn()
    steps = FLOAT_EPOCHS * -(-len(data["x_train"]) // 64)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(
        keras.optimizers.legacy.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"]
    )
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("float training", total=FLOAT_EPOCHS)
        tick = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: progress.advance(task))
        x, y = scaled(data["x_train"]), data["y_train"]
        model.fit(x, y, batch_size=64, epochs=FLOAT_EPOCHS, verbose=0, callbacks=[tick])
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model


def scaled(images: np.ndarray) -> np.ndarray:
    """Pixels 0..255 as float32 0..1, with a channel dimension."""
    return images[..., None].astype(np.float32) / 255


def train_quantized(model) -> Graph:
    """The integer graph after quantization-aware training with 4-bit tables."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("quantization-aware training", total=None)

        def show(_: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return tinyq.train(
            model, DATA, weights="lut4", epochs=QAT_EPOCHS, scale=1 / 255, seed=SEED, progress=show
        )


def build_firmware(model: Path) -> Path:
    """Export a PlatformIO project and build it for the emulated M4."""
    project = OUT / "firmware"
    tinyq.export(model, project, name="fashion", format="platformio", core="m4")
    command = [sys.executable, "-m", "platformio", "run", "-d", str(project), "-e", "m4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        console.print(done.stdout + done.stderr, markup=False)
        sys.exit("demo: pio run failed")
    return project / ".pio" / "build" / "m4" / "firmware.elf"


def run_on_m4(elf: Path, graph: Graph, codes: dict[str, np.ndarray]) -> np.ndarray:
    """The output codes of every test image, computed by the firmware that ``pio run`` built."""
    image = Image(elf, core_boards()["m4"], arm_compiler(), {})
    count = len(codes[graph.inputs[0]])
    request = RunRequest(image, pack_samples(graph, codes), count, timeout=300)
    result = emulator("qemu-m4").run(request)
    outputs = unpack_samples([graph.tensors[n] for n in graph.outputs], result.outputs)
    return outputs[graph.outputs[0]]


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy."""
    return float((scores.argmax(-1) == labels).mean())


def main() -> int:
    """Run every stage and print the table; 1 if the chip and Python differ."""
    with np.load(DATA) as arrays:
        data = dict(arrays)
    labels = data["y_test"]
    console.print(f"[bold]1[/] Train in float: {len(data['x_train']):,} images of Fashion-MNIST")
    model = train_float(data)
    float_accuracy = accuracy(model.predict(scaled(data["x_test"]), verbose=0), labels)
    console.print("[bold]2[/] Train with 4-bit lookup-table weights and power-of-two scales")
    graph = replace(train_quantized(model), name="fashion")
    path = OUT / "fashion.tq"
    tinyq.save(graph, path)
    bits = max(p.bits for p in prove(graph).values())
    console.print(f"[bold]3[/] Proved: no accumulator needs more than {bits} bits")
    console.print("[bold]4[/] Export C and build it with pio run -e m4")
    elf = build_firmware(path)
    console.print(f"[bold]5[/] Run {len(labels):,} test images on a Cortex-M4 under QEMU")
    codes = executor.quantize_inputs(graph, [data["x_test"]])
    expected = executor.predict(graph, codes)[graph.outputs[0]]
    got = run_on_m4(elf, graph, codes)
    mismatches = int((got != expected).sum())
    show_results(
        path, float_accuracy, accuracy(expected, labels), accuracy(got, labels), mismatches
    )
    return int(mismatches > 0)


def show_results(
    path: Path, in_float: float, in_integers: float, on_m4: float, mismatches: int
) -> None:
    """The closing table."""
    size, cost = tinyq.size(path, "m4"), tinyq.profile(path, "qemu-m4")
    table = Table(title="Fashion-MNIST, 4-bit weights, Cortex-M4", show_header=False)
    rows = (
        ("float accuracy (Keras)", f"{in_float:.2%}"),
        ("integer accuracy (NumPy)", f"{in_integers:.2%}"),
        ("accuracy on the M4 (QEMU)", f"{on_m4:.2%}"),
        ("mismatches between them", f"{mismatches}"),
        ("flash, model + library", f"{size.flash_bytes:,} bytes"),
        ("RAM, input to output", f"{size.ram_bytes:,} bytes"),
        ("instructions an inference", f"{cost.instructions:,} ({cost.macs:,} MACs)"),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print("The model is build/demo/fashion.tq; look into it with")
    console.print("  .venv/bin/tinyq inspect build/demo/fashion.tq", highlight=False)


if __name__ == "__main__":
    with own_standard_error():
        raise SystemExit(main())
