# SPDX-License-Identifier: Apache-2.0
"""What a model consists of and needs, from graph and target alone: no compiler, no emulator.

The flash estimate counts constants (packed weights, biases, shift and look-up tables); the code of
kernels and schedule is measured by ``tinyq size``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tinyq.archive import graph_hash
from tinyq.compression import Compression, compression
from tinyq.encodings import ENCODINGS, Weights
from tinyq.graph import Graph, Node
from tinyq.kernels.program import Program, Step, Target, compile_graph
from tinyq.ops import LinearOp
from tinyq.tensors import Tensor


@dataclass(frozen=True)
class LayerReport:
    """One layer of an integer or float graph.

    Attributes:
        name: the user's name; node: tinyq's; op: the operator.
        shape: of the output; type: its type, bits and exponent, for example ``uint8*2^-4``.
        encoding: of the weights; weights: how many; weight_bytes: stored, tables included.
        macs: multiply-accumulates of one inference.
        accumulator_bits: proved; ``None`` without weights or before quantization.
        fits_int16: proved: 16 bits hold every partial sum and the rounding; ``None`` likewise.
        arena: first and last byte of its output in the arena, or ``None``.
        kernel: the stem of what computes it, several joined with ``+``; empty where nothing does,
            for reshapes, for additions that the layer before computes, and before quantization.
        scratch: bytes that the kernel needs besides.
        compression: zeros and estimated sizes of the weights; ``None`` likewise.
    """

    name: str
    node: str
    op: str
    shape: tuple[int, ...]
    type: str
    encoding: str | None
    weights: int
    weight_bytes: int
    macs: int
    accumulator_bits: int | None
    fits_int16: bool | None
    arena: tuple[int, int] | None
    kernel: str = ""
    scratch: int = 0
    compression: Compression | None = None


@dataclass(frozen=True)
class GraphReport:
    """A whole graph; what is about its program for ``target`` is ``None`` before quantization."""

    name: str
    sha256: str | None
    quantized: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    arena_bytes: int | None
    arena_lower_bound: int | None
    target: str | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights of all layers."""
        return sum(layer.weights for layer in self.layers)

    @property
    def constant_bytes(self) -> int:
        """Flash of all constants."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def compression(self) -> Compression:
        """Zeros and estimated sizes of all weights; nothing before quantization."""
        found = [layer.compression for layer in self.layers if layer.compression is not None]
        return sum(found, Compression(0, 0, 0, 0, 0))

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        totals = {"macs": self.macs, "weights": self.weights, "constant_bytes": self.constant_bytes}
        together = self.compression
        sizes = {**asdict(together), "sparsity": together.sparsity, "ratio": together.ratio}
        return {**asdict(self), **totals, "compression": sizes}


def report_graph(graph: Graph, target: Target | None = None) -> GraphReport:
    """Describe a float or an integer graph, the latter with its program for a target.

    Raises:
        InputError: no such kernel, or it does not apply; ProofError: an accumulator could overflow.
    """
    program = None if graph.is_float else compile_graph(graph, target)
    plan = None if program is None else program.plan
    return GraphReport(
        graph.name,
        None if graph.is_float else graph_hash(graph),
        not graph.is_float,
        tuple(describe_tensor(graph.tensors[name]) for name in graph.inputs),
        tuple(describe_tensor(graph.tensors[name]) for name in graph.outputs),
        tuple(_layer(graph, node, program) for node in graph.nodes),
        None if plan is None else plan.arena_bytes,
        None if plan is None else plan.lower_bound,
        None if program is None else program.target.label,
    )


def describe_tensor(tensor: Tensor) -> str:
    """``name 32x32x3 uint8*2^-8``."""
    return f"{tensor.name} {'x'.join(map(str, tensor.shape))} {describe_type(tensor)}"


def describe_type(tensor: Tensor) -> str:
    """``float32``, ``int8*2^-5`` or, for a narrower tensor, ``uint4*2^-3``."""
    if tensor.is_float:
        return tensor.dtype
    return f"{tensor.dtype.rstrip('8')}{tensor.bits}*2^{tensor.exponent}"


def _layer(graph: Graph, node: Node, program: Program | None) -> LayerReport:
    out, op = graph.out(node), node.op
    linear = op if isinstance(op, LinearOp) else None
    proof = None if program is None else program.proof.get(node.name)
    start = None if program is None else program.plan.offsets.get(out.name)
    step = None if program is None else _step_of(program, node)
    return LayerReport(
        node.label,
        node.name,
        type(op).__name__,
        out.shape,
        describe_type(out),
        linear.weights.encoding if linear and isinstance(linear.weights, Weights) else None,
        math.prod(linear.weights.shape) if linear else 0,
        constant_bytes(linear) if linear else 0,
        op.macs([t.shape for t in graph.ins(node)], out.shape),
        None if proof is None else proof.bits,
        None if proof is None else proof.fits_int16,
        None if start is None else (start, start + out.size - 1),
        "" if step is None else "+".join(step.stems),
        0 if step is None else step.memory.scratch,
        compression(linear.weights) if linear and isinstance(linear.weights, Weights) else None,
    )


def _step_of(program: Program, node: Node) -> Step | None:
    """The step that the node begins; ``None`` where it is part of another, or an alias."""
    return next((step for step in program.steps if step.name == node.name), None)


def constant_bytes(op: LinearOp) -> int:
    """Bytes of packed weights, table, shifts (one a channel where they differ) and biases."""
    if not isinstance(op.weights, Weights):
        return 4 * (op.weights.size + op.bias.size)
    encoding = ENCODINGS[op.weights.encoding]
    channels, per_channel = op.weights.shape[0], math.prod(op.weights.shape[1:])
    rows = channels * -(-per_channel * encoding.bits // 8)
    return rows + encoding.table_entries + len(op.weights.exponents) + 4 * channels
