# SPDX-License-Identifier: Apache-2.0
"""Runs a ``.tflite`` in the stock tflite-micro interpreter and reads every tensor.

The interpreter's usual planner overlays tensors; its preserve-all configuration does not, so that
each of them can be read after the run.  Codes come back in the types of the graph: an int8 tensor
with zero point -128 is a uint8 tensor there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import DataError, TflmMissing, UnsupportedError
from tinyq.tflite.schema import INSTALL, TfliteTensor, graph_ends, read_tensors

Array = npt.NDArray[Any]

#: Bytes of the first arena beside the tensors.  Generous: the pages are not touched until used,
#: and the interpreter crashes when its own structures do not fit.
ARENA_MARGIN: Final = 1 << 26
LARGEST_ARENA: Final = 1 << 31
_UINT8_ZERO: Final = -128
_STDERR: Final = 2


def run_tflm(model: bytes, inputs: Mapping[str, Array], keep_all: bool = True) -> dict[str, Array]:
    """Codes of the tensors of a model, computed by stock TFLM.

    Args:
        model: the bytes of a ``.tflite`` file from ``write_tflite``.
        inputs: codes ``[N, *shape]`` of every input by tensor name, int8 or uint8.
        keep_all: return every activation of the graph; otherwise only the outputs.

    Returns:
        codes ``[N, *shape]`` by tensor name, int8 or uint8.

    Raises:
        TflmMissing: the tflite-micro package is not installed.
        DataError: an input is missing or has another shape or type than the model's.
        UnsupportedError: the interpreter refuses the model; holds its last message.
    """
    interpreter_class = load_interpreter()
    tensors = read_tensors(model)
    ins, outs = ([tensors[i] for i in ends] for ends in graph_ends(model))
    sources = [to_stored(tensor, inputs) for tensor in ins]
    kept = [t for t in tensors if is_activation(t)] if keep_all else outs
    interpreter = open_interpreter(interpreter_class, model, tensors)
    results = {t.name: np.empty((len(sources[0]), *t.shape[1:]), np.int8) for t in kept}
    for sample in range(len(sources[0])):
        for index, codes in enumerate(sources):
            interpreter.set_input(codes[sample : sample + 1], index)
        interpreter.invoke()
        for tensor in kept:
            data = interpreter.GetTensor(tensor.index, 0)["tensor_data"]
            results[tensor.name][sample] = data[0]
    return {t.name: from_stored(t, results[t.name]) for t in kept}


def load_interpreter() -> Any:
    """The ``tflite_micro.runtime`` module (TflmMissing where it is not installed)."""
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise TflmMissing(
            f"running on TFLM needs the tflite-micro package ({error}): {INSTALL}"
        ) from error
    return runtime


def is_activation(tensor: TfliteTensor) -> bool:
    """True for the tensors that the graph knows; names with ``#`` are the twin's own."""
    return not tensor.constant and "#" not in tensor.name


def is_unsigned(tensor: TfliteTensor) -> bool:
    """True where the graph's tensor is uint8."""
    return bool((tensor.zeros == _UINT8_ZERO).any())


def to_stored(tensor: TfliteTensor, inputs: Mapping[str, Array]) -> npt.NDArray[np.int8]:
    """An input's codes as the file stores them: int8, uint8 codes less 128."""
    if tensor.name not in inputs:
        raise DataError(f"input '{tensor.name}' is missing; given: {', '.join(inputs)}")
    codes = inputs[tensor.name]
    kind = np.dtype(np.uint8 if is_unsigned(tensor) else np.int8)
    if codes.dtype != kind or codes.shape[1:] != tensor.shape[1:]:
        raise DataError(
            f"input '{tensor.name}' is {codes.dtype} {codes.shape[1:]}, the model needs {kind} "
            f"{tensor.shape[1:]}"
        )
    stored = codes ^ np.uint8(128) if is_unsigned(tensor) else codes
    return np.ascontiguousarray(stored).view(np.int8)


def from_stored(tensor: TfliteTensor, stored: npt.NDArray[np.int8]) -> Array:
    """The inverse of ``to_stored`` for one tensor."""
    return stored.view(np.uint8) ^ np.uint8(128) if is_unsigned(tensor) else stored


def open_interpreter(runtime: Any, model: bytes, tensors: list[TfliteTensor]) -> Any:
    """An interpreter that preserves all tensors; its arena grows until the model fits."""
    config = runtime.InterpreterConfig.kPreserveAllTensors
    arena = ARENA_MARGIN + 4 * sum(int(np.prod(t.shape)) for t in tensors)
    while True:
        log: list[str] = []
        try:
            with captured_stderr(log):
                return runtime.Interpreter.from_bytes(
                    model, arena_size=arena, intrepreter_config=config
                )
        except RuntimeError as error:
            if not any("missing:" in line for line in log) or arena >= LARGEST_ARENA:
                reason = log[-1] if log else str(error)
                raise UnsupportedError(f"stock TFLM refuses the model: {reason}") from error
            arena *= 2


@contextmanager
def captured_stderr(lines: list[str]) -> Iterator[None]:
    """Collect what C code writes to the standard error stream, instead of showing it."""
    saved = os.dup(_STDERR)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            log.seek(0)
            lines += [line for line in log.read().decode(errors="replace").splitlines() if line]
