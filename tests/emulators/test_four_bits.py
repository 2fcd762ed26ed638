# SPDX-License-Identifier: Apache-2.0
"""4-bit weights and activations on cores with the DSP extension: random layers, lanes that fill."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from available import skip_unless_available
from kernels.chosen import KernelCase
from kernels.four_bit_layers import inputs, random_conv, segments_of, summing_case
from kernels.random_layers import random_window, tensor

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend
from tinyq.graph import Graph, Node, validate

SMLAL, NIBBLES = "conv2d_smlal", "conv2d_nibbles"
WINDOW = {"kernel": (3, 3), "strides": (1, 1), "padding": (1, 1, 1, 1)}
SAMPLES = 4


def random_layers(rng: np.random.Generator) -> Iterator[KernelCase]:
    """Any shapes, several segments."""
    for padding in ((1, 1, 1, 1), (0, 0, 0, 0), (0, 2, 1, 0), (2, 0, 2, 2)):
        x = inputs(rng, (4, int(rng.integers(4, 12)), int(rng.choice([1, 3, 8, 33]))))
        window = WINDOW | {"padding": padding}
        yield random_conv(rng, "int4", x, int(rng.choice([1, 4, 6])), window, SMLAL)
    for channels in (1, 3, 8, 70):
        size, window = random_window(rng, 3)
        if window["kernel"] != (3, 3) or window["strides"] != (1, 1):
            yield random_conv(rng, "int4", inputs(rng, (*size, channels)), 5, window, NIBBLES)
    point = {"kernel": (1, 1), "strides": (1, 1), "padding": (0, 0, 0, 0)}
    yield random_conv(rng, "int4", inputs(rng, (5, 5, 150)), 5, point, NIBBLES)


def full_lanes() -> Iterator[KernelCase]:
    """The greatest weights, and as many of one sign as a lane holds."""
    x = tensor("x", (3, 4, 30), "uint8", bits=4)
    for level in (7, -7):
        yield summing_case(np.full((4, 3, 3, 30), level), x, (1, 1, 1, 1), SMLAL)
        yield summing_case(np.full((4, 1, 1, 30), level), x, (0, 0, 0, 0), NIBBLES)


def joined(cases: list[KernelCase]) -> Graph:
    """All layers side by side."""
    nodes, tensors = [], {}
    for i, case in enumerate(cases):
        names = f"x{i}", f"y{i}"
        for t, name in zip((case.ins[0], case.out), names, strict=True):
            tensors[name] = type(t)(name, t.shape, t.dtype, t.bits, t.exponent)
        nodes.append(Node(f"n{i}", case.op, names[:1], names[1:], (f"n{i}",)))
    ends = tuple(n.inputs[0] for n in nodes), tuple(n.output for n in nodes)
    return validate(Graph("g", tensors, tuple(nodes), *ends))


@pytest.mark.parametrize("core", ["m4", "m7", "m33"])
def test_layers_on_a_core(core: str) -> None:
    skip_unless_available(f"qemu-{core}")
    cases = [*random_layers(np.random.default_rng(7)), *full_lanes()]
    assert max(len(segments_of(case.choice())) for case in cases) > 3
    graph = joined(cases)
    codes = {f"x{i}": c.xs[0][:SAMPLES].astype(c.ins[0].numpy_dtype) for i, c in enumerate(cases)}
    backend = EmulatedBackend(f"qemu-{core}")
    chosen = {step.kernel.stem for step in backend.program(graph).steps}
    got, expected = backend.run(graph, codes), executor.run(graph, codes)
    assert chosen == {SMLAL, NIBBLES}
    for name in graph.outputs:
        assert np.array_equal(got[name], expected[name]), name
