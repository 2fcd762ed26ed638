# SPDX-License-Identifier: Apache-2.0
"""The image classifier with 4-bit weights and 4-bit activations, for counting instructions.

Made from a quantized graph with 4-bit weights (``tinyq quantize ic_resnet8.h5 --encoding int4``):
every activation but the model's input and the softmax keeps its range in 16 codes instead of 256.
Nothing is trained for it: its accuracy is no result.

    python benchmarks/w4a4_ic.py ic_int4.tq [-o ic_w4a4.tq] [--core m4]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tinyq.archive import load_graph, save_graph
from tinyq.graph import Graph, validate
from tinyq.measurement import measure_cost
from tinyq.ops import LinearOp, Softmax
from tinyq.tensors import Tensor

BITS = 4


def graph_of(source: Path) -> Graph:
    """The w4a4 graph of the integer graph in the file ``source``."""
    return narrow_activations(load_graph(source))


def narrow_activations(graph: Graph) -> Graph:
    """The graph with activations of 4 bits between its layers, exponents matching.

    Biases are rescaled to the new exponents of the layers' inputs, and shifts follow.
    """
    kept = {node.output for node in graph.nodes if isinstance(node.op, Softmax)} | {*graph.inputs}
    tensors = {n: t if n in kept else _narrow(t) for n, t in graph.tensors.items()}
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, LinearOp):
            grown = tensors[node.inputs[0]].exponent - graph.tensors[node.inputs[0]].exponent
            op = replace(op, bias=op.bias >> grown)
        nodes.append(replace(node, op=op))
    return validate(replace(graph, name="ic_w4a4", tensors=tensors, nodes=tuple(nodes)))


def _narrow(tensor: Tensor) -> Tensor:
    return replace(tensor, bits=BITS, exponent=tensor.exponent + tensor.bits - BITS)


def main() -> int:
    """Count the instructions of the graph's layers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="quantized graph with 4-bit weights")
    parser.add_argument("-o", "--output", type=Path, help="write the w4a4 graph here")
    parser.add_argument("--core", default="m4")
    arguments = parser.parse_args()
    graph = graph_of(arguments.source)
    if arguments.output:
        save_graph(graph, arguments.output)
    cost = measure_cost(graph, arguments.core)
    for layer in cost.layers:
        ratio = f"{layer.instructions / layer.macs:6.3f}" if layer.macs else ""
        print(f"{layer.node:20} {layer.kernel:24} {layer.instructions:9} {layer.macs:9} {ratio}")
    print(f"{cost.instructions} instructions, {cost.macs} multiply-accumulates")
    return 0


if __name__ == "__main__":
    sys.exit(main())
