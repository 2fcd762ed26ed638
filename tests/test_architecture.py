# SPDX-License-Identifier: Apache-2.0
"""The layers import downward only, and the light half never imports TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinyq

PACKAGE = Path(tinyq.__file__).parent
#: from the ground up: a module imports its own package and lower layers only
LAYERS = (
    ("errors", "resources", "numerics", "progress"),
    ("files", "fixedpoint", "encodings", "tensors", "cores", "rv32e", "data", "evaluate"),
    ("boards", "elf", "cycles", "plotting", "needs"),
    ("ops", "quantizers", "toolchain", "compression"),
    ("graph", "emulators"),
    ("archive", "executor", "proof", "compare", "tflite", "frontends"),
    ("passes", "ptq", "qat"),
    ("kernels",),
    ("codegen", "report"),
    ("project",),
    ("backends",),
    ("verification",),
    ("certificate", "measurement", "waterfall"),
    ("inputs",),
    ("training",),
    ("api",),
    ("cli",),
    ("__main__", "__init__"),
)
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
TENSORFLOW_ALLOWED = ("quantizers", "qat", "frontends", "ptq/datafree.py")


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        yield relative.parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_downward() -> None:
    wrong = []
    for stem, path in modules():
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "tinyq" or len(parts) < 2 or parts[1] in (stem, "__version__"):
                continue
            if parts[1] not in RANKS and stem != "__init__":
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}, which has no layer")
            elif RANKS.get(parts[1], -1) >= RANKS[stem]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert sorted(set(wrong)) == []


def test_tensorflow_is_confined() -> None:
    heavy = ("tensorflow", "tf_keras", "tensorflow_model_optimization", "keras")
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for _, path in modules()
        for name in imports(path)
        if name.split(".")[0] in heavy
        and not str(path.relative_to(PACKAGE)).startswith(TENSORFLOW_ALLOWED)
    ]
    assert wrong == []


@pytest.mark.parametrize("module", ["tinyq", "tinyq.cli", "tinyq.archive", "tinyq.executor"])
def test_light_modules_do_not_load_tensorflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
