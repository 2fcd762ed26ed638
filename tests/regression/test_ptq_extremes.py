# SPDX-License-Identifier: Apache-2.0
"""Layers at the edge of what calibration sees: very wide, all zero, far out of range."""

from __future__ import annotations

import numpy as np
import pytest

from tinyq import executor
from tinyq.errors import UnsupportedError
from tinyq.graph import Graph, Node, validate
from tinyq.ops import Dense, Softmax
from tinyq.passes import finalize
from tinyq.ptq import PtqConfig, quantize
from tinyq.ptq.statistics import BLOCK, from_blocks, to_blocks
from tinyq.tensors import Tensor

RNG = np.random.default_rng(0)


def dense_graph(weights: np.ndarray, softmax: bool = False) -> Graph:
    outputs, inputs = weights.shape
    bias = np.ones(outputs, np.float32)
    nodes = [Node("fc", Dense(weights.astype(np.float32), bias), ("x",), ("fc",), ("fc",))]
    tensors = {"x": Tensor("x", (inputs,)), "fc": Tensor("fc", (outputs,))}
    if softmax:
        nodes.append(Node("soft", Softmax(), ("fc",), ("soft",), ("soft",)))
        tensors["soft"] = Tensor("soft", (outputs,))
    return validate(Graph("net", tensors, tuple(nodes), ("x",), (nodes[-1].output,)))


@pytest.mark.parametrize("encoding", ["int8", pytest.param("lut4", marks=pytest.mark.slow)])
def test_a_layer_wider_than_a_block_stays_accurate(encoding: str) -> None:
    graph = dense_graph(RNG.normal(size=(5, 2 * BLOCK + 3)))
    x = {"x": RNG.normal(size=(60, 2 * BLOCK + 3)).astype(np.float32)}
    final = finalize(quantize(graph, x, PtqConfig(encoding)))
    codes = {"x": final.tensors["x"].quantize(x["x"])}
    got = final.tensors["fc"].dequantize(executor.run(final, codes)["fc"])
    wanted = executor.run_float(graph, x)["fc"]
    assert ((got - wanted) ** 2).mean() < 0.005 * (wanted**2).mean()


def test_blocks_lose_nothing() -> None:
    columns = RNG.normal(size=(1, 2 * BLOCK + 3, 4))
    assert to_blocks(columns).shape[0] == 3
    assert np.array_equal(from_blocks(to_blocks(columns), columns), columns)
    few = columns[:, :BLOCK]
    assert to_blocks(few) is few


@pytest.mark.parametrize("encoding", ["int8", "lut4", "lut2", "pot4"])
def test_a_layer_of_zeros_is_its_bias(encoding: str) -> None:
    graph = dense_graph(np.zeros((3, 8)))
    x = {"x": RNG.normal(size=(20, 8)).astype(np.float32)}
    final = finalize(quantize(graph, x, PtqConfig(encoding)))
    codes = {"x": final.tensors["x"].quantize(x["x"])}
    assert (final.tensors["fc"].dequantize(executor.run(final, codes)["fc"]) == 1).all()


def test_inputs_beyond_the_table_of_softmax_are_refused() -> None:
    graph = dense_graph(RNG.normal(size=(4, 8)) * 1e20, softmax=True)
    x = {"x": RNG.normal(size=(20, 8)).astype(np.float32)}
    with pytest.raises(UnsupportedError, match=r"'soft': its inputs need the exponent \d+, the"):
        quantize(graph, x)
