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
from tinyq.kernels.pot_code.share import share
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer, CStruct, CTable

#: weights of the largest layer that becomes code unless ``--kernel`` asks for it
MAX_WEIGHTS: Final = 4096
#: entries of the largest table of outputs
MAX_TABLE: Final = 1 << 14
#: bytes of scratch memory for a copy of the input with its padding
MAX_COPY: Final = 4096
#: a word of its own costs two loads, an addition and a store, and saves an addition with each use
LEAST_USES: Final = 5


@dataclass(frozen=True)
class Assembler:
    """Writes a plan for a core.

    Attributes:
        guard: the preprocessor's condition for that core.
        room: how many more words are within reach of its instructions; negative: not even those
            that the plan has.
        function: the assembly source.
    """

    guard: str
    room: Callable[[Plan], int]
    function: Callable[[Plan, str], str]


#: by name of the core
ASSEMBLERS: Final[Mapping[str, Assembler]] = {
    "m0": Assembler(thumb.GUARD, thumb.room, thumb.function),
    "rv32ec": Assembler(riscv.GUARD, riscv.room, riscv.function),
}


def choose(request: Request) -> CLayer | None:
    """For cores with an assembler: weights of shifts, two output pixels or more, rounding that is
    done before the shift, and sums that can be cut to fit 16-bit lanes."""
    op, assembler = request.node.op, ASSEMBLERS.get(request.core.name)
    if assembler is None or not isinstance(op, Conv2D):
        return None
    weights = op.quantized
    height, width, *_ = (*request.out.shape, 1)
    if ENCODINGS[weights.encoding].levels is None:
        return None
    if weights.codes.size > MAX_WEIGHTS and not request.forced:
        return None
    plan = make_plan(request, op) if height * width > 1 else None
    if plan is None or assembler.room(plan) < 0:
        return None
    return _layer(request, op, share(plan, assembler.room(plan), LEAST_USES), assembler)


def make_plan(request: Request, op: Conv2D) -> Plan | None:
    """What to add; None where the layer's sums do not fit."""
    requant = request.plain.fields["requant"]
    zero = _table_half(request, op)
    if requant["rounding"] != "TQ_ROUND_FOLDED" or zero > MAX_TABLE // 2:
        return None
    image = op.quantized.image().astype(np.int64)
    rows = image.reshape(len(image), -1)
    shifts = op.shifts(request.ins, request.out)
    found = cut(_bounds(request, op), requant["bias"].values.astype(np.int64), shifts)
    if found is None:
        return None
    bases, constants = found
    remaining = tuple((shifts - bases[-1]).tolist())
    return Plan(rows.shape[1], (), terms_of(rows), bases, constants, remaining, zero)


def _table_half(request: Request, op: Conv2D) -> int:
    """A power of two, so that layers share their tables: no shifted sum is beyond it."""
    bounds, shifts = (
        op.accumulator_bounds(request.intervals[0]),
        op.shifts(request.ins, request.out),
    )
    margin = op.accumulator_limit(request.ins, request.out)
    largest = np.maximum(
        (bounds.final_hi + margin) >> shifts, -((bounds.final_lo - margin) >> shifts)
    )
    return 1 << int(largest.max()).bit_length()


def _outputs(plan: Plan, requant: CStruct) -> CTable:
    """Every shifted sum's output."""
    sums = np.arange(-plan.zero, plan.zero)
    values = np.clip(sums, requant["lo"], requant["hi"])
    return CTable("outputs", (values & 255).astype(np.uint8))


def _bounds(request: Request, op: Conv2D) -> Bounds:
    """Of the sum of every exponent's products."""
    image = op.quantized.image().astype(np.int64)
    exponents = range(int(np.abs(image).max(initial=1)).bit_length())
    sums = [op.products(request.intervals[0], part_of(image, e)) for e in exponents]
    return Bounds(np.stack([lo.sum(1) for lo, _ in sums]), np.stack([hi.sum(1) for _, hi in sums]))


def _layer(request: Request, op: Conv2D, plan: Plan, assembler: Assembler) -> CLayer:
    plain = request.plain
    digest = hashlib.sha256(repr((plan, plan.constants.tobytes())).encode()).hexdigest()[:12]
    name = f"tq_pot_{request.node.name}_{digest}"
    copied = padded_bytes(request, op)
    fields = {
        "code": name,
        "outputs": _outputs(plan, plain.fields["requant"]),
        **{key: plain.fields[key] for key in ("input", "output", "kernel")},
        "is_signed": int(request.ins[0].signed),
        "is_copied": int(0 < copied <= MAX_COPY),
    }
    scratch = copied if 0 < copied <= MAX_COPY else 4
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
    return CLayer(
        "conv2d_pot_code", fields, plain.detail, scratch=scratch, code=code, assembly=assembly
    )


def padded_bytes(request: Request, op: Conv2D) -> int:
    """Of the input with its padding, as far as the windows go; 0 where there is none."""
    if not any(op.padding):
        return 0
    (height, width, _), kernel = request.out.shape, op.quantized.shape[1:3]
    rows = (height - 1) * op.strides[0] + kernel[0]
    columns = (width - 1) * op.strides[1] + kernel[1]
    return int(rows * columns * request.ins[0].shape[2])
