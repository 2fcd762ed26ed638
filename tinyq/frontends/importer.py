# SPDX-License-Identifier: Apache-2.0
"""From a Keras model to the float graph.

Files are imported without TensorFlow; model objects need the framework that made them.
"""

from __future__ import annotations

from tinyq.errors import UnsupportedError
from tinyq.frontends.builder import RESERVED, GraphBuilder
from tinyq.frontends.keras import Source, read_network
from tinyq.frontends.lower import LOWERINGS
from tinyq.frontends.network import INPUT, Network, describe
from tinyq.graph import Graph, unique_name, validate

_JOINS = ("Add", "Concatenate")


def to_float_graph(source: Source, name: str | None = None) -> Graph:
    """The float graph of a Keras model: one node per operation, nothing folded or fused.

    Args:
        source: a path, a tf_keras or Keras 3 model, or a ``Network``.
        name: name of the graph; the model's by default.

    Raises:
        ModelFileError, InputError, UnsupportedError: as ``keras.read_network``; a layer that does
            not fit its input, an input of unknown size.
    """
    network = read_network(source)
    builder = GraphBuilder()
    made: list[str] = []
    for index, call in enumerate(network.calls):
        made.append(_lower(builder, network, index, [made[i] for i in call.inputs]))
    return validate(
        Graph(
            name=unique_name(name or network.name, set(RESERVED)),
            tensors=builder.tensors,
            nodes=tuple(builder.nodes),
            inputs=tuple(made[i] for i in network.inputs),
            outputs=tuple(made[i] for i in network.outputs),
        )
    )


def _lower(builder: GraphBuilder, network: Network, index: int, inputs: list[str]) -> str:
    layer = network.layer_of(index)
    if layer.kind == INPUT:
        return builder.feed(layer)
    low, high = (2, None) if layer.kind in _JOINS else (1, 1)
    if len(inputs) < low or (high is not None and len(inputs) > high):
        raise UnsupportedError(f"{describe(layer)} has {len(inputs)} inputs, {low} expected")
    return LOWERINGS[layer.kind](builder, layer, inputs)
