# SPDX-License-Identifier: Apache-2.0
"""One row of ``accuracy.py``: export, compare, judge; nothing twice.

A row that is found under the hash of what made it is not made again.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from accuracy_hashes import checking_digest, digest
from accuracy_tasks import Array, Samples
from accuracy_training import (
    Places,
    Unit,
    float_model,
    kind,
    ptq_graph,
    save_float,
    trained_model,
    training_inputs,
)

from tinyq import executor, qat
from tinyq.archive import load_graph, save_graph
from tinyq.backends import find_backend
from tinyq.files import write_atomic
from tinyq.graph import Graph
from tinyq.passes import finalize
from tinyq.report import GraphReport, report_graph
from tinyq.verification import check_backend

BACKENDS: Final = ("host", "qemu-m4", "tflm")
#: samples compared: every tensor of Keras in its three forms, every tensor of each backend
KERAS_COUNT: Final = 256
BACKEND_COUNT: Final = 32


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
    made_of = {"trained": training_inputs(unit, places), "checked": checking_digest(Path(__file__))}
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
