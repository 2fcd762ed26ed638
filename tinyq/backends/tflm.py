# SPDX-License-Identifier: Apache-2.0
"""Stock TensorFlow Lite Micro on the exported ``.tflite`` as a backend."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from tinyq.graph import Graph
from tinyq.tflite import run_tflm, write_tflite

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TflmBackend:
    """The ``tflite-micro`` interpreter from PyPI."""

    name: str = "tflm"

    def run(
        self, graph: Graph, codes: Mapping[str, Array], keep_all: bool = True
    ) -> dict[str, Array]:
        """Codes of all tensors that the twin shares with the graph, or of the outputs."""
        return run_tflm(write_tflite(graph), codes, keep_all)

    def selftest(self, graph: Graph) -> int | None:
        """A ``.tflite`` has none."""
        return None

    def tools(self, graph: Graph) -> Mapping[str, str]:
        """The version of the package."""
        return {"tflite-micro": importlib.metadata.version("tflite_micro")}
