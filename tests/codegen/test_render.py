# SPDX-License-Identifier: Apache-2.0
"""The text of the generated C: exact, reproducible, within the promised subset."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_model import model_part
from graphs import GraphBuilder, every_op_graph
from hypothesis import given
from hypothesis import strategies as st

import tinyq
from tinyq import executor
from tinyq.codegen.lower import ABI
from tinyq.codegen.ports import RAW_VALUES, integer_form
from tinyq.encodings import ENCODINGS, encode_image
from tinyq.errors import GraphError, InputError, UnsupportedError
from tinyq.graph import Graph, Node, Preprocess, validate
from tinyq.numerics import requantize
from tinyq.ops import AveragePool2D, Conv2D, Dense, DepthwiseConv2D, Reshape
from tinyq.ops.clayer import requant_fields
from tinyq.project import render_model
from tinyq.resources import firmware_dir
from tinyq.tensors import Tensor
from tinyq.toolchain import build_flags, build_host_library, library_part

GOLDEN = Path(__file__).parent.parent / "golden"
HEADER_OF_LIBRARY = firmware_dir() / "lib" / "tinyq" / "include"


def tiny_graph() -> Graph:
    """Small enough to read: a convolution with table weights, a pool, a dense layer.

    Written out in full, so that the golden files change with the code generator only.
    """
    image = (np.arange(54) * 37 % 16 * 9 - 64).reshape(3, 3, 3, 2)
    conv = Conv2D(
        encode_image(image, ENCODINGS["lut4"], np.array([-8, -7, -8]), np.arange(16) * 9 - 64),
        np.array([100, -200, 300], np.int32),
        "relu",
        strides=(2, 2),
        padding=(1, 1, 0, 1),
    )
    dense = Dense(
        encode_image(np.arange(-6, 6).reshape(4, 3), ENCODINGS["int8"], np.array([-5])),
        np.array([1, -2, 3, -4], np.int32),
    )
    tensors = [
        Tensor("x", (5, 4, 2), "uint8", exponent=-8),
        Tensor("conv", (3, 2, 3), "uint8", exponent=-6),
        Tensor("pool", (1, 1, 3), "uint8", exponent=-6),
        Tensor("flat", (3,), "uint8", exponent=-6),
        Tensor("y", (4,), "int8", exponent=-7),
    ]
    nodes = (
        Node("conv", conv, ("x",), ("conv",), ("block/conv",)),
        Node("pool", AveragePool2D((3, 2), (3, 2)), ("conv",), ("pool",), ("pool",)),
        Node("flat", Reshape((3,)), ("pool",), ("flat",)),
        Node("dense", dense, ("flat",), ("y",), ("dense",)),
    )
    names = {t.name: t for t in tensors}
    return validate(Graph("tiny", names, nodes, ("x",), ("y",), (Preprocess(1 / 255, 0.0),)))


def test_golden(request: pytest.FixtureRequest) -> None:
    files = render_model(tiny_graph(), "tiny")
    paths = {name: GOLDEN / f"{name}.txt" for name in files}
    if request.config.getoption("--update-golden"):
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name])
    on_disk = {p.relative_to(GOLDEN).as_posix() for p in (GOLDEN / "tiny").rglob("*.txt")}
    assert on_disk == {f"{name}.txt" for name in files}
    for name, path in paths.items():
        assert files[name] == path.read_text(), f"{name}: run `make golden` if this is intended"


def test_the_same_bytes_under_any_hash_seed() -> None:
    code = (
        "from graphs import every_op_graph; from tinyq.project import render_model;"
        "import hashlib; files = render_model(every_op_graph(3), 'net');"
        "print(hashlib.sha256(repr(list(files.items())).encode()).hexdigest())"
    )
    folders = [str(Path(__file__).parent.parent), str(Path(tinyq.__file__).parent.parent)]

    def run(seed: str) -> str:
        paths = os.pathsep.join(folders)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run("1") == run("2") != ""


def test_neither_paths_nor_dates_nor_floats_nor_libc() -> None:
    for name, text in render_model(every_op_graph(1), "net").items():
        assert str(Path.cwd()) not in text
        if name.endswith((".c", ".h")):
            assert text.startswith("/* SPDX-License-Identifier: Apache-2.0\n")
            code = re.sub(r"/\*.*?\*/|#define NET_INPUT\d_(SCALE|OFFSET).*", "", text, flags=re.S)
            assert not re.search(r"\b(float|double|malloc|calloc|free|printf|20\d\d-)\b", code)
            headers = set(re.findall(r"#include <(.*)>", code))
            assert headers <= {"stdint.h", "stddef.h", "string.h"}


@pytest.mark.parametrize("define", [None, "TQ_HOOKS=0", "NET_EXTERNAL_ARENA", "NDEBUG"])
def test_compiles_without_a_warning(define: str | None, tmp_path: Path) -> None:
    """With more warnings than promised; the platform's flags hold the promised ones."""
    flags = build_flags()
    assert {"-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic"} <= {
        *flags["compile"],
        *flags["warnings"],
    }
    files = render_model(every_op_graph(2), "net")
    part = model_part(files, tmp_path)
    more = ["-Wshadow", "-Wcast-qual", "-Wstrict-prototypes", "-Wmissing-prototypes"]
    command = ["gcc", *flags["compile"], *flags["warnings"], *more, f"-I{HEADER_OF_LIBRARY}"]
    command += [f"-I{folder}" for folder in part.private]
    command += [f"-D{define}"] if define else []
    for source in part.sources:
        target = str(tmp_path / "a.o")
        subprocess.run([*command, "-c", str(source), "-o", target], check=True)


def test_cpp_can_use_the_header(tmp_path: Path) -> None:
    part = model_part(render_model(tiny_graph(), "net"), tmp_path)
    main = tmp_path / "main.cpp"
    main.write_text(
        '#include "net.h"\n#include "net.h"\n'
        'static_assert(NET_INPUT0_BYTES == 40 && NET_INPUT0_RANK == 3, "");\n'
        "int main() { return net_init(nullptr) || net_model.layer_count != NET_LAYER_COUNT; }\n"
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    folders = [f"-I{folder}" for folder in (*part.private, HEADER_OF_LIBRARY)]
    subprocess.run(["g++", *flags, *folders, str(main)], check=True)


def test_another_library_version_does_not_compile(tmp_path: Path) -> None:
    part = model_part(render_model(tiny_graph(), "net"), tmp_path)
    other = tmp_path / "tinyq"
    other.mkdir()
    for header in (HEADER_OF_LIBRARY / "tinyq").glob("*.h"):
        text = header.read_text()
        (other / header.name).write_text(re.sub(r"(define TQ_ABI\s+)\d+", r"\g<1>999", text))
    command = ["gcc", "-fsyntax-only", f"-I{tmp_path}", *(f"-I{f}" for f in part.private)]
    result = subprocess.run(
        [*command, str(part.sources[0])], capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert f"net was generated for tinyq ABI {ABI}: export it again" in result.stderr


def test_abi_is_the_library_s() -> None:
    text = (HEADER_OF_LIBRARY / "tinyq" / "version.h").read_text()
    assert re.search(rf"#define TQ_ABI\s+{ABI}\b", text)


def test_depthwise_limit_is_the_library_s() -> None:
    from tinyq.ops.depthwise_conv2d import MAX_TAPS

    text = (HEADER_OF_LIBRARY / "tinyq" / "depthwise_conv2d.h").read_text()
    assert re.search(rf"#define TQ_DEPTHWISE_MAX_TAPS\s+{MAX_TAPS}U?\b", text)


def test_a_shared_layer_is_stored_once() -> None:
    g = GraphBuilder(np.random.default_rng(0), ("int4",))
    x = g.input((4, 4, 3))
    y = g.conv(x, 3, activation="linear")
    first = g.nodes[-1]
    assert isinstance(first.op, Conv2D)
    scale = g.tensors[x].exponent - g.tensors[y].exponent
    op = replace(first.op, weights=replace(first.op.weights))
    g.tensors["again"] = replace(g.tensors[y], name="again")
    g.tensors["third"] = replace(g.tensors[y], name="third", exponent=g.tensors[y].exponent - scale)
    g.nodes.append(Node("again", op, (x,), ("again",)))
    g.nodes.append(Node("third", op, (y,), ("third",)))
    text = render_model(g.build("shared", ["again", "third"]), "net")["net/src/net.c"]
    assert text.count("static const uint8_t conv2d0_codes[") == 1
    assert "again_" not in text
    assert text.count("&conv2d0_layer,") >= 2
    assert "third_codes" not in text


@pytest.mark.parametrize(
    "name",
    ["", "9net", "my-net", "a b", "int", "class", "Stdint", "string", "tq", "tinyq_x", "TQ_net",
     "n" * 49, "nét"],
)  # fmt: skip
def test_names_that_c_cannot_use(name: str) -> None:
    with pytest.raises(InputError, match="--name"):
        render_model(tiny_graph(), name)


def test_layer_names_cannot_end_a_comment(tmp_path: Path) -> None:
    graph = tiny_graph()
    evil = '*/ int x; /* \\\n??/ \u2028 " é'
    nodes = tuple(replace(node, layers=(evil,)) for node in graph.nodes)
    files = render_model(replace(graph, nodes=nodes), "net")
    part = model_part(files, tmp_path)
    build_host_library([part, library_part()])
    assert files["net/src/net.c"].isascii()


def test_two_constants_of_one_name_are_refused() -> None:
    """Node names are unique, so that only a bug upstream can bring this about."""
    from tinyq.codegen.lower import _Pool

    pool = _Pool()
    assert pool.name("a", "x") == ("x", True)
    assert pool.name("a", "y") == ("x", False)
    with pytest.raises(GraphError, match="rename"):
        pool.name("b", "x")


def test_a_graph_without_layers_is_refused() -> None:
    g = GraphBuilder(np.random.default_rng(0))
    y = g.flatten(g.input((2, 2, 1)))
    with pytest.raises(GraphError, match="no layer"):
        render_model(g.build("empty", [y]), "net")


def test_limits_of_kernels_name_the_layer() -> None:
    g = GraphBuilder(np.random.default_rng(0))
    y = g.depthwise(g.input((20, 20, 1)), kernel=(17, 17))
    assert isinstance(g.nodes[-1].op, DepthwiseConv2D)
    with pytest.raises(UnsupportedError, match=r"layer 'keras/depthwise_conv2d0'.*256 taps"):
        render_model(g.build("big", [y]), "net")


def test_a_state_tensor_cannot_be_a_reshape() -> None:
    g = GraphBuilder(np.random.default_rng(0))
    y = g.conv(g.input((2, 2, 1)), 1)
    y = g.flatten(y)
    g.tensors[y] = replace(g.tensors[y], state=True)
    assert isinstance(g.nodes[-1].op, Reshape)
    with pytest.raises(UnsupportedError, match="state"):
        render_model(g.build("model", [y]), "net")


# --- numbers that the exporter computes ----------------------------------------------------------


@given(
    rounding=st.sampled_from(["tflite", "half_up"]),
    lo=st.sampled_from([-128, -8, 0]),
    shift=st.integers(0, 20),
    bias=st.integers(-(2**20), 2**20),
    products=st.integers(-(2**24), 2**24),
)
def test_folded_rounding_equals_the_rule(
    rounding: str, lo: int, shift: int, bias: int, products: int
) -> None:
    """What the kernel does with the descriptor: acc >> n, or TFLM's rule."""
    fields = requant_fields(np.array([bias]), np.array([shift]), rounding, (lo, 127))
    start = int(fields["bias"].values[0])
    rule = "tflite"
    if fields["rounding"] == "TQ_ROUND_FOLDED":
        got = np.clip((start + products) >> shift, lo, 127)
    else:
        got = requantize(np.int64(start + products), shift, rule, lo, 127)
    assert got == requantize(np.int64(bias + products), shift, rounding, lo, 127)


def test_rounding_is_folded_wherever_it_can_be() -> None:
    def rounding(rule: str, lo: int, shifts: list[int]) -> str:
        return str(requant_fields(np.zeros(2), np.array(shifts), rule, (lo, 9))["rounding"])

    assert rounding("tflite", 0, [5, 6]) == "TQ_ROUND_FOLDED"
    assert rounding("half_up", -9, [5, 6]) == "TQ_ROUND_FOLDED"
    assert rounding("tflite", -9, [0, 1]) == "TQ_ROUND_FOLDED"
    assert rounding("tflite", -9, [1, 2]) == "TQ_ROUND_TFLITE"


@given(
    scale=st.sampled_from([1.0, 1 / 255, 1 / 128, 0.5847029, 2.0, -0.25, 1e-3]),
    offset=st.sampled_from([0.0, 128.0, 83.0, -1.5, 127.5]),
    exponent=st.integers(-9, 2),
    dtype=st.sampled_from(["int8", "uint8"]),
    bits=st.sampled_from([8, 4]),
)
def test_integer_form_of_the_preprocessing(
    scale: float, offset: float, exponent: int, dtype: str, bits: int
) -> None:
    t = Tensor("x", (1,), dtype, bits, exponent)
    form = integer_form(t, Preprocess(scale, offset))
    if form is None:
        return
    graph = Graph("g", {"x": t}, (), ("x",), ("x",), (Preprocess(scale, offset),))
    x = np.array(RAW_VALUES)
    expected = executor.quantize_inputs(graph, [x[:, None]])["x"][:, 0]
    total = x * form.multiplier + form.addend
    assert np.abs(total).max() < 2**31
    assert np.array_equal(np.clip(total >> form.shift, t.lo, t.hi), expected)


@pytest.mark.parametrize(
    ("scale", "offset", "exponent"), [(1 / 255, 0, -8), (1, 128, 0), (1 / 128, 128, -7), (1, 0, 0)]
)
def test_usual_preprocessing_has_an_integer_form(
    scale: float, offset: float, exponent: int
) -> None:
    t = Tensor("x", (1,), "int8", 8, exponent)
    assert integer_form(t, Preprocess(scale, offset)) is not None


def test_weights_are_stored_packed() -> None:
    g = GraphBuilder(np.random.default_rng(0), ("lut4",))
    y = g.dense(g.input((101,)), 5)
    text = render_model(g.build("packed", [y]), "net")["net/src/net.c"]
    assert ENCODINGS["lut4"].bits == 4
    assert "static const uint8_t dense0_codes[255] = {" in text
    assert ".channel_bytes = 51" in text
