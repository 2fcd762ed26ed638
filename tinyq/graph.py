# SPDX-License-Identifier: Apache-2.0
"""The graph: frozen tensors and nodes, and the invariants that every pass must keep.

One class serves both stages.  In the *float graph* every tensor is float32; in the *integer graph*
every tensor is int8 or uint8 and every weighted operator holds ``Weights`` and an int32 bias.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from tinyq.encodings import Weights
from tinyq.errors import GraphError
from tinyq.ops import LinearOp, Op
from tinyq.tensors import Tensor

__all__ = ["Graph", "Node", "Preprocess", "Tensor", "unique_name", "validate"]

_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]*\Z")
_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Preprocess:
    """The model's input is (x - offset) * scale of what a data file holds."""

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Node:
    """One operator applied to named tensors.

    Attributes:
        name: unique, a lower-case C identifier; not necessarily what the user called the layer.
        op: the operator with its parameters.
        inputs, outputs: tensor names.
        layers: the user's layers that it stands for, in order.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """The only output."""
        (name,) = self.outputs
        return name

    @property
    def label(self) -> str:
        """How messages name it: the user's layer first."""
        return self.layers[0] if self.layers else self.name


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order over named tensors.

    Attributes:
        name: the model's name, a C identifier.
        tensors: every tensor by name.
        nodes: in an order in which they can run.
        inputs, outputs: tensor names.
        preprocess: one entry per input.
        meta: facts about the model's origin, strings only.
    """

    name: str
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    preprocess: tuple[Preprocess, ...] = ()
    meta: Mapping[str, str] = field(default_factory=lambda: _EMPTY)

    def ins(self, node: Node) -> tuple[Tensor, ...]:
        """The input tensors of a node."""
        return tuple(self.tensors[name] for name in node.inputs)

    def out(self, node: Node) -> Tensor:
        """The output tensor of a node."""
        return self.tensors[node.output]

    def producer(self, tensor: str) -> Node | None:
        """The node that writes a tensor; None for inputs."""
        return next((n for n in self.nodes if tensor in n.outputs), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read a tensor."""
        return tuple(n for n in self.nodes if tensor in n.inputs)

    def node(self, name: str) -> Node:
        """The node of that name."""
        return next(n for n in self.nodes if n.name == name)

    @property
    def is_float(self) -> bool:
        """True before quantization."""
        return any(t.is_float for t in self.tensors.values())

    def linear_nodes(self) -> Iterator[tuple[Node, LinearOp]]:
        """The nodes with weights."""
        for node in self.nodes:
            if isinstance(node.op, LinearOp):
                yield node, node.op

    def with_nodes(self, nodes: tuple[Node, ...], tensors: Mapping[str, Tensor]) -> Graph:
        """The graph with other nodes; tensors that nothing names any more are dropped."""
        used = {*self.inputs, *self.outputs}.union(*({*n.inputs, *n.outputs} for n in nodes))
        kept = {name: t for name, t in tensors.items() if name in used}
        return replace(self, nodes=nodes, tensors=kept)

    def __str__(self) -> str:
        return to_text(self)


def unique_name(wanted: str, taken: set[str]) -> str:
    """A C identifier close to ``wanted`` that is not in ``taken`` (which is not changed)."""
    base = re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_") or "node"
    base = base if base[0].isalpha() else f"n{base}"
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def to_text(graph: Graph) -> str:
    """One line a node: output, type and shape, operator, inputs."""
    lines = [f"graph {graph.name}"]
    for name in graph.inputs:
        lines.append(f"  {_tensor_text(graph.tensors[name])} = input")
    for node in graph.nodes:
        arguments = ", ".join(node.inputs)
        op = type(node.op).__name__
        lines.append(f"  {_tensor_text(graph.out(node))} = {op}({arguments})  # {node.label}")
    return "\n".join([*lines, f"  return {', '.join(graph.outputs)}"])


def _tensor_text(t: Tensor) -> str:
    shape = "x".join(map(str, t.shape))
    form = "float32" if t.is_float else f"{t.dtype[:-1]}{t.bits}*2^{t.exponent}"
    return f"{t.name}: {form}[{shape}]"


def validate(graph: Graph) -> Graph:
    """Check every invariant and return the graph.

    Raises:
        GraphError: naming the layer and what is wrong.
    """
    _check_names(graph)
    known = set(graph.inputs)
    for node in graph.nodes:
        missing = [name for name in node.inputs if name not in known]
        if missing:
            raise GraphError(f"layer '{node.label}' reads {missing[0]} before it is written")
        if known.intersection(node.outputs):
            raise GraphError(f"layer '{node.label}' writes {node.output} a second time")
        known.update(node.outputs)
        _check_node(graph, node)
    for name in graph.outputs:
        if name not in known:
            raise GraphError(f"output {name} of '{graph.name}' is never written")
    return graph


def _check_names(graph: Graph) -> None:
    names = [node.name for node in graph.nodes]
    for name in (graph.name, *names):
        if not _IDENTIFIER.match(name):
            raise GraphError(f"'{name}' is not a lower-case C identifier")
    if len(set(names)) != len(names):
        raise GraphError(f"node names of '{graph.name}' are not unique")
    if len(graph.preprocess) not in (0, len(graph.inputs)):
        raise GraphError(f"{len(graph.preprocess)} preprocess entries, {len(graph.inputs)} inputs")
    for key, tensor in graph.tensors.items():
        if key != tensor.name:
            raise GraphError(f"tensor '{tensor.name}' is filed under '{key}'")
        if tensor.channels is not None and len(tensor.channels) != tensor.shape[-1]:
            raise GraphError(f"tensor '{key}' maps {len(tensor.channels)} channels: {tensor.shape}")


def _check_node(graph: Graph, node: Node) -> None:
    ins, out, op = graph.ins(node), graph.out(node), node.op
    try:
        if op.arity is not None and op.arity != len(ins):
            raise GraphError(f"{op.arity} inputs expected, got {len(ins)}")
        shape = op.infer_shape([t.shape for t in ins])
        if shape != out.shape:
            raise GraphError(f"output shape {out.shape} should be {shape}")
        if graph.is_float:
            return
        if isinstance(op, LinearOp):
            _check_integers(op)
        op.check(ins, out)
    except GraphError as error:
        raise GraphError(f"layer '{node.label}' ({type(op).__name__}): {error}") from error


def _check_integers(op: LinearOp) -> None:
    if not isinstance(op.weights, Weights):
        raise GraphError("float weights in an integer graph")
    if op.bias.dtype != np.int32 or op.bias.shape != (op.weights.shape[0],):
        raise GraphError(f"bias must be int32 [{op.weights.shape[0]}]")
