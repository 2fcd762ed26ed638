# SPDX-License-Identifier: Apache-2.0
"""Borders of zeros become padding of convolutions, exactly."""

from __future__ import annotations

import float_graphs as fg
import numpy as np
import pytest

from tinyq.graph import validate
from tinyq.ops import Add, AveragePool2D, MaxPool2D, Op, Pad2D
from tinyq.passes.fuse_padding import fuse_padding

IMAGE = (6, 5, 3)


@pytest.mark.parametrize(
    "op",
    [fg.conv(3, 4, strides=(2, 2)), fg.conv(3, 4, padding=(1, 0, 0, 2)), fg.depthwise(3, 2)],
    ids=["strided", "padded", "depthwise"],
)
def test_fuses_and_adds_up(op: Op) -> None:
    border = (0, 1, 2, 1)
    graph = fg.chain(IMAGE, ("p", Pad2D(border)), ("c", op))
    fused = validate(fuse_padding(graph))
    (node,) = fused.nodes
    assert node.op.padding == tuple(a + b for a, b in zip(border, op.padding, strict=True))
    assert node.layers == ("p", "c")
    np.testing.assert_array_equal(fg.outputs(fused)[0], fg.outputs(graph)[0])


def test_two_borders_and_two_readers() -> None:
    graph = fg.make(
        {"x": IMAGE},
        [
            ("p", Pad2D((1, 1, 0, 0)), ["x"]),
            ("q", Pad2D((0, 0, 1, 1)), ["p"]),
            ("c", fg.conv(3, 3), ["q"]),
            ("d", fg.depthwise(3), ["q"]),
            ("s", Add(), ["c", "d"]),
        ],
        ["s"],
    )
    fused = validate(fuse_padding(graph))
    assert fg.ops(fused) == ["Conv2D", "DepthwiseConv2D", "Add"]
    np.testing.assert_array_equal(fg.outputs(fused)[0], fg.outputs(graph)[0])


@pytest.mark.parametrize("kind", [AveragePool2D, MaxPool2D])
def test_not_into_pooling(kind: type[Op]) -> None:
    graph = fg.chain(IMAGE, ("p", Pad2D((1, 1, 1, 1))), ("m", kind((2, 2), (2, 2))))
    assert fuse_padding(graph) is graph


def test_not_where_the_border_is_seen_elsewhere() -> None:
    steps = [("p", Pad2D((1, 1, 1, 1)), ["x"]), ("c", fg.conv(3, 3), ["p"])]
    pooled = [*steps, ("m", MaxPool2D((3, 3), (1, 1)), ["p"]), ("s", Add(), ["c", "m"])]
    for graph in (
        fg.make({"x": IMAGE}, steps, ["c", "p"]),
        fg.make({"x": IMAGE}, pooled, ["s"]),
        fg.chain(IMAGE, ("p", Pad2D((1, 1, 1, 1)))),
    ):
        assert fuse_padding(graph) is graph
