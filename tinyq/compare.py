# SPDX-License-Identifier: Apache-2.0
"""Equality of what a backend computed with what the NumPy executor computed, tensor by tensor.

Only equality: there is no tolerance here.  A tensor that a backend does not show is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.graph import Graph

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """The first code that differs.

    Attributes:
        layer: the user's name of the layer that wrote it.
        tensor: its tensor.
        sample: index of the input.
        index: flat index within one sample of the tensor.
        expected, got: the executor's and the backend's code; ``None`` where there is none.
    """

    layer: str
    tensor: str
    sample: int
    index: int
    expected: int | None
    got: int | None

    def __str__(self) -> str:
        return (
            f"layer '{self.layer}' (tensor {self.tensor}), sample {self.sample}, index "
            f"{self.index}: expected {_text(self.expected)}, got {_text(self.got)}"
        )


def _text(code: int | None) -> str:
    return "nothing" if code is None else str(code)


@dataclass(frozen=True)
class TensorComparison:
    """One tensor: codes compared, codes that differ, the first of them."""

    layer: str
    tensor: str
    elements: int
    mismatches: int
    first: Difference | None = None

    def __add__(self, later: TensorComparison) -> TensorComparison:
        """The sum over two batches."""
        return TensorComparison(
            self.layer,
            self.tensor,
            self.elements + later.elements,
            self.mismatches + later.mismatches,
            self.first or later.first,
        )


def compare(
    graph: Graph, expected: Mapping[str, Array], got: Mapping[str, Array], first_sample: int = 0
) -> tuple[TensorComparison, ...]:
    """Compare every tensor in ``got``, in the order of the schedule.

    Args:
        graph: names the layers.
        expected: codes ``[N, *shape]`` of every tensor, from the executor.
        got: the same from a backend, of the tensors that it shows.
        first_sample: number of the first sample, for messages.
    """
    return tuple(
        _compare_tensor(label, name, expected[name], got[name], first_sample)
        for label, name in shown_tensors(graph)
        if name in got
    )


def shown_tensors(graph: Graph) -> tuple[tuple[str, str], ...]:
    """(user's layer, tensor) of everything that a layer writes, in the order of the schedule."""
    return tuple((node.label, name) for node in graph.nodes for name in node.outputs)


def _compare_tensor(
    layer: str, tensor: str, expected: Array, got: Array, first_sample: int
) -> TensorComparison:
    a = expected.astype(np.int64).reshape(-1)
    b = got.astype(np.int64).reshape(-1)
    common = min(a.size, b.size)
    wrong = np.flatnonzero(a[:common] != b[:common])
    mismatches = wrong.size + max(a.size, b.size) - common
    if not mismatches:
        return TensorComparison(layer, tensor, a.size, 0)
    position = int(wrong[0]) if wrong.size else common
    sample, index = divmod(position, max(1, a.size // len(expected)))
    first = Difference(
        layer, tensor, first_sample + sample, index, _code(a, position), _code(b, position)
    )
    return TensorComparison(layer, tensor, a.size, mismatches, first)


def _code(flat: Array, position: int) -> int | None:
    return int(flat[position]) if position < flat.size else None


def merge(batches: Sequence[Sequence[TensorComparison]]) -> tuple[TensorComparison, ...]:
    """The comparisons of several batches as one per tensor."""
    merged: dict[str, TensorComparison] = {}
    for batch in batches:
        for item in batch:
            merged[item.tensor] = merged[item.tensor] + item if item.tensor in merged else item
    return tuple(merged.values())
