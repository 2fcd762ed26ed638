# SPDX-License-Identifier: Apache-2.0
"""The file itself: scales, alignment, options, what is refused; and whole small networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import every_op_graph
from twins import assert_twin, linear_parameters, one_op, random_inputs, tensor

from tinyq.errors import DataError, ModelFileError, ProofError, TflmMissing, UnsupportedError
from tinyq.graph import Graph, Node, validate
from tinyq.ops import (
    Add,
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    MaxPool2D,
    Op,
    Reshape,
    Sigmoid,
    Softmax,
)
from tinyq.ops.windows import same_padding
from tinyq.tflite import run_tflm, runner, schema, write_tflite
from tinyq.tflite.builder import Quantization
from tinyq.tflite.schema import read_tensors
from tinyq.tflite.writer import check_scales


def network(seed: int = 0, encoding: str = "lut4") -> Graph:
    """Two inputs, two outputs, a residual block, 4-bit activations, a shared tensor."""
    rng = np.random.default_rng(seed)

    def linear(kind: type[Op], shape: tuple[int, ...], **fields: object) -> Op:
        return kind(
            *linear_parameters(rng, shape, encoding, rng.integers(6, 11, shape[0])), **fields
        )

    same = {"padding": (1, 1, 1, 1)}
    tensors = [
        tensor("x", (8, 8, 3), "uint8"),
        tensor("z", (6,)),
        tensor("a", (8, 8, 8), "uint8"),
        tensor("b", (8, 8, 8), "uint8", bits=4),
        tensor("c", (8, 8, 8)),
        tensor("d", (8, 8, 8), "uint8", -3),
        tensor("e", (4, 4, 8), "uint8", -3),
        tensor("f", (1, 1, 8), "uint8", -3),
        tensor("g", (8,), "uint8", -3),
        tensor("h", (5,), "int8", -3),
        tensor("u", (5,)),
        tensor("s", (5,), "int8", -3),
        tensor("p", (5,), "uint8", -8),
        tensor("q", (5,), "uint8", -8),
    ]
    layers: list[tuple[Op, str, str]] = [
        (linear(Conv2D, (8, 3, 3, 3), activation="relu", **same), "x", "a"),
        (linear(DepthwiseConv2D, (8, 3, 3), activation="relu6", **same), "a", "b"),
        (linear(Conv2D, (8, 1, 1, 8)), "b", "c"),
        (Add("relu"), "a c", "d"),
        (MaxPool2D((2, 2), (2, 2)), "d", "e"),
        (AveragePool2D((4, 4), (4, 4)), "e", "f"),
        (Reshape((8,)), "f", "g"),
        (linear(Dense, (5, 8)), "g", "h"),
        (linear(Dense, (5, 6)), "z", "u"),
        (Add(), "h u", "s"),
        (Softmax(), "s", "p"),
        (Sigmoid(), "s", "q"),
    ]
    nodes = tuple(
        Node(f"n{i}", op, tuple(ins.split()), (out,), (f"layer_{out}",))
        for i, (op, ins, out) in enumerate(layers)
    )
    return validate(Graph("net", {t.name: t for t in tensors}, nodes, ("x", "z"), ("p", "q")))


@pytest.mark.parametrize("encoding", ["int8", "int4", "lut4", "lut2"])
@pytest.mark.parametrize("weights", ["int8", "decode", "int4"])
def test_whole_networks(encoding: str, weights: str) -> None:
    assert_twin(network(3, encoding), np.random.default_rng(7), weights)


@pytest.mark.parametrize("seed", range(6))
def test_every_operator_in_one_graph(seed: int) -> None:
    """Mixed encodings, paddings and exponents; pooling that TFLM cannot pad is padded as SAME."""
    graph = every_op_graph(seed)
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, AveragePool2D):
            same = same_padding(graph.tensors[node.inputs[0]].shape, op.pool, op.strides)
            op = replace(op, padding=same)
        nodes.append(replace(node, op=op))
    graph = validate(replace(graph, nodes=tuple(nodes)))
    assert_twin(graph, np.random.default_rng(seed), ("int8", "decode", "int4")[seed % 3])


def test_outputs_only() -> None:
    graph = network()
    inputs = random_inputs(graph, np.random.default_rng(0))
    everything, outputs = (run_tflm(write_tflite(graph), inputs, keep_all=k) for k in (True, False))
    assert set(outputs) == {"p", "q"} and set(everything) == set(graph.tensors)
    for name, codes in outputs.items():
        np.testing.assert_array_equal(codes, everything[name])


def test_scales_are_powers_of_two_and_zero_points_say_the_type() -> None:
    graph = network()
    stored = {t.name: t for t in read_tensors(write_tflite(graph))}
    for name, t in graph.tensors.items():
        assert stored[name].scales.dtype == np.float32
        assert stored[name].scales.tolist() == [2.0**t.exponent]
        assert stored[name].zeros.tolist() == [0 if t.signed else -128]
    conv = graph.node("n0").op.quantized.exponents_per_channel()
    assert stored["a#weights"].scales.tolist() == np.ldexp(1.0, conv).tolist()
    assert stored["a#bias"].scales.tolist() == np.ldexp(1.0, conv - 4).tolist()


def test_a_scale_that_is_no_power_of_two_is_found() -> None:
    tensors = read_tensors(write_tflite(network()))
    quantizations = {t.index: Quantization((-4,)) for t in tensors if t.name == "d"}
    with pytest.raises(ProofError, match="scale of"):
        check_scales(tensors, quantizations)


@pytest.mark.parametrize("weights", ["int8", "decode", "int4"])
def test_constants_are_aligned(weights: str) -> None:
    offsets = [t.offset for t in read_tensors(write_tflite(network(), weights)) if t.constant]
    assert len(offsets) > 10 and all(offset % 16 == 0 for offset in offsets)


def test_the_file_is_reproducible() -> None:
    assert write_tflite(network(), "decode") == write_tflite(network(), "decode")


def codes_of(model: bytes) -> list[str]:
    classes = schema.schema()
    root = classes.Model.GetRootAs(model)
    names = {v: k for k, v in vars(classes.BuiltinOperator).items() if k.isupper()}
    graph = root.Subgraphs(0)
    indices = [graph.Operators(i).OpcodeIndex() for i in range(graph.OperatorsLength())]
    return [names[root.OperatorCodes(i).BuiltinCode()] for i in indices]


def conv(padding: tuple[int, int, int, int], size: int = 8, **fields: object) -> Graph:
    rng = np.random.default_rng(0)
    weights, bias = linear_parameters(rng, (2, 3, 3, 1))
    op = Conv2D(weights, bias, strides=(2, 2), padding=padding, **fields)
    return one_op(op, [tensor("x", (size, size, 1))], tensor("y", (), "uint8"))


def test_padding_becomes_same_valid_or_a_pad() -> None:
    assert codes_of(write_tflite(conv((0, 1, 0, 1)))) == ["CONV_2D"]
    assert codes_of(write_tflite(conv((0, 0, 0, 0)))) == ["CONV_2D"]
    assert codes_of(write_tflite(conv((1, 1, 1, 1), size=7))) == ["CONV_2D"]
    assert codes_of(write_tflite(conv((1, 1, 1, 1)))) == ["PAD", "CONV_2D"]


def test_clamps_appear_where_tflm_would_not_clamp() -> None:
    rng = np.random.default_rng(0)
    weights, bias = linear_parameters(rng, (2, 9))

    def layer(activation: str, dtype: str, bits: int) -> list[str]:
        y = tensor("y", (), dtype, bits=bits)
        graph = one_op(Dense(weights, bias, activation), [tensor("x", (9,))], y)
        return codes_of(assert_twin(graph, rng))

    assert layer("linear", "int8", 8) == ["FULLY_CONNECTED"]
    assert layer("relu6", "uint8", 8) == ["FULLY_CONNECTED"]
    assert layer("relu6", "uint8", 7) == ["FULLY_CONNECTED"]
    assert layer("relu", "uint8", 4) == ["FULLY_CONNECTED", "MINIMUM"]
    assert layer("linear", "int8", 4) == ["FULLY_CONNECTED", "MINIMUM", "MAXIMUM"]
    for bits in (3, 2):
        assert layer("relu", "uint8", bits) == ["FULLY_CONNECTED", "MINIMUM"]
        assert layer("linear", "int8", bits) == ["FULLY_CONNECTED", "MINIMUM", "MAXIMUM"]
        assert layer("relu", "int8", bits) == ["FULLY_CONNECTED", "MINIMUM"]


def test_half_up_is_refused_with_the_layer_named() -> None:
    with pytest.raises(UnsupportedError, match=r"layer 'user_layer': rounding 'half_up'"):
        write_tflite(conv((0, 0, 0, 0), rounding="half_up"))


def test_half_up_passes_where_the_rules_agree() -> None:
    rng = np.random.default_rng(0)
    weights, bias = linear_parameters(rng, (6, 3), shifts=(0, 1, 0, 1, 0, 1))
    graph = one_op(Dense(weights, bias, rounding="half_up"), [tensor("x", (3,))], tensor("y", ()))
    assert_twin(graph, rng)


def test_large_accumulators_without_a_shift_are_refused() -> None:
    weights, _ = linear_parameters(np.random.default_rng(0), (1, 1), shifts=(0,))
    below, above = (np.array([2**30 - k], np.int32) for k in (20000, 1))
    graph = one_op(Dense(weights, below), [tensor("x", (1,))], tensor("y", ()))
    assert_twin(graph, np.random.default_rng(0))
    with pytest.raises(UnsupportedError, match="no shift overflows"):
        write_tflite(one_op(Dense(weights, above), [tensor("x", (1,))], tensor("y", ())))


def test_average_pooling_with_padding_of_its_own_is_refused() -> None:
    x = tensor("x", (6, 6, 2))
    graph = one_op(AveragePool2D((3, 3), (1, 1), (2, 0, 1, 1)), [x], replace(x, name="y"))
    with pytest.raises(UnsupportedError, match="use 'same' or 'valid'"):
        write_tflite(graph)


def test_softmax_that_would_abort_tflm_is_refused() -> None:
    graph = one_op(Softmax(), [tensor("x", (512,))], tensor("y", (), "uint8", -8))
    with pytest.raises(UnsupportedError, match="511"):
        write_tflite(graph)


def test_scales_outside_float32_are_refused() -> None:
    x = tensor("x", (4,), exponent=-130)
    graph = one_op(Reshape((2, 2)), [x], replace(x, name="y"))
    with pytest.raises(UnsupportedError, match="no normal float32"):
        write_tflite(graph)


def test_float_graphs_and_states_are_refused() -> None:
    for change, message in (({"dtype": "float32"}, "float graph"), ({"state": True}, "state")):
        x = replace(tensor("x", (4,)), **change)
        y = replace(x, name="y", shape=(2, 2), state=False)
        node = Node("n", Reshape((2, 2)), ("x",), ("y",))
        with pytest.raises(UnsupportedError, match=message):
            write_tflite(Graph("m", {"x": x, "y": y}, (node,), ("x",), ("y",)))


def test_wrong_inputs_are_one_clear_line() -> None:
    model = write_tflite(network())
    good = random_inputs(network(), np.random.default_rng(0))
    with pytest.raises(DataError, match="'z' is missing"):
        run_tflm(model, {"x": good["x"]})
    with pytest.raises(DataError, match="'x' is int8"):
        run_tflm(model, {**good, "x": good["x"].view(np.int8)})
    with pytest.raises(ModelFileError, match="TFL3"):
        run_tflm(b"not a model at all", good)


def test_what_the_interpreter_says_reaches_the_user(capfd: pytest.CaptureFixture[str]) -> None:
    """A scale of the output that AVERAGE_POOL_2D cannot have: refused in the interpreter."""
    x = tensor("x", (4, 4, 1))
    model = write_tflite(one_op(AveragePool2D((2, 2), (2, 2)), [x], replace(x, name="y")))
    broken = model.replace(np.float32(2**-4).tobytes(), np.float32(2**-3).tobytes(), 1)
    assert broken != model
    with pytest.raises(UnsupportedError, match="stock TFLM refuses the model"):
        run_tflm(broken, random_inputs(one_op(Reshape((16,)), [x], replace(x, name="y")),
                                       np.random.default_rng(0)))  # fmt: skip
    assert capfd.readouterr().err == ""


def test_missing_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tflite_micro", None)
    with pytest.raises(TflmMissing, match="pip install"):
        runner.load_interpreter()
    monkeypatch.setattr(schema, "_MODULES", ("no_such_module",))
    schema.schema.cache_clear()
    try:
        with pytest.raises(TflmMissing, match="pip install"):
            schema.schema()
    finally:
        schema.schema.cache_clear()
