# SPDX-License-Identifier: Apache-2.0
"""What every backend answers: which codes it computes for which input codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from tinyq.graph import Graph

Array = npt.NDArray[Any]


class Backend(Protocol):
    """Something that runs an integer graph: an interpreter, this computer, an emulated core."""

    @property
    def name(self) -> str:
        """What ``--on`` calls it."""
        ...

    def run(
        self, graph: Graph, codes: Mapping[str, Array], keep_all: bool = True
    ) -> dict[str, Array]:
        """Codes of tensors.

        Args:
            graph: an integer graph.
            codes: codes ``[N, *shape]`` of every input, by tensor name.
            keep_all: return every tensor that the backend can show; else the outputs only.

        Raises:
            ToolMissing: something that must be installed is not; the message says what.
        """
        ...

    def selftest(self, graph: Graph) -> int | None:
        """Run the model's own self-test: 0 passed, else what it returned; None: it has none."""
        ...

    def tools(self, graph: Graph) -> Mapping[str, str]:
        """What a certificate must name: compiler and emulator with versions and flags."""
        ...
