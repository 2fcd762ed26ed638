# SPDX-License-Identifier: Apache-2.0
"""Search of activation exponents in the bit-exact model: each +-1, kept where the error falls.

One pass of coordinate descent over the classes of tensors that share an exponent.  Weights stay;
biases change their unit with the exponent of the layer's input.  The error is that of
``sensitivity`` between the integer executor and the float network, on the same few samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from tinyq.errors import GraphError
from tinyq.executor import run
from tinyq.graph import Graph, Node, validate
from tinyq.numerics import INT32_MAX
from tinyq.ops import LinearOp, Sigmoid, Softmax
from tinyq.progress import Progress, silent
from tinyq.ptq.observe import Observation
from tinyq.ptq.sensitivity import ends, relative_error
from tinyq.ptq.sharing import exponent_classes

#: A step must win at least this much to be kept.
GAIN: Final = 0.995


def search_exponents(
    graph: Graph, seen: Mapping[str, Observation], progress: Progress = silent
) -> Graph:
    """The integer graph with the exponents that a search finds.

    Args:
        seen: values of the float network on a few samples, by tensor.
    """
    best, error = graph, output_error(graph, seen)
    classes = list(exponent_classes(graph).values())
    for index, members in enumerate(classes):
        progress("searching exponents", index, len(classes))
        for step in (-1, 1):
            candidate = shifted(best, members, step)
            if candidate is not None and (found := output_error(candidate, seen)) < GAIN * error:
                best, error = candidate, found
                break
    progress("searching exponents", len(classes), len(classes))
    return best


def output_error(graph: Graph, seen: Mapping[str, Observation]) -> float:
    """Relative squared error of the integer graph's outputs."""
    inputs = {name: graph.tensors[name].quantize(seen[name].sample) for name in graph.inputs}
    codes = run(graph, inputs)
    return sum(
        relative_error(graph.tensors[name].dequantize(codes[name]), seen[name].sample)
        for name in ends(graph)
    )


def shifted(graph: Graph, members: tuple[str, ...], step: int) -> Graph | None:
    """The graph with the class's exponents changed; None where no integer form exists."""
    if any(_is_unit(graph.producer(name)) for name in members):
        return None
    tensors = dict(graph.tensors)
    for name in members:
        tensors[name] = replace(tensors[name], exponent=tensors[name].exponent + step)
    nodes = [_rescaled(node, members, step) for node in graph.nodes]
    if any(node is None for node in nodes):
        return None
    try:
        kept = tuple(node for node in nodes if node is not None)
        return validate(replace(graph, tensors=tensors, nodes=kept))
    except (GraphError, ValueError):
        return None


def _is_unit(node: Node | None) -> bool:
    return node is not None and isinstance(node.op, Softmax | Sigmoid)


def _rescaled(node: Node, members: tuple[str, ...], step: int) -> Node | None:
    """The node with its bias in the new unit; None where it leaves 32 bits."""
    if not isinstance(node.op, LinearOp) or node.inputs[0] not in members:
        return node
    bias = np.rint(np.ldexp(node.op.bias.astype(np.float64), -step))
    if np.abs(bias).max(initial=0) > INT32_MAX // 2:
        return None
    return replace(node, op=replace(node.op, bias=bias.astype(np.int32)))
