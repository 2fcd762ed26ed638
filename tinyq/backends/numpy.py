# SPDX-License-Identifier: Apache-2.0
"""The NumPy executor as a backend: the reference, so comparing with it shows nothing new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq import executor
from tinyq.graph import Graph

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NumpyBackend:
    """Runs a graph with ``tinyq.executor``."""

    name: str = "numpy"

    def run(
        self, graph: Graph, codes: Mapping[str, Array], keep_all: bool = True
    ) -> dict[str, Array]:
        """Codes of all tensors, or of the outputs."""
        return executor.run(graph, codes) if keep_all else executor.predict(graph, codes)

    def selftest(self, graph: Graph) -> int | None:
        """It has none."""
        return None

    def tools(self, graph: Graph) -> Mapping[str, str]:
        """The version of NumPy."""
        return {"numpy": np.__version__}
