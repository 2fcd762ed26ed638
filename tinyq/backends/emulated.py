# SPDX-License-Identifier: Apache-2.0
"""The generated C as a backend: built for this computer or an emulated core, run by its emulator.

The harness's trace gives the output of every layer as it was when the layer ended, its output file
the outputs as they are after the inference, so that a plan that overwrites an output shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyq.backends.sources import MODEL_SYMBOL, model_parts
from tinyq.codegen import with_aliases
from tinyq.cores import CORES, GENERIC, find_core
from tinyq.emulators import RunError, RunRequest, RunResult, build, emulator
from tinyq.graph import Graph
from tinyq.kernels.program import Program, Target, compile_graph
from tinyq.tensors import Tensor
from tinyq.toolchain import Image, build_flags

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class EmulatedBackend:
    """A backend of ``tinyq.emulators`` by its name.

    Attributes:
        target: kernels that it runs; by default those for its core, on this computer the portable
            ones.
    """

    name: str
    target: Target | None = None

    @property
    def kernels(self) -> Target:
        """What its code is made for."""
        if self.target is not None:
            return self.target
        return Target(CORES.get(self.name.partition("-")[2], GENERIC))

    def with_target(
        self, core: str, overrides: Mapping[str, str], ram: int | None = None
    ) -> EmulatedBackend:
        """With other kernels by layer, and a limit of the arena.

        This computer takes the kernels of ``core``, emulated cores their own.

        Raises:
            InputError: no such core.
        """
        own = find_core(core) if self.name == "host" else self.kernels.core
        return replace(self, target=Target(own, dict(overrides), ram))

    def program(self, graph: Graph) -> Program:
        """The calls that it makes."""
        return compile_graph(graph, self.kernels)

    def image(self, graph: Graph) -> Image:
        """The program around the model; cached."""
        return build(emulator(self.name), model_parts(graph, self.kernels), MODEL_SYMBOL)

    def run(
        self, graph: Graph, codes: Mapping[str, Array], keep_all: bool = True
    ) -> dict[str, Array]:
        """Codes of all tensors, or of the outputs."""
        if not self.name.startswith("renode"):
            return self._run(graph, codes, keep_all)
        emulator(self.name)
        return {}

    def _run(self, graph: Graph, codes: Mapping[str, Array], keep_all: bool) -> dict[str, Array]:
        samples = len(codes[graph.inputs[0]])
        request = RunRequest(self.image(graph), pack_samples(graph, codes), samples, trace=keep_all)
        result = emulator(self.name).run(request)
        values = unpack_samples([graph.tensors[n] for n in graph.outputs], result.outputs)
        if keep_all:
            values = {**unpack_trace(self.program(graph), result), **values}
        return with_aliases(graph, values) if keep_all else values

    def selftest(self, graph: Graph) -> int | None:
        """The self-test's result: 0, or 1 + the first layer that differs."""
        return emulator(self.name).run(RunRequest(self.image(graph), selftest=True)).selftest

    def tools(self, graph: Graph) -> Mapping[str, str]:
        """Compiler, its flags, and the machine."""
        image = self.image(graph)
        own = image.board.cpu_flags if image.board else ()
        machine = image.board.machine if image.board else "this computer"
        flags = (*own, *build_flags()["compile"])
        built = {
            "compiler": image.compiler.version,
            "flags": " ".join(flags),
            "machine": machine,
            "kernels": self.kernels.label,
        }
        version = emulator(self.name).version()
        return {**built, "emulator": version} if version else built


def pack_samples(graph: Graph, codes: Mapping[str, Array]) -> bytes:
    """Sample after sample, of each all inputs in their order."""
    arrays = [np.ascontiguousarray(codes[n]).view(np.uint8) for n in graph.inputs]
    rows = [x.reshape(len(x), -1) for x in arrays]
    return np.concatenate(rows, axis=1).tobytes()


def unpack_samples(tensors: Sequence[Tensor], records: Sequence[bytes]) -> dict[str, Array]:
    """The inverse, for the outputs: ``[N, *shape]`` by tensor name."""
    rows = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), -1)
    starts = np.cumsum([t.size for t in tensors])
    if rows.shape[1] != starts[-1]:
        raise RunError(f"a sample's outputs have {rows.shape[1]} bytes instead of {starts[-1]}")
    parts = np.split(rows, starts[:-1], axis=1)
    return {t.name: _codes(t, part) for t, part in zip(tensors, parts, strict=True)}


def unpack_trace(program: Program, result: RunResult) -> dict[str, Array]:
    """Every call's output of every sample: ``[N, *shape]`` by tensor name."""
    values = {}
    for index, step in enumerate(program.steps):
        records = [sample[index] for sample in result.trace]
        values.update(unpack_samples([program.graph.tensors[step.output]], records))
    return values


def _codes(tensor: Tensor, rows: npt.NDArray[np.uint8]) -> Array:
    typed = np.ascontiguousarray(rows).view(tensor.numpy_dtype)
    return typed.reshape(len(rows), *tensor.shape)
