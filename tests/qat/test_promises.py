# SPDX-License-Identifier: Apache-2.0
"""The width that a layer was trained for is checked against the exact proof at export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from qat_models import data_for

import tinyq.qat as qat
from tinyq.encodings import Weights
from tinyq.errors import ProofError
from tinyq.graph import Graph, Node, Tensor, validate
from tinyq.ops import Dense
from tinyq.proof import prove
from tinyq.qat.export import _check_promises
from tinyq.quantizers import A2q

L = tf_keras.layers


def layer_of_thirteen_bits() -> Graph:
    """Sums down to -15 * 255 and what rounding adds: 13 bits."""
    weights = Weights("int8", np.full((2, 15), -1, np.int8), np.array([-3], np.int32))
    tensors = {
        "x": Tensor("x", (15,), "uint8", exponent=-4), "y": Tensor("y", (2,), exponent=-2)
    }  # fmt: skip
    node = Node("y", Dense(weights, np.zeros(2, np.int32)), ("x",), ("y",), ("user_layer",))
    return validate(Graph("model", tensors, (node,), ("x",), ("y",)))


def test_a_promise_is_kept_to_the_bit() -> None:
    graph = layer_of_thirteen_bits()
    assert prove(graph)["y"].bits == 13
    _check_promises(graph, {})
    _check_promises(graph, {"y": 13})
    with pytest.raises(ProofError) as caught:
        _check_promises(graph, {"y": 12})
    assert str(caught.value) == (
        "layer 'user_layer': trained for accumulators of 12 bits, but the proof needs 13; "
        "train it again"
    )


@pytest.fixture(scope="module")
def bounded() -> Any:
    """A layer whose gain asks for far more than its accumulator holds."""
    inputs = L.Input((40,), name="x")
    model = tf_keras.Model(inputs, L.Dense(3, name="wide")(inputs))
    config = qat.read_config({"preset": "w8a8_a2q16", "constrain_first_last": True})
    model = qat.quantize(model, config, data_for(model, 16))
    gain = model.get_layer("wide").weight_variables["gain"]
    gain.assign(gain + 9.0)
    return model


def test_a_quantizer_that_breaks_its_promise_is_not_exported(
    bounded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prove(qat.to_graph(bounded))["wide"].bits == 16
    monkeypatch.setattr(A2q, "fits", lambda self, codes, accumulator: tf.constant(True))
    with pytest.raises(ProofError, match="'wide': trained for accumulators of 16 bits, but"):
        qat.to_graph(bounded)
