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
from tinyq.codegen.kernels import choose_kernel
from tinyq.codegen.ports import ports
from tinyq.codegen.schedule import aliases, scheduled
from tinyq.codegen.text import COLUMNS, align_columns, comment, dimensions, table_rows
from tinyq.codegen.vectors import layer_crcs, seed_of, vector_inputs
from tinyq.codegen.views import DescriptorView, LayerView, ModelView, TableView, VectorView
from tinyq.encodings import ENCODINGS, Weights
from tinyq.errors import GraphError, TinyqError, UnsupportedError
from tinyq.graph import Graph, Node
from tinyq.ops import LinearOp
from tinyq.ops.clayer import CLayer, CStruct, CTable
from tinyq.passes.plan_memory import MemoryPlan
from tinyq.proof import LayerProof
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


def lower_model(
    graph: Graph,
    plan: MemoryPlan,
    proof: Mapping[str, LayerProof],
    name: str,
    vector: Mapping[str, npt.NDArray[Any]] | None,
) -> ModelView:
    """Everything that the templates of one model need.

    Raises:
        UnsupportedError: an operator's parameters exceed what its kernel can do.
        GraphError: the graph holds nothing to run, or is a float graph.
    """
    _check(graph, plan)
    places = _places(graph, plan)
    kernels = {node.name: _kernel(graph, node, proof) for node in scheduled(graph)}
    inputs = vector_inputs(graph, vector)
    align = plan.align
    arena_bytes = _round_up(max(plan.arena_bytes, 1), align)
    return ModelView(
        name=name,
        macro=name.upper(),
        version=__version__,
        abi=ABI,
        sha256=graph_hash(graph),
        summary=_summary(graph, plan, proof, kernels),
        headers=tuple(sorted({f"tinyq/{kernel.stem}.h" for kernel in kernels.values()})),
        inputs=ports(graph, graph.inputs, places, f"{name.upper()}_INPUT"),
        outputs=ports(graph, graph.outputs, places, f"{name.upper()}_OUTPUT"),
        layers=_layers(graph, kernels, places),
        arena_bytes=arena_bytes,
        arena_align=align,
        arena_words=arena_bytes // align,
        arena_word=_WORDS[align],
        state_bytes=plan.state_bytes,
        state_words=_round_up(plan.state_bytes, align) // align,
        vector=_vector(graph, inputs, stored=vector is not None),
        crcs=_table(f"{name}_vector_crcs", CTable("crcs", layer_crcs(graph, inputs))),
    )


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _check(graph: Graph, plan: MemoryPlan) -> None:
    if graph.is_float:
        raise GraphError(f"model '{graph.name}' is not quantized yet: quantize it first")
    if not scheduled(graph):
        raise GraphError(f"model '{graph.name}' holds no layer that computes anything")
    if plan.align not in _WORDS:
        raise GraphError(f"arena alignment {plan.align} is not one of {list(_WORDS)}")


def _places(graph: Graph, plan: MemoryPlan) -> dict[str, str]:
    """The C expression of every tensor's address."""
    roots = aliases(graph)
    places = {}
    for name, tensor in graph.tensors.items():
        root = graph.tensors[roots.get(name, name)]
        if tensor.state and not root.state:
            raise UnsupportedError(f"state tensor '{name}' is a reshape; make its input the state")
        base = "state" if root.state else "a"
        offset = plan.state_offsets[root.name] if root.state else plan.offsets[name]
        places[name] = f"{base} + {offset}" if offset else base
    return places


def _kernel(graph: Graph, node: Node, proof: Mapping[str, LayerProof]) -> CLayer:
    try:
        return choose_kernel(graph, node, proof.get(node.name))
    except TinyqError as error:
        raise type(error)(f"layer '{node.label}': {error}") from error


# --- layers --------------------------------------------------------------------------------------


def _layers(
    graph: Graph, kernels: Mapping[str, CLayer], places: Mapping[str, str]
) -> tuple[LayerView, ...]:
    tables, descriptors = _Pool(), _Pool()
    return tuple(
        _layer(graph, index, node, kernels[node.name], places, tables, descriptors)
        for index, node in enumerate(scheduled(graph))
    )


def _layer(
    graph: Graph,
    index: int,
    node: Node,
    kernel: CLayer,
    places: Mapping[str, str],
    tables: _Pool,
    descriptors: _Pool,
) -> LayerView:
    new: list[TableView] = []
    fields = _name_tables(kernel.fields, node.name, tables, new)
    lines = _struct_lines(fields)
    name, is_new = descriptors.name((kernel.stem, lines), f"{node.name}_layer")
    inputs = [places[x] for x in node.inputs]
    sources = _pointer_array(inputs) if kernel.gathers else ", ".join(inputs)
    output = places[node.output]
    return LayerView(
        index,
        _layer_comment(graph, index, node, kernel),
        tuple(new),
        DescriptorView(name, f"tq_{kernel.stem}", lines) if is_new else None,
        _call(f"tq_run_{kernel.stem}", f"&{name}", sources, output),
        output,
        graph.out(node).size,
    )


def _pointer_array(places: list[str]) -> str:
    return f"(const void *const[]){{{', '.join(places)}}}"


def _call(function: str, *arguments: str) -> str:
    line = f"{function}({', '.join(arguments)});"
    if len(_INDENT + line) <= COLUMNS:
        return line
    return f"{function}(\n{2 * _INDENT}" + f",\n{2 * _INDENT}".join(arguments) + ");"


def _layer_comment(graph: Graph, index: int, node: Node, kernel: CLayer) -> str:
    ins = " + ".join(_tensor_text(x) for x in graph.ins(node))
    what = " ".join(filter(None, (kernel.stem, kernel.detail)))
    return comment(f"{index}  {node.label}: {what}, {ins} to {_tensor_text(graph.out(node))}")


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


def _struct_lines(fields: CStruct) -> tuple[str, ...]:
    """Designated initialisers, one line a field; a nested struct too long for one is broken up."""
    lines: list[str] = []
    for key, value in fields.items():
        if not isinstance(value, Mapping):
            lines.append(f"{_INDENT}.{key} = {value},")
            continue
        inner = [f".{name} = {item}" for name, item in value.items()]
        line = f"{_INDENT}.{key} = {{{', '.join(inner)}}},"
        if len(line) <= COLUMNS:
            lines.append(line)
        else:
            lines.append(f"{_INDENT}.{key} = {{")
            lines.extend(f"{2 * _INDENT}{item}," for item in inner)
            lines.append(f"{_INDENT}}},")
    return tuple(lines)


# --- banner --------------------------------------------------------------------------------------


def _summary(
    graph: Graph,
    plan: MemoryPlan,
    proof: Mapping[str, LayerProof],
    kernels: Mapping[str, CLayer],
) -> tuple[str, ...]:
    """The banner's table: one row a layer."""
    head = ("#", "layer", "kernel", "output", "weights", "bits", "bytes in the arena")
    rows = [head]
    for index, node in enumerate(scheduled(graph)):
        weights, bits = _weights_of(node), proof.get(node.name)
        rows.append(
            (
                str(index),
                comment(node.label),
                _kernel_text(kernels[node.name], weights),
                _tensor_text(graph.out(node)),
                str(_weight_bytes(weights)) if weights else "-",
                str(bits.bits) if bits else "-",
                _interval(graph.out(node), plan),
            )
        )
    return align_columns(rows, (0, 4, 5))


def _weights_of(node: Node) -> Weights | None:
    return node.op.quantized if isinstance(node.op, LinearOp) else None


def _weight_bytes(weights: Weights) -> int:
    return len(weights.packed()) + ENCODINGS[weights.encoding].table_entries


def _kernel_text(kernel: CLayer, weights: Weights | None) -> str:
    encoding = weights.encoding if weights else ""
    return " ".join(filter(None, (kernel.stem, kernel.detail, encoding)))


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
