# SPDX-License-Identifier: Apache-2.0
"""Convolution with 4-bit codes for cores without a multiplier: add up first, multiply 16 sums.

sum over k of w(code_k) * x_k = sum over c of w(c) * (sum of the x_k whose code is c).  The products
with w(c) are shifts and additions of the weights' signed digits (canonical, so that few are not 0),
digit by digit for all codes at once: C text written for the layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.conv2d_pot_code import MAX_COPY, padded_bytes
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer

Integers = npt.NDArray[np.int64]

#: TQ_BUCKETS_WORDS
MAX_WORDS: Final = 320
LANE: Final = range(-(1 << 15), 1 << 15)


def choose(request: Request) -> CLayer | None:
    """Without a multiplier: codes of 4 bits, two output pixels or more, a window that fits the
    stack, and lanes that hold the sums of every digit."""
    op = request.node.op
    if request.core.multiplier or not isinstance(op, Conv2D):
        return None
    weights, (height, width, _) = op.quantized, request.out.shape
    if ENCODINGS[weights.encoding].bits != 4 or height * width < 2:
        return None
    if weights.codes[0].size > MAX_WORDS or not _digits_fit(request, op):
        return None
    return _layer(request, op)


def levels_of(weights: Weights) -> Integers:
    """The weight of every code, int64 ``[16]``."""
    kind, codes = ENCODINGS[weights.encoding], np.arange(16)
    if kind.is_uniform:
        return np.where(codes < 8, codes, codes - 16).astype(np.int64)
    levels = weights.table if weights.table is not None else np.array(kind.levels)
    return levels.astype(np.int64)


def signed_digits(values: Integers) -> Integers:
    """Canonical signed digits, least significant first: ``[digits, *values.shape]`` in -1..1, no
    two neighbours of a number both nonzero."""
    rows, rest = [], values.astype(np.int64)
    while rest.any():
        odd = rest & 1
        digit = odd * (2 - (rest & 3))  # of ...01 it is 1, of ...11 it is -1
        rows.append(digit)
        rest = (rest - digit) >> 1
    return np.stack(rows) if rows else np.zeros((0, *values.shape), np.int64)


def _digits_fit(request: Request, op: Conv2D) -> bool:
    for digit in signed_digits(op.quantized.image().astype(np.int64)):
        low, high = op.products(request.intervals[0], digit)
        if low.sum(1).min() < LANE[0] or high.sum(1).max() > LANE[-1]:
            return False
    return True


def _layer(request: Request, op: Conv2D) -> CLayer:
    plain, copied = request.plain, padded_bytes(request, op)
    digest = hashlib.sha256(op.quantized.image().tobytes()).hexdigest()[:12]
    name = f"{request.node.name}_multiply_{digest}"
    windows = {
        "code": "tq_put_buckets",
        **{key: plain.fields[key] for key in ("input", "output", "kernel")},
        "is_signed": int(request.ins[0].signed),
        "is_copied": int(0 < copied <= MAX_COPY),
    }
    weights = {key: v for key, v in plain.fields["weights"].items() if key != "table"}
    fields = {
        "windows": windows,
        "multiply": name,
        "weights": weights,
        "requant": plain.fields["requant"],
    }
    scratch = copied if 0 < copied <= MAX_COPY else 4
    code = "\n".join(_multiply(name, levels_of(op.quantized)))
    return CLayer("conv2d_buckets", fields, plain.detail, scratch=scratch, code=code)


def _multiply(name: str, levels: Integers) -> Iterator[str]:
    """A C function, see tq_conv2d_buckets."""
    yield f"static void {name}(const uint32_t *b, uint32_t *low, uint32_t *high) {{"
    yield f"    /* weights {', '.join(map(str, levels.tolist()))} */"
    for digit in reversed(list(signed_digits(levels))):
        terms = [f"{'-' if d < 0 else '+'} b[{c}]" for c, d in enumerate(digit.tolist()) if d]
        yield f"    tq_add_digit(0U {' '.join(terms)}, low, high);"
    yield "    (void)b, (void)low, (void)high;"
    yield "}"
