# SPDX-License-Identifier: Apache-2.0
"""Types and exponents of all activations, chosen from the float network before any weight.

* uint8 where values cannot be negative, int8 elsewhere; classes of tensors share (``sharing``).
* The smallest exponent that covers every calibration value, or with clipping allowed the one of
  {that, one less, two less} with the least error at the network's outputs.  Clipping is always
  allowed for inputs and for what is averaged, never for what ends the network (outputs, and inputs
  of softmax and sigmoid).
* The sum of an Add takes its finest input's exponent where that costs no accuracy.
* Exponents rise where an operator's integer form needs it: no left shift after a weighted layer
  (e_out >= e_x + e_w), gaps and shifts of Add at most 19, the input range of softmax and sigmoid.

Absent on purpose: activations of fewer than 8 bits, which need training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tinyq.encodings import ENCODINGS
from tinyq.errors import UnsupportedError
from tinyq.fixedpoint import SIGMOID_EXPONENTS, SOFTMAX_EXPONENTS, UNIT_EXPONENT
from tinyq.graph import Graph, Node
from tinyq.numerics import ceil_log2
from tinyq.ops import Add, AveragePool2D, LinearOp, Sigmoid, Softmax
from tinyq.ops.add import MAX_GAP
from tinyq.ptq.grids import covering_exponents
from tinyq.ptq.observe import Observation
from tinyq.ptq.sensitivity import Sensitivity
from tinyq.ptq.sharing import Classes, by_member, exponent_classes, type_classes
from tinyq.ptq.statistics import groups, to_columns
from tinyq.tensors import Tensor

#: An Add may take its finest input's exponent when that raises the squared error by less.
ADD_TOLERANCE: Final = 1.02
#: Values that calibration never shows are clipped as well: a finer exponent must win this much.
CLIPPING_GAIN: Final = 0.7
_OFFSETS: Final = (0, -1, -2)


@dataclass(frozen=True)
class _Plan:
    """What the choice of exponents needs to know at every step."""

    graph: Graph
    seen: Mapping[str, Observation]
    types: Mapping[str, Tensor]
    clips: bool

    def error(self, members: tuple[str, ...], exponent: int) -> float:
        """What an exponent costs a class, see ``sensitivity``."""
        return Sensitivity(self.graph, self.seen, self.types).error(members, exponent)

    def source(self, name: str) -> Node | None:
        """The node that makes a tensor; None for inputs and for what inherits its exponent."""
        node = self.graph.producer(name)
        return None if node is None or node.op.keeps_exponent else node

    def is_new(self, name: str) -> bool:
        """True for tensors whose values are not inherited codes."""
        return name in self.graph.inputs or self.source(name) is not None

    def is_fixed(self, members: tuple[str, ...]) -> bool:
        """True for classes whose exponent is no matter of accuracy alone."""
        return _ends_network(self, members) or any(_is_unit(self.source(m)) for m in members)

    def may_clip(self, members: tuple[str, ...]) -> bool:
        """True for classes that may lose their largest values to be finer."""
        averaged = any(
            isinstance(node.op, AveragePool2D) for m in members for node in self.graph.consumers(m)
        )
        enters = not set(self.graph.inputs).isdisjoint(members)
        return (self.clips or averaged or enters) and not _ends_network(self, members)


def plan_tensors(
    graph: Graph,
    seen: Mapping[str, Observation],
    encodings: Mapping[str, str],
    clips: bool,
) -> dict[str, Tensor]:
    """Integer tensors of a float graph, by name.

    Args:
        seen: calibration values of every tensor.
        encodings: weight encoding by node name; only its largest level matters here.
        clips: choose exponents by squared error rather than by range.

    Raises:
        UnsupportedError: values that must share an exponent cannot.
    """
    types = _plan_types(graph, seen)
    plan = _Plan(graph, seen, types, clips)
    classes = exponent_classes(graph)
    exponents = _choose_exponents(plan, classes)
    _raise_exponents(plan, classes, exponents, encodings)
    member = by_member(classes)
    return {name: replace(t, exponent=exponents[member[name]]) for name, t in types.items()}


def _plan_types(graph: Graph, seen: Mapping[str, Observation]) -> dict[str, Tensor]:
    positive = _nonnegative(graph, seen)
    types = {}
    for members in type_classes(graph).values():
        dtype = "uint8" if positive.issuperset(members) else "int8"
        for name in members:
            types[name] = replace(graph.tensors[name], dtype=dtype, bits=8)
    return types


def _nonnegative(graph: Graph, seen: Mapping[str, Observation]) -> set[str]:
    """Tensors that cannot be negative; of inputs, those that the data never show negative."""
    found = {name for name in graph.inputs if seen[name].low >= 0}
    for node in graph.nodes:
        rectified = getattr(node.op, "activation", "linear") != "linear"
        inherits = isinstance(node.op, Add) or node.op.keeps_exponent
        if (
            rectified
            or isinstance(node.op, Softmax | Sigmoid)
            or (inherits and found.issuperset(node.inputs))
        ):
            found.add(node.output)
    return found


def covering_exponent(low: float, high: float, lo: int, hi: int) -> int:
    """Smallest e with [low, high] inside [(lo - 1/2) 2**e, (hi + 1/2) 2**e]; -7 for all zeros."""
    needed = max(high / (hi + 0.5), low / (lo - 0.5))
    return int(ceil_log2(needed)) if needed > 0 else -7


def _choose_exponents(plan: _Plan, classes: Classes) -> dict[str, int]:
    exponents: dict[str, int] = {}
    member = by_member(classes)
    for key, members in classes.items():
        makers = [name for name in members if plan.is_new(name)]
        pinned = [m for m in makers if _is_unit(plan.source(m))]
        largest = max(_covering(plan, name) for name in makers)
        if pinned:
            if largest > UNIT_EXPONENT:
                _refuse_unit(plan, pinned[0], makers)
            exponents[key] = UNIT_EXPONENT
        elif plan.may_clip(members):
            preferred = _finest_addend(plan, members, exponents, member)
            exponents[key] = _least_error(plan, members, largest, preferred)
        else:
            exponents[key] = largest
    _refine_addends(plan, classes, exponents)
    return exponents


def _is_unit(node: Node | None) -> bool:
    return node is not None and isinstance(node.op, Softmax | Sigmoid)


def _covering(plan: _Plan, name: str) -> int:
    if _is_unit(plan.source(name)):
        return UNIT_EXPONENT
    seen, tensor = plan.seen[name], plan.types[name]
    return covering_exponent(seen.low, seen.high, tensor.lo, tensor.hi)


def _refuse_unit(plan: _Plan, pinned: str, makers: list[str]) -> None:
    node = plan.source(pinned)
    others = ", ".join(name for name in makers if name != pinned)
    raise UnsupportedError(
        f"layer '{node.label if node else pinned}' gives values in 0..1 that must share a scale "
        f"with larger values ({others}): concatenate before the activation"
    )


def _ends_network(plan: _Plan, members: tuple[str, ...]) -> bool:
    """True where a value that was not rectified leaves the network or enters softmax or sigmoid."""
    if not any(plan.types[name].signed for name in members):
        return False
    outputs = set(plan.graph.outputs)
    return any(
        name in outputs or any(_is_unit(node) for node in plan.graph.consumers(name))
        for name in members
    )


def _least_error(plan: _Plan, members: tuple[str, ...], largest: int, preferred: int | None) -> int:
    """The candidate of least error, or ``preferred`` where that costs (nearly) nothing."""
    errors = {largest + d: plan.error(members, largest + d) for d in _OFFSETS}
    best = largest
    for exponent, error in errors.items():
        if error < CLIPPING_GAIN * errors[best]:
            best = exponent
    if preferred is not None and errors.get(preferred, np.inf) <= ADD_TOLERANCE * errors[best]:
        return preferred
    return best


def _finest_addend(
    plan: _Plan,
    members: tuple[str, ...],
    exponents: Mapping[str, int],
    member: Mapping[str, str],
) -> int | None:
    """The finest exponent, as far as known, of what is added up to a tensor of the class."""
    inputs = [
        member[x]
        for name in members
        if (node := plan.source(name)) is not None and isinstance(node.op, Add)
        for x in node.inputs
    ]
    return min((exponents[key] for key in inputs if key in exponents), default=None)


def _refine_addends(plan: _Plan, classes: Classes, exponents: dict[str, int]) -> None:
    """Where a sum is finer than all it adds, let an addend be as fine if that costs less.

    The alternative, a coarser sum, is what ``_raise_exponents`` does.
    """
    member = by_member(classes)
    for node in reversed(plan.graph.nodes):
        if not isinstance(node.op, Add):
            continue
        out = member[node.output]
        ins = [member[name] for name in node.inputs]
        finest = min(exponents[key] for key in ins)
        if finest <= exponents[out]:
            continue
        cost = {
            key: plan.error(classes[key], exponents[out]) - plan.error(classes[key], exponents[key])
            for key in ins
            if not plan.is_fixed(classes[key])
        }
        coarser = plan.error(classes[out], finest) - plan.error(classes[out], exponents[out])
        key = min(cost, key=lambda k: cost[k], default=out)
        if cost.get(key, np.inf) < coarser:
            exponents[key] = exponents[out]


def _raise_exponents(
    plan: _Plan,
    classes: Classes,
    exponents: dict[str, int],
    encodings: Mapping[str, str],
) -> None:
    """Raise exponents until every operator's integer form exists; the least such rise."""
    member = by_member(classes)
    weight_exponents = {
        node.name: weight_exponent(op, encodings[node.name])
        for node, op in plan.graph.linear_nodes()
    }
    for _ in range(len(plan.graph.nodes) + 2):
        before = dict(exponents)
        for node in plan.graph.nodes:
            e = [exponents[member[name]] for name in (*node.inputs, node.output)]
            for name, least in _requirements(node, e, weight_exponents):
                key = member[name]
                if isinstance(node.op, LinearOp) and member[node.inputs[0]] == key:
                    continue  # no exponent would do: the weights give way
                if least > exponents[key] and any(_is_unit(plan.source(m)) for m in classes[key]):
                    _refuse_unit(plan, name, [*node.inputs, node.output])
                exponents[key] = max(exponents[key], least)
        if exponents == before:
            _check_tables(plan.graph, {name: exponents[key] for name, key in member.items()})
            return
    raise UnsupportedError(
        f"layer '{plan.graph.nodes[-1].label}': no scales fit the values of '{plan.graph.name}' "
        "that must share one; separate the branches that are concatenated"
    )


def _check_tables(graph: Graph, exponents: Mapping[str, int]) -> None:
    """UnsupportedError where the input of a softmax or sigmoid is too large for its table."""
    for node in graph.nodes:
        if isinstance(node.op, Softmax | Sigmoid):
            limit = (SOFTMAX_EXPONENTS if isinstance(node.op, Softmax) else SIGMOID_EXPONENTS)[-1]
            if exponents[node.inputs[0]] > limit:
                raise UnsupportedError(
                    f"layer '{node.label}': its inputs need the exponent "
                    f"{exponents[node.inputs[0]]}, the limit is {limit}; scale the model's input"
                )


def weight_exponent(op: LinearOp, encoding: str) -> int:
    """Exponent that covers a layer's largest weight."""
    columns = to_columns(op.real, groups(op))
    return int(covering_exponents(columns, ENCODINGS[encoding].max_level, False).max())


def _requirements(
    node: Node, exponents: list[int], weights: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """(tensor, least exponent) pairs that a node asks for; ``exponents`` of inputs, then output."""
    *ins, out = exponents
    if isinstance(node.op, LinearOp):
        yield node.output, ins[0] + weights[node.name]
    elif isinstance(node.op, Add):
        yield node.output, min(ins)
        for name in node.inputs:
            yield name, max(*ins, out) - MAX_GAP
    elif isinstance(node.op, Softmax):
        yield node.inputs[0], SOFTMAX_EXPONENTS[0]
    elif isinstance(node.op, Sigmoid):
        yield node.inputs[0], SIGMOID_EXPONENTS[0]
