# SPDX-License-Identifier: Apache-2.0
"""Convolution, two output pixels times four words of weights, for cores with MLA and no SIMD.

Windows and words meet in scratch memory; whichever of the two is made less often is chosen from
what both cost, within a budget of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tinyq.kernels.pairs import (
    ELEMENT_COST,
    FLUSH,
    FLUSH_COST,
    PAIR_COST,
    RUN_COST,
    WORDS,
    Blocks,
    choose_blocks,
    finish_form,
    products_of,
    runs_fields,
    start_table,
    swapped_order,
    words_cost,
    words_fields,
)
from tinyq.kernels.request import Request
from tinyq.ops import Conv2D
from tinyq.ops.clayer import MAX_UINT16, CLayer
from tinyq.tensors import Shape

#: bytes of scratch memory; the second where a block's words leave too little room in the first
BUDGETS: Final = (8192, 12288)
#: pairs whose sums are kept at a time, at most
MAX_PAIRS: Final = 32
#: a run's number of elements has 15 bits
MAX_ELEMENTS: Final = FLUSH - 1


@dataclass(frozen=True)
class Layer:
    """What the plans of a layer have in common.

    Attributes:
        shape, out: of input and output.
        kernel, strides: of the operator.
        blocks: output channels that share words: how many, and their flushes in all.
        words: instructions that make the words of one block.
    """

    shape: Shape
    out: Shape
    kernel: tuple[int, int]
    strides: tuple[int, int]
    blocks: int
    flushes: int
    flushed: bool
    words: int

    @property
    def elements(self) -> int:
        """Of a window."""
        return self.kernel[0] * self.kernel[1] * self.shape[2]

    @property
    def sums_bytes(self) -> int:
        """Of a pair."""
        return 4 * WORDS * 2 * (2 if self.flushed else 1)

    @property
    def fill_cost(self) -> float:
        """Instructions of copying one element of a pair."""
        return 9.0 if self.shape[2] % 4 else 3.0


@dataclass(frozen=True)
class Plan:
    """One way to run a layer: how windows lie in scratch memory, how many, what is outer."""

    layout: str
    tile: int
    pairs: int
    blocks_outer: bool
    scratch: int
    cost: float


def choose(request: Request) -> CLayer | None:
    """For cores with Thumb-2 and without the DSP extension."""
    op, core = request.node.op, request.core
    if not isinstance(op, Conv2D) or not core.thumb2 or core.dsp or not request.intervals:
        return None
    shape, out = request.ins[0].shape, request.out.shape
    elements = op.kernel[0] * op.kernel[1] * shape[2]
    if elements > MAX_ELEMENTS:
        return None
    p = products_of(request, op, swapped_order(elements, shape[2]))
    blocks = choose_blocks(p)
    words = elements * words_cost(op.quantized, blocks)
    layer = Layer(
        shape, out, op.kernel, op.strides, blocks.count(out[2]), sum(map(len, blocks.ends)),
        blocks.flushed, words,
    )  # fmt: skip
    plan = choose_plan(layer)
    if plan is None:
        return None
    fields = _fields(request, op, blocks, layer, plan)
    fields["start"] = start_table(p, blocks)
    fields |= words_fields(op.quantized, blocks, p.order)
    detail = f"{request.plain.detail} {blocks.kind}, {plan.layout.lower()} of {plan.tile}"
    return CLayer("conv2d_pairs", fields, detail, scratch=plan.scratch)


def _fields(
    request: Request, op: Conv2D, blocks: Blocks, layer: Layer, plan: Plan
) -> dict[str, Any]:
    requant = request.plain.fields["requant"]
    rows = op.kernel[0] if plan.layout == "HALVES" else 1
    row = layer.elements // rows
    plain = {name: request.plain.fields[name] for name in ("input", "output", "kernel")}
    kept = {name: requant[name] for name in ("shift", "shift_step", "lo", "hi")}
    skip = _row_bytes(layer) - 2 * row if rows > 1 else 0
    return {
        **plain,
        **kept,
        **runs_fields(blocks, row, rows, skip),
        "sum_pairs": "tq_sum_pairs_flushed" if blocks.flushed else "tq_sum_pairs",
        "finish": f"tq_finish_{blocks.kind}_{finish_form(requant)}",
        "block_channels": blocks.channels,
        "flushed": int(blocks.flushed),
        "blocks_outer": int(plan.blocks_outer),
        "layout": f"TQ_PAIRS_{plan.layout}",
        "flip": 0 if request.ins[0].signed else 128,
        "tile": plan.tile,
        "pairs": plan.pairs,
    }


# --- plans ---------------------------------------------------------------------------------------


def choose_plan(layer: Layer) -> Plan | None:
    """The cheapest plan within a budget, else the one of the least memory."""
    plans = [*_halves(layer), *_windows(layer)]
    for budget in BUDGETS:
        fitting = [plan for plan in plans if plan.scratch <= budget]
        if fitting:
            return min(fitting, key=lambda plan: (plan.cost, plan.scratch))
    return min(plans, key=lambda plan: (plan.scratch, plan.cost), default=None)


def _row_bytes(layer: Layer) -> int:
    """HALVES: both halves of a row of the image, with padding."""
    half = -(-layer.out[1] // 2)
    return 2 * ((half - 1) * layer.strides[1] + layer.kernel[1]) * layer.shape[2]


def _pair_cost(layer: Layer, runs: int) -> float:
    """Instructions of a pair in all blocks."""
    each = layer.elements * ELEMENT_COST + PAIR_COST + runs * RUN_COST
    return layer.blocks * each + layer.flushes * (FLUSH_COST + RUN_COST)


def _plans(
    layer: Layer, layout: str, tile: int, pairs: int, x: int, tiles: int, fill: float, pair: float
) -> Iterator[Plan]:
    """Both orders of tiles and blocks; fill: instructions of filling all tiles once."""
    scratch = 16 * layer.elements + pairs * layer.sums_bytes + x
    words = layer.words * layer.blocks
    refill = fill * (layer.blocks if tiles > 1 else 1)
    yield Plan(layout, tile, pairs, False, scratch, pair + fill + words * tiles)
    yield Plan(layout, tile, pairs, True, scratch, pair + refill + words)


def _halves(layer: Layer) -> Iterator[Plan]:
    height, half = layer.out[0], -(-layer.out[1] // 2)
    row = _row_bytes(layer)
    if row > MAX_UINT16:
        return
    pairs = -(-half // -(-half // MAX_PAIRS))
    pair = height * half * _pair_cost(layer, layer.kernel[0])
    for tile in range(1, height + 1):
        tiles = -(-height // tile)
        lines = (tile - 1) * layer.strides[0] + layer.kernel[0]
        fill = tiles * lines * (row / 2 * layer.fill_cost + 200)
        yield from _plans(layer, "HALVES", tile, pairs, lines * row, tiles, fill, pair)


def _windows(layer: Layer) -> Iterator[Plan]:
    count = -(-layer.out[0] * layer.out[1] // 2)
    fill = count * (layer.elements * layer.fill_cost + 60 + 50 * layer.kernel[0])
    pair = count * _pair_cost(layer, 1)
    for tile in range(1, min(count, MAX_PAIRS) + 1):
        x = tile * 2 * layer.elements
        yield from _plans(layer, "WINDOWS", tile, tile, x, -(-count // tile), fill, pair)
