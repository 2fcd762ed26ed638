# SPDX-License-Identifier: Apache-2.0
"""Layers in bands of rows: the same codes in less memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from graphs import GraphBuilder, random_inputs

from tinyq import executor
from tinyq.backends.emulated import EmulatedBackend
from tinyq.cores import CORES, GENERIC
from tinyq.errors import InputError
from tinyq.graph import Graph, Node
from tinyq.kernels.bands import bandings, find_chains, make_banding
from tinyq.kernels.program import Program, Target, compile_graph
from tinyq.ops import Add

SEEDS = range(4)


def chain_graph(seed: int) -> Graph:
    """A large first layer, then windows of several sizes and strides, then a dense layer."""
    rng = np.random.default_rng(seed)
    g = GraphBuilder(rng, encodings=("int8", "lut4"))
    x = g.input((int(rng.integers(17, 24)), 10, 3))
    x = g.conv(x, 8, kernel=(3, 3), strides=(2, 2))
    x = g.depthwise(x, kernel=(3, 3))
    x = g.conv(x, 12, kernel=(1, 1))
    x = g.depthwise(x, kernel=(int(rng.integers(1, 4)), 3), strides=(2, 2))
    y = g.conv(x, 5, kernel=(3, 1))
    return g.build("chain", [g.dense(g.flatten(y), 3)])


def run_in_bands(graph: Graph, chain: Sequence[Node], rows: int, x: np.ndarray) -> np.ndarray:
    """The chain's output, every band by the operators' own arithmetic."""
    outputs = []
    for band in make_banding(graph, chain, rows).bands:
        codes = x[:, band[0].source.start : band[0].source.end]
        for piece in band:
            assert codes.shape[1:] == piece.ins.shape
            codes = piece.node.op.evaluate([codes], [piece.ins], piece.out)
        assert codes.shape[1:] == piece.out.shape
        outputs.append(codes)
    return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize("seed", SEEDS)
def test_bands_compute_what_the_whole_computes(seed: int) -> None:
    graph = chain_graph(seed)
    codes = random_inputs(graph, 2, seed)
    expected = executor.run(graph, codes)
    chains = list(find_chains(graph))
    assert chains
    for chain in chains:
        x = expected[chain[0].inputs[0]]
        for rows in (1, 2, 3):
            got = run_in_bands(graph, chain, rows, x)
            assert np.array_equal(got, expected[chain[-1].output])


@pytest.mark.parametrize("seed", SEEDS)
def test_no_band_overwrites_what_a_later_one_reads(seed: int) -> None:
    for banding in bandings(chain_graph(seed)):
        first, last = banding.bands[0][0], banding.bands[0][-1]
        in_row, out_row = (t.size // t.shape[0] for t in (first.ins, last.out))
        for i, band in enumerate(banding.bands[:-1]):
            written = band[-1].target.end * out_row - banding.lead
            later = banding.bands[i + 1 :]
            assert all(written <= other[0].source.start * in_row for other in later)


def test_extra_work_is_counted() -> None:
    graph = chain_graph(0)
    (chain, *_) = find_chains(graph)
    height = graph.out(chain[-1]).shape[0]
    whole = sum(n.op.macs([t.shape for t in graph.ins(n)], graph.out(n).shape) for n in chain)
    assert make_banding(graph, chain, height).extra_macs == 0
    for rows in (1, 2):
        banding = make_banding(graph, chain, rows)
        done = sum(piece.macs for band in banding.bands for piece in band)
        assert banding.extra_macs == done - whole > 0


def within(graph: Graph, ram: int) -> Program:
    return compile_graph(graph, Target(GENERIC, ram=ram))


def smallest(graph: Graph) -> int:
    """The smallest arena, as the refusal of one byte says it."""
    with pytest.raises(InputError, match=r"--ram 1 bytes: the smallest arena found has") as caught:
        within(graph, 1)
    return int(str(caught.value).split("has ")[1].split(" ")[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_code_in_less_memory(seed: int) -> None:
    graph = chain_graph(seed)
    free = compile_graph(graph).plan.arena_bytes
    least = smallest(graph)
    assert least < free
    codes = random_inputs(graph, 3, seed)
    expected = executor.run(graph, codes)
    for ram in (least, (least + free) // 2):
        program = within(graph, ram)
        assert program.plan.arena_bytes <= ram
        backend = EmulatedBackend("host", Target(GENERIC, ram=ram))
        got = backend.run(graph, codes)
        shown = {step.output for step in program.steps}
        assert set(graph.outputs) <= shown < {node.output for node in graph.nodes}
        assert all(np.array_equal(got[name], expected[name]) for name in shown)
        assert backend.selftest(graph) == 0


def test_kernels_of_a_core_in_bands() -> None:
    graph = chain_graph(1)
    target = Target(CORES["m4"], ram=smallest(graph) + 2500)
    codes = random_inputs(graph, 2, 0)
    got = EmulatedBackend("host", target).run(graph, codes, keep_all=False)
    assert np.array_equal(got[graph.outputs[0]], executor.predict(graph, codes)[graph.outputs[0]])


def test_enough_memory_changes_nothing() -> None:
    graph = chain_graph(2)
    free = compile_graph(graph)
    assert [s.stems for s in within(graph, free.plan.arena_bytes).steps] == [
        s.stems for s in free.steps
    ]


def test_chains_end_where_tensors_are_read_twice() -> None:
    g = GraphBuilder(np.random.default_rng(0))
    x = g.input((8, 8, 4))
    a = g.conv(x, 4)
    b = g.conv(a, 4, activation="linear")
    graph = g.build("residual", [g.add(a, b, "relu")])
    assert any(isinstance(node.op, Add) for node in graph.nodes)
    assert list(find_chains(graph)) == []
