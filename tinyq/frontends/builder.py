# SPDX-License-Identifier: Apache-2.0
"""Collects the nodes of a float graph; the tensor that a node writes carries the node's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import GraphError, UnsupportedError
from tinyq.frontends.network import Layer, describe
from tinyq.graph import Node, Tensor, unique_name
from tinyq.ops import Op
from tinyq.tensors import Shape

FloatArray = npt.NDArray[np.float32]

_WORDS: Final = (
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl "
    "concept const constexpr const_cast continue decltype default delete do double dynamic_cast "
    "else enum explicit export extern false final float for friend goto if import inline int "
    "int8_t int16_t int32_t int64_t long main memcpy memmove memset module mutable namespace new "
    "noexcept not not_eq null nullptr operator or or_eq override private protected public "
    "register reinterpret_cast requires restrict return short signed sizeof size_t static "
    "static_assert static_cast struct switch template this thread_local throw true try typedef "
    "typeid typename typeof uint8_t uint16_t uint32_t uint64_t union unsigned using virtual void "
    "volatile wchar_t while xor xor_eq "
)
#: Words that C or C++ keeps for itself, and names of the few library functions in use.
RESERVED: Final = frozenset(_WORDS.split())


@dataclass
class GraphBuilder:
    """Nodes and tensors in the order in which they are made."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[tuple[str, str], FloatArray] = field(default_factory=dict)

    def feed(self, layer: Layer) -> str:
        """An input tensor.

        Raises:
            UnsupportedError: a dimension that is not known.
        """
        shape = layer.options["shape"]
        if not shape or any(not isinstance(d, int) or d < 1 for d in shape):
            raise UnsupportedError(
                f"input '{layer.path}' has shape {shape}: a microcontroller needs every dimension "
                "but the batch to be known; build the model with fixed sizes"
            )
        return self._tensor(layer.name, tuple(shape))

    def emit(self, layer: Layer, op: Op, inputs: Sequence[str], suffix: str = "") -> str:
        """A node for (a part of) ``layer``; returns its tensor.

        Raises:
            UnsupportedError: the operator cannot take these shapes.
        """
        try:
            shape = op.infer_shape([self.shape(name) for name in inputs])
        except (GraphError, ValueError) as error:
            raise UnsupportedError(f"{describe(layer)}: {error}") from error
        name = self._tensor(layer.name + suffix, shape)
        self.nodes.append(Node(name, op, tuple(inputs), (name,), (layer.path,)))
        return name

    def shape(self, tensor: str) -> Shape:
        """Shape without batch."""
        return self.tensors[tensor].shape

    def share(self, layer: Layer, kind: str, make: Callable[[], FloatArray]) -> FloatArray:
        """An array of a layer, made once however often the layer is called."""
        key = (layer.name, kind)
        if key not in self.arrays:
            array = make()
            array.setflags(write=False)
            self.arrays[key] = array
        return self.arrays[key]

    def _tensor(self, wanted: str, shape: Shape) -> str:
        name = unique_name(wanted, {*self.tensors, *RESERVED})
        self.tensors[name] = Tensor(name, shape)
        return name
