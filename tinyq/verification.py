# SPDX-License-Identifier: Apache-2.0
"""Runs a model on backends and compares every tensor that they show with the NumPy executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import executor
from tinyq.backends import Backend
from tinyq.compare import Difference, TensorComparison, compare, merge
from tinyq.graph import Graph
from tinyq.progress import Progress, silent

Array = npt.NDArray[Any]

#: bytes of all tensors of one batch: bounds the memory of a check
BATCH_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class BackendCheck:
    """What one backend showed.

    Attributes:
        name: the backend.
        inputs: samples that it ran.
        tensors: one comparison for each tensor that it showed.
        selftest: result of the model's own self-test (0 passed); ``None`` where it has none.
        tools: compiler and emulator, with versions.
    """

    name: str
    inputs: int
    tensors: tuple[TensorComparison, ...]
    selftest: int | None
    tools: Mapping[str, str]

    @property
    def mismatches(self) -> int:
        """Codes that differ."""
        return sum(t.mismatches for t in self.tensors)

    @property
    def first(self) -> Difference | None:
        """The first difference in the order of the schedule."""
        return next((t.first for t in self.tensors if t.first), None)

    @property
    def passed(self) -> bool:
        """Equal everywhere and no failed self-test; one of both must have looked at something."""
        looked = bool(self.tensors) or self.selftest is not None
        return looked and self.mismatches == 0 and self.selftest in (None, 0)

    def to_json(self) -> dict[str, Any]:
        """For scripts: ``inputs``, ``tensors``, ``mismatches`` and what explains them."""
        first = self.first
        return {
            "inputs": self.inputs,
            "tensors": len(self.tensors),
            "elements": sum(t.elements for t in self.tensors),
            "mismatches": self.mismatches,
            "first_difference": None if first is None else vars(first),
            "selftest": self.selftest,
            "layers": [
                {
                    "name": t.layer,
                    "tensor": t.tensor,
                    "elements": t.elements,
                    "mismatches": t.mismatches,
                }
                for t in self.tensors
            ],
            "tools": dict(self.tools),
        }


def check_backend(
    graph: Graph,
    backend: Backend,
    codes: Mapping[str, Array],
    progress: Progress = silent,
) -> BackendCheck:
    """Run all samples on a backend and compare every tensor; equality only.

    Args:
        graph: an integer graph.
        backend: what to check.
        codes: codes ``[N, *shape]`` of every input.
        progress: told the number of samples done.
    """
    count = len(next(iter(codes.values())))
    size = batch_size(graph)
    compared: list[Sequence[TensorComparison]] = []
    progress(backend.name, 0, count)
    for start, batch in zip(range(0, count, size), executor.batches(codes, size), strict=True):
        expected = executor.run(graph, batch)
        compared.append(compare(graph, expected, backend.run(graph, batch), start))
        progress(backend.name, min(start + size, count), count)
    result = backend.selftest(graph)
    return BackendCheck(backend.name, count, merge(compared), result, backend.tools(graph))


def batch_size(graph: Graph) -> int:
    """Samples whose tensors fit ``BATCH_BYTES``."""
    return max(1, BATCH_BYTES // max(1, sum(t.size for t in graph.tensors.values())))


def random_codes(graph: Graph, count: int, seed: int = 0) -> dict[str, Array]:
    """Codes drawn uniformly from the whole range of every input: a check that needs no data."""
    codes = {}
    for index, name in enumerate(graph.inputs):
        t = graph.tensors[name]
        rng = np.random.default_rng((seed, index))  # of its own: fewer samples stay the same
        drawn = rng.integers(t.lo, t.hi, (count, *t.shape), endpoint=True)
        codes[name] = drawn.astype(t.numpy_dtype)
    return codes
