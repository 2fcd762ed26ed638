# SPDX-License-Identifier: Apache-2.0
"""The Helium kernels' assembly on an emulated Cortex-M55: the layers of the host tests, at once.

All layers of a test are one graph of independent layers, so that one image runs them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from available import skip_unless_available
from kernels import (
    test_add_mve,
    test_average_pool2d_mve,
    test_conv2d_mve,
    test_conv2d_mve_add,
    test_dense_mve,
    test_depthwise_conv2d_mve,
)
from kernels.chosen import KernelCase
from lanes import full_graph

from tinyq.backends.emulated import EmulatedBackend, pack_samples
from tinyq.emulators import RunRequest, emulator
from tinyq.graph import Graph, Node
from tinyq.kernels.program import compile_graph
from tinyq.ops import AveragePool2D

ENCODINGS = ("int8", "int4", "lut4")
BACKEND = "qemu-m55"


def joined(cases: Sequence[KernelCase]) -> tuple[Graph, dict[str, np.ndarray]]:
    """All layers side by side, and their inputs."""
    tensors, nodes, codes = {}, [], {}
    for index, case in enumerate(cases):
        ins = [replace(t, name=f"x{index}_{i}") for i, t in enumerate(case.ins)]
        out = replace(case.out, name=f"y{index}")
        tensors |= {t.name: t for t in (*ins, out)}
        nodes.append(Node(f"n{index}", case.op, tuple(t.name for t in ins), (out.name,)))
        codes |= {t.name: x.astype(t.numpy_dtype) for t, x in zip(ins, case.xs, strict=True)}
    outputs = tuple(node.output for node in nodes)
    return Graph("layers", tensors, tuple(nodes), tuple(codes), outputs), codes


def check(cases: Sequence[KernelCase]) -> None:
    """Every layer runs in its kernel, and computes what ``op.evaluate`` does."""
    skip_unless_available(BACKEND)
    graph, codes = joined(cases)
    backend = EmulatedBackend(BACKEND)
    steps = compile_graph(graph, backend.kernels).steps
    assert [step.kernel.stem for step in steps] == [case.stem for case in cases]
    got = backend.run(graph, codes, keep_all=False)
    for case, name in zip(cases, graph.outputs, strict=True):
        np.testing.assert_array_equal(got[name], case.expected(), err_msg=case.label)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_convolutions(encoding: str) -> None:
    check(test_conv2d_mve.windows_of_all_kinds(np.random.default_rng(5), encoding))


def test_sums_at_the_bound() -> None:
    forms = [(e, d, b) for e in ENCODINGS for d in ("uint8", "int8") for b in (8, 4)]
    ends = ("linear", "relu")
    graphs = [full_graph(e, d, b, 0, activation=a) for e, d, b in forms for a in ends]
    check([test_conv2d_mve.case_of(graph) for graph in graphs])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_depthwise_convolutions(encoding: str) -> None:
    rng = np.random.default_rng(6)
    cases = []
    for channels in (1, 3, 4, 8, 15, 16, 17, 37):
        size, window = test_depthwise_conv2d_mve.fitting_window(rng)
        shape = (*size, channels)
        cases.append(test_depthwise_conv2d_mve.random_case(rng, encoding, shape, window))
    check(cases)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_fully_connected_layers(encoding: str) -> None:
    rng = np.random.default_rng(7)
    sizes = [size for size in test_dense_mve.SIZES for _ in range(3)]
    check([test_dense_mve.random_case(rng, encoding, *size) for size in sizes])


def test_averages() -> None:
    rng = np.random.default_rng(8)
    shapes = [(25, 5, 20), (1, 257, 3), (8, 8, 8), (1, 1, 9)]
    pools = [(AveragePool2D(pool=s[:2], strides=s[:2]), s) for s in shapes]
    pools.append((AveragePool2D(pool=(3, 2), strides=(2, 1), padding=(1, 1, 0, 1)), (7, 6, 11)))
    check([test_average_pool2d_mve.pool(rng, *pool) for pool in pools])


@pytest.mark.parametrize("signs", [("int8", "uint8"), ("uint8", "int8")])
def test_additions(signs: tuple[str, str]) -> None:
    """All pairs of bytes."""
    for exponents, types in zip(((0, 0, 1), (3, -1, 2)), (signs, signs[:1] * 2), strict=True):
        case = test_add_mve.case(types, exponents, 0)
        check([replace(case, in_place=None)])


def test_instructions_do_not_depend_on_the_data() -> None:
    skip_unless_available(BACKEND)
    rng = np.random.default_rng(9)
    window = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
    cases = [
        test_conv2d_mve.random_case(rng, "int8", (6, 7, 5), 6, window),
        test_depthwise_conv2d_mve.random_case(rng, "lut4", (6, 7, 5), window),
        test_dense_mve.random_case(rng, "int4", 40, 6),
    ]
    graph, codes = joined(cases)
    image = EmulatedBackend(BACKEND).image(graph)
    request = RunRequest(image, pack_samples(graph, codes), 4, profile=True)
    assert len({p.instructions for p in emulator(BACKEND).run(request).profiles}) == 1


def test_residual_layers() -> None:
    skip_unless_available(BACKEND)
    test_conv2d_mve_add.check(EmulatedBackend(BACKEND), 10)
