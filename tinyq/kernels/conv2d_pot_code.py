# SPDX-License-Identifier: Apache-2.0
"""Convolution whose weights are instructions: for weights of few powers of two, in small layers.

Nothing is read of a weight and nothing is done for a zero; an addition does two output pixels.
About three bytes of code a weight, so only where a layer is small, or where it is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tinyq.encodings import ENCODINGS
from tinyq.kernels.pot_code import c99, riscv, thumb
from tinyq.kernels.pot_code.plan import Bounds, Plan, cut, part_of, terms_of
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer

#: weights of the largest layer that becomes code without being asked for
MAX_WEIGHTS: Final = 4096


@dataclass(frozen=True)
class Assembler:
    """Writes a plan for a core.

    Attributes:
        guard: the preprocessor's condition for that core.
        fits: whether the plan is within reach of its instructions.
        function: the assembly source.
    """

    guard: str
    fits: Callable[[Plan], bool]
    function: Callable[[Plan, str], str]


#: by name of the core
ASSEMBLERS: Final[Mapping[str, Assembler]] = {
    "m0": Assembler(thumb.GUARD, thumb.fits, thumb.function),
    "rv32ec": Assembler(riscv.GUARD, riscv.fits, riscv.function),
}


def choose(request: Request) -> CLayer | None:
    """For cores with an assembler: weights of shifts, two output pixels or more, rounding that is
    done before the shift, and sums that can be cut to fit 16-bit lanes."""
    op, assembler = request.node.op, ASSEMBLERS.get(request.core.name)
    if assembler is None or not isinstance(op, Conv2D):
        return None
    weights = op.quantized
    height, width, *_ = (*request.out.shape, 1)
    if ENCODINGS[weights.encoding].levels is None or weights.codes.size > MAX_WEIGHTS:
        return None
    plan = make_plan(request, op) if height * width > 1 else None
    if plan is None or not assembler.fits(plan):
        return None
    return _layer(request, plan, assembler)


def make_plan(request: Request, op: Conv2D) -> Plan | None:
    """What to add; None where the layer's sums do not fit."""
    requant = request.plain.fields["requant"]
    if requant["rounding"] != "TQ_ROUND_FOLDED":
        return None
    image = op.quantized.image().astype(np.int64)
    rows = image.reshape(len(image), -1)
    shifts = op.shifts(request.ins, request.out)
    found = cut(_bounds(request, op), requant["bias"].values.astype(np.int64), shifts)
    if found is None:
        return None
    bases, constants = found
    remaining = tuple((shifts - bases[-1]).tolist())
    lo, hi = requant["lo"], requant["hi"]
    return Plan(rows.shape[1], (), terms_of(rows), bases, constants, remaining, lo, hi)


def _bounds(request: Request, op: Conv2D) -> Bounds:
    """Of the sum of every exponent's products."""
    image = op.quantized.image().astype(np.int64)
    exponents = range(int(np.abs(image).max(initial=1)).bit_length())
    sums = [op.products(request.intervals[0], part_of(image, e)) for e in exponents]
    return Bounds(np.stack([lo.sum(1) for lo, _ in sums]), np.stack([hi.sum(1) for _, hi in sums]))


def _layer(request: Request, plan: Plan, assembler: Assembler) -> CLayer:
    plain = request.plain
    digest = hashlib.sha256(repr((plan, plan.constants.tobytes())).encode()).hexdigest()[:12]
    name = f"tq_pot_{request.node.name}_{digest}"
    fields = {
        "code": name,
        **{key: plain.fields[key] for key in ("input", "output", "kernel")},
        "is_signed": int(request.ins[0].signed),
    }
    code = "\n".join(
        [
            f"#if {assembler.guard}",
            f"void {name}(tq_pot_pairs *pairs); /* in an assembly source of its own */",
            "#else",
            c99.function(plan, name),
            "#endif",
        ]
    )
    assembly = assembler.function(plan, name)
    return CLayer("conv2d_pot_code", fields, plain.detail, code=code, assembly=assembly)
