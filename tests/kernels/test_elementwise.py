# SPDX-License-Identifier: Apache-2.0
"""Relu, Sigmoid, Pad2D and Concat in C against tinyq.ops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernels.harness import Case, Check
from kernels.random_layers import codes, random_input, tensor
from tinyq.ops import Concat, Pad2D, Relu, Sigmoid


def every_code(dtype: str) -> np.ndarray:
    """All codes of a type, ``[1, 256]``."""
    return np.arange(256)[None] - (128 if dtype == "int8" else 0)


def test_relu(check: Check) -> None:
    cases = []
    for dtype in ("int8", "uint8"):
        for activation in ("linear", "relu", "relu6"):
            for target, bits in (("int8", 8), ("uint8", 8), ("uint8", 4), ("int8", 3)):
                for in_place in (None, 0):
                    x = tensor("x", (256,), dtype)
                    y = tensor("y", (256,), target, bits=bits)
                    label = f"{activation} {dtype} to {target}, {bits} bits"
                    cases.append(
                        Case(Relu(activation), (x,), y, (every_code(dtype),), in_place, label)
                    )
    check(cases)


def test_sigmoid(check: Check) -> None:
    cases = []
    for dtype in ("int8", "uint8"):
        for exponent in (-12, -7, -5, -4, -3, 0, 3):
            x = tensor("x", (256,), dtype, exponent)
            y = tensor("y", (256,), "uint8", -8)
            in_place = 0 if exponent % 2 else None
            cases.append(Case(Sigmoid(), (x,), y, (every_code(dtype),), in_place, f"sigmoid {x}"))
    check(cases)


def test_pad2d(check: Check) -> None:
    rng = np.random.default_rng(11)
    cases = []
    for _ in range(40):
        x = random_input(rng, tuple(map(int, rng.integers(1, 6, 3))))
        op = Pad2D(tuple(map(int, rng.integers(0, 4, 4))))
        y = replace(x, name="y", shape=op.infer_shape([x.shape]))
        cases.append(Case(op, (x,), y, (codes(rng, x),), label=f"{op} on {x}"))
    check(cases)


def test_concat(check: Check) -> None:
    rng = np.random.default_rng(12)
    cases = []
    for _ in range(40):
        rank = int(rng.integers(1, 4))
        axis, shape = int(rng.integers(0, rank)), rng.integers(1, 5, rank)
        ins = []
        for i in range(int(rng.integers(1, 5))):
            shape[axis] = rng.integers(1, 5)
            ins.append(tensor(f"x{i}", tuple(map(int, shape))))
        op = Concat(axis)
        y = tensor("y", op.infer_shape([x.shape for x in ins]))
        xs = tuple(codes(rng, x) for x in ins)
        cases.append(Case(op, tuple(ins), y, xs, label=f"concat {[x.shape for x in ins]} {axis}"))
    check(cases)
