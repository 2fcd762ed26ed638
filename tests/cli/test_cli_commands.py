# SPDX-License-Identifier: Apache-2.0
"""Every command on a small model: what it prints, writes and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import GraphBuilder, every_op_graph
from h5_models import small_h5

from tinyq import __version__, backends, executor
from tinyq.archive import load_graph, save_graph
from tinyq.backends import NumpyBackend
from tinyq.certificate import selftest_crcs
from tinyq.emulators import BACKENDS as EMULATORS
from tinyq.errors import ToolMissing
from tinyq.graph import Graph


def need(name: str) -> None:
    """Skip where an emulator is not installed."""
    try:
        EMULATORS[name]().require()
    except ToolMissing as error:
        pytest.skip(str(error))


def test_version(cli: Any) -> None:
    result = cli("--version")
    assert (result.code, result.out, result.err) == (0, f"tinyq {__version__}\n", "")


def test_every_verb_has_help_and_a_json_option(cli: Any) -> None:
    listing = cli("--help").out
    for verb in ("inspect", "quantize", "qat", "export", "run", "verify", "size", "profile"):
        assert verb in listing
        assert "--json" in cli(verb, "--help").out


def test_importing_the_command_line_loads_no_framework() -> None:
    code = (
        "import sys, tinyq.cli, tinyq.api\n"
        "heavy = {'tensorflow', 'tf_keras', 'keras', 'h5py', 'unicorn', 'tflite_micro'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinyq", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"tinyq {__version__}\n")


def test_inspect_quantized(cli: Any, model: Path) -> None:
    result = cli("inspect", model, json_file=True)
    assert result.code == 0
    assert "lut4" in result.out
    assert result.json["macs"] == 4 * 4 * 9 * 4 + 64 * 3
    assert result.json["arena_bytes"] >= 8 * 8 + 4 * 4 * 4
    assert [x["op"] for x in result.json["layers"]] == ["Conv2D", "Reshape", "Dense"]
    assert all(x["accumulator_bits"] <= 32 for x in result.json["layers"] if x["weights"])


def test_inspect_keras(cli: Any, tmp_path: Path) -> None:
    result = cli("inspect", small_h5(tmp_path / "m.h5"), json_file=True)
    assert result.code == 0
    assert result.json["quantized"] is False
    assert result.json["weights"] == 36 + 192
    assert {"conv", "flat", "classes"} <= {x["name"] for x in result.json["layers"]}


@pytest.mark.parametrize("weights", ["int8", "lut4"])
def test_quantize_then_run(cli: Any, tmp_path: Path, data: Path, weights: str) -> None:
    keras, target = small_h5(tmp_path / "m.h5"), tmp_path / "m.tq"
    made = cli(
        "quantize", keras, "--data", data, "--scale", "1/255", "--weights", weights, "-o", target,
        json_file=True,
    )  # fmt: skip
    assert (made.code, made.err) == (0, "")
    graph = load_graph(target)
    assert graph.name == "m"
    assert graph.preprocess[0].scale == 1 / 255
    assert {op.quantized.encoding for _, op in graph.linear_nodes()} == {weights}
    assert made.json["weights"] == 36 + 192
    assert cli("run", target, "--data", data).code == 0


def test_quantize_is_reproducible(cli: Any, tmp_path: Path, data: Path) -> None:
    keras = small_h5(tmp_path / "m.h5")
    files = [tmp_path / "a.tq", tmp_path / "b.tq"]
    for file in files:
        assert cli("quantize", keras, "--data", data, "--samples", 20, "-o", file).code == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_run_json_holds_codes_and_accuracy(
    cli: Any, model: Path, data: Path, graph: Graph, tmp_path: Path
) -> None:
    result = cli("run", model, "--data", data, "--outputs", tmp_path / "o.npz", json_file=True)
    assert result.code == 0
    with np.load(data) as arrays:
        x, y = arrays["x_test"], arrays["y_test"]
    expected = executor.run(graph, executor.quantize_inputs(graph, [x]))[graph.outputs[0]]
    assert result.json["outputs"] == expected.tolist()
    assert result.json["outputs_complete"] is True
    assert result.json["accuracy"] == pytest.approx(float(np.mean(expected.argmax(1) == y)))
    assert result.json["count"] == 6
    with np.load(tmp_path / "o.npz") as saved:
        np.testing.assert_array_equal(saved[graph.outputs[0]], expected)


def test_run_count(cli: Any, model: Path, data: Path) -> None:
    result = cli("run", model, "--data", data, "--count", 2, json_file=True)
    assert len(result.json["outputs"]) == 2


@pytest.mark.usefixtures("host")
def test_run_on_host_equals_numpy(cli: Any, model: Path, data: Path) -> None:
    results = [
        cli("run", model, "--data", data, "--on", b, json_file=True) for b in ("numpy", "host")
    ]
    assert [r.code for r in results] == [0, 0]
    assert results[0].json["outputs"] == results[1].json["outputs"]


@pytest.mark.usefixtures("host")
def test_verify_host_writes_a_certificate(cli: Any, model: Path, data: Path, graph: Graph) -> None:
    result = cli("verify", model, "--data", data, "--on", "host", "--count", 3, json_file=True)
    assert (result.code, result.err) == (0, "")
    host = result.json["backends"]["host"]
    assert (host["inputs"], host["tensors"], host["mismatches"]) == (3, 3, 0)
    assert host["selftest"] == 0
    file = model.with_suffix(".certificate.json")
    certificate = json.loads(file.read_text())
    crcs = {layer["name"]: int(layer["crc32"], 16) for layer in certificate["layers"]}
    assert crcs == selftest_crcs(graph)
    first = file.read_bytes()
    cli("verify", model, "--data", data, "--on", "host", "--count", 3)
    assert file.read_bytes() == first
    assert str(model.parent) not in file.read_text()


@pytest.mark.usefixtures("arm")
def test_verify_on_emulated_cores(cli: Any, model: Path) -> None:
    need("qemu-m4")
    need("unicorn-m0")
    result = cli("verify", model, "--on", "qemu-m4,unicorn-m0", "--count", 2, json_file=True)
    assert result.code == 0
    for check in result.json["backends"].values():
        assert (check["inputs"], check["tensors"], check["mismatches"]) == (2, 3, 0)
        assert check["selftest"] == 0


class WrongBackend(NumpyBackend):
    """Computes one code of the convolution wrongly, in the second sample."""

    def run(self, graph: Graph, codes: Any, keep_all: bool = True) -> Any:
        values = super().run(graph, codes, keep_all)
        values["conv2d0"] = values["conv2d0"].copy()
        values["conv2d0"][1, 2, 3, 1] ^= 1
        return values


def test_a_difference_is_named_and_fails(
    cli: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "BACKENDS", {"wrong": WrongBackend("wrong")})
    result = cli("verify", model, "--on", "wrong", "--count", 3, json_file=True)
    assert result.code == 1
    assert result.err == ""
    assert result.json["backends"]["wrong"]["mismatches"] == 1
    first = result.json["backends"]["wrong"]["first_difference"]
    assert (first["layer"], first["sample"], first["index"]) == (
        "keras/conv2d0",
        1,
        2 * 16 + 3 * 4 + 1,
    )
    assert "keras/conv2d0" in result.out
    assert f"tinyq verify {model} --seed 0 --on wrong --count 2" in result.out
    assert result.json["certificate"] is None
    assert not model.with_suffix(".certificate.json").exists()


@pytest.mark.usefixtures("arm")
def test_size(cli: Any, model: Path) -> None:
    result = cli("size", model, "--core", "m4", json_file=True)
    assert result.code == 0
    assert result.json["core"] == "m4"
    parts = result.json["parts"]
    for key in ("flash_bytes", "ram_bytes"):
        assert result.json[key] == parts["model"][key] + parts["library"][key]
    assert result.json["ram_bytes"] >= result.json["arena_bytes"] > 0


@pytest.mark.usefixtures("arm")
def test_profile(cli: Any, model: Path) -> None:
    need("qemu-m3")
    result = cli("profile", model, "--on", "qemu-m3", "--kernels", "portable", json_file=True)
    assert result.code == 0
    assert (result.json["core"], result.json["macs"]) == ("m3", 768)
    assert [x["kernel"] for x in result.json["layers"]] == ["conv2d", "dense"]
    assert [x["name"] for x in result.json["layers"]] == ["keras/conv2d0", "keras/dense2"]
    assert [x["macs"] for x in result.json["layers"]] == [576, 192]
    assert all(x["instructions"] >= x["macs"] for x in result.json["layers"])
    assert result.json["instructions"] > 768
    assert result.json["instructions_per_mac"] == result.json["instructions"] / 768


@pytest.mark.usefixtures("arm")
def test_profile_shows_cycles_stack_and_flash(cli: Any, model: Path, tmp_path: Path) -> None:
    need("unicorn-m0")
    pytest.importorskip("matplotlib", reason="--plot needs matplotlib")
    plot = tmp_path / "cost.png"
    result = cli("profile", model, "--on", "unicorn-m0", "--plot", plot, json_file=True)
    assert result.code == 0
    assert "not validated on silicon" in result.out
    assert "tq_run_dense" in result.out
    whole = result.json["cycles"]
    assert result.json["instructions"] <= whole["least"] <= whole["most"]
    layers = [x["cycles"] for x in result.json["layers"]]
    assert all(x["cycles"]["least"] >= x["instructions"] for x in result.json["layers"])
    # Each layer's cycles hold the call of a hook, the whole holds none, but entry and exit.
    assert abs(sum(x["least"] for x in layers) - whole["least"]) < 100
    assert 0 < result.json["stack_bytes"] < 1000
    size = result.json["size"]
    assert sum(x["bytes"] for x in size["functions"]) < size["flash_bytes"]
    assert plot.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("arm")
def test_profile_of_a_core_without_published_timing(cli: Any, model: Path) -> None:
    need("qemu-m7")
    result = cli("profile", model, "--core", "m7", json_file=True)
    assert (result.code, result.json["backend"], result.json["cycles"]) == (0, "qemu-m7", None)
    assert "no timing table is published for m7" in result.out


def test_inspect_shows_the_kernels_of_a_core(cli: Any, model: Path) -> None:
    plain = cli("inspect", model, "--core", "m4", "--kernels", "portable", json_file=True)
    assert [x["kernel"] for x in plain.json["layers"]] == ["conv2d", "", "dense"]
    assert plain.json["target"] == "m4 (*=portable)"
    fast = cli("inspect", model, "--core", "m4", "--kernel", "conv2d0=portable", json_file=True)
    assert fast.json["layers"][0]["kernel"] == "conv2d"
    assert fast.json["target"] == "m4 (conv2d0=portable)"
    assert all(x["scratch"] >= 0 for x in fast.json["layers"])


@pytest.mark.usefixtures("host")
def test_host_runs_the_kernels_of_a_core(cli: Any, model: Path) -> None:
    words = ("verify", model, "--on", "host", "--count", 2)
    result = cli(*words, "--core", "m4", json_file=True)
    assert result.code == 0
    certificate = json.loads(model.with_suffix(".certificate.json").read_text())
    assert certificate["backends"]["host"]["tools"]["kernels"] == "m4"
    assert {"generated for generic", "generated for m4", "library"} == set(certificate["sources"])
    assert cli(*words, "--core", "m4", "--kernels", "portable", json_file=True).code == 0
    certificate = json.loads(model.with_suffix(".certificate.json").read_text())
    assert certificate["backends"]["host"]["tools"]["kernels"] == "m4 (*=portable)"


@pytest.mark.parametrize(
    ("form", "file"),
    [("c", "net/src/net.c"), ("platformio", "platformio.ini"), ("tflite", "net.tflite")],
)
def test_export(cli: Any, model: Path, tmp_path: Path, form: str, file: str) -> None:
    if form == "tflite":
        pytest.importorskip("flatbuffers", reason="the .tflite writer needs flatbuffers")
        pytest.importorskip("tflite_micro", reason="its schema comes from tflite-micro")
    folder = tmp_path / "out"
    result = cli("export", model, "-o", folder, "--name", "net", "--format", form, json_file=True)
    assert (result.code, result.err) == (0, "")
    assert (folder / file).is_file()
    assert file in result.json["files"]
    assert set(result.json["files"]) == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    }


def test_export_takes_a_keras_model(cli: Any, tmp_path: Path, data: Path) -> None:
    keras = small_h5(tmp_path / "m.h5")
    result = cli("export", keras, "-o", tmp_path / "out", "--name", "net", "--data", data)
    assert result.code == 0
    assert (tmp_path / "out" / "net" / "include" / "net.h").is_file()


def test_run_with_several_inputs_and_outputs(cli: Any, tmp_path: Path) -> None:
    graph = every_op_graph(1)
    save_graph(graph, tmp_path / "m.tq")
    rng = np.random.default_rng(0)
    raw = [rng.normal(size=(4, *graph.tensors[n].shape)) * 8 for n in graph.inputs]
    np.savez(tmp_path / "d.npz", x0=raw[0], x1=raw[1])
    result = cli("run", tmp_path / "m.tq", "--data", tmp_path / "d.npz", json_file=True)
    expected = executor.run(graph, executor.quantize_inputs(graph, raw))
    assert [t["name"] for t in result.json["output_tensors"]] == list(graph.outputs)
    for sample, entry in enumerate(result.json["outputs"]):
        assert entry == [expected[name][sample].tolist() for name in graph.outputs]
    assert (result.json["accuracy"], result.json["mse"]) == (None, None)


def test_json_outputs_are_bounded(
    cli: Any, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyq.cli.check.MAX_JSON_CODES", 7)
    result = cli("run", model, "--data", data, json_file=True)
    assert len(result.json["outputs"]) == 2
    assert (result.json["outputs_complete"], result.json["count"]) == (False, 6)


def test_a_limit_of_the_arena(cli: Any, tmp_path: Path) -> None:
    g = GraphBuilder(np.random.default_rng(0))
    x = g.conv(g.input((16, 16, 1)), 4, kernel=(3, 3))
    x = g.conv(x, 6, kernel=(3, 3), strides=(2, 2))
    path = tmp_path / "bands.tq"
    save_graph(g.build("bands", [g.dense(g.flatten(x), 3)]), path)
    free = cli("inspect", path, json_file=True).json["arena_bytes"]
    limited = cli("inspect", path, "--ram", "1k", json_file=True)
    assert limited.json["arena_bytes"] <= 1024 < free
    assert cli("verify", path, "--on", "host", "--ram", "1k").code == 0
    refused = cli("inspect", path, "--ram", 100)
    assert refused.code == 2
    assert "--ram 100 bytes: the smallest arena found has" in refused.err
    assert "is not a number of bytes" in cli("inspect", path, "--ram", "1.5k").err
