# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a model file or a model is said in one line that names it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_models as small
import numpy as np
import pytest

from tinyq.errors import InputError, ModelFileError, TinyqError, UnsupportedError
from tinyq.frontends.importer import to_float_graph
from tinyq.frontends.keras import load_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras"),
]

Loader = Callable[[Any], Any]


@pytest.fixture(scope="module")
def files(tf_keras: Any, tmp_path_factory: Any) -> dict[str, Path]:
    """A good model in both file formats."""
    folder: Path = tmp_path_factory.mktemp("models")
    model = small.sequential(tf_keras)
    paths = {"h5": folder / "model.h5", "keras": folder / "model.keras"}
    for path in paths.values():
        model.save(path)
    return paths


def refused(load: Loader, source: Any, error: type[TinyqError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        load(source)
    assert "\n" not in str(caught.value)


@pytest.fixture(params=[load_model, to_float_graph], ids=lambda f: f.__name__)
def load(request: pytest.FixtureRequest) -> Loader:
    return request.param


@pytest.mark.parametrize("name", ["gone.h5", "gone.keras", "gone"])
def test_missing(load: Loader, tmp_path: Path, name: str) -> None:
    refused(load, tmp_path / name, ModelFileError, f"{name} does not exist")


@pytest.mark.parametrize("form", ["h5", "keras"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_truncated(
    load: Loader, files: dict[str, Path], tmp_path: Path, form: str, share: float
) -> None:
    content = files[form].read_bytes()
    path = tmp_path / f"cut.{form}"
    path.write_bytes(content[: int(len(content) * share)])
    refused(load, path, ModelFileError, f"cut.{form} is truncated or damaged")


@pytest.mark.parametrize("form", ["h5", "keras"])
def test_flipped_bits_never_escape(files: dict[str, Path], tmp_path: Path, form: str) -> None:
    content = files[form].read_bytes()
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 20):
            damaged[position] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"flipped.{form}"
        path.write_bytes(damaged)
        try:
            to_float_graph(path)
        except TinyqError as error:
            assert "\n" not in str(error)
            told += 1
    assert told > 10


@pytest.mark.parametrize("size", [0, 2**64 - 64])
def test_heaps_that_would_never_end(files: dict[str, Path], tmp_path: Path, size: int) -> None:
    content = bytearray(files["h5"].read_bytes())
    at = content.index(b"GCOL") + 16
    while (entry := struct.unpack_from("<HHIQ", content, at))[0]:  # free space is the last one
        at += 16 + -(-entry[3] // 8) * 8
    content[at + 8 : at + 16] = size.to_bytes(8, "little")
    (tmp_path / "heap.h5").write_bytes(content)
    said = f"truncated or damaged .an entry of {size} bytes in the global heap at byte {at}"
    with pytest.raises(ModelFileError, match=said):
        to_float_graph(tmp_path / "heap.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no model", "is neither .h5 nor .keras"),
        (b"\x1c\0\0\0TFL3\0\0\0\0", "is a TensorFlow Lite file"),
        (b"PK\x03\x04garbage", "is truncated or damaged"),
    ],
)
def test_not_a_model(load: Loader, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    refused(load, path, ModelFileError, message)


def test_weights_without_a_model(load: Loader, tf_keras: Any, tmp_path: Path) -> None:
    path = tmp_path / "only.weights.h5"
    small.sequential(tf_keras).save_weights(path)
    refused(load, path, ModelFileError, r"holds weights but no model; save it with model.save")


def test_folders(load: Loader, tf_keras: Any, tmp_path: Path) -> None:
    refused(load, tmp_path, ModelFileError, "is not a SavedModel")
    small.sequential(tf_keras).export(tmp_path / "exported")
    refused(load, tmp_path / "exported", ModelFileError, "was not written by Keras 2")
    small.sequential(tf_keras).save(tmp_path / "saved")
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x0a\x05")
    refused(load, tmp_path / "saved", ModelFileError, "cannot be read")


@pytest.mark.parametrize("form", ["object", "h5", "keras"])
@pytest.mark.parametrize("kind", ["Lambda", "LSTM"])
def test_layers_that_are_not_supported(keras: Any, tmp_path: Path, kind: str, form: str) -> None:
    layers = keras.layers
    odd = layers.LSTM(4, name="odd") if kind == "LSTM" else layers.Lambda(abs, name="odd")
    model: Any = keras.Sequential([layers.Input((6, 3)), odd, layers.Dense(2)])
    source = model if form == "object" else tmp_path / f"model.{form}"
    if form != "object":
        model.save(source)
    refused(load_model, source, UnsupportedError, rf"'odd' \({kind}\) is not supported; .*Conv2D")


@pytest.mark.parametrize("form", ["object", "h5", "keras"])
def test_weights_with_nan(load: Loader, keras: Any, tmp_path: Path, form: str) -> None:
    model = small.sequential(keras)
    dense = model.layers[-1]
    kernel, bias = dense.get_weights()
    kernel[0, 1] = np.nan
    dense.set_weights([kernel, bias])
    source = model if form == "object" else tmp_path / f"model.{form}"
    if form != "object":
        model.save(source)
    message = rf"'{dense.name}' \(Dense\): 1 of {kernel.size} values of kernel are NaN"
    refused(load, source, InputError, message)


def test_subclassed_models(load: Loader, keras: Any) -> None:
    class Net(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    refused(load, Net(), UnsupportedError, "Net is no functional or Sequential Keras model")


def test_objects_that_are_no_models(load: Loader) -> None:
    refused(load, 3.5, UnsupportedError, "float is no functional or Sequential Keras model")
