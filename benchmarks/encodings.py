# SPDX-License-Identifier: Apache-2.0
"""Instructions of one model with every weight encoding on every core.

    python benchmarks/encodings.py MODEL.h5 DATA.npz [--scale S] [--offset O]
        [--weights int8,int4,lut4,pot4,apot4] [--cores m0,m3,m4,m55] [-o benchmarks/results]

Prints a table and writes ``encodings.json``: rows of weights, core, macs, instructions,
instructions_per_mac, multiplications, zeros (share of the weights) and flash_bytes.  Instructions
are counted under QEMU.  Multiplications are those of weights by activations: one a MAC, half where
two pixels share a word, none where an encoding shifts; a depthwise layer decodes its weights
beforehand and always multiplies.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import tinyq
from tinyq.encodings import ENCODINGS
from tinyq.graph import Graph
from tinyq.measurement import Cost
from tinyq.ops import DepthwiseConv2D


@dataclass(frozen=True)
class Row:
    """One encoding on one core."""

    weights: str
    core: str
    macs: int
    instructions: int
    instructions_per_mac: float
    multiplications: int
    zeros: float
    flash_bytes: int


def multiplications(graph: Graph, cost: Cost) -> int:
    """Products that the kernels multiply rather than shift."""
    layers = {layer.node: layer for layer in cost.layers}
    total = 0
    for node, op in graph.linear_nodes():
        shifts = ENCODINGS[op.quantized.encoding].levels is not None
        if isinstance(op, DepthwiseConv2D) or not shifts:
            layer = layers[node.name]
            total += layer.macs // 2 if layer.kernel == "conv2d_lanes" else layer.macs
    return total


def zeros(graph: Graph) -> float:
    """Share of the weights that are zero."""
    images = [op.quantized.image().reshape(-1) for _, op in graph.linear_nodes()]
    return float(np.mean(np.concatenate(images) == 0))


def measure(graph: Graph, weights: str, core: str) -> Row:
    """Count one model on one core."""
    cost = tinyq.profile(graph, f"qemu-{core}")
    return Row(
        weights,
        core,
        cost.macs,
        cost.instructions,
        round(cost.instructions / cost.macs, 3),
        multiplications(graph, cost),
        round(zeros(graph), 4),
        cost.size.flash_bytes if cost.size else 0,
    )


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every encoding on every core."""
    for weights in options.weights.split(","):
        graph = tinyq.quantize(
            options.model, options.data, weights=weights, scale=options.scale, offset=options.offset
        )
        for core in options.cores.split(","):
            yield measure(graph, weights, core)


HEADER = (
    "| weights | core | instructions per MAC | multiplications per MAC | zeros | flash |\n"
    "|---|---|---|---|---|---|"
)


def table_row(row: Row) -> str:
    """One line of the Markdown table."""
    return (
        f"| {row.weights} | {row.core} | {row.instructions_per_mac:.2f} "
        f"| {row.multiplications / row.macs:.2f} | {row.zeros:.0%} | {row.flash_bytes:,} |"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--offset", type=float, default=0.0)
    parser.add_argument("--weights", default="int8,int4,lut4,pot4,apot4")
    parser.add_argument("--cores", default="m0,m3,m4,m55")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    print(HEADER)
    results = []
    for row in rows(options):
        print(table_row(row), flush=True)
        results.append(asdict(row))
    options.output.mkdir(parents=True, exist_ok=True)
    content = {"model": options.model.stem, "rows": results}
    (options.output / "encodings.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
