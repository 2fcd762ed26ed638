# SPDX-License-Identifier: Apache-2.0
"""Exports on disk: whole or not at all, and friendly to what the user changed."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graphs import GraphBuilder

from tinyq.cores import CORES
from tinyq.errors import InputError, OutputError
from tinyq.graph import Graph
from tinyq.kernels.program import Target
from tinyq.project import export_c, export_platformio
from tinyq.resources import firmware_dir


@pytest.fixture(scope="module")
def graph() -> Graph:
    g = GraphBuilder(np.random.default_rng(0), ("lut4",))
    y = g.conv(g.input((4, 4, 1), "uint8", -8), 2)
    return g.build("small", [g.dense(g.flatten(y), 3)])


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.slow  # all of the kernel library
def test_a_c_library_compiles_as_it_is(graph: Graph, tmp_path: Path) -> None:
    export_c(graph, tmp_path / "new" / "folder", "net")
    export_c(graph, tmp_path / "new" / "folder", "other")
    root = tmp_path / "new" / "folder"
    assert {p.name for p in root.iterdir()} == {"net", "other", "tinyq"}
    main = root / "main.c"
    main.write_text(
        '#include "net.h"\n#include "other.h"\n'
        "int main(void) { return net_selftest() + 100 * other_selftest(); }\n"
    )
    folders = [f"-I{root / name / 'include'}" for name in ("net", "other", "tinyq")]
    sources = [str(p) for p in sorted(root.rglob("*.c"))]
    program = str(tmp_path / "program")
    subprocess.run(["gcc", "-std=c99", *folders, *sources, "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == 0


def test_exporting_again_writes_nothing(graph: Graph, tmp_path: Path) -> None:
    assert export_c(graph, tmp_path / "c", "net")
    assert export_c(graph, tmp_path / "c", "net") == ()
    assert export_platformio(graph, tmp_path / "pio", "net")
    assert export_platformio(graph, tmp_path / "pio", "net") == ()


def test_a_platformio_project_is_complete(graph: Graph, tmp_path: Path) -> None:
    export_platformio(graph, tmp_path, "net")
    written = set(contents(tmp_path))
    template = {
        name
        for name in contents(firmware_dir())
        if not name.startswith("lib/demo/") and not {".pio", "__pycache__"} & {*name.split("/")}
    }
    model = {name for name in written if name.startswith("lib/net/")}
    assert written - model == template
    assert {"lib/net/library.json", "lib/net/include/net.h", "lib/net/src/net.c"} <= model
    ini = configparser.ConfigParser()
    ini.read(tmp_path / "platformio.ini")
    assert ini["tinyq"]["name"] == "net"


def test_what_the_user_changed_stays(graph: Graph, tmp_path: Path) -> None:
    export_platformio(graph, tmp_path, "net")
    main, ini = tmp_path / "src" / "main.c", tmp_path / "platformio.ini"
    kernel, model = tmp_path / "lib/tinyq/src/add.c", tmp_path / "lib/net/src/net.c"
    for path in (main, kernel, model):
        path.write_text("/* mine */\n")
    text = ini.read_text() + "\n; mine\n"
    ini.write_text(text)
    changed = export_platformio(graph, tmp_path, "net2")
    assert main.read_text() == "/* mine */\n"
    assert ini.read_text() == text.replace("name = net", "name = net2")
    assert model.read_text() == "/* mine */\n"
    assert kernel.read_bytes() == (firmware_dir() / "lib/tinyq/src/add.c").read_bytes()
    assert {"lib/tinyq/src/add.c", "platformio.ini", "lib/net2/src/net2.c"} <= set(changed)


def test_a_name_of_the_project_s_own_libraries_is_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="port"):
        export_platformio(graph, tmp_path, "port")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export", [export_c, export_platformio])
def test_a_bad_name_writes_nothing(export, graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        export(graph, tmp_path / "out", "for")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("export", [export_c, export_platformio])
def test_a_file_in_the_way(export, graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="-o"):
        export(graph, tmp_path / "out", "net")
    with pytest.raises(OutputError, match="-o"):
        export(graph, tmp_path / "out" / "below", "net")
    assert (tmp_path / "out").read_text() == "a file"


def test_a_folder_that_nobody_may_write(graph: Graph) -> None:
    """/proc refuses new files even to root."""
    with pytest.raises(OutputError, match=r"/proc/.*-o"):
        export_c(graph, Path("/proc/tinyq"), "net")


def test_a_folder_where_a_file_belongs_writes_nothing(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "net" / "src" / "net.c").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"net\.c"):
        export_c(graph, tmp_path, "net")
    assert contents(tmp_path) == {}


@pytest.mark.slow
def test_pio_builds_and_runs_the_exported_project(graph: Graph, tmp_path: Path) -> None:
    pio = Path(sys.executable).with_name("pio")
    if not pio.exists() or not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("platformio or arm-none-eabi-gcc is not installed")
    export_platformio(graph, tmp_path, "net")
    command = [str(pio), "run", "-d", str(tmp_path), "-e", "m4", "-t", "qemu"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert "net: self-test passed" in output


def test_a_core_becomes_the_default_environment(graph: Graph, tmp_path: Path) -> None:
    export_platformio(graph, tmp_path, "net", target=Target(CORES["m33"]))
    ini = (tmp_path / "platformio.ini").read_text()
    assert "\ndefault_envs = m33\n" in ini and "\nname = net\n" in ini
    export_platformio(graph, tmp_path, "net")
    assert (tmp_path / "platformio.ini").read_text() == ini


def test_a_core_without_an_environment_is_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--core rv32ec has no environment"):
        export_platformio(graph, tmp_path / "new", "net", target=Target(CORES["rv32ec"]))
    assert not (tmp_path / "new").exists()
