# SPDX-License-Identifier: Apache-2.0
"""Hashes of what a result of ``accuracy.py`` is made of: plain data, files, code.

Code counts without comments and docstrings, of the benchmark's modules only what a result needs.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import tinyq
from tinyq.resources import firmware_dir, templates_dir

TRAINING_CODE: Final = ("qat", "quantizers", "encodings.py", "numerics.py")
PTQ_CODE: Final = ("ptq", "passes", "ops", "frontends", "encodings.py", "numerics.py")
CHECKING_CODE: Final = (
    "ops", "passes", "kernels", "codegen", "tflite", "backends", "emulators", "encodings.py",
    "numerics.py", "cores.py", "needs.py", "graph.py", "tensors.py", "executor.py", "proof.py",
    "compression.py", "report.py",
)  # fmt: skip


def digest(value: Any) -> str:
    """Of plain data."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def file_digest(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def code_digest(paths: Iterable[Path]) -> str:
    """Of what sources do: Python without comments and docstrings, other files as they are."""
    parts = [_program(path) if path.suffix == ".py" else file_digest(path) for path in paths]
    return digest(parts)


def closure_digest(path: Path, names: Iterable[str]) -> str:
    """Of some definitions of a module and of those that they name, directly or through others."""
    defined: dict[str, str] = {}
    uses: dict[str, set[str]] = {}
    for node in _tree(path).body:
        read = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        for name in _defines(node):
            defined[name], uses[name] = ast.dump(node), read
    needed, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name in defined and name not in needed:
            needed.add(name)
            waiting += uses[name]
    return digest([defined[name] for name in sorted(needed)])


def _defines(node: ast.stmt) -> list[str]:
    """Names that a statement of a module binds."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    found = (each for each in ast.walk(node) if isinstance(each, ast.Name))
    return [each.id for each in found if isinstance(each.ctx, ast.Store)]


def _program(path: Path) -> str:
    return ast.dump(_tree(path))


def _tree(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not _is_table(node)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_table(node: ast.AST) -> bool:
    """The tasks and their form: what counts of them is in each task's recipe."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node.name in ("Task", "quick")
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TASKS"


@functools.cache
def package_digest(names: tuple[str, ...]) -> str:
    """Of modules and packages of tinyq."""
    root = Path(tinyq.__file__).parent
    found = (p for name in names for p in sorted((root / name).rglob("*.py")) or [root / name])
    return code_digest(found)


@functools.cache
def checking_digest(own: Path) -> str:
    """Of everything that exports, runs and judges a graph; ``own``: the benchmark's part of it."""
    sources = [*templates_dir().rglob("*.j2"), *(firmware_dir() / "lib" / "tinyq").rglob("*.[chS]")]
    return digest([package_digest(CHECKING_CODE), code_digest([*sorted(sources), own])])
