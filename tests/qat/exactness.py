# SPDX-License-Identifier: Apache-2.0
"""What the exactness tests share: quantize, train a little, compare every tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from qat_models import data_for, make

import tinyq.qat as qat
from tinyq import executor


def assert_equal_everywhere(model: Any, data: list[Any]) -> Any:
    """Compare every tensor; returns the graph."""
    graph = qat.to_graph(model)
    expected = executor.run(graph, executor.quantize_inputs(graph, data))
    got = qat.tensor_codes(model, data)
    assert set(graph.outputs) <= set(got)
    for name, codes in got.items():
        assert np.array_equal(codes, expected[name]), f"{name} differs"
    return graph


def train_briefly(model: Any, data: list[Any], **options: Any) -> None:
    """A few steps that move every variable: high rates, exponents never frozen."""
    if len(data) > 1 or len(model.outputs[0].shape) > 2:
        return
    labels = np.random.default_rng(0).integers(0, model.outputs[0].shape[-1], len(data[0]))
    config = qat.TrainConfig(
        epochs=2, batch_size=12, learning_rate=1e-2, scale_rate=0.3, table_rate=2.0, **options
    )
    qat.train(model, data[0], labels, config)


def quantized(name: str, config: qat.QuantConfig) -> tuple[Any, list[Any]]:
    """A calibrated model and inputs that go beyond what it was calibrated on."""
    model = make(name)
    return qat.quantize(model, config, data_for(model, 16, 2)), data_for(model, 24)
