# SPDX-License-Identifier: Apache-2.0
"""Integer graph, memory plan and proof -> the views that templates print.

Equal tables and equal descriptors are one array and one struct (shared layers).  Tensors are
addresses: an offset in the arena, or in the state area for those that outlive an inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq import __version__
from tinyq.archive import graph_hash
from tinyq.codegen.ports import ports
from tinyq.codegen.schedule import aliases
from tinyq.codegen.text import COLUMNS, align_columns, comment, dimensions, table_rows
from tinyq.codegen.vectors import seed_of, tensor_crcs, vector_inputs
from tinyq.codegen.views import (
    ConstantView,
    DescriptorView,
    LayerView,
    ModelView,
    TableView,
    VectorView,
)
from tinyq.encodings import ENCODINGS, Weights
from tinyq.errors import GraphError, UnsupportedError
from tinyq.graph import Graph, Node
from tinyq.kernels.program import Address, Program, Step
from tinyq.ops import LinearOp
from tinyq.ops.clayer import CLayer, CStruct, CTable
from tinyq.passes.plan_memory import MemoryPlan
from tinyq.tensors import Tensor

#: TQ_ABI of the kernel library that the generated code is written for
ABI: Final = 1
#: element type of the arena for each alignment
_WORDS: Final = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
_INDENT: Final = "    "


@dataclass
class _Pool:
    """Names of the constants emitted so far, by content."""

    names: dict[Any, str] = field(default_factory=dict)

    def name(self, key: Any, wanted: str) -> tuple[str, bool]:
        """The name of a constant, and whether it has to be emitted."""
        if key in self.names:
            return self.names[key], False
        if wanted in self.names.values():
            raise GraphError(f"two constants would be called {wanted}; rename a layer")
        self.names[key] = wanted
        return wanted, True

    def once(self, text: str) -> str:
        """The text when it is met for the first time, then nothing: calls may share functions."""
        is_new = ("text", text) not in self.names
        self.names["text", text] = f"text {len(self.names)}"
        return text if is_new else ""


def lower_model(
    program: Program, name: str, vector: Mapping[str, npt.NDArray[Any]] | None
) -> ModelView:
    """Everything that the templates of one model need.

    Raises:
        GraphError: the graph holds nothing to run.
    """
    graph, plan = program.graph, program.plan
    _check(program)
    places = _places(graph, plan)
    inputs = vector_inputs(graph, vector)
    align = plan.align
    arena_bytes = _round_up(max(plan.arena_bytes, 1), align)
    shown = [step.output for step in program.steps]
    return ModelView(
        name=name,
        macro=name.upper(),
        version=__version__,
        abi=ABI,
        sha256=graph_hash(graph),
        core=program.target.core.name,
        summary=_summary(program),
        headers=tuple(sorted({f"tinyq/{stem}.h" for step in program.steps for stem in step.stems})),
        inputs=ports(graph, graph.inputs, places, f"{name.upper()}_INPUT"),
        outputs=ports(graph, graph.outputs, places, f"{name.upper()}_OUTPUT"),
        layers=_layers(program, places, name),
        arena_bytes=arena_bytes,
        arena_align=align,
        arena_words=arena_bytes // align,
        arena_word=_WORDS[align],
        state_bytes=plan.state_bytes,
        state_words=_round_up(plan.state_bytes, align) // align,
        vector=_vector(graph, inputs, stored=vector is not None),
        crcs=_table(f"{name}_vector_crcs", CTable("crcs", tensor_crcs(graph, inputs, shown))),
    )


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _check(program: Program) -> None:
    if not program.steps:
        raise GraphError(f"model '{program.graph.name}' holds no layer that computes anything")
    if program.plan.align not in _WORDS:
        raise GraphError(f"arena alignment {program.plan.align} is not one of {list(_WORDS)}")


def _places(graph: Graph, plan: MemoryPlan) -> dict[str, str]:
    """The C expression of the address of every tensor that has one."""
    roots = aliases(graph)
    places = {}
    for name, tensor in graph.tensors.items():
        root = graph.tensors[roots.get(name, name)]
        if tensor.state and not root.state:
            raise UnsupportedError(f"state tensor '{name}' is a reshape; make its input the state")
        if not root.state and name not in plan.offsets:
            continue  # a tensor that no step writes as a whole
        base = "state" if root.state else "a"
        offset = plan.state_offsets[root.name] if root.state else plan.offsets[name]
        places[name] = f"{base} + {offset}" if offset else base
    return places


# --- layers --------------------------------------------------------------------------------------


def _layers(program: Program, places: Mapping[str, str], name: str) -> tuple[LayerView, ...]:
    tables, descriptors = _Pool(), _Pool()
    return tuple(
        _layer(program, index, step, places, tables, descriptors)
        for index, step in enumerate(program.steps)
    )


def _layer(
    program: Program,
    index: int,
    step: Step,
    places: Mapping[str, str],
    tables: _Pool,
    descriptors: _Pool,
) -> LayerView:
    constants: list[ConstantView] = []
    calls = []
    for number, call in enumerate(step.calls):
        wanted = call.node if len(step.calls) == 1 else f"{call.node}_call{number}"
        name = _descriptor(call.kernel, call.node, wanted, tables, descriptors, constants)
        inputs = [_place(program, step, address, places) for address in call.inputs]
        sources = _pointer_array(inputs) if call.kernel.gathers else ", ".join(inputs)
        others = (call.output, *([call.scratch] if call.scratch else []))
        arguments = [sources, *(_place(program, step, address, places) for address in others)]
        calls.append(_call(f"tq_run_{call.kernel.stem}", f"&{name}", *arguments))
    return LayerView(
        index,
        _layer_comment(program.graph, index, step),
        tuple(constants),
        tuple(calls),
        places[step.output],
        program.graph.tensors[step.output].size,
    )


def _descriptor(
    kernel: CLayer,
    node: str,
    wanted: str,
    tables: _Pool,
    descriptors: _Pool,
    constants: list[ConstantView],
) -> str:
    """The name of a kernel's descriptor; it and its tables go to ``constants`` if they are new."""
    new: list[TableView] = []
    lines = _struct_lines(_name_tables(kernel.fields, node, tables, new))
    key = (kernel.stem, lines, kernel.code, kernel.assembly)
    name, is_new = descriptors.name(key, f"{wanted}_layer")
    if is_new:
        view = DescriptorView(name, f"tq_{kernel.stem}", lines)
        code, assembly = descriptors.once(kernel.code), descriptors.once(kernel.assembly)
        constants.append(ConstantView(tuple(new), code, view, assembly))
    return name


def _place(program: Program, step: Step, address: Address, places: Mapping[str, str]) -> str:
    """The C expression of an address."""
    if address.tensor is not None and address.offset == 0:
        return places[address.tensor]
    if address.tensor is not None and places[address.tensor].startswith("state"):
        return f"{places[address.tensor]} + {address.offset}"
    plan = program.plan
    start = plan.scratch[step.name] if address.tensor is None else plan.offsets[address.tensor]
    offset = start + address.offset
    return f"a + {offset}" if offset else "a"


def _pointer_array(places: list[str]) -> str:
    return f"(const void *const[]){{{', '.join(places)}}}"


def _call(function: str, *arguments: str) -> str:
    line = f"{function}({', '.join(arguments)});"
    if len(_INDENT + line) <= COLUMNS:
        return line
    return f"{function}(\n{2 * _INDENT}" + f",\n{2 * _INDENT}".join(arguments) + ");"


def _layer_comment(graph: Graph, index: int, step: Step) -> str:
    ins = " + ".join(_tensor_text(graph.tensors[name]) for name in step.inputs)
    what = _kernels_text(step)
    output = _tensor_text(graph.tensors[step.output])
    return comment(f"{index}  {step.label}: {what}, {ins} to {output}")


def _tensor_text(t: Tensor) -> str:
    return f"{dimensions(t.shape)} {t.dtype if t.bits == 8 else f'{t.dtype}({t.bits} bits)'}"


def _name_tables(fields: CStruct, node: str, pool: _Pool, new: list[TableView]) -> dict[str, Any]:
    """The fields with tables replaced by their names; tables not met before go to ``new``."""
    named: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, CTable):
            named[key], is_new = pool.name(value.key, f"{node}_{value.suffix}")
            if is_new:
                new.append(_table(named[key], value))
        elif isinstance(value, Mapping):
            named[key] = _name_tables(value, node, pool, new)
        else:
            named[key] = value
    return named


def _table(name: str, table: CTable) -> TableView:
    return TableView(name, table.ctype, len(table.values), table_rows(table.values))


def _initialiser(value: Any) -> str:
    """A field's value in one line."""
    if not isinstance(value, Mapping):
        return str(value)
    return "{" + ", ".join(f".{name} = {_initialiser(v)}" for name, v in value.items()) + "}"


def _struct_lines(fields: CStruct) -> tuple[str, ...]:
    """Designated initialisers, one line a field; a nested struct too long for one is broken up."""
    lines: list[str] = []
    for key, value in fields.items():
        if not isinstance(value, Mapping):
            lines.append(f"{_INDENT}.{key} = {value},")
            continue
        inner = [f".{name} = {_initialiser(item)}" for name, item in value.items()]
        line = f"{_INDENT}.{key} = {{{', '.join(inner)}}},"
        if len(line) <= COLUMNS:
            lines.append(line)
        else:
            lines.append(f"{_INDENT}.{key} = {{")
            lines.extend(f"{2 * _INDENT}{item}," for item in inner)
            lines.append(f"{_INDENT}}},")
    return tuple(lines)


# --- banner --------------------------------------------------------------------------------------


def _summary(program: Program) -> tuple[str, ...]:
    """The banner's table: one row a layer."""
    head = ("#", "layer", "kernel", "output", "weights", "bits", "scratch", "bytes in the arena")
    rows = [head]
    for index, step in enumerate(program.steps):
        weights, bits = _weights_of(step.nodes[0]), program.proof.get(step.name)
        output = program.graph.tensors[step.output]
        rows.append(
            (
                str(index),
                comment(step.label),
                _kernels_text(step, weights),
                _tensor_text(output),
                str(_weight_bytes(weights)) if weights else "-",
                str(bits.bits) if bits else "-",
                str(step.memory.scratch or "-"),
                _interval(output, program.plan),
            )
        )
    return align_columns(rows, (0, 4, 5, 6))


def _weights_of(node: Node) -> Weights | None:
    return node.op.quantized if isinstance(node.op, LinearOp) else None


def _weight_bytes(weights: Weights) -> int:
    return len(weights.packed()) + ENCODINGS[weights.encoding].table_entries


def _kernels_text(step: Step, weights: Weights | None = None) -> str:
    if len(step.calls) > 1:
        return f"{' + '.join(step.stems)} in {len(step.calls) // len(step.nodes)} bands"
    encoding = weights.encoding if weights else ""
    return " ".join(filter(None, (step.kernel.stem, step.kernel.detail, encoding)))


def _interval(tensor: Tensor, plan: MemoryPlan) -> str:
    if tensor.state:
        return "state"
    start = plan.offsets[tensor.name]
    return f"[{start}, {start + tensor.size})"


# --- self-test -----------------------------------------------------------------------------------


def _vector(
    graph: Graph, inputs: Mapping[str, npt.NDArray[Any]], stored: bool
) -> tuple[VectorView, ...]:
    views = []
    for index, name in enumerate(graph.inputs):
        tensor = graph.tensors[name]
        codes = inputs[name].reshape(-1).view(np.uint8)
        table = _table(f"vector{index}", CTable("vector", codes)) if stored else None
        views.append(
            VectorView(index, tensor.size, table, 32 - tensor.bits, tensor.lo, seed_of(index))
        )
    return tuple(views)
