# SPDX-License-Identifier: Apache-2.0
"""Runs a graph in NumPy: the bit-exact model of the chip.  Every tensor can be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.errors import DataError
from tinyq.graph import Graph, Node
from tinyq.numerics import IntArray

Array = npt.NDArray[Any]


def run(graph: Graph, inputs: Mapping[str, IntArray]) -> dict[str, Array]:
    """Every tensor of an integer graph.

    Args:
        graph: an integer graph.
        inputs: codes ``[N, *shape]`` of every input, by tensor name.

    Returns:
        codes ``[N, *shape]`` of every tensor in the tensor's dtype, by name.
    """

    def integer(node: Node, xs: Sequence[Array]) -> Array:
        out = graph.out(node)
        return node.op.evaluate(xs, graph.ins(node), out).astype(out.numpy_dtype)

    return _run(graph, inputs, integer)


def run_float(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of a float graph, computed in the floating-point type of the inputs."""
    return _run(graph, inputs, lambda node, xs: node.op.evaluate_float(xs))


def _run(
    graph: Graph,
    inputs: Mapping[str, Array],
    evaluate: Callable[[Node, Sequence[Array]], Array],
) -> dict[str, Array]:
    values: dict[str, Array] = {name: inputs[name] for name in graph.inputs}
    for node in graph.nodes:
        values[node.output] = evaluate(node, [values[name] for name in node.inputs])
    return values


def predict(graph: Graph, inputs: Mapping[str, Array], batch: int = 64) -> dict[str, Array]:
    """The outputs only, computed in batches to bound memory; float or integer graph."""
    step = run_float if graph.is_float else run
    parts: dict[str, list[Array]] = {name: [] for name in graph.outputs}
    for chunk in batches(inputs, batch):
        values = step(graph, chunk)
        for name in parts:
            parts[name].append(values[name])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def batches(inputs: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    """Slices of all inputs, at most ``size`` samples each."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, size):
        yield {name: x[start : start + size] for name, x in inputs.items()}


def preprocess_inputs(graph: Graph, raw: Sequence[Array]) -> dict[str, Array]:
    """What the model sees of the arrays in a data file: (x - offset) * scale, float32.

    Raises:
        DataError: the number, shape or values of the arrays do not fit the model.
    """
    if len(raw) != len(graph.inputs):
        raise DataError(f"the model has {len(graph.inputs)} inputs, the data hold {len(raw)}")
    result = {}
    for index, (name, x) in enumerate(zip(graph.inputs, raw, strict=True)):
        shape = graph.tensors[name].shape
        values = reshape_samples(x, shape, name)
        if graph.preprocess:
            step = graph.preprocess[index]
            values = (values - np.float32(step.offset)) * np.float32(step.scale)
        result[name] = values
    return result


def reshape_samples(x: Array, shape: tuple[int, ...], name: str) -> npt.NDArray[np.float32]:
    """``x`` as float32 ``[N, *shape]``; a missing or extra channel dimension of 1 is forgiven."""
    if x.ndim < 1 or len(x) == 0 or x.size != len(x) * int(np.prod(shape)):
        raise DataError(
            f"data for input '{name}' have shape {x.shape}, the model needs (N, "
            f"{', '.join(map(str, shape))}); reshape them"
        )
    significant = [d for d in x.shape[1:] if d != 1]
    if significant != [d for d in shape if d != 1]:
        raise DataError(
            f"data for input '{name}' have sample shape {x.shape[1:]}, the model needs {shape}"
        )
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == np.bool_):
        raise DataError(f"data for input '{name}' have type {x.dtype}, numbers are needed")
    values = np.asarray(x, np.float32).reshape(len(x), *shape)
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(1)))
        raise DataError(f"data for input '{name}' hold NaN or infinity, first in sample {bad}")
    return values


def quantize_inputs(graph: Graph, raw: Sequence[Array]) -> dict[str, Array]:
    """Codes of every input of an integer graph, from the arrays in a data file."""
    real = preprocess_inputs(graph, raw)
    return {name: graph.tensors[name].quantize(x) for name, x in real.items()}
