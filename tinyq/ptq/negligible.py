# SPDX-License-Identifier: Apache-2.0
"""Zeroes output channels whose weights are negligible, so that they become constant.

Training with weight decay leaves channels whose folded weights lie far below those of their layer.
Zero weights make them exactly constant, and the integer pass that eliminates constant channels then
removes them and all that feeds only them.  They are zeroed only while the float network's outputs
on the calibration data stay the same to 1e-5 of their largest value; where they do not, the
threshold falls tenfold, three times at most.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.executor import predict
from tinyq.graph import Graph, Node
from tinyq.ops import LinearOp
from tinyq.ptq.observe import BATCH, Inputs

OUTPUT_TOLERANCE: Final = 1e-5
_ATTEMPTS: Final = 4


def zero_negligible(graph: Graph, inputs: Inputs, threshold: float) -> tuple[Graph, int]:
    """The float graph with negligible channels at zero, and how many those are."""
    reference = None
    for attempt in range(_ATTEMPTS):
        masks = {
            node.name: negligible_channels(op.real, threshold * 0.1**attempt)
            for node, op in graph.linear_nodes()
        }
        count = sum(int(mask.sum()) for mask in masks.values())
        if count == 0:
            return graph, 0
        candidate = replace(graph, nodes=tuple(_zeroed(node, masks) for node in graph.nodes))
        reference = reference or predict(graph, inputs, BATCH)
        if _same(reference, predict(candidate, inputs, BATCH)):
            return candidate, count
    return graph, 0


def negligible_channels(
    weights: npt.NDArray[np.floating[npt.NBitBase]], threshold: float
) -> npt.NDArray[np.bool_]:
    """Channels ``[O]`` whose largest weight is not 0 but below ``threshold`` of the layer's."""
    reach = np.abs(weights).reshape(len(weights), -1).max(1)
    mask: npt.NDArray[np.bool_] = (reach > 0) & (reach < threshold * reach.max())
    return mask


def _zeroed(node: Node, masks: dict[str, npt.NDArray[np.bool_]]) -> Node:
    if not isinstance(node.op, LinearOp) or not masks[node.name].any():
        return node
    weights = np.array(node.op.weights)
    weights[masks[node.name]] = 0
    return replace(node, op=replace(node.op, weights=weights))


def _same(
    reference: dict[str, npt.NDArray[np.float32]], outputs: dict[str, npt.NDArray[np.float32]]
) -> bool:
    return all(
        np.abs(outputs[name] - y).max() <= OUTPUT_TOLERANCE * np.abs(y).max()
        for name, y in reference.items()
    )
