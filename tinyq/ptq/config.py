# SPDX-License-Identifier: Apache-2.0
"""Options of post-training quantization, and which encoding each layer gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from tinyq.encodings import ENCODINGS
from tinyq.errors import InputError
from tinyq.graph import Graph, Node
from tinyq.numerics import ROUNDINGS
from tinyq.ops import LinearOp

FIRST_LAST: Final = ("same", "int8")
ACTIVATION_RULES: Final = ("auto", "max", "mse")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class PtqConfig:
    """How to quantize; every default is the measured best for 4-bit weights.

    Attributes:
        weights: encoding of all layers that nothing below names, a key of ``ENCODINGS``.
        overrides: pattern (``fnmatch``) of layer names -> encoding; the first match wins, and it
            wins over ``first_last``.
        first_last: "same", or "int8" for the layers next to the inputs and to the outputs.
        per_channel: one weight exponent per output channel instead of one per layer.
        activations: rule for activation exponents: "max" covers every calibration value but in
            inputs and averages, "mse" takes the least error of {max, max-1, max-2}; "auto" is
            "max" where ``weights`` has 8 bits, else "mse".
        rounding: "tflite" or "half_up", see ``numerics.ROUNDINGS``.
        zero_negligible: set channels to zero that do not change the output, see ``negligible``.
        negligible_threshold: how small, relative to the layer's largest weight.
        exponent_search: try each activation exponent +-1 in the bit-exact model (slow).
        rows: most patches that the statistics of a layer are taken from.
        seed: of the choice of those patches.
    """

    weights: str = "int8"
    overrides: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    first_last: str = "same"
    per_channel: bool = True
    activations: str = "auto"
    rounding: str = "tflite"
    zero_negligible: bool = True
    negligible_threshold: float = 1e-4
    exponent_search: bool = False
    rows: int = 12_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (self.weights, *self.overrides.values()):
            _check_choice("weight encoding", name, ENCODINGS)
        _check_choice("first_last", self.first_last, FIRST_LAST)
        _check_choice("activations", self.activations, ACTIVATION_RULES)
        _check_choice("rounding", self.rounding, [r for r in ROUNDINGS if r != "half_away"])
        if not 0 <= self.negligible_threshold < 1:
            raise InputError(f"negligible_threshold {self.negligible_threshold} is not in [0, 1)")
        if self.rows < 1:
            raise InputError(f"rows is {self.rows}: at least 1 patch is needed")

    @property
    def clips_activations(self) -> bool:
        """True when activation exponents minimize the squared error instead of covering all."""
        if self.activations == "auto":
            return ENCODINGS[self.weights].bits < 8
        return self.activations == "mse"


def _check_choice(what: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise InputError(f"unknown {what} '{value}'; choose one of {', '.join(known)}")


def layer_encodings(graph: Graph, config: PtqConfig) -> dict[str, str]:
    """Encoding of every weighted node, by node name.

    Raises:
        InputError: a pattern of ``config.overrides`` matches no layer with weights.
    """
    nodes = [node for node, _ in graph.linear_nodes()]
    for pattern in config.overrides:
        if not any(_matches(node, pattern) for node in nodes):
            names = ", ".join(node.label for node in nodes)
            raise InputError(f"no layer with weights matches '{pattern}'; there are: {names}")
    ends = _end_nodes(graph) if config.first_last == "int8" else set()
    return {node.name: _encoding(node, config, node.name in ends) for node in nodes}


def _encoding(node: Node, config: PtqConfig, is_end: bool) -> str:
    for pattern, encoding in config.overrides.items():
        if _matches(node, pattern):
            return encoding
    return "int8" if is_end else config.weights


def _matches(node: Node, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in (node.name, *node.layers))


def _end_nodes(graph: Graph) -> set[str]:
    """Weighted nodes with no other weighted node between them and an input or an output."""
    first = _weighted_frontier(graph.inputs, [(n, n.inputs, n.outputs) for n in graph.nodes])
    backward = [(n, n.outputs, n.inputs) for n in reversed(graph.nodes)]
    return first | _weighted_frontier(graph.outputs, backward)


def _weighted_frontier(
    start: tuple[str, ...], edges: list[tuple[Node, tuple[str, ...], tuple[str, ...]]]
) -> set[str]:
    reached, found = set(start), set()
    for node, sources, targets in edges:
        if reached.isdisjoint(sources):
            continue
        if isinstance(node.op, LinearOp):
            found.add(node.name)
        else:
            reached.update(targets)
    return found
