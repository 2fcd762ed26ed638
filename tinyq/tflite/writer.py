# SPDX-License-Identifier: Apache-2.0
"""Integer graph -> standard int8 ``.tflite`` that stock TFLM computes to the same integers.

Scales are powers of two; a uint8 tensor is int8 with zero point -128 (biases stay: TFLM subtracts
the zero point itself); padding that TensorFlow's rules cannot say is a PAD before the layer;
tensors narrower than 8 bits are clamped by MINIMUM and MAXIMUM.

Refused, because stock TFLM computes something else: rounding 'half_up' with shifts of two or
more, average pooling with padding that is neither SAME nor VALID, softmax over more than 511
classes, an accumulator beyond 30 bits without a shift, scales that are no normal float32.
"""

from __future__ import annotations

import numpy as np

from tinyq.errors import ProofError, UnsupportedError
from tinyq.graph import Graph
from tinyq.tflite.builder import Builder, Quantization, WeightForm
from tinyq.tflite.schema import TfliteTensor, read_tensors


def write_tflite(graph: Graph, weights: WeightForm = "int8") -> bytes:
    """The ``.tflite`` twin of an integer graph.

    Args:
        graph: an integer graph, validated.
        weights: "int8" expands every encoding; "decode" stores weights of at most 16 levels as
            indices for TFLM's DECODE; "int4" uses INT4 tensors where codes are uniform.

    Returns:
        the file's bytes; tensors bear the names of the graph.

    Raises:
        UnsupportedError: stock TFLM cannot compute the graph; names the layer.
        TflmMissing: the flatbuffers or schema package is not installed.
    """
    check_graph(graph)
    builder = Builder(weights)
    for name in graph.inputs:
        builder.activation(graph.tensors[name])
    for node in graph.nodes:
        try:
            node.op.to_tflite(builder, graph.ins(node), graph.out(node))
        except UnsupportedError as error:
            raise UnsupportedError(f"layer '{node.label}': {error}") from error
    model = builder.build(graph.name, graph.inputs, graph.outputs)
    check_scales(read_tensors(model), builder.quantizations)
    return model


def check_graph(graph: Graph) -> None:
    """Refuse what the twin has no form for (UnsupportedError)."""
    if graph.is_float:
        raise UnsupportedError(f"'{graph.name}' is a float graph: quantize it before exporting")
    for tensor in graph.tensors.values():
        if tensor.state or tensor.zero != 0:
            what = "state" if tensor.state else f"zero point {tensor.zero}"
            raise UnsupportedError(f"tensor '{tensor.name}' has a {what}: no .tflite form yet")


def check_scales(tensors: list[TfliteTensor], expected: dict[int, Quantization]) -> None:
    """ProofError unless the file holds exactly the powers of two and zero points meant."""
    for tensor in tensors:
        meant = expected.get(tensor.index, Quantization(()))
        scales = np.ldexp(np.float64(1), np.array(meant.exponents, np.int64))
        same = np.array_equal(tensor.scales.astype(np.float64), scales)
        if not (same and (tensor.zeros == meant.zero).all()):
            raise ProofError(f"scale of '{tensor.name}' in the .tflite is not {meant}")
