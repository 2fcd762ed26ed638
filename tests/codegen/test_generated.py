# SPDX-License-Identifier: Apache-2.0
"""The generated C, compiled and run: every tensor equals the executor's."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_model import HOOK, NO_HOOK, CModel, build, load, model_part
from graphs import GraphBuilder, every_op_graph, random_inputs
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq import executor
from tinyq.backends.emulated import pack_samples
from tinyq.codegen import scheduled
from tinyq.codegen.vectors import tensor_crcs, vector_inputs
from tinyq.emulators.base import RunRequest
from tinyq.emulators.host import Host
from tinyq.encodings import ENCODINGS, code_range
from tinyq.graph import Graph, Node
from tinyq.ops import OPS, BatchNorm, LinearOp
from tinyq.passes.plan_memory import plan_memory
from tinyq.project import render_model
from tinyq.toolchain import build_host_image, library_part

#: results of model.h
NO_ARENA, ARENA_ALIGN, NO_SELFTEST, UNINITIALISED = -1, -2, -3, -4


def check_equal(graph: Graph, model: CModel, count: int = 4, seed: int = 0) -> None:
    """Every tensor through the hook, and the outputs as they are after the inference."""
    codes = random_inputs(graph, count, seed)
    expected = executor.run(graph, codes)
    for sample in range(count):
        got = model.trace(codes, sample)
        assert set(got) == set(expected)
        for name, values in got.items():
            assert np.array_equal(values[0], expected[name][sample]), (name, sample)
        for name, values in model.outputs().items():
            assert np.array_equal(values, expected[name][sample]), (name, sample)


def small_graph(name: str = "small", seed: int = 0, encodings: Sequence[str] = ("lut4",)) -> Graph:
    """Three layers and a reshape."""
    g = GraphBuilder(np.random.default_rng(seed), encodings)
    y = g.conv(g.input((6, 5, 2), "uint8", -8), 4)
    y = g.conv(y, 3, (1, 1), activation="linear")
    return g.build(name, [g.dense(g.flatten(y), 5)])


@pytest.mark.parametrize("seed", range(6))
def test_every_operator(seed: int) -> None:
    graph = every_op_graph(seed)
    assert {type(node.op) for node in graph.nodes} == set(OPS.values()) - {BatchNorm}
    model = build(graph)
    check_equal(graph, model, seed=seed)
    assert model.selftest() == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("rounding", ["tflite", "half_up"])
def test_every_encoding_in_every_weighted_layer(encoding: str, rounding: str) -> None:
    g = GraphBuilder(np.random.default_rng(len(encoding)), (encoding,), rounding)
    x = g.input((7, 5, 3), "int8")
    y = g.conv(x, 5, (3, 2), (2, 1), activation="linear")
    y = g.depthwise(y, 3, (3, 3), activation="linear")
    y = g.depthwise(y, 1, (2, 3), (1, 2), "valid", "relu")
    y = g.conv(y, 4, (1, 1))
    graph = g.build("encodings", [g.dense(g.flatten(y), 7)])
    check_equal(graph, build(graph))


@settings(max_examples=8)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_random_chains(seed: int, data: st.DataObject) -> None:
    """Random geometry: kernels larger than the image, one channel, strides over the edge."""
    g = GraphBuilder(np.random.default_rng(seed), tuple(ENCODINGS))
    size = st.integers(1, 6)
    y = g.input((data.draw(size), data.draw(size), data.draw(size)), "int8")
    for _ in range(data.draw(st.integers(1, 4))):
        kernel = (data.draw(size), data.draw(size))
        strides = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
        activation = data.draw(st.sampled_from(["linear", "relu", "relu6"]))
        if data.draw(st.booleans()):
            y = g.conv(y, data.draw(size), kernel, strides, "same", activation)
        else:
            multiplier = data.draw(st.integers(1, 3))
            y = g.depthwise(y, multiplier, kernel, strides, "same", activation)
    graph = g.build("chain", [y])
    check_equal(graph, build(graph), count=3, seed=seed % 1000)


def test_several_outputs_of_one_tensor_and_an_input_as_output() -> None:
    g = GraphBuilder(np.random.default_rng(3))
    x = g.input((2, 3, 2))
    y = g.conv(x, 3)
    graph = g.build("ports", [y, g.flatten(y), x, y])
    check_equal(graph, build(graph))


def test_inputs_share_bytes_with_later_tensors() -> None:
    """The input is destroyed by an inference, and writing it again repairs that."""
    graph = small_graph()
    plan = plan_memory(graph)
    start = plan.offsets[graph.inputs[0]]
    end = start + graph.tensors[graph.inputs[0]].size
    later = [plan.offsets[node.output] for node in graph.nodes]
    assert any(start <= offset < end for offset in later)
    model = build(graph)
    check_equal(graph, model)
    check_equal(graph, model, seed=5)


# --- arena ---------------------------------------------------------------------------------------


def test_own_arena_serves_before_init() -> None:
    graph = small_graph()
    model = build(graph)
    check_equal(graph, model, count=1)
    assert model.init(None) == 0
    check_equal(graph, model, count=1)


def test_ports_out_of_range() -> None:
    model = build(small_graph())
    assert model.input(1) is None
    assert model.output(1) is None


def aligned_block(size: int) -> tuple[ctypes.Array, int]:
    """A block with an 8-byte aligned address inside, 64 bytes from its start."""
    block = ctypes.create_string_buffer(b"\xa5" * (size + 160), size + 160)
    address = ctypes.addressof(block) + 64
    return block, address + -address % 8


def test_bytes_round_the_arena_stay_untouched() -> None:
    graph = every_op_graph(1)
    size = plan_memory(graph).arena_bytes
    model = build(graph, defines=["NET_EXTERNAL_ARENA"])
    block, address = aligned_block(size)
    assert model.init(address) == 0
    check_equal(graph, model)
    assert model.selftest() == 0
    raw = bytes(block)
    first = address - ctypes.addressof(block)
    assert raw[:first] == b"\xa5" * first
    assert raw[first + size :] == b"\xa5" * (len(raw) - first - size)


def test_a_misaligned_arena_is_refused_and_changes_nothing() -> None:
    graph = small_graph()
    model = build(graph)
    _block, address = aligned_block(4096)
    assert model.init(address) == 0
    before = model.input(0)
    for step in (1, 2, 3):
        assert model.init(address + step) == ARENA_ALIGN
    assert model.input(0) == before
    check_equal(graph, model, count=1)


def test_without_an_arena_nothing_happens() -> None:
    graph = small_graph()
    model = build(graph, defines=["NET_EXTERNAL_ARENA"])
    assert model.init(None) == NO_ARENA
    assert model.input(0) is None
    assert model.output(0) is None
    model.invoke()
    assert model.selftest() == UNINITIALISED
    _block, address = aligned_block(4096)
    assert model.init(address) == 0
    check_equal(graph, model, count=1)


def test_two_models_share_kernels_and_arena() -> None:
    graphs = {"one": small_graph("one", 1), "two": every_op_graph(2)}
    rendered = [(graph, name, render_model(graph, name)) for name, graph in graphs.items()]
    models = load(rendered, ["ONE_EXTERNAL_ARENA", "TWO_EXTERNAL_ARENA"])
    _block, address = aligned_block(max(plan_memory(g).arena_bytes for g in graphs.values()))
    for model in models:
        assert model.init(address) == 0
    for _ in range(2):
        for model in models:
            check_equal(model.graph, model, count=2)
            assert model.selftest() == 0


# --- state ---------------------------------------------------------------------------------------


def state_graph() -> Graph:
    """A layer whose output is kept, read back through an alias, and another kept output."""
    g = GraphBuilder(np.random.default_rng(4))
    y = g.conv(g.input((3, 3, 2)), 5)
    g.tensors[y] = replace(g.tensors[y], state=True)
    z = g.dense(g.flatten(y), 3)
    g.tensors[z] = replace(g.tensors[z], state=True)
    return g.build("stateful", [y, z])


def test_state_lies_outside_the_arena_and_is_cleared_by_reset() -> None:
    graph = state_graph()
    model = build(graph)
    assert model.init(None) == 0
    check_equal(graph, model)
    assert any(values.any() for values in model.outputs().values())
    kept = {name: values.copy() for name, values in model.outputs().items()}
    block, address = aligned_block(plan_memory(graph).arena_bytes)
    ctypes.memset(model.input(0), 0x55, graph.tensors[graph.inputs[0]].size)
    for name, values in model.outputs().items():
        assert np.array_equal(values, kept[name])
        index = graph.outputs.index(name)
        assert not ctypes.addressof(block) <= model.output(index) < address
    model.reset()
    assert not any(values.any() for values in model.outputs().values())


def test_init_and_selftest_leave_a_clear_state() -> None:
    graph = state_graph()
    model = build(graph)
    check_equal(graph, model)
    assert model.selftest() == 0
    assert not any(values.any() for values in model.outputs().values())
    check_equal(graph, model)
    assert model.init(None) == 0
    assert not any(values.any() for values in model.outputs().values())


# --- hook and self-test --------------------------------------------------------------------------


def with_wrong_weights(graph: Graph, name: str) -> Graph:
    """The graph with all weights of one layer as far from the right ones as they can be.

    One weight would not do: most meet padding, a negligible tap or an output that is clamped.
    """

    def change(node: Node) -> Node:
        if node.name != name or not isinstance(node.op, LinearOp):
            return node
        right = node.op.quantized
        low, high = code_range(ENCODINGS[right.encoding])
        every = np.arange(low, high + 1, dtype=np.int8)
        images = replace(right, codes=every[None], exponents=right.exponents[:1]).image()[0]
        codes = every[np.abs(right.image()[..., None].astype(int) - images).argmax(-1)]
        return replace(node, op=replace(node.op, weights=replace(right, codes=codes)))

    return replace(graph, nodes=tuple(change(node) for node in graph.nodes))


def test_the_selftest_names_the_first_wrong_layer() -> None:
    graph = every_op_graph(0)
    good = render_model(graph, "net")
    inputs = vector_inputs(graph, None)
    shown = [node.output for node in scheduled(graph)]
    crcs = tensor_crcs(graph, inputs, shown)
    found = []
    for node, _ in graph.linear_nodes():
        wrong = with_wrong_weights(graph, node.name)
        differing = np.flatnonzero(tensor_crcs(wrong, inputs, shown) != crcs)
        expected = int(differing[0]) + 1 if len(differing) else 0
        source = {"net/src/net.c": render_model(wrong, "net")["net/src/net.c"]}
        assert load([(graph, "net", good | source)])[0].selftest() == expected
        found.append(expected)
    assert len(found) - found.count(0) >= 4


def test_the_selftest_gives_the_hook_back() -> None:
    model = build(small_graph())
    calls = []
    hook = HOOK(lambda user, layer, data, size: calls.append((user, layer, size)))
    model.set_hook(hook, 1234)
    assert model.selftest() == 0
    assert calls == []
    model.invoke()
    assert calls == [(1234, 0, 120), (1234, 1, 90), (1234, 2, 5)]
    model.set_hook(NO_HOOK, None)
    model.invoke()
    assert len(calls) == 3


def test_a_stored_vector() -> None:
    graph = small_graph()
    codes = random_inputs(graph, 1, seed=9)
    vector = {name: x[0] for name, x in codes.items()}
    files = render_model(graph, "net", vector)
    table = re.search(r"vector0\[60\] = \{([^}]*)\}", files["net/src/net_vectors.c"])
    assert table is not None
    numbers = [int(number) for number in re.findall(r"\d+", table[1])]
    assert numbers == vector[graph.inputs[0]].reshape(-1).tolist()
    model = build(graph, vector=vector)
    assert model.selftest() == 0


def test_the_device_makes_codes_of_the_whole_range() -> None:
    """Also for narrow types, whose codes must not leave their range."""
    g = GraphBuilder(np.random.default_rng(0))
    x = g.input((8, 8, 4), "int8")
    g.tensors[x] = replace(g.tensors[x], bits=4)
    graph = g.build("narrow", [g.conv(x, 2)])
    assert build(graph).selftest() == 0


def test_without_hooks() -> None:
    graph = small_graph()
    model = build(graph, defines=["TQ_HOOKS=0"])
    assert model.set_hook is None
    assert model.selftest() == NO_SELFTEST
    codes = random_inputs(graph, 3)
    expected = executor.run(graph, codes)
    for sample in range(3):
        model.write(codes, sample)
        model.invoke()
        for name, values in model.outputs().items():
            assert np.array_equal(values, expected[name][sample])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_undefined_behaviour(seed: int, tmp_path: Path) -> None:
    """Every operator under ASan and UBSan, saturating samples included."""
    graph = every_op_graph(seed)
    parts = [model_part(render_model(graph, "net"), tmp_path), library_part()]
    image = build_host_image(parts, "net_model", sanitize=True)
    codes = random_inputs(graph, 6, seed)
    request = RunRequest(image, pack_samples(graph, codes), 6, selftest=True)
    result = Host().run(request)
    assert result.selftest == 0
    expected = executor.run(graph, codes)
    outputs = [expected[name].reshape(6, -1).view(np.uint8) for name in graph.outputs]
    assert b"".join(result.outputs) == np.concatenate(outputs, axis=1).tobytes()
