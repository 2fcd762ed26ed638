# SPDX-License-Identifier: Apache-2.0
"""The PlatformIO project: builds, runs and tests with no registry, and exports again on change."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinyq.boards import boards
from tinyq.cores import CORES
from tinyq.resources import firmware_dir

REAL_BOARDS = {
    "nucleo_f446re",
    "nucleo_l4r5zi",
    "bluepill_f103c8",
    "nucleo_h743zi",
    "nrf52840_dk",
    "pico",
}
STUB = """
import pathlib, sys
arguments = sys.argv[1:]
folder = pathlib.Path(arguments[arguments.index("-o") + 1]) / "lib" / "net"
(folder / "src").mkdir(parents=True, exist_ok=True)
(folder / "library.json").write_text('{"name": "net", "version": "0.1.0"}')
text = (folder.parent / "demo" / "src" / "demo.c").read_text()
(folder / "src" / "net.c").write_text(text.replace("demo", "net"))
with open("exports.log", "a") as log:
    log.write(" ".join(arguments) + "\\n")
"""


def pio(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # A proxy that answers nothing: a build that asked the registry would fail here.
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(
        [sys.executable, "-m", "platformio", *arguments],
        cwd=project,
        env={**os.environ, **offline, "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def configuration() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(firmware_dir() / "platformio.ini")
    return parser


def test_every_arm_core_has_an_environment_with_its_board() -> None:
    config = configuration()
    for board in boards().values():
        if board.default and not CORES[board.core].riscv:
            assert config[f"env:{board.core}"]["board"] == board.id


def test_real_boards_are_there_without_workarounds_and_not_built_by_default() -> None:
    config = configuration()
    default = {name.strip() for name in config["platformio"]["default_envs"].split(",")}
    for name in REAL_BOARDS:
        section = dict(config[f"env:{name}"])
        assert set(section) == {"extends", "platform", "board"}
        assert section["board"] == name
        assert name not in default
    assert set(config["board"]) == {"framework", "build_src_filter", "monitor_speed", "test_ignore"}


def test_board_main_is_valid_cpp_for_a_minimal_arduino(tmp_path: Path) -> None:
    (tmp_path / "Arduino.h").write_text(
        "#include <stddef.h>\n"
        "struct Port { void begin(int); template <class T> void print(T);"
        " template <class T> void println(T); };\n"
        "extern Port Serial;\nenum { LED_BUILTIN, OUTPUT, HIGH, LOW };\n"
        "unsigned long micros(); void delay(unsigned long);"
        " void pinMode(int, int); void digitalWrite(int, int);\n"
    )
    include = firmware_dir() / "lib" / "tinyq" / "include"
    command = ["c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    command += [f"-I{tmp_path}", f"-I{include}", "-DTQ_MODEL=demo_model"]
    subprocess.run([*command, firmware_dir() / "src" / "board_main.cpp"], check=True)


@pytest.mark.slow
def test_run_builds_everything_with_no_registry_and_qemu_runs_it(project: Path) -> None:
    built = pio(project, "run")
    assert built.returncode == 0, built.stdout + built.stderr
    assert "7 succeeded" in built.stdout
    assert "warning:" not in built.stdout + built.stderr
    for core in ("m0", "m4", "m55"):
        ran = pio(project, "run", "-e", core, "-t", "qemu")
        assert ran.returncode == 0
        assert ": self-test passed" in ran.stdout + ran.stderr
    native = subprocess.run(
        [project / ".pio/build/native/program"], cwd=project, capture_output=True, text=True
    )
    assert (native.returncode, "self-test passed" in native.stdout) == (0, True)


@pytest.mark.slow
def test_unit_tests_pass_on_this_computer_and_on_every_core(project: Path) -> None:
    tested = pio(project, "test")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    for name in ("native", "m0", "m3", "m4", "m7", "m33", "m55"):
        for suite in ("test_arith", "test_kernels", "test_model"):
            assert f"{name}:{suite} [PASSED]" in tested.stdout


@pytest.mark.slow
def test_failing_and_crashing_unit_tests_fail(project: Path) -> None:
    source = project / "test" / "test_arith" / "test_main.c"
    good = source.read_text()
    source.write_text(good.replace("TQ_EQUAL(5, tq_round", "TQ_EQUAL(6, tq_round"))
    failed = pio(project, "test", "-e", "m3", "-e", "native", "-f", "test_arith")
    assert failed.returncode != 0
    assert failed.stdout.count("Expected 6 Was 5") >= 2
    crash = 'int main(void) {\n    __asm__ volatile(".inst.n 0xde00");'
    source.write_text(good.replace("int main(void) {", crash))
    assert pio(project, "test", "-e", "m3", "-f", "test_arith").returncode != 0


@pytest.mark.slow
def test_changed_model_file_is_exported_again(project: Path) -> None:
    """Against a stand-in for the exporter, which counts how often it was called and with what."""
    package = project / "tinyq"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(STUB)
    config = project / "platformio.ini"
    text = config.read_text().replace("name = demo", "name = net", 1)
    model_option = "; custom_tinyq_model = path/to/M.tq"
    assert model_option in text
    config.write_text(text.replace(model_option, "custom_tinyq_model = net.tq"))
    log = project / "exports.log"

    missing = pio(project, "run", "-e", "native", PYTHONPATH=str(project))
    assert missing.returncode != 0
    assert "net.tq does not exist" in missing.stdout + missing.stderr

    (project / "net.tq").write_bytes(b"first")
    for _ in range(2):
        assert pio(project, "run", "-e", "native", PYTHONPATH=str(project)).returncode == 0
    assert len(log.read_text().splitlines()) == 1
    assert "--name net --format platformio" in log.read_text()

    (project / "net.tq").write_bytes(b"second")
    assert pio(project, "run", "-e", "native", PYTHONPATH=str(project)).returncode == 0
    assert len(log.read_text().splitlines()) == 2
    said = subprocess.run(
        [project / ".pio/build/native/program"], cwd=project, capture_output=True, text=True
    )
    assert "net: self-test passed" in said.stdout


def test_objects_have_names_of_their_own() -> None:
    """PlatformIO names an object after its source without the suffix."""
    sources = (firmware_dir() / "lib" / "tinyq" / "src").glob("*.[cS]")
    stems = [source.stem for source in sources]
    assert len(set(stems)) == len(stems) > 50
