# SPDX-License-Identifier: Apache-2.0
"""Compiles models with the machine's own gcc, for the host and for every emulated core.

The same flags, start-up code and linker script as the PlatformIO platform (its JSON files are
read), but without PlatformIO's start: a second or less a core. Objects and images are kept in a
cache by the hash of everything that goes into them, so that a second build costs nothing.

Deliberately absent: a build system. There are a few dozen sources, and the hash of their content is
the only dependency that matters.

The cache is ``$TINYQ_CACHE``, else ``$XDG_CACHE_HOME/tinyq``, else ``~/.cache/tinyq``; it may be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tinyq.boards import Board, board_of, boards, platform_dir
from tinyq.elf import foreign_instructions
from tinyq.errors import OutputError, TinyqError, ToolMissing
from tinyq.needs import needed_sources
from tinyq.resources import firmware_dir


@dataclass(frozen=True)
class Family:
    """The cores that one cross compiler serves.

    Attributes:
        gcc: its command.
        hint: how to install it.
        headers: folder under the platform's start-up code with headers of the C library, where the
            compiler comes without one.
    """

    gcc: str
    hint: str
    headers: str | None = None


FAMILIES: Mapping[str, Family] = {
    "arm": Family(
        "arm-none-eabi-gcc",
        "Debian, Ubuntu: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi; "
        "macOS: brew install --cask gcc-arm-embedded",
    ),
    "riscv": Family(
        "riscv64-unknown-elf-gcc",
        "Debian, Ubuntu: apt install gcc-riscv64-unknown-elf; "
        "macOS: brew install riscv64-elf-gcc, and a link to it of this name",
        "riscv",
    ),
}
_INSTALL_HOST = (
    "no C compiler on PATH: install one (Debian, Ubuntu: apt install gcc; macOS: xcode-select "
    "--install) or name it in the environment variable CC"
)
_SANITIZE = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1")


class BuildError(TinyqError):
    """The compiler or the linker refused the sources."""


class _Overflow(BuildError):
    """The program does not fit into the board's memory."""


@dataclass(frozen=True)
class Part:
    """Sources that belong together and whose memory is reported under one name.

    Attributes:
        name: ``library``, ``model``, ``harness`` or what the caller likes.
        sources: C and assembly files.
        includes: folders for ``#include``, given to all parts of a program.
        defines: ``NAME`` or ``NAME=value``, for the sources of this part only.
        private: folders for ``#include`` of this part only: what changes there compiles no other.
        on_demand: only sources that the other parts need are compiled, as from an archive.
    """

    name: str
    sources: tuple[Path, ...]
    includes: tuple[Path, ...] = ()
    defines: tuple[str, ...] = ()
    private: tuple[Path, ...] = ()
    on_demand: bool = False


@dataclass(frozen=True)
class Compiler:
    """A C compiler: its path and the first line of ``--version``."""

    path: str
    version: str


@dataclass(frozen=True)
class Image:
    """A linked program.

    Attributes:
        path: an ELF for a board, or an executable of this computer.
        board: where it runs; None for this computer.
        objects: object file to (part, source file name), for the size report.
        map_file: the linker's map; None for this computer.
    """

    path: Path
    board: Board | None
    compiler: Compiler
    objects: Mapping[str, tuple[str, str]] = field(repr=False)
    map_file: Path | None = None


# --- tools ---------------------------------------------------------------------------------------


@cache
def _compiler(path: str) -> Compiler:
    result = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return Compiler(path, result.stdout.partition("\n")[0].strip())


def host_compiler() -> Compiler:
    """The host's C compiler: ``$CC``, else cc, gcc or clang.

    Raises:
        ToolMissing: there is none.
    """
    for name in (os.environ.get("CC", "").split(" ")[0], "cc", "gcc", "clang"):
        path = shutil.which(name) if name else None
        if path:
            return _compiler(path)
    raise ToolMissing(_INSTALL_HOST)


def cross_compiler(family: str) -> Compiler:
    """The compiler of a family of cores, see ``Board.family``.

    Raises:
        ToolMissing: it is not on PATH.
    """
    gcc, hint = FAMILIES[family].gcc, FAMILIES[family].hint
    path = shutil.which(gcc)
    if path is None:
        raise ToolMissing(f"{gcc} is not on PATH: install it ({hint})")
    return _compiler(path)


def arm_compiler() -> Compiler:
    """arm-none-eabi-gcc; ToolMissing where it is not on PATH."""
    return cross_compiler("arm")


def cache_dir() -> Path:
    """Where objects and images are kept."""
    own = os.environ.get("TINYQ_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyq"


@cache
def build_flags() -> Mapping[str, tuple[str, ...]]:
    """The platform's flags: ``compile``, ``warnings``, ``link``, ``link_<family>``."""
    data = json.loads((platform_dir() / "flags.json").read_text())
    return {key: tuple(value) for key, value in data.items()}


# --- the parts that every program shares ---------------------------------------------------------


def _sources(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted((*folder.glob("*.c"), *folder.glob("*.S"))))


def library_part(*, on_demand: bool = True) -> Part:
    """The kernel library, firmware/lib/tinyq: what other parts need of it, or all."""
    root = firmware_dir() / "lib" / "tinyq"
    return Part("library", _sources(root / "src"), (root / "include",), on_demand=on_demand)


def port_part() -> Part:
    """Files, console and clock of the harness, firmware/lib/port."""
    root = firmware_dir() / "lib" / "port"
    return Part("harness", _sources(root / "src"), (root / "include",))


def harness_part(symbol: str) -> Part:
    """The program that drives the model behind the C symbol ``symbol`` (a ``tq_model``)."""
    return Part("harness", (firmware_dir() / "src" / "main.c",), (), (f"TQ_MODEL={symbol}",))


def start_part(board: Board) -> Part:
    """Start-up code of an emulated board."""
    folder, headers = platform_dir() / "start", FAMILIES[board.family].headers
    return Part("harness", _sources(folder), (folder / headers,) if headers else ())


# --- compiling -----------------------------------------------------------------------------------


def _hash(*items: str | bytes) -> str:
    digest = hashlib.sha256()
    for item in items:
        data = item.encode() if isinstance(item, str) else item
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:24]


def _headers_hash(folders: Sequence[Path]) -> str:
    files = sorted({file for folder in folders for file in folder.rglob("*.h")})
    return _hash(*[part for file in files for part in (file.name, file.read_bytes())])


def _first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error:|undefined|overflow", line, re.I)]
    return re.sub(r"\S*/(?=[^/\s]+:\d)", "", (errors or lines or ["no message"])[0])


def _run_tool(command: Sequence[str], what: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return
    if re.search(r"region `\w+' overflowed|will not fit in region", result.stderr):
        raise _Overflow(f"{what}: {_first_error(result.stderr)}")
    raise BuildError(f"{Path(command[0]).name} failed on {what}: {_first_error(result.stderr)}")


def _cached(path: Path, make: Callable[[Path], None]) -> Path:
    """``path``, made by ``make(temporary)`` and renamed unless it is there already."""
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            make(temporary)
            temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write the build cache {path.parent}: {error.strerror or error}; name another "
            "folder in the environment variable TINYQ_CACHE"
        ) from error
    return path


@dataclass(frozen=True)
class _Unit:
    """One source with everything that its object depends on."""

    part: str
    source: Path
    command: tuple[str, ...]
    key: str

    @property
    def object(self) -> Path:
        return cache_dir() / "objects" / f"{self.source.stem}-{self.key}.o"

    def compile(self) -> Path:
        def make(target: Path) -> None:
            _run_tool([*self.command, "-c", str(self.source), "-o", str(target)], self.source.name)

        return _cached(self.object, make)


def _units(parts: Sequence[Part], compiler: Compiler, flags: Sequence[str]) -> tuple[_Unit, ...]:
    shared = [folder for part in parts for folder in part.includes]
    users = [source for part in parts if not part.on_demand for source in part.sources]
    found = []
    for part in parts:
        includes = [*part.private, *shared]
        headers = _headers_hash(includes)
        for source in needed_sources(part.sources, users) if part.on_demand else part.sources:
            own = [*flags, *(f"-D{define}" for define in part.defines)]
            command = (compiler.path, *own, *(f"-I{folder}" for folder in includes))
            beside = _headers_hash([source.parent])
            key = _hash(compiler.version, *own, headers, beside, source.name, source.read_bytes())
            found.append(_Unit(part.name, source, command, key))
    return tuple(found)


def _compile_all(units: Sequence[_Unit]) -> tuple[Path, ...]:
    """Objects in the order of ``units``, made in any: processes that build the same share work."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        order = random.sample(units, len(units))
        objects = dict(zip(order, pool.map(_Unit.compile, order), strict=True))
    return tuple(objects[unit] for unit in units)


def _link(
    units: Sequence[_Unit], compiler: Compiler, flags: Sequence[str], name: str, key: str = ""
) -> Path:
    """The program of all units; ``key`` stands for anything else that the linker reads."""
    objects = [str(path) for path in _compile_all(units)]
    folder = cache_dir() / "images" / _hash(compiler.version, key, *flags, *objects)

    def make(target: Path) -> None:
        map_file = _map_of(target)
        own = [flag.replace("$MAP", str(map_file)) for flag in flags]
        _run_tool([compiler.path, *objects, *own, "-o", str(target)], name)
        if map_file.is_file():
            map_file.replace(folder / map_file.name)

    return _cached(folder / name, make)


def _map_of(program: Path) -> Path:
    return program.with_name(f"{program.name}.map")


def _image(path: Path, board: Board | None, compiler: Compiler, units: Sequence[_Unit]) -> Image:
    objects = {str(unit.object): (unit.part, unit.source.name) for unit in units}
    return Image(path, board, compiler, objects, _map_of(path) if board else None)


# --- programs ------------------------------------------------------------------------------------


def _memory_flags(board: Board) -> tuple[str, ...]:
    values = {
        "__FLASH_ORG": board.flash.origin,
        "__FLASH_LEN": board.flash.size,
        "__RAM_ORG": board.ram.origin,
        "__RAM_LEN": board.ram.size,
        "__STACK_MIN": board.stack_bytes,
    }
    return tuple(f"-Wl,--defsym={name}={value}" for name, value in values.items())


def build_program(parts: Sequence[Part], board: Board, *, optimize: str = "-O2") -> Image:
    """An image of ``parts`` (one of them has ``main``) and start-up code for exactly this board.

    Raises:
        ToolMissing: no compiler for the board's family.
        BuildError: the sources do not compile, or the program does not fit, or the compiler emitted
            an instruction that the core does not have.
    """
    compiler = cross_compiler(board.family)
    flags = build_flags()
    defines = [f"-D{define}" for define in board.defines]
    compile_flags = [*board.cpu_flags, *flags["compile"], *flags["warnings"], optimize, *defines]
    units = _units([*parts, start_part(board)], compiler, compile_flags)
    script = platform_dir() / "start" / "link.ld"
    link_flags = [*board.cpu_flags, *flags["link"], *_memory_flags(board), f"-T{script}"]
    link_flags += [*flags[f"link_{board.family}"], "-Wl,-Map=$MAP"]
    path = _link(units, compiler, link_flags, "firmware.elf", script.read_text())
    _require_instructions(path, board)
    return _image(path, board, compiler, units)


def _require_instructions(path: Path, board: Board) -> None:
    """Emulators run instructions that the core lacks without a word: look at the image instead."""
    foreign = foreign_instructions(path, board.instruction_set)
    if foreign:
        first, gcc = foreign[0], FAMILIES[board.family].gcc
        raise BuildError(
            f"{len(foreign)} instructions that {board.instruction_set} does not have, the first is "
            f"'{first.text}' at 0x{first.address:08x}: use another version of {gcc}"
        )


def build_image(
    model: Sequence[Part], symbol: str, core: str, *, optimize: str = "-O2", larger: bool = True
) -> Image:
    """The harness around a model, for a core's board.

    A program that is too large for the board is built for the larger board that its JSON names (a
    Cortex-M0 program then runs on an M3 machine); ``image.board`` says which it was.

    Args:
        model: the model's parts and the kernel library's.
        symbol: its ``tq_model``, e.g. ``net_model``.
        core: of ``tinyq.cores.CORES``.
        larger: False: refuse instead.

    Raises:
        InputError, ToolMissing, BuildError: see :func:`build_program`.
    """
    board = board_of(core)
    parts = [*model, harness_part(symbol), port_part()]
    try:
        return build_program(parts, board, optimize=optimize)
    except _Overflow:
        if board.larger is None or not larger:
            raise
        return build_program(parts, boards()[board.larger], optimize=optimize)


def _host_flags(sanitize: bool) -> list[str]:
    flags = build_flags()
    return [*flags["compile"], *flags["warnings"], "-fPIC", *(_SANITIZE if sanitize else ())]


def build_host_image(model: Sequence[Part], symbol: str, *, sanitize: bool = False) -> Image:
    """The harness around a model as a program of this computer, on request under ASan and UBSan.

    Raises:
        ToolMissing: no C compiler.
        BuildError: the sources do not compile.
    """
    compiler = host_compiler()
    parts = [*model, harness_part(symbol), port_part()]
    units = _units(parts, compiler, _host_flags(sanitize))
    path = _link(units, compiler, _SANITIZE if sanitize else (), "program")
    return _image(path, None, compiler, units)


def build_host_library(parts: Sequence[Part], *, sanitize: bool = False) -> Path:
    """A shared library of ``parts`` for ctypes.

    Raises:
        ToolMissing: no C compiler.
        BuildError: the sources do not compile.
    """
    compiler = host_compiler()
    units = _units(parts, compiler, _host_flags(sanitize))
    return _link(units, compiler, ["-shared", *(_SANITIZE if sanitize else ())], "library.so")
