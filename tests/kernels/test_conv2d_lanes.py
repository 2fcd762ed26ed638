# SPDX-License-Identifier: Apache-2.0
"""Conv2D in 16-bit lanes against tinyq.ops: any window, and sums that fill 16 bits exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from lanes import extreme_inputs, full_graph, levels_of, weights_of

from kernels.harness import Case, Check, run_program
from kernels.random_layers import bias as random_bias
from kernels.random_layers import codes, label, random_input, random_window, tensor
from tinyq import proof
from tinyq.cores import GENERIC
from tinyq.encodings import ENCODINGS
from tinyq.graph import Graph, Node
from tinyq.kernels import Request, conv2d_lanes
from tinyq.kernels.program import compile_graph
from tinyq.numerics import INT16_MAX, rounding_margin
from tinyq.ops import Conv2D
from tinyq.ops.clayer import CLayer
from tinyq.tensors import Shape


@dataclass(frozen=True, eq=False)
class LanesCase(Case):
    """A convolution that runs in the kernel of lanes, proved or not."""

    def layer(self) -> CLayer:
        tensors = {t.name: t for t in (*self.ins, self.out)}
        node = Node("n", self.op, (self.ins[0].name,), (self.out.name,))
        graph = Graph("g", tensors, (node,), node.inputs, node.outputs)
        narrow = proof.LayerProof(0, 0, 0, 0, 0)
        plain = self.op.to_c(self.ins, self.out)
        return conv2d_lanes.choose(Request(GENERIC, graph, node, plain, narrow)) or plain


def random_case(
    rng: np.random.Generator, encoding: str, shape: Shape, outputs: int, window: dict[str, object]
) -> LanesCase:
    """A random convolution, its weights thinned out until 16 bits suffice."""
    x = random_input(rng, shape)
    kernel = window["kernel"]
    n = int(rng.choice([0, 1, 2, 5, 9]))
    levels = levels_of(encoding)
    image = rng.choice([*levels, *-levels, 0], (outputs, *kernel, shape[2])).astype(np.int64)
    room = INT16_MAX - rounding_margin(n) - 1000
    for row in image.reshape(outputs, -1):
        order = rng.permutation(row.size)
        worst = np.cumsum(np.abs(row[order])) * max(x.hi, -x.lo)
        row[order[worst > room]] = 0
    bias = np.clip(random_bias(rng, np.array([n]), 0, outputs), -1000, 1000).astype(np.int32)
    activation = str(rng.choice(["linear", "relu"]))
    op = Conv2D(
        weights_of(image, encoding), bias, activation, str(rng.choice(["tflite", "half_up"])),
        strides=window["strides"], padding=window["padding"],
    )  # fmt: skip
    dtype = "int8" if activation == "linear" else "uint8"
    y = tensor("y", op.infer_shape([shape]), dtype, x.exponent - 5 + n)
    return LanesCase(op, (x,), y, (codes(rng, x),), label=label(op, x))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_windows(encoding: str, check: Check) -> None:
    rng = np.random.default_rng(1)
    cases = []
    for _ in range(12):
        size, window = random_window(rng, 4)
        channels, outputs = rng.choice([1, 2, 3, 5, 8]), rng.choice([1, 2, 5, 33])
        cases.append(random_case(rng, encoding, (*size, int(channels)), int(outputs), window))
    # More elements than the buffer holds, an odd number of pixels, one column.
    window = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
    cases.append(random_case(rng, encoding, (3, 3, 29), 35, window))
    cases.append(random_case(rng, encoding, (5, 1, 40), 2, window | {"kernel": (3, 1)}))
    check(cases)


def case_of(graph: Graph) -> LanesCase:
    ((node, op),) = graph.linear_nodes()
    return LanesCase(op, (graph.tensors["x"],), graph.out(node), (extreme_inputs(graph),))


def kernel_of(graph: Graph) -> str:
    (step,) = compile_graph(graph).steps
    return step.kernel.stem


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("int8", 8), ("uint8", 4), ("int8", 4)])
@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4", "apot4"])
def test_sums_that_reach_the_bound(encoding: str, dtype: str, bits: int, activation: str) -> None:
    graph = full_graph(encoding, dtype, bits, activation=activation)
    ((node, op),) = graph.linear_nodes()
    proved = proof.prove(graph)[node.name]
    assert proved.fits_int16
    assert kernel_of(graph) == "conv2d_lanes"
    sums = op.accumulate(extreme_inputs(graph).astype(np.float64), op.quantized.image() * 1.0)
    sums = sums + op.bias
    assert sums.max() + proved.margin == INT16_MAX
    assert sums.min() - proved.margin == -INT16_MAX


def test_kernel_computes_sums_at_the_bound(check: Check) -> None:
    forms = [(e, d, b) for e in ENCODINGS for d in ("uint8", "int8") for b in (8, 4)]
    ends = ("linear", "relu")
    check([case_of(full_graph(e, d, b, activation=a)) for e, d, b in forms for a in ends])


def test_beyond_the_bound_lanes_are_not_chosen_and_would_be_wrong(
    library: Path, tmp_path: Path
) -> None:
    graph = full_graph(over=1)
    assert kernel_of(graph) == "conv2d"
    case = case_of(full_graph(over=2 * rounding_margin(7) + 2))
    (got,) = run_program([case], library, tmp_path)
    assert not np.array_equal(got.astype(np.int64), case.expected())


def test_a_single_pixel_stays_with_the_plain_kernel() -> None:
    graph = full_graph()
    ((node, _),) = graph.linear_nodes()
    one = replace(graph.tensors["y"], shape=(1, 1, 2))
    small = replace(graph, tensors={**graph.tensors, "y": one})
    plain = node.op.to_c(small.ins(node), small.out(node))
    proved = proof.prove(graph)[node.name]
    assert conv2d_lanes.choose(Request(GENERIC, small, node, plain, proved)) is None
