# SPDX-License-Identifier: Apache-2.0
"""Nodes that compute nothing, chains of reshapes, and the softmax that nobody needs."""

from __future__ import annotations

import float_graphs as fg
import numpy as np
import pytest

from tinyq.graph import validate
from tinyq.ops import (
    Add,
    AveragePool2D,
    BatchNorm,
    Concat,
    MaxPool2D,
    Op,
    Pad2D,
    Relu,
    Reshape,
    Softmax,
)
from tinyq.passes.drop_identities import drop_final_softmax, drop_identities, merge_reshapes

IMAGE = (6, 5, 3)
IDENTITIES: list[Op] = [
    Reshape(IMAGE),
    Relu("linear"),
    Pad2D((0, 0, 0, 0)),
    Concat(2),
    BatchNorm(np.ones(3, np.float32), np.zeros(3, np.float32)),
    AveragePool2D((1, 1), (1, 1)),
    MaxPool2D((1, 1), (1, 1)),
]


@pytest.mark.parametrize("op", IDENTITIES, ids=lambda op: op.stem)
def test_identities_vanish(op: Op) -> None:
    graph = fg.chain(IMAGE, ("c", fg.conv(3, 3, 1)), ("i", op), ("d", fg.conv(3, 2, 1)))
    smaller = validate(drop_identities(graph))
    assert fg.ops(smaller) == ["Conv2D", "Conv2D"]
    assert smaller.nodes[0].layers == ("c", "i")
    np.testing.assert_array_equal(fg.outputs(smaller)[0], fg.outputs(graph)[0])


@pytest.mark.parametrize(
    "op",
    [
        Relu(),
        MaxPool2D((1, 1), (2, 2)),
        Pad2D((0, 0, 0, 1)),
        AveragePool2D((1, 1), (1, 1), activation="relu"),
    ],
    ids=lambda op: op.stem,
)
def test_everything_else_stays(op: Op) -> None:
    graph = fg.chain(IMAGE, ("c", fg.conv(3, 3, 1)), ("i", op))
    assert drop_identities(graph) is graph


def test_an_identity_from_input_to_output_stays() -> None:
    graph = fg.chain(IMAGE, ("i", Reshape(IMAGE)))
    assert drop_identities(graph) is graph


def test_an_identity_that_is_an_output_hands_over_its_name() -> None:
    graph = fg.chain(IMAGE, ("c", fg.conv(3, 3, 1)), ("i", Relu("linear")))
    assert drop_identities(graph).outputs == ("c",)


def test_reshapes_merge() -> None:
    graph = fg.make(
        {"x": IMAGE},
        [
            ("a", Reshape((30, 3)), ["x"]),
            ("b", Reshape((90,)), ["a"]),
            ("c", Reshape((9, 10)), ["b"]),
            ("d", Reshape((90,)), ["b"]),
            ("e", fg.dense(90, 2), ["d"]),
        ],
        ["c", "e"],
    )
    merged = validate(drop_identities(merge_reshapes(graph)))
    assert [n.name for n in merged.nodes] == ["c", "d", "e"]
    assert all(n.inputs == ("x",) for n in merged.nodes[:2])
    for got, expected in zip(fg.outputs(merged), fg.outputs(graph), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_final_softmax_drops_on_request() -> None:
    graph = fg.chain((7,), ("d", fg.dense(7, 4)), ("s", Softmax()))
    logits = validate(drop_final_softmax(graph))
    assert fg.ops(logits) == ["Dense"]
    assert logits.outputs == ("d",)
    (scores,), (probabilities,) = fg.outputs(logits), fg.outputs(graph)
    np.testing.assert_array_equal(scores.argmax(1), probabilities.argmax(1))


def test_a_softmax_that_is_read_stays_for_its_reader() -> None:
    graph = fg.make(
        {"x": (7,)},
        [
            ("d", fg.dense(7, 4), ["x"]),
            ("s", Softmax(), ["d"]),
            ("a", Add(), ["d", "s"]),
        ],
        ["s", "a"],
    )
    logits = validate(drop_final_softmax(graph))
    assert logits.outputs == ("d", "a")
    assert fg.ops(logits) == ["Dense", "Softmax", "Add"]


def test_other_outputs_keep_their_softmax() -> None:
    graph = fg.chain((7,), ("s", Softmax()))
    assert drop_final_softmax(graph) is graph
