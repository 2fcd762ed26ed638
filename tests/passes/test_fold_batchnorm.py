# SPDX-License-Identifier: Apache-2.0
"""Batch normalization folds wherever a neighbour can take it, and nowhere else."""

from __future__ import annotations

import float_graphs as fg
import numpy as np
import pytest

from tinyq.graph import validate
from tinyq.ops import Add, BatchNorm, Relu, Reshape
from tinyq.passes import FLOAT_PIPELINE, apply
from tinyq.passes.fold_batchnorm import fold_batchnorm, lower_batchnorm

IMAGE = (6, 5, 3)
ONE = (1, 1, 1, 1)

FOLDED = {
    "behind conv": fg.chain(IMAGE, ("c", fg.conv(3, 4, padding=ONE)), ("b", fg.norm(4))),
    "behind depthwise": fg.chain(IMAGE, ("d", fg.depthwise(3, 2)), ("b", fg.norm(6))),
    "behind dense": fg.chain((7,), ("d", fg.dense(7, 4)), ("b", fg.norm(4))),
    "before conv": fg.chain(IMAGE, ("b", fg.norm(3)), ("c", fg.conv(3, 4))),
    "before depthwise": fg.chain(IMAGE, ("b", fg.norm(3)), ("d", fg.depthwise(3, 2))),
    "before dense": fg.chain((7,), ("b", fg.norm(7)), ("d", fg.dense(7, 4))),
    "before flatten and dense": fg.chain(
        IMAGE, ("b", fg.norm(3)), ("f", Reshape((90,))), ("d", fg.dense(90, 4))
    ),
    "two in a row": fg.chain((7,), ("a", fg.norm(7)), ("b", fg.norm(7)), ("d", fg.dense(7, 4))),
    "before two convolutions": fg.make(
        {"x": IMAGE},
        [
            ("b", fg.norm(3), ["x"]),
            ("c", fg.conv(3, 4), ["b"]),
            ("d", fg.conv(3, 4, activation="relu"), ["b"]),
            ("s", Add(), ["c", "d"]),
        ],
        ["s"],
    ),
    "scale only, before padding": fg.chain(
        IMAGE,
        ("b", BatchNorm(np.float32([2, -1, 3]), np.zeros(3, np.float32))),
        ("c", fg.conv(3, 4, padding=ONE)),
    ),
}

KEPT = {
    "before padding": fg.chain(IMAGE, ("b", fg.norm(3)), ("c", fg.conv(3, 4, padding=ONE))),
    "behind an activation": fg.chain(
        IMAGE, ("c", fg.conv(3, 4, activation="relu")), ("b", fg.norm(4))
    ),
    "producer read twice": fg.make(
        {"x": IMAGE},
        [
            ("c", fg.conv(3, 4), ["x"]),
            ("b", fg.norm(4), ["c"]),
            ("s", Add(), ["c", "b"]),
        ],
        ["s"],
    ),
    "producer is an output": fg.make(
        {"x": IMAGE}, [("c", fg.conv(3, 4), ["x"]), ("b", fg.norm(4), ["c"])], ["c", "b"]
    ),
    "alone": fg.chain(IMAGE, ("b", fg.norm(3)), ("r", Relu())),
    "alone on a vector": fg.chain((7,), ("b", fg.norm(7)), ("r", Relu())),
    "alone on a sequence": fg.chain((5, 7), ("b", fg.norm(7)), ("r", Relu())),
    "one reader cannot take it": fg.make(
        {"x": IMAGE},
        [("b", fg.norm(3), ["x"]), ("c", fg.conv(3, 3, 1), ["b"]), ("s", Add(), ["b", "c"])],
        ["s"],
    ),
}


def assert_close(got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Equal up to the float32 rounding of folded weights."""
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("case", FOLDED)
def test_folds_into_neighbours(case: str) -> None:
    graph = FOLDED[case]
    folded = validate(fold_batchnorm(graph))
    assert "BatchNorm" not in fg.ops(folded)
    assert len(folded.nodes) == len([n for n in fg.ops(graph) if n != "BatchNorm"])
    assert_close(fg.outputs(folded), fg.outputs(graph))
    assert {layer for n in folded.nodes for layer in n.layers} == {n.name for n in graph.nodes}


@pytest.mark.parametrize("case", KEPT)
def test_stands_alone_as_a_depthwise_convolution(case: str) -> None:
    graph = KEPT[case]
    assert fg.ops(fold_batchnorm(graph)) == fg.ops(graph)
    lowered = validate(lower_batchnorm(graph))
    assert fg.ops(lowered).count("DepthwiseConv2D") == 1
    assert "BatchNorm" not in fg.ops(lowered)
    for got, expected in zip(fg.outputs(lowered), fg.outputs(graph), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("case", [*FOLDED, *KEPT])
def test_the_pipeline_leaves_none(case: str) -> None:
    graph = {**FOLDED, **KEPT}[case]
    final = apply(graph, FLOAT_PIPELINE)
    assert not {"BatchNorm", "Relu"} & set(fg.ops(final))
    assert_close(fg.outputs(final), fg.outputs(graph))


def test_batchnorm_behind_a_one_dimensional_convolution_folds() -> None:
    graph = fg.chain(
        (8, 3),
        ("expand", Reshape((1, 8, 3))),
        ("conv", fg.conv(3, 4, 1)),
        ("squeeze", Reshape((8, 4))),
        ("bn", fg.norm(4)),
        ("relu", Relu()),
    )
    final = apply(graph, FLOAT_PIPELINE)
    assert fg.ops(final) == ["Reshape", "Conv2D", "Reshape"]
    assert final.nodes[1].op.activation == "relu"
    assert final.nodes[1].layers == ("conv", "bn", "relu")
    assert_close(fg.outputs(final), fg.outputs(graph))
