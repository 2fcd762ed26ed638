# SPDX-License-Identifier: Apache-2.0
"""Every activation quantizer over random tensors: values and the gradient to x, by equality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from quantizer_formulas import BITS, KINDS, backward, rounded, values

from tinyq.quantizers import Activation
from tinyq.quantizers.llsq import LlsqActivation
from tinyq.quantizers.lsq import LsqActivation

#: and what makes an exponent of theta
ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "tqt": (Activation, np.ceil),
    "lsq": (LsqActivation, rounded),
    "llsq": (LlsqActivation, rounded),
}


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("learning", ACTIVATIONS)
@settings(max_examples=20)
@given(
    bits=st.sampled_from(BITS),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    kind=st.sampled_from([*KINDS, "ties"]),
    seed=st.integers(0, 2**16),
)
def test_activations(
    learning: str, signed: bool, bits: int, shape: list[int], kind: str, seed: int
) -> None:
    make, whole = ACTIVATIONS[learning]
    quantizer, rng = make(bits, signed, learning), np.random.default_rng(seed)
    variables = quantizer.build([], "activation", tf_keras.layers.Layer())
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    x = values("random" if kind == "ties" else kind, shape, rng)
    x = x if signed else np.abs(x)
    quantizer.initialize(x, variables)
    exponent = whole(variables["theta"].numpy().astype(np.float64)) - (bits - signed)
    assert quantizer.exponent(variables) == exponent
    if kind == "ties":
        halves = rng.integers(2 * low - 3, 2 * high + 4, shape)
        x = (halves / 2 * 2.0**exponent).astype(np.float32)

    upstream = rng.normal(size=shape).astype(np.float32)
    y, to_x = backward(quantizer, x, variables, upstream)
    codes = rounded(x / 2.0**exponent)
    assert np.array_equal(y, np.clip(codes, low, high) * 2.0**exponent)
    assert np.array_equal(to_x, np.where((codes >= low) & (codes <= high), upstream, 0))
