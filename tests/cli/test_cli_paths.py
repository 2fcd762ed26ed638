# SPDX-License-Identifier: Apache-2.0
"""Paths and names on the command line: nothing is written over what is read, nor elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from h5_models import small_h5


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    """A good Keras model."""
    return small_h5(tmp_path / "m.h5")


def refused(cli: Any, *words: object, says: str) -> None:
    """Exit code 2 and one line that holds ``says``."""
    result = cli(*words)
    assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
    assert says in result.err


def test_a_command_keeps_what_it_reads(cli: Any, keras: Path, model: Path, data: Path) -> None:
    before = {path: path.read_bytes() for path in (keras, model, data)}
    reads = "reads or writes it already"
    target = keras.with_name("new.tq")
    refused(cli, "quantize", keras, "--data", data, "-o", keras, says=reads)
    refused(cli, "quantize", keras, "--data", data, "-o", data, says=reads)
    refused(cli, "quantize", keras, "-o", target, "--json", target, says=reads)
    refused(cli, "quantize", keras, "-o", target, "--json", keras, says=reads)
    refused(cli, "verify", model, "--on", "numpy", "--certificate", model, says=reads)
    refused(cli, "run", model, "--data", data, "--outputs", data, says=reads)
    refused(cli, "inspect", model, "--json", model, says=reads)
    refused(cli, "size", model, "--json", model.parent / "." / model.name, says=reads)
    assert {path: path.read_bytes() for path in before} == before
    assert not target.exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "."])
def test_a_tflite_file_stays_in_its_folder(
    cli: Any, model: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "deep" / "out"
    words = ("export", model, "-o", folder, "--format", "tflite", "--name", name)
    refused(cli, *words, says="not the name of a file")
    assert not list(tmp_path.rglob("*.tflite"))


def test_an_empty_name_is_no_c_name(cli: Any, model: Path, tmp_path: Path) -> None:
    refused(cli, "export", model, "-o", tmp_path / "out", "--name", "", says="identifier")


def test_a_quantized_model_under_another_name(cli: Any, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "model.bin"
    shutil.copy(model, other)
    assert cli("inspect", other).code == 0
    assert cli("export", other, "-o", tmp_path / "out").code == 0
    refused(cli, "quantize", other, "-o", tmp_path / "q.tq", says="quantized already")


@pytest.mark.parametrize("scale", ["1e-300", "1e300", "0"])
def test_scales_that_float32_does_not_hold(
    cli: Any, keras: Path, data: Path, tmp_path: Path, scale: str
) -> None:
    words = ("quantize", keras, "--data", data, "-o", tmp_path / "q.tq", "--scale", scale)
    refused(cli, *words, says="float32")


@pytest.mark.parametrize("verb", ["quantize", "qat"])
def test_negative_seed(cli: Any, keras: Path, data: Path, tmp_path: Path, verb: str) -> None:
    words = (verb, keras, "--data", data, "-o", tmp_path / "q.tq", "--seed", "-1")
    refused(cli, *words, says="--seed")
