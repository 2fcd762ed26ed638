# SPDX-License-Identifier: Apache-2.0
"""Every weight quantizer over random kernels: codes, values and the gradient to w, by equality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantizer_formulas import (
    BITS,
    Array,
    Kernel,
    backward,
    built,
    kernels,
    limited,
    nearest,
    rounded,
)

from tinyq.quantizers import Apot, Lut, Uniform, WeightQuantizer
from tinyq.quantizers.llsq import LlsqWeights
from tinyq.quantizers.lsq import LsqWeights
from tinyq.quantizers.spec import TABLE_LEARNING

few = settings(max_examples=20)
Rule = Callable[[Array], Array]
ONES: Rule = np.ones_like
APOT_LEVELS = {4: (0, 1, 2, 3, 4, 6, 8, 10), 3: (0, 1, 2, 3)}

#: a quantizer of these bits, scale and axes, and what makes an exponent of its theta
UNIFORM: dict[str, tuple[Any, Rule]] = {
    "tqt": (lambda bits, scale, axes: Uniform(bits, scale, "tqt", axes), np.ceil),
    "mse": (lambda bits, scale, axes: Uniform(bits, scale, "mse", axes), np.ceil),
    "minmax": (lambda bits, scale, axes: Uniform(bits, scale, "minmax", axes), np.ceil),
    "lsq": (lambda bits, scale, axes: LsqWeights(bits, scale, "lsq", axes), rounded),
    "llsq": (lambda bits, scale, axes: LlsqWeights(bits, scale, "llsq", axes), rounded),
}


def assert_quantized(
    quantizer: WeightQuantizer,
    kernel: Kernel,
    variables: Any,
    exponent: Array,
    rule: Rule,
    passes: Rule = ONES,
    reach: int = 127,
) -> None:
    """Codes ``rule(w / 2**e)`` and a gradient to w where ``passes(w / 2**e)`` is 1."""
    exponent = exponent.astype(np.float64)
    w, upstream = kernel.probe(exponent, reach), kernel.upstream()
    expected = rule(w / 2.0**exponent)
    assert np.array_equal(quantizer.exponent(variables), exponent)
    assert np.array_equal(quantizer.codes(w, variables, quantizer.exponent(variables)), expected)
    y, to_w = backward(quantizer, w, variables, upstream)
    assert np.array_equal(y, expected * 2.0**exponent)
    assert np.array_equal(to_w, upstream * passes(w / 2.0**exponent))


@pytest.mark.parametrize("learning", UNIFORM)
@few
@given(kernel=kernels(), bits=st.sampled_from(BITS))
def test_uniform(learning: str, kernel: Kernel, bits: int) -> None:
    make, whole = UNIFORM[learning]
    quantizer, limit = make(bits, kernel.scale, kernel.axes), 2 ** (bits - 1) - 1
    variables = built(quantizer, kernel.start)
    exponent = limited(whole(variables["theta"].numpy()) - (bits - 1))

    def inside(x: Array) -> Array:
        return np.abs(rounded(x)) <= limit

    assert_quantized(
        quantizer,
        kernel,
        variables,
        exponent,
        lambda x: np.clip(rounded(x), -limit, limit),
        ONES if learning == "llsq" else inside,
        limit + 2,
    )


@pytest.mark.parametrize("learning", TABLE_LEARNING)
@few
@given(kernel=kernels(), bits=st.sampled_from((4, 3, 2)), learned=st.booleans())
def test_tables(learning: str, kernel: Kernel, bits: int, learned: bool) -> None:
    quantizer = Lut(bits, kernel.scale, kernel.axes, learning, learned)
    variables = built(quantizer, kernel.start)
    table = np.clip(rounded(variables["table"].numpy()), -127, 127)
    table[0] = 0
    assert np.array_equal(quantizer.table(variables), np.unique(table))
    exponent = limited(np.ceil(variables["exponent"].numpy()))
    assert_quantized(quantizer, kernel, variables, exponent, lambda x: nearest(x, table))


@pytest.mark.parametrize("learning", ["tqt", "mse", "minmax"])
@few
@given(kernel=kernels(), bits=st.sampled_from((4, 3)))
def test_sums_of_powers(learning: str, kernel: Kernel, bits: int) -> None:
    quantizer = Apot(bits, kernel.scale, learning, kernel.axes)
    variables = built(quantizer, kernel.start)
    levels = np.array(APOT_LEVELS[bits])
    assert_quantized(
        quantizer,
        kernel,
        variables,
        limited(np.ceil(variables["theta"].numpy())),
        lambda x: nearest(x, [*-levels, *levels]),
        reach=int(levels[-1]) + 2,
    )
