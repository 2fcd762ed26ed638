# SPDX-License-Identifier: Apache-2.0
"""Dense for the DSP extension against tinyq.ops: blocks, what is left over, sums at the bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lanes import SHIFT, weights_of

from kernels.chosen import KernelCase, in_kernel
from kernels.harness import Check
from kernels.random_layers import label, tensor
from kernels.test_dense import dense
from tinyq.cores import CORES
from tinyq.encodings import ENCODINGS
from tinyq.kernels import KERNELS, dense_lut_dsp
from tinyq.kernels.dense_dsp import LIMITS
from tinyq.numerics import rounding_margin
from tinyq.ops import Dense
from tinyq.proof import prove

FOUR_BITS = [name for name, kind in ENCODINGS.items() if kind.bits == 4]
FORMS = [("int8", "dense_dsp"), ("int4", "dense_dsp"), *((e, "dense_lut_dsp") for e in FOUR_BITS)]
OUTPUTS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 16, 23, 65)


@pytest.mark.parametrize(("encoding", "stem"), FORMS)
def test_random_layers(
    encoding: str, stem: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_lut_dsp, "LEAST_WEIGHTS", 1)
    rng = np.random.default_rng(18)
    lengths = [*range(1, 14), 31, 32, 64, 100, 257]
    cases = [dense(rng, encoding, n, int(rng.choice(OUTPUTS))) for n in lengths]
    cases += [dense(rng, encoding, 5, n) for n in OUTPUTS]
    admitted = [in_kernel(case, stem) for case in cases if applies(in_kernel(case, stem))]
    assert len(admitted) > len(cases) // 2
    check(admitted)


def applies(case: KernelCase) -> bool:
    """False where a large bias makes a sum too large."""
    return case.choice() is not None


def full_layer(encoding: str, dtype: str, over: int) -> KernelCase:
    """Eight channels whose largest sums are +-(limit - 1 + ``over``), margin included.

    The weights of a channel have one sign, the bias takes what they leave.
    """
    x = tensor("x", (1021,), dtype)
    reach = max(x.hi, -x.lo)
    row, left = np.zeros(1021, np.int64), LIMITS[encoding] - 1 + over - rounding_margin(SHIFT)
    for i in range(1021):
        row[i] = min(127 if encoding == "int8" else 7, left // reach)
        left -= row[i] * reach
    signs = np.array([1, -1] * 4)
    bias = signs * left * (-1 if x.lo < 0 else 1)  # an int8 reaches furthest at -128
    op = Dense(weights_of(signs[:, None] * row, encoding), bias.astype(np.int32))
    y = tensor("y", (8,), exponent=x.exponent - 5 + SHIFT)
    codes = np.stack([np.full(1021, x.lo), np.full(1021, x.hi)])
    return KernelCase(op, (x,), y, (codes,), None, label(op, x), "dense_dsp")


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("encoding", ["int8", "int4"])
def test_sums_at_the_bound(encoding: str, dtype: str, check: Check) -> None:
    case = full_layer(encoding, dtype, 0)
    (proved,) = prove(case.graph()).values()
    assert proved.magnitude == LIMITS[encoding] - 1
    check([case])


@pytest.mark.parametrize("encoding", ["int8", "int4"])
def test_beyond_the_bound_it_is_not_chosen(encoding: str) -> None:
    assert full_layer(encoding, "uint8", 1).choice() is None


def test_only_cores_with_the_extension() -> None:
    case = full_layer("int8", "int8", 0)
    for core in CORES.values():
        applies = KERNELS["dense_dsp"](replace(case.request(), core=core)) is not None
        assert applies == core.dsp


def test_a_small_layer_is_not_worth_the_table() -> None:
    rng = np.random.default_rng(19)
    assert in_kernel(dense(rng, "lut4", 100, 9), "dense_lut_dsp").choice() is None
    assert in_kernel(dense(rng, "lut4", 100, 10), "dense_lut_dsp").choice() is not None


def test_codes_are_followed_once_by_every_code() -> None:
    codes = dense_lut_dsp.sequence()
    pairs = {(a, b) for a, b in zip(codes, codes[1:] + codes[:1], strict=True)}
    assert len(codes) == len(pairs) == 256
