# SPDX-License-Identifier: Apache-2.0
"""Generated C on this computer: compiled as a shared library, called through ctypes."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyq.codegen import scheduled, with_aliases
from tinyq.graph import Graph
from tinyq.project import render_model
from tinyq.toolchain import Part, build_host_library, library_part

#: void hook(void *user, unsigned layer, const void *data, uint32_t bytes)
HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint32)
SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "init": ([ctypes.c_void_p], ctypes.c_int),
    "input": ([ctypes.c_uint], ctypes.c_void_p),
    "invoke": ([], None),
    "output": ([ctypes.c_uint], ctypes.c_void_p),
    "reset": ([], None),
    "selftest": ([], ctypes.c_int),
    "set_hook": ([HOOK, ctypes.c_void_p], None),
}
NO_HOOK = ctypes.cast(0, HOOK)


def model_part(files: Mapping[str, str], folder: Path, defines: Sequence[str] = ()) -> Part:
    """Rendered files, written to ``folder``, as a part of a program."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sources = tuple(folder / name for name in files if name.endswith(".c"))
    headers = {(folder / name).parent for name in files if name.endswith(".h")}
    return Part("model", sources, (), tuple(defines), tuple(sorted(headers)))


class CModel:
    """A model's functions in a loaded library."""

    def __init__(self, graph: Graph, library: ctypes.CDLL, name: str = "net") -> None:
        self.graph = graph
        for function, (arguments, result) in SIGNATURES.items():
            pointer = getattr(library, f"{name}_{function}", None)
            if pointer is not None:
                pointer.argtypes, pointer.restype = arguments, result
            setattr(self, function, pointer)

    def write(self, codes: Mapping[str, np.ndarray], sample: int = 0) -> None:
        """Copy one sample to the inputs."""
        for index, name in enumerate(self.graph.inputs):
            data = np.ascontiguousarray(codes[name][sample])
            ctypes.memmove(self.input(index), data.ctypes.data, data.nbytes)

    def outputs(self) -> dict[str, np.ndarray]:
        """What the outputs hold now, ``[*shape]``."""
        result = {}
        for index, name in enumerate(self.graph.outputs):
            t = self.graph.tensors[name]
            data = ctypes.string_at(self.output(index), t.size)
            result[name] = np.frombuffer(data, t.numpy_dtype).reshape(t.shape)
        return result

    def trace(self, codes: Mapping[str, np.ndarray], sample: int = 0) -> dict[str, np.ndarray]:
        """Every tensor of one inference, seen through the hook; shapes as in the executor."""
        nodes = scheduled(self.graph)
        values = {name: codes[name][sample : sample + 1] for name in self.graph.inputs}
        seen = []

        def store(_user: int, layer: int, data: int, size: int) -> None:
            t = self.graph.out(nodes[layer])
            assert size == t.size
            seen.append(layer)
            raw = np.frombuffer(ctypes.string_at(data, size), t.numpy_dtype)
            values[t.name] = raw.reshape(1, *t.shape)

        self.write(codes, sample)
        hook = HOOK(store)
        self.set_hook(hook, None)
        self.invoke()
        self.set_hook(NO_HOOK, None)
        assert seen == list(range(len(nodes)))
        return with_aliases(self.graph, values)


def build(
    graph: Graph,
    name: str = "net",
    defines: Sequence[str] = (),
    vector: Mapping[str, np.ndarray] | None = None,
) -> CModel:
    """Render, compile and load a model."""
    return load([(graph, name, render_model(graph, name, vector))], defines)[0]


def load(
    models: Sequence[tuple[Graph, str, Mapping[str, str]]], defines: Sequence[str] = ()
) -> list[CModel]:
    """Several rendered models in one library, the kernels linked once."""
    with tempfile.TemporaryDirectory() as folder:
        parts = [
            model_part(files, Path(folder) / str(i), defines)
            for i, (_, _, files) in enumerate(models)
        ]
        path = build_host_library([*parts, library_part()])
        # A copy of its own: the same file loaded twice would share its static data.
        copy = Path(folder) / "library.so"
        copy.write_bytes(path.read_bytes())
        library = ctypes.CDLL(str(copy))
    return [CModel(graph, library, name) for graph, name, _ in models]
