# SPDX-License-Identifier: Apache-2.0
"""Writes generated C to disk: a plain C library, or a whole PlatformIO project.

Everything is rendered before the first file is written, and every file appears whole or not at
all.  The kernel library is a folder of its own, the same for all models, so that several models
link it once.

Absent on purpose: deleting.  What an earlier export under another name wrote stays.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from tinyq.codegen import RenderOptions, check_model_name, render
from tinyq.errors import GraphError, InputError, OutputError
from tinyq.files import write_tree
from tinyq.graph import Graph
from tinyq.kernels.program import Target, compile_graph
from tinyq.resources import firmware_dir

Vector = Mapping[str, npt.NDArray[Any]]
Files = dict[str, bytes | str]

#: in firmware/lib: the kernel library, and a model that stands in for the user's
LIBRARY: Final = "tinyq"
STAND_IN: Final = "demo"
_SKIPPED: Final = {".pio", "__pycache__", ".vscode", ".DS_Store"}


def render_model(
    graph: Graph, name: str, vector: Vector | None = None, target: Target | None = None
) -> dict[str, str]:
    """The model's C library by relative path, ``<name>/...``; plans memory and proves first.

    Raises:
        InputError: the name cannot be used in C.
        ProofError: an accumulator could overflow.
        UnsupportedError: an operator exceeds what its kernel can do.
    """
    if graph.is_float:
        raise GraphError(f"model '{graph.name}' is not quantized yet: quantize it first")
    return render(compile_graph(graph, target), RenderOptions(name, vector))


def export_c(
    graph: Graph,
    out_dir: Path | str,
    name: str,
    vector: Vector | None = None,
    target: Target | None = None,
) -> tuple[str, ...]:
    """Write ``<out_dir>/<name>`` (the model) and ``<out_dir>/tinyq`` (the kernel library).

    Args:
        graph: an integer graph.
        out_dir: created where it is missing.
        name: prefix of the C functions.
        vector: codes ``[*shape]`` of every input for the self-test; None: the device makes them.
        target: core and kernels; the portable ones for any core by default.

    Returns:
        the relative paths that changed.

    Raises:
        OutputError: the folder cannot be written.
        InputError, ProofError, UnsupportedError: see ``render_model``.
    """
    library = _read_tree(firmware_dir() / "lib" / LIBRARY)
    files: Files = {f"{LIBRARY}/{path}": data for path, data in library.items()}
    files.update(render_model(graph, name, vector, target))
    return _write(Path(out_dir), files)


def export_platformio(
    graph: Graph,
    out_dir: Path | str,
    name: str,
    vector: Vector | None = None,
    target: Target | None = None,
) -> tuple[str, ...]:
    """Write a PlatformIO project around the model, or refresh the model in an existing one.

    ``lib/<name>`` and ``lib/tinyq`` are always brought up to date.  Of the rest only what is
    missing is written, because it belongs to the user; in ``platformio.ini`` the model's name is
    changed and, where a core is given, the environment that ``pio run`` builds by itself; nothing
    else.  Other arguments, result and errors as in ``export_c``.
    """
    root = Path(out_dir)
    check_model_name(name)
    core = (target or Target()).core.name
    project = _read_tree(firmware_dir())
    if any(path.startswith(f"lib/{name}/") for path in project) and name != STAND_IN:
        raise InputError(f"--name {name} is a library of the project itself; choose another")
    files: Files = {
        path: data
        for path, data in project.items()
        if not path.startswith(f"lib/{STAND_IN}/")
        and (path.startswith(f"lib/{LIBRARY}/") or not (root / path).exists())
    }
    files["platformio.ini"] = _configured(root, project["platformio.ini"], name, core)
    rendered = render_model(graph, name, vector, target)
    files.update({f"lib/{path}": text for path, text in rendered.items()})
    return _write(root, files)


def _configured(root: Path, template: bytes, name: str, core: str) -> str:
    """``platformio.ini`` of the project, or the template's, with the model's name and the core."""
    path = root / "platformio.ini"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else template.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"cannot read {path}: {error}; choose another folder with -o") from error
    text = re.sub(r"(?m)^(\[tinyq\]\s*\nname *= *).*$", rf"\g<1>{name}", text, count=1)
    if core == "generic":
        return text
    if f"[env:{core}]" not in text:
        raise InputError(f"--core {core} has no environment in platformio.ini; use --format c")
    return re.sub(r"(?m)^(default_envs *= *).*$", rf"\g<1>{core}", text, count=1)


def _read_tree(root: Path) -> dict[str, bytes]:
    """Every file under ``root`` by relative path, build output left out."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not _SKIPPED.intersection(path.relative_to(root).parts)
    }


def _write(root: Path, files: Mapping[str, bytes | str]) -> tuple[str, ...]:
    _check_writable(root)
    for name in files:
        _check_target(root, root / name)
    return write_tree(root, files)


def _check_writable(root: Path) -> None:
    """OutputError unless files can be created in ``root``; asked before anything is written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise _refusal(root, error.strerror or str(error)) from error


def _check_target(root: Path, path: Path) -> None:
    """OutputError where something else than a file lies in the way of ``path``, below ``root``."""
    if path.is_dir():
        raise _refusal(path, "it is a folder")
    if path.is_file() and not os.access(path, os.R_OK):
        raise _refusal(path, "it cannot be read")
    folder = next(p for p in path.parents if p.exists() or p == root)
    if not folder.is_dir():
        raise _refusal(folder, "it is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refusal(folder, "permission denied")


def _refusal(path: Path, reason: str) -> OutputError:
    return OutputError(f"cannot write {path}: {reason}; choose another folder with -o")
