# SPDX-License-Identifier: Apache-2.0
"""The self-test vector: one input, and the CRC-32 of every layer's output.

The input is made on the device unless one is given, because an image would cost as much flash as
a model: x[k+1] = 1664525 x[k] + 1013904223 modulo 2**32, whose top bits are one code, uniform over
the input's range.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import executor
from tinyq.graph import Graph
from tinyq.tensors import Tensor

Array = npt.NDArray[Any]
_MULTIPLIER: Final = 1664525
_INCREMENT: Final = 1013904223


def seed_of(index: int) -> int:
    """The start of input ``index``'s sequence."""
    return index + 1


def made_input(tensor: Tensor, seed: int) -> Array:
    """Codes ``[*shape]`` that the device makes from the same seed."""
    codes = np.empty(tensor.size, np.int64)
    for k in range(tensor.size):
        seed = (seed * _MULTIPLIER + _INCREMENT) % 2**32
        codes[k] = (seed >> (32 - tensor.bits)) + tensor.lo
    return codes.astype(tensor.numpy_dtype).reshape(tensor.shape)


def vector_inputs(graph: Graph, given: Mapping[str, Array] | None) -> dict[str, Array]:
    """Codes ``[1, *shape]`` of every input of the self-test."""
    return {
        name: (
            np.asarray(given[name], graph.tensors[name].numpy_dtype)
            if given is not None
            else made_input(graph.tensors[name], seed_of(index))
        ).reshape(1, *graph.tensors[name].shape)
        for index, name in enumerate(graph.inputs)
    }


def tensor_crcs(
    graph: Graph, inputs: Mapping[str, Array], names: Sequence[str]
) -> npt.NDArray[np.uint32]:
    """CRC-32 (zlib) of the bytes of the named tensors."""
    values = executor.run(graph, inputs)
    outputs = (np.ascontiguousarray(values[name]) for name in names)
    return np.array([zlib.crc32(output.tobytes()) for output in outputs], np.uint32)
