# SPDX-License-Identifier: Apache-2.0
"""Conv2D and the addition behind it in Helium vectors: residual layers through the generated C."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.random_layers import tensor
from kernels.test_conv2d_mve import random_case
from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend
from tinyq.cores import CORES
from tinyq.graph import Graph, Node
from tinyq.kernels import conv2d_mve
from tinyq.kernels.program import Target, compile_graph
from tinyq.ops import Add

SAME = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
ONE = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}
HALF = {"kernel": (3, 2), "strides": (2, 2), "padding": (0, 1, 0, 0)}
TARGET = Target(CORES["m55"])


def residual_graph(seed: int) -> tuple[Graph, dict[str, np.ndarray]]:
    """Convolutions and sums, with either order of the operands and either type of the other one."""
    rng = np.random.default_rng(seed)
    tensors, nodes, codes = {}, [], {}
    shapes = [((5, 7, 16), SAME), ((4, 6, 5), ONE), ((7, 6, 3), HALF), ((9, 2, 4), SAME)]
    for index, (shape, window) in enumerate(shapes * 2):
        encoding = ("int8", "int4", "lut4")[index % 3]
        case = random_case(rng, encoding, shape, int(rng.integers(1, 9)), window)
        x, y = replace(case.ins[0], name=f"x{index}"), replace(case.out, name=f"y{index}")
        dtype, gap = str(rng.choice(["int8", "uint8"])), int(rng.integers(-2, 3))
        other = tensor(f"other{index}", y.shape, dtype, y.exponent + gap)
        end = "uint8" if index % 2 else "int8"
        total = tensor(f"sum{index}", y.shape, end, max(y.exponent, other.exponent) + index % 2)
        operands = (y.name, other.name) if index % 3 else (other.name, y.name)
        tensors |= {t.name: t for t in (x, y, other, total)}
        nodes.append(Node(f"conv{index}", case.op, (x.name,), (y.name,)))
        nodes.append(Node(f"add{index}", Add(), operands, (total.name,)))
        codes[x.name] = case.xs[0].astype(x.numpy_dtype)
        drawn = rng.integers(other.lo, other.hi + 1, (len(case.xs[0]), *other.shape))
        codes[other.name] = drawn.astype(other.numpy_dtype)
    outputs = tuple(node.output for node in nodes[1::2])
    return Graph("residual", tensors, tuple(nodes), tuple(codes), outputs), codes


def check(backend: EmulatedBackend, seed: int) -> None:
    """All are fused, and every sum is the executor's."""
    graph, codes = residual_graph(seed)
    steps = compile_graph(graph, backend.kernels).steps
    assert [step.kernel.stem for step in steps] == ["conv2d_mve_add"] * (len(graph.nodes) // 2)
    got, expected = backend.run(graph, codes, keep_all=False), executor.run(graph, codes)
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


@pytest.mark.parametrize("budget", [2048, 100])
def test_residual_layers(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv2d_mve, "BUDGET", budget)
    monkeypatch.setattr(conv2d_mve, "EXPANDED_BUDGET", budget)
    check(EmulatedBackend("host", TARGET), budget)


def test_the_sum_may_take_the_place_of_the_other_operand() -> None:
    graph, _ = residual_graph(1)
    plan = compile_graph(graph, TARGET).plan
    shared = [plan.offsets[f"other{i}"] == plan.offsets[f"sum{i}"] for i in range(8)]
    assert any(shared)


def test_sums_beyond_16_bits_are_not_fused() -> None:
    graph, _ = residual_graph(1)
    far = replace(graph.tensors["other0"], exponent=graph.tensors["y0"].exponent + 9)
    end = replace(graph.tensors["sum0"], exponent=far.exponent)
    wide = replace(graph, tensors={**graph.tensors, "other0": far, "sum0": end})
    stems = [step.kernel.stem for step in compile_graph(wide, TARGET).steps]
    assert stems[:2] == ["conv2d_mve", "add_dsp"]
