# SPDX-License-Identifier: Apache-2.0
"""The MLPerf Tiny models through the whole pipeline, on every backend.

For each model and weight encoding: ``tinyq quantize``, ``verify`` on every backend, ``size`` and
``profile`` on the M4.  Prints a table and writes ``mlperf_tiny.json`` and ``mlperf_tiny.md``.

    python benchmarks/mlperf_tiny.py MODELS DATA [-o benchmarks/results] [--count 32]

MODELS holds ic_resnet8.h5, kws_dscnn.h5, vww_mobilenetv1_025.h5 and ad_autoencoder.h5; DATA holds
cifar10_jpegq.npz and mlperf_kws01_part.npz (x int8 [N, 49, 10, 1]).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BACKENDS = "host,tflm,qemu-m0,qemu-m3,qemu-m4,qemu-m7,qemu-m33,qemu-m55,unicorn-m0,unicorn-m4"


@dataclass(frozen=True)
class Task:
    """One model and how its data become its input."""

    name: str
    model: str
    data: Path
    options: tuple[str, ...] = ()


def tasks(data: Path, scratch: Path) -> tuple[Task, ...]:
    """The four models; images for vww and vectors for ad are made in ``scratch``."""
    return (
        Task("ic", "ic_resnet8.h5", data / "cifar10_jpegq.npz"),
        Task(
            "kws",
            "kws_dscnn.h5",
            data / "mlperf_kws01_part.npz",
            ("--scale", "0.5847029", "--offset", "83"),
        ),
        Task(
            "vww",
            "vww_mobilenetv1_025.h5",
            enlarged_images(data / "cifar10_jpegq.npz", scratch / "vww.npz"),
            ("--scale", str(1 / 255)),
        ),
        Task("ad", "ad_autoencoder.h5", spectra(scratch / "ad.npz"), ("--data-free",)),
    )


def enlarged_images(source: Path, target: Path) -> Path:
    """32x32 images repeated to 96x96: uint8 [N, 96, 96, 3]."""
    with np.load(source) as arrays:
        parts = {name: arrays[name] for name in ("x_train", "x_test")}
    large = {name: x[:300].repeat(3, axis=1).repeat(3, axis=2) for name, x in parts.items()}
    np.savez(target, **large)
    return target


def spectra(target: Path) -> Path:
    """Smooth random vectors of 640 values in the range of log-mel energies (dB)."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(64, 640)), axis=1)
    np.savez(target, x=(walk * 2 - 20).astype(np.float32))
    return target


def tinyq(*arguments: str, output: Path) -> dict:
    """Run one command and return its JSON; a failed check (exit code 1) is part of the result."""
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tinyq", *arguments, "--json", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not output.exists():
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(output.read_text())


def rows(models: Path, data: Path, count: int, names: set[str]) -> Iterator[dict]:
    """One result for each model and encoding."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for task in tasks(data, scratch):
            for weights in ("int8", "lut4"):
                if task.name in names:
                    yield measure(task, models / task.model, weights, scratch, count)


def measure(task: Task, model: Path, weights: str, scratch: Path, count: int) -> dict:
    """Quantize, verify, size and profile one model."""
    quantized = scratch / f"{task.name}_{weights}.tq"
    source = () if "--data-free" in task.options else ("--data", str(task.data))
    tinyq(
        "quantize", str(model), *source, *task.options, "--weights", weights,
        "-o", str(quantized), output=scratch / "quantize.json",
    )  # fmt: skip
    verified = tinyq(
        "verify", str(quantized), "--data", str(task.data), "--on", BACKENDS,
        "--count", str(count), output=scratch / "verify.json",
    )  # fmt: skip
    size = tinyq("size", str(quantized), "--core", "m4", output=scratch / "size.json")
    profile = tinyq("profile", str(quantized), "--on", "qemu-m4", output=scratch / "profile.json")
    backends = {
        name: {key: result[key] for key in ("inputs", "tensors", "mismatches")}
        for name, result in verified["backends"].items()
    }
    row = {
        "model": task.name,
        "weights": weights,
        "backends": backends,
        "mismatches": sum(result["mismatches"] for result in backends.values()),
        "ram_bytes": size["ram_bytes"],
        "flash_bytes": size["flash_bytes"],
        "macs": profile["macs"],
        "instructions": profile["instructions"],
    }
    print(table_row(row), flush=True)
    return row


def table_row(row: dict) -> str:
    """One line of the Markdown table."""
    per_mac = row["instructions"] / row["macs"]
    cells = [
        row["model"],
        row["weights"],
        str(len(row["backends"])),
        str(sum(r["inputs"] * r["tensors"] for r in row["backends"].values())),
        str(row["mismatches"]),
        f"{row['ram_bytes']:,}",
        f"{row['flash_bytes']:,}",
        f"{row['macs']:,}",
        f"{row['instructions']:,}",
        f"{per_mac:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| model | weights | backends | tensors compared | mismatches | RAM M4 | flash M4 | MACs "
    "| instructions M4 | per MAC |\n|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    """Measure, print and write; 1 where a backend differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--only", default="ic,kws,vww,ad")
    options = parser.parse_args()
    print(HEADER)
    results = list(rows(options.models, options.data, options.count, set(options.only.split(","))))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "mlperf_tiny.json").write_text(json.dumps({"rows": results}, indent=1) + "\n")
    table = "\n".join([HEADER, *map(table_row, results)]) + "\n"
    (options.output / "mlperf_tiny.md").write_text(table)
    return int(any(row["mismatches"] for row in results))


if __name__ == "__main__":
    raise SystemExit(main())
