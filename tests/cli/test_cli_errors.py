# SPDX-License-Identifier: Apache-2.0
"""Bad input ends in exit code 2, exactly one line on standard error, and nothing written."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from h5_models import DENSE, small_h5, small_weights, write_h5


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    """A good Keras model."""
    return small_h5(tmp_path / "m.h5")


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Fails when a file under ``folder`` appears, goes or changes."""

    def state() -> dict[str, str]:
        files = (p for p in folder.rglob("*") if p.is_file())
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = state()
    yield
    assert state() == before


def refused(cli: Any, folder: Path, *words: object, says: str) -> None:
    """The command ends with 2 and one line that holds ``says``; no file appears or changes."""
    with unchanged(folder):
        result = cli(*words, json_file=True)
    lines = result.err.splitlines()
    assert (result.code, len(lines)) == (2, 1), result.err
    assert lines[0].startswith("tinyq: error: ")
    assert says in lines[0]
    assert result.json is None
    assert "Traceback" not in result.out


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("verb", ["inspect", "run", "verify", "size", "profile", "export"])
def test_missing_model(cli: Any, tmp_path: Path, data: Path, verb: str) -> None:
    extra = {"run": ["--data", data], "export": ["-o", tmp_path / "out"]}.get(verb, [])
    refused(cli, tmp_path, verb, tmp_path / "no.tq", *extra, says="no.tq")


def test_missing_keras_model(cli: Any, tmp_path: Path, data: Path) -> None:
    refused(
        cli, tmp_path, "quantize", tmp_path / "no.h5", "--data", data, "-o", tmp_path / "m.tq",
        says="does not exist",
    )  # fmt: skip


def test_truncated_keras_model(cli: Any, tmp_path: Path, keras: Path, data: Path) -> None:
    keras.write_bytes(keras.read_bytes()[:3000])
    refused(
        cli, tmp_path, "quantize", keras, "--data", data, "-o", tmp_path / "m.tq", says="truncated"
    )


def test_empty_keras_model(cli: Any, tmp_path: Path, data: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"")
    refused(
        cli, tmp_path, "quantize", tmp_path / "m.keras", "--data", data, "-o", tmp_path / "m.tq",
        says="is empty",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options"),
    [("Lambda", {"function": "x"}), ("LSTM", {"units": 4}), ("GRU", {"units": 4})],
)
@pytest.mark.parametrize("verb", ["quantize", "inspect"])
def test_unsupported_layer(
    cli: Any, tmp_path: Path, data: Path, kind: str, options: dict[str, Any], verb: str
) -> None:
    keras = small_h5(tmp_path / "m.h5", [(kind, "odd_one", options)])
    extra = ["--data", data, "-o", tmp_path / "m.tq"] if verb == "quantize" else []
    refused(cli, tmp_path, verb, keras, *extra, says=f"layer 'odd_one' ({kind})")


def test_nan_weights(cli: Any, tmp_path: Path, data: Path) -> None:
    weights = small_weights()
    weights["classes"]["kernel"][0, 0] = np.nan
    layers = [("Flatten", "flat", {}), ("Dense", "classes", DENSE)]
    keras = write_h5(tmp_path / "m.h5", layers, {"classes": weights["classes"]})
    refused(
        cli, tmp_path, "quantize", keras, "--data", data, "-o", tmp_path / "m.tq",
        says="layer 'classes' (Dense)",
    )  # fmt: skip


# ---------------------------------------------------------------- .tq files


def test_quantize_twice(cli: Any, tmp_path: Path, model: Path, data: Path) -> None:
    words = ("quantize", model, "--data", data, "-o", tmp_path / "m.tq")
    refused(cli, tmp_path, *words, says="quantized already")


def test_a_folder_is_no_model(cli: Any, tmp_path: Path) -> None:
    refused(cli, tmp_path, "inspect", tmp_path, says="saved_model.pb")
    (tmp_path / "folder.tq").mkdir()
    refused(cli, tmp_path, "size", tmp_path / "folder.tq", says="folder.tq")


def test_truncated_tq(cli: Any, tmp_path: Path, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-200])
    refused(cli, tmp_path, "inspect", model, says="damaged")


@pytest.mark.parametrize("position", [0, 100, 700, -1])
def test_flipped_bit(cli: Any, tmp_path: Path, model: Path, position: int) -> None:
    content = bytearray(model.read_bytes())
    content[position] ^= 4
    model.write_bytes(content)
    refused(cli, tmp_path, "inspect", model, says="damaged")


def test_tq_of_another_version(cli: Any, tmp_path: Path, model: Path) -> None:
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps({**manifest, "schema": 99, "tinyq": "7.0"}).encode()
    with zipfile.ZipFile(model, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = b"0" * 64
    body = model.read_bytes()[:-64]
    model.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    refused(cli, tmp_path, "run", model, "--data", tmp_path / "data.npz", says="schema 99")


# ---------------------------------------------------------------- data


def save_x(path: Path, x: np.ndarray, **more: np.ndarray) -> Path:
    np.savez(path, x=x, **more)
    return path


BAD_DATA: dict[str, tuple[Callable[[Path], Path], str]] = {
    "shape": (lambda p: save_x(p, np.zeros((9, 7, 8))), "shape"),
    "nan": (lambda p: save_x(p, np.full((9, 8, 8), np.nan)), "NaN"),
    "infinity": (lambda p: save_x(p, np.full((9, 8, 8), np.inf, np.float32)), "infinity"),
    "empty": (lambda p: save_x(p, np.zeros((0, 8, 8))), "no samples"),
    "scalar": (lambda p: save_x(p, np.float64(3)), "no samples"),
    "text": (lambda p: save_x(p, np.array(["a", "b"])), "type <U1"),
    "objects": (lambda p: save_x(p, np.array([{}, None], dtype=object)), "cannot be read"),
    "labels": (lambda p: save_x(p, np.zeros((9, 8, 8)), y=np.zeros(4)), "labels of shape (4,)"),
    "no_x": (lambda p: (np.savez(p, images=np.zeros(3)), p)[1], "it holds images"),
    "missing": (lambda p: p, "does not exist"),
    "no_archive": (lambda p: (p.write_bytes(b"hello"), p)[1], "not an .npz file"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(cli: Any, tmp_path: Path, keras: Path, model: Path, case: str) -> None:
    make, says = BAD_DATA[case]
    data = make(tmp_path / "bad.npz")
    target = tmp_path / "m.tq"
    refused(cli, tmp_path, "quantize", keras, "--data", data, "-o", target, says=says)
    refused(cli, tmp_path, "run", model, "--data", data, says=says)
    refused(cli, tmp_path, "verify", model, "--data", data, "--on", "numpy", says=says)


def test_truncated_data(cli: Any, tmp_path: Path, keras: Path, data: Path) -> None:
    data.write_bytes(data.read_bytes()[:-100])
    refused(
        cli, tmp_path, "quantize", keras, "--data", data, "-o", tmp_path / "m.tq", says="truncated"
    )


def test_damaged_array(cli: Any, tmp_path: Path, model: Path, data: Path) -> None:
    with np.load(data) as arrays:
        np.savez_compressed(data, **dict(arrays))
    content = bytearray(data.read_bytes())
    with zipfile.ZipFile(data) as archive:
        at = archive.getinfo("x_test.npy").header_offset
    content[at + 120] ^= 255
    data.write_bytes(content)
    refused(cli, tmp_path, "run", model, "--data", data, says="'x_test' cannot be read")


@pytest.mark.parametrize("labels", [[0, 1, 7], [0, -1, 2]])
def test_labels_out_of_range(cli: Any, tmp_path: Path, model: Path, labels: list[int]) -> None:
    data = save_x(tmp_path / "d.npz", np.zeros((3, 8, 8)), y=np.array(labels))
    refused(cli, tmp_path, "run", model, "--data", data, says="labels must lie in 0..2")


def test_data_and_data_free(cli: Any, tmp_path: Path, keras: Path, data: Path) -> None:
    words = ("quantize", keras, "-o", tmp_path / "m.tq", "--data", data, "--data-free")
    refused(cli, tmp_path, *words, says="exclude each other")


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--weights", "int5"], "int5"),
        (["--first-last", "lut4"], "first_last"),
        (["--scale", "0"], "scale 0"),
        (["--scale", "1/0"], "'1/0' is not a number"),
        (["--samples", "0"], "at least 1"),
        (["--samples", "many"], "--samples"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_bad_option(
    cli: Any, tmp_path: Path, keras: Path, data: Path, words: list[str], says: str
) -> None:
    command = ("quantize", keras, "--data", data, "-o", tmp_path / "m.tq", *words)
    refused(cli, tmp_path, *command, says=says)


def test_unknown_names(cli: Any, tmp_path: Path, model: Path, data: Path) -> None:
    refused(cli, tmp_path, "verify", model, "--on", "host,abacus", says="qemu-m4")
    refused(cli, tmp_path, "verify", model, "--on", ",", says="names no backend")
    refused(cli, tmp_path, "verify", model, "--count", 0, says="at least 1")
    refused(cli, tmp_path, "run", model, "--data", data, "--on", "abacus", says="numpy")
    refused(cli, tmp_path, "size", model, "--core", "z80", says="m0, m3, m4")
    out = tmp_path / "out"
    refused(cli, tmp_path, "export", model, "-o", out, "--format", "elf", says="tflite")
    refused(cli, tmp_path, "export", model, "-o", out, "--core", "z80", says="generic")
    refused(cli, tmp_path, "export", model, "-o", out, "--name", "while", says="reserved")
    refused(cli, tmp_path, "export", model, "-o", out, "--name", "9x", says="identifier")
    refused(cli, tmp_path, "divide", says="divide")
    refused(cli, tmp_path, "profile", model, "--on", "host", says="counts no instructions")
    refused(cli, tmp_path, "profile", model, "--on", "renode-m4", says="choose one of qemu-m0")
    refused(cli, tmp_path, "profile", model, "--plot", tmp_path / "a.bmp", says=".png")
    refused(cli, tmp_path, "size", model, "--kernel", "conv2d0", says="write LAYER=STEM")
    refused(
        cli, tmp_path, "size", model, "--kernel", "conv2d0=magic", says="unknown kernel 'magic'"
    )
    refused(cli, tmp_path, "size", model, "--kernel", "nothing=portable", says="no layer is called")
    refused(cli, tmp_path, "inspect", model, "--kernels", "slow", says="choose portable or fast")
    refused(cli, tmp_path, "verify", model, "--core", "z80", says="unknown core 'z80'")
    assert not out.exists()


# ---------------------------------------------------------------- output


@pytest.fixture(params=["under a file", "/proc", "/dev/null"])
def closed_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder in which nobody can write, root included, who ignores permissions."""
    if request.param == "under a file":
        (tmp_path / "file").write_text("")
        return tmp_path / "file"
    return Path(request.param)


def test_output_cannot_be_written(
    cli: Any, tmp_path: Path, keras: Path, model: Path, data: Path, closed_folder: Path
) -> None:
    says = str(closed_folder)
    target = closed_folder / "sub" / "m.tq"
    refused(cli, tmp_path, "quantize", keras, "--data", data, "-o", target, says=says)
    refused(cli, tmp_path, "export", model, "-o", closed_folder / "sub", says=says)
    refused(
        cli, tmp_path, "run", model, "--data", data, "--outputs", closed_folder / "o.npz", says=says
    )
    refused(
        cli, tmp_path, "verify", model, "--on", "numpy", "--certificate", closed_folder / "c.json",
        says=says,
    )  # fmt: skip


def test_output_is_a_folder(cli: Any, tmp_path: Path, keras: Path, data: Path) -> None:
    refused(cli, tmp_path, "quantize", keras, "--data", data, "-o", tmp_path, says="it is a folder")


def test_json_cannot_be_written(cli: Any, tmp_path: Path, model: Path, data: Path) -> None:
    with unchanged(tmp_path):
        result = cli("run", model, "--data", data, "--json", data / "r.json")
    assert (result.code, len(result.err.splitlines())) == (2, 1)


# ---------------------------------------------------------------- tools


@pytest.fixture
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on PATH, nothing in the build cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CC", raising=False)


@pytest.mark.usefixtures("no_tools")
def test_no_compiler(cli: Any, tmp_path: Path, model: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TINYQ_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    refused(cli, tmp_path, "verify", model, "--on", "host", says="no C compiler on PATH")
    refused(cli, tmp_path, "verify", model, "--on", "unicorn-m4", says="arm-none-eabi-gcc")
    refused(cli, tmp_path, "size", model, says="apt install gcc-arm-none-eabi")


@pytest.mark.usefixtures("no_tools")
def test_no_qemu(cli: Any, tmp_path: Path, model: Path) -> None:
    refused(cli, tmp_path, "verify", model, "--on", "qemu-m4", says="qemu-system-arm")
    refused(cli, tmp_path, "profile", model, says="qemu-system-arm")
    refused(cli, tmp_path, "verify", model, "--on", "renode-m4", says="renode")


def test_no_tflite_micro(cli: Any, tmp_path: Path, model: Path, monkeypatch: Any) -> None:
    for name in ("tflite_micro", "flatbuffers"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    refused(cli, tmp_path, "verify", model, "--on", "tflm", says="pip install")


def test_build_cache_cannot_be_written(
    cli: Any, tmp_path: Path, model: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TINYQ_CACHE", "/dev/null/cache")
    refused(cli, tmp_path, "size", model, says="/dev/null/cache")


def test_unexpected_system_error(cli: Any, tmp_path: Path, model: Path, monkeypatch: Any) -> None:
    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tinyq.api.load_graph", fail)
    refused(cli, tmp_path, "size", model, says="small.tq: Permission denied")
