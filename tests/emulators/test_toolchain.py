# SPDX-License-Identifier: Apache-2.0
"""Builds: cache, errors, boards that are too small, foreign instructions, memory report."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from available import skip_unless_available
from doubles import double

from tinyq import elf
from tinyq.boards import board_of, boards, core_boards
from tinyq.emulators import RunError, RunRequest, emulator
from tinyq.errors import InputError, OutputError, ToolMissing
from tinyq.needs import needed_sources
from tinyq.toolchain import (
    FAMILIES,
    BuildError,
    Image,
    Part,
    build_host_image,
    build_host_library,
    build_image,
    library_part,
)


@pytest.fixture(autouse=True)
def _tools() -> None:
    skip_unless_available("qemu-m0")


def source(folder: Path, text: str) -> Part:
    path = folder / "extra.c"
    path.write_text(text)
    return Part("extra", (path,))


# --- boards --------------------------------------------------------------------------------------


def test_every_core_has_one_board() -> None:
    assert list(core_boards()) == ["m0", "m3", "m4", "m7", "m33", "m55", "rv32ec"]
    assert {board.core for board in boards().values()} == set(core_boards())


def test_larger_boards_run_the_same_code() -> None:
    for board in boards().values():
        if board.larger is not None:
            larger = boards()[board.larger]
            assert (larger.core, larger.cpu_flags) == (board.core, board.cpu_flags)
            assert larger.ram.size > board.ram.size


def test_unknown_core_lists_the_known() -> None:
    with pytest.raises(InputError, match="unknown core 'm9': choose one of m0, m3, m4"):
        board_of("m9")


# --- builds --------------------------------------------------------------------------------------


def test_second_build_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYQ_CACHE", str(tmp_path))
    first = build_image(double(), "double_model", "m3")
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    assert build_image(double(), "double_model", "m3") == first
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps


def test_changed_define_is_another_program() -> None:
    images = [build_image(double(*d), "double_model", "m3") for d in ((), ("DOUBLE_CRC=0",))]
    assert images[0].path != images[1].path


def test_changed_header_is_another_program(tmp_path: Path) -> None:
    paths = []
    for value in (1, 2):
        (tmp_path / "value.h").write_text(f"#define VALUE {value}\n")
        text = '#include "value.h"\nextern int value; int value = VALUE;\n'
        part = source(tmp_path, text)
        with_folder = Part(part.name, part.sources, (tmp_path,))
        library_file = build_host_library([with_folder])
        paths.append(library_file)
        assert ctypes.c_int.in_dll(ctypes.CDLL(str(library_file)), "value").value == value
    assert paths[0] != paths[1]


def test_same_sources_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = []
    for name in ("a", "b"):
        monkeypatch.setenv("TINYQ_CACHE", str(tmp_path / name))
        images.append(build_image(double(), "double_model", "m4").path.read_bytes())
    assert images[0] == images[1]


def test_program_too_large_for_an_m0_board_runs_on_a_larger_one() -> None:
    parts = double("DOUBLE_BALLAST=20000")
    image = build_image(parts, "double_model", "m0")
    assert image.board == boards()["mps2_an385_m0"]
    result = emulator("qemu-m0").run(RunRequest(image, selftest=True))
    assert (result.selftest, result.machine) == (0, "QEMU mps2-an385")
    small = build_image(double(), "double_model", "m0")
    assert emulator("qemu-m0").run(RunRequest(small)).machine == "QEMU microbit"
    with pytest.raises(BuildError, match=r"region .RAM. overflowed by"):
        build_image(parts, "double_model", "m0", larger=False)


def test_program_too_large_for_any_board_is_refused() -> None:
    with pytest.raises(BuildError, match=r"region .RAM. overflowed by"):
        build_image(double("DOUBLE_BALLAST=600000"), "double_model", "m55")


def test_compiler_error_is_one_line_without_folders(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as error:
        build_host_library([source(tmp_path, "int broken(void) { return nothing; }\n")])
    assert "failed on extra.c: extra.c:1:" in str(error.value)
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_warning_is_an_error(tmp_path: Path) -> None:
    part = source(tmp_path, "extern char c; char c; void f(int); void f(int i) { c = i; }\n")
    with pytest.raises(BuildError, match=r"Wconversion|Werror|prototypes"):
        build_host_library([part])


def test_sanitizers_see_the_host_program() -> None:
    overrun = double("DOUBLE_BREAK=total = INT32_MAX; total += double_ballast[0]")
    image = build_host_image(overrun, "double_model", sanitize=True)
    with pytest.raises(RunError, match="host: the program ended with 1"):
        emulator("host").run(RunRequest(image, selftest=True))


def test_missing_compilers_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ToolMissing, match="apt install gcc-arm-none-eabi"):
        build_image(double(), "double_model", "m4")
    with pytest.raises(ToolMissing, match="apt install gcc-riscv64-unknown-elf"):
        build_image(double(), "double_model", "rv32ec")
    with pytest.raises(ToolMissing, match="no C compiler on PATH"):
        build_host_image(double(), "double_model")


def test_unwritable_cache_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TINYQ_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="name another folder in the environment variable"):
        build_host_image(double(), "double_model")


# --- instructions --------------------------------------------------------------------------------

NOT_IN_M0 = {
    "cbz r0, .+4": 0xB100,
    "it eq": 0xBF08,
    "movw r0, #0": 0xF2400000,
    "sdiv r0, r0, r0": 0xFB90F0F0,
    "b.w .+4": 0xF000B800,
    "ldr.w r0, [r0]": 0xF8D00000,
}
NOT_IN_M3 = {
    "smlad r0, r0, r0, r0": 0xFB200000,
    "smulbb r0, r0, r0": 0xFB10F000,
    "uxtb16 r0, r0": 0xFA3FF080,
    "pkhbt r0, r0, r0": 0xEAC00000,
    "qadd r0, r0, r0": 0xFA80F080,
    "vmov s0, r0": 0xEE000A10,
    "smmul r0, r0, r0": 0xFB50F000,
    "smlalbb r0, r1, r0, r0": 0xFBC00180,
    "usada8 r0, r0, r0, r0": 0xFB700000,
}
IN_BOTH = "nop; bl .+4; mrs r0, ipsr; dmb; svc 0; rev r0, r0; sxtb r0, r0; muls r0, r0; bx lr"
IN_M3 = (
    "mla r0,r0,r0,r0; smull r0,r1,r0,r0; smlal r0,r1,r2,r3; mls r0,r0,r0,r0; ssat r0,#8,r0; "
    "usat r0,#8,r0; rbit r0,r0; it eq; moveq r0,r1; udiv r0,r0,r0; ubfx r0,r0,#1,#2; clz r0,r0; "
    "umlal r0,r1,r2,r3; it ls; mulls r0,r1,r0; ldrd r0,r1,[r2]; strex r0,r1,[r2]; uxtb.w r9,r9; "
    "it vs; movvs r0,r1; svc 1; sev; wfi; tbb [pc, r0]"
)


NOT_IN_RV32EC = {
    "mul a0, a1, a2": 0x02C58533,
    "divu a0, a1, a2": 0x02C5D533,
    "add a6, a1, a2": 0x00C58833,
    "add a0, a1, a6": 0x01058533,
    "lw a0, 0(t3)": 0x000E2503,
    "c.add a0, a6": 0x9542,
    "c.li a7, 1": 0x4885,
    "lr.w a0, (a1)": 0x1005A52F,
    "flw fa0, 0(a0)": 0x00052507,
    "c.flwsp fa0, 0(sp)": 0x6502,
    "ld a0, 0(a1)": 0x0005B503,
    "c.subw a0, a1": 0x9D0D,
    "andn a0, a1, a2": 0x40C5F533,
}
IN_RV32EC = (
    "add a0,a1,a2; sub a0,a1,a2; sra a5,a4,a3; slli t0,t1,31; c.srai a0,31; c.andi a0,-1; lui a5,5;"
    "auipc a5,5; lbu a0,-1(sp); sh a5,2(sp); c.lwsp ra,4(sp); c.swsp a5,4(sp); bltu a0,a1,.; c.nop;"
    "jal .; jalr a0; c.mv a5,t2; c.ebreak; ecall; fence; c.addi16sp sp,-64; c.lui a5,1; c.j .; "
    "c.beqz a0,.; sltiu a0,a1,5; c.addi4spn a0,sp,4; c.lw a0,0(a1); c.sw a0,0(a1); c.slli a5,31"
)


def with_instructions(core: str, text: str) -> None:
    first = "j 1f" if core == "rv32ec" else ".syntax unified; b 1f"
    inserted = f'DOUBLE_BREAK=__asm__ volatile("{first}; {text}; 1:" ::: "memory")'
    build_image(double(inserted), "double_model", core)


def word(code: int) -> str:
    return f".inst.n 0x{code:04x}" if code < 0x10000 else f".inst.w 0x{code:08x}"


@pytest.mark.parametrize("text", NOT_IN_M0)
def test_instruction_that_an_m0_lacks_is_found(text: str) -> None:
    with pytest.raises(BuildError, match="1 instructions that armv6-m does not have"):
        with_instructions("m0", word(NOT_IN_M0[text]))


@pytest.mark.parametrize("text", NOT_IN_M3)
def test_instruction_that_an_m3_lacks_is_found(text: str) -> None:
    name = text.split(" ")[0]
    with pytest.raises(BuildError, match=f"1 instructions that armv7-m does not have.*'{name}"):
        with_instructions("m3", word(NOT_IN_M3[text]))


@pytest.mark.parametrize("text", NOT_IN_RV32EC)
def test_instruction_that_an_rv32ec_lacks_is_found(text: str) -> None:
    skip_unless_available("qemu-rv32ec")
    with pytest.raises(BuildError, match="1 instructions that rv32ec does not have"):
        with_instructions("rv32ec", f".insn 0x{NOT_IN_RV32EC[text]:x}")


def test_instructions_that_the_cores_have_pass() -> None:
    skip_unless_available("qemu-rv32ec")
    with_instructions("rv32ec", IN_RV32EC)
    with_instructions("m0", IN_BOTH)
    with_instructions("m3", IN_BOTH)
    with_instructions("m3", IN_M3)


def test_code_for_an_m4_is_foreign_to_smaller_cores() -> None:
    image = build_image(double(), "double_model", "m4")
    assert elf.foreign_instructions(image.path, "armv6-m")
    assert any("smla" in found.text for found in elf.foreign_instructions(image.path, "armv7-m"))


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", core_boards())
def test_parts_add_up_to_the_sections(core: str) -> None:
    image = build_image(double("DOUBLE_BALLAST=1000"), "double_model", core)
    assert image.map_file is not None
    report = elf.size_report(image.path, image.map_file, image.objects)
    flash = sum(report.sections.get(name, 0) for name in elf.FLASH_SECTIONS)
    ram = sum(report.sections.get(name, 0) for name in elf.RAM_SECTIONS)
    assert report.total() == elf.Usage(flash, ram)
    assert set(report.parts) == {"harness", "model", "library"}
    assert report.parts["model"].ram >= 1000 + 16 + 1 + 16 + 1
    assert report.objects["library", "crc32.c"] == report.parts["library"]
    assert report.symbols[0].name == "double_ballast"


def test_libc_counts_as_runtime() -> None:
    copy = (
        "DOUBLE_BREAK=__builtin_memcpy((void *)(uintptr_t)double_ballast, x, (uint32_t)y[0] & 7u)"
    )
    image = build_image(double("DOUBLE_BALLAST=16", copy), "double_model", "m0")
    assert image.map_file is not None
    report = elf.size_report(image.path, image.map_file, image.objects)
    assert 0 < report.parts["runtime"].flash < 200
    assert "memcpy" in {symbol.name for symbol in report.symbols}


@pytest.mark.slow  # ninety sources for each core
@pytest.mark.parametrize("core", core_boards())
def test_whole_library_compiles_without_warnings_on_every_core(core: str, tmp_path: Path) -> None:
    image = build_image([double()[0], library_part(on_demand=False)], "double_model", core)
    family = FAMILIES[board_of(core).family]
    assert hidden(image, family.gcc.replace("gcc", "nm"), tmp_path) == []


def test_whole_library_compiles_without_warnings_on_the_host(tmp_path: Path) -> None:
    parts = [double()[0], library_part(on_demand=False)]
    assert hidden(build_host_image(parts, "double_model"), "nm", tmp_path) == []


def hidden(image: Image, nm: str, folder: Path) -> list[tuple[str, str]]:
    """(source, name) of what a program may mention without getting the source that defines it."""
    sources = {path.name: path for path in library_part().sources}
    user = folder / "user.c"
    missed = []
    for path, (part, name) in image.objects.items():
        for symbol in defined(nm, path) if part == "library" else ():
            user.write_text(f"{symbol};")
            if sources[name] not in needed_sources([sources[name]], [user]):
                missed.append((name, symbol))
    return missed


def defined(nm: str, path: str) -> list[str]:
    """Global names that an object file defines."""
    command = [nm, "--defined-only", "--extern-only", "--format=posix", path]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in lines.splitlines()]


def test_programs_get_the_sources_that_they_need(tmp_path: Path) -> None:
    user = tmp_path / "user.c"
    user.write_text("/* tq_run_softmax */ void f(void) { tq_run_conv2d(0, 0, 0, 0); }")
    names = {path.name for path in needed_sources(library_part().sources, [user])}
    assert {"conv2d.c", "segment.c", "arith.c"} <= names
    assert not {"softmax.c", "conv2d_dsp.c", "dot_lut4.c"} & names
