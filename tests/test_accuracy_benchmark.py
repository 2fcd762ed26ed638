# SPDX-License-Identifier: Apache-2.0
"""The accuracy benchmark: what it runs, what its hashes see, and that its stored rows hold.

Training is not repeated here; everything that a stored graph says about itself is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import accuracy
import numpy as np
import ptq_accuracy
import pytest
from accuracy_hashes import closure_digest, code_digest
from accuracy_methods import METHODS, methods_of, units_of
from accuracy_rows import quantized_figures
from accuracy_tasks import TASKS, quick

from tinyq.archive import load_graph

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ROWS = sorted((RESULTS / "accuracy").glob("*/*.json"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_headline_methods_have_three_seeds() -> None:
    for task in ("fashion", "digits"):
        seeds = [seed for method, seed in units_of(task) if method.name == "w4a8 lut"]
        assert seeds == [0, 1, 2]
        assert [seed for method, seed in units_of(task) if method.name == "w3a8 lut"] == [0]
    assert {seed for _, seed in units_of("cifar")} == {0}


def test_names_are_unique_and_keyword_spotting_has_few_rows() -> None:
    names = [method.name for method in methods_of("fashion")]
    assert len(set(names)) == len(names) > len(METHODS)
    assert len(methods_of("kws")) < len(methods_of("cifar")) < len(METHODS)


def test_a_quick_task_differs_in_training_only() -> None:
    task = TASKS["fashion"]
    assert quick(task).recipe() != task.recipe()
    assert quick(task).files == task.files


def test_some_methods_have_a_schedule_of_their_own_for_a_task() -> None:
    configs = {method.name: method.config for method in methods_of("fashion")}
    fashion, cifar = TASKS["fashion"], TASKS["cifar"]
    assert fashion.learned_by(None) is fashion
    assert fashion.learned_by(configs["w4a8 apot"]) is fashion
    assert fashion.learned_by(configs["w4a4 llsq"]) is fashion
    assert fashion.learned_by(configs["w4a8 pot"]).schedule == fashion.powers != fashion.schedule
    assert cifar.learned_by(configs["w4a8 pot"]) is cifar
    assert cifar.learned_by(configs["w4a4 llsq"]).schedule == cifar.narrow != cifar.schedule


def test_keyword_inputs_are_those_of_the_file_to_one_model_and_scaled_to_the_other(
    tmp_path: Path,
) -> None:
    codes = np.arange(2 * 490).reshape(2, 49, 10, 1).astype(np.uint8)
    (tmp_path / "dev").mkdir()
    for name in ("gsc_v1_mini300", "mlperf_kws01_part"):
        np.savez(tmp_path / "dev" / f"{name}.npz", x=codes, y=np.zeros(2, int))
    trained, after = TASKS["kws"].load(tmp_path), ptq_accuracy.kws(tmp_path, tmp_path, 2)
    assert (trained.x_test == codes - np.float32(83)).all()
    for own, other in ((trained.x, after.calibration), (trained.x_test, after.test)):
        assert (other == own * np.float32(TASKS["kws"].input_unit)).all()


def test_code_digest_sees_code_but_no_comments(tmp_path: Path) -> None:
    path = tmp_path / "code.py"

    def digest(text: str) -> str:
        path.write_text(text)
        return code_digest([path])

    first = digest('def f(x):\n    """One."""\n    return x  # here\n')
    assert digest('def f(x):\n    """Other."""\n    return x\n') == first
    assert digest("def f(x):\n    return -x\n") != first
    assert digest('TASKS = {"a": 1}\n') == digest('TASKS = {"a": 2}\n')


def test_closure_digest_sees_what_a_function_needs_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "code.py"

    def digest(text: str) -> str:
        path.write_text(text)
        return closure_digest(path, ["f"])

    code = "SCALE, OFFSET = 2, 3\ndef g(x):\n    return x * SCALE\ndef f(x):\n    return g(x)\n"
    first = digest(code)
    assert digest(code + "def other():\n    return 1\n") == first
    assert digest(code.replace("x * SCALE", "x + SCALE")) != first
    assert digest(code.replace("2, 3", "2, 4")) != first
    assert digest(code.replace("return g(x)", "return x")) != first


def test_there_are_stored_rows() -> None:
    assert ROWS


@pytest.mark.parametrize("path", ROWS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_stored_row_is_what_its_graph_says(path: Path) -> None:
    row = read(path)
    assert not row["validation"]
    if row["method"] == "float":
        assert path.with_suffix(".keras").exists()
        return
    assert row["mismatches"] == 0
    assert {"host", "qemu-m4", "tflm"} <= set(row["checks"])
    figures = quantized_figures(load_graph(path.with_suffix(".tq")))
    assert {key: row[key] for key in figures} == figures


def test_the_tables_are_those_of_the_rows() -> None:
    rows = accuracy.stored_rows(RESULTS / "accuracy")
    assert (RESULTS / "accuracy.md").read_text() == accuracy.page(rows)
    stored = read(RESULTS / "accuracy.json")["rows"]
    assert [row["hash"] for row in stored] == [row["hash"] for row in rows]
