# SPDX-License-Identifier: Apache-2.0
"""The generated classes of the TFLite schema, from whichever package ships them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import ModelFileError, TflmMissing

INSTALL: Final = "pip install 'tinyq-mcu[tflm]'"
_MODULES: Final = (
    "tflite_micro.tensorflow.lite.micro.python.schema_py_generated",
    "tensorflow.lite.python.schema_py_generated",
)


@cache
def schema() -> Any:
    """The module of schema classes (TflmMissing where no package has one)."""
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise TflmMissing(f"a .tflite file needs the tflite-micro package: {INSTALL}")


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor of a ``.tflite`` model as it is stored.

    Attributes:
        index: its number in the subgraph.
        name: its name.
        type: value of the schema's TensorType.
        shape: with the batch dimension.
        scales: float32 ``[1]``, ``[channels]`` or ``[0]``.
        zeros: int64, as many as scales.
        constant: True where the file holds its values.
        offset: where its values start in the file; 0 without values.
    """

    index: int
    name: str
    type: int
    shape: tuple[int, ...]
    scales: npt.NDArray[np.float32]
    zeros: npt.NDArray[np.int64]
    constant: bool
    offset: int


def read_tensors(model: bytes) -> list[TfliteTensor]:
    """Every tensor of the first subgraph (ModelFileError where the bytes are no model)."""
    if model[4:8] != b"TFL3":
        raise ModelFileError(f"{len(model)} bytes are not a .tflite model: the TFL3 mark is absent")
    root = schema().Model.GetRootAs(model)
    return list(_tensors(root))


def _tensors(root: Any) -> Iterator[TfliteTensor]:
    graph = root.Subgraphs(0)
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        buffer, quantization = root.Buffers(tensor.Buffer()), tensor.Quantization()
        empty = quantization is None or quantization.ScaleLength() == 0
        yield TfliteTensor(
            index,
            tensor.Name().decode(),
            tensor.Type(),
            tuple(tensor.ShapeAsNumpy().tolist()),
            np.zeros(0, np.float32) if empty else quantization.ScaleAsNumpy(),
            np.zeros(0, np.int64) if empty else quantization.ZeroPointAsNumpy(),
            buffer.DataLength() > 0,
            buffer._tab.Vector(buffer._tab.Offset(4)) if buffer.DataLength() else 0,
        )


def graph_ends(model: bytes) -> tuple[list[int], list[int]]:
    """Tensor numbers of the inputs and of the outputs of the first subgraph."""
    graph = schema().Model.GetRootAs(model).Subgraphs(0)
    return graph.InputsAsNumpy().tolist(), graph.OutputsAsNumpy().tolist()
