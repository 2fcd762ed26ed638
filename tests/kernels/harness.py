# SPDX-License-Identifier: Apache-2.0
"""Runs operators through the C kernels, under AddressSanitizer and UBSan, on this computer.

``Case`` is an operator with its tensors and inputs.  All cases of a test become one C program:
each operator's own ``to_c`` gives the descriptor, so that descriptors and kernels are tested
together.  Inputs and outputs travel in files.  Every buffer is allocated to the byte, every output
lies between guard bytes.  Expected values are ``op.evaluate``, never another kernel.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tinyq.ops import Op
from tinyq.ops.clayer import CLayer, CTable
from tinyq.resources import firmware_dir
from tinyq.tensors import Tensor

GUARD = 64
GUARD_BYTE = 0xA5
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic")
SANITIZE = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
LIBRARY = firmware_dir() / "lib" / "tinyq"

Codes = np.ndarray


@dataclass(frozen=True, eq=False)
class Case:
    """One operator to run.

    Attributes:
        op, ins, out: what a node of an integer graph holds.
        xs: one array of codes ``[N, *shape]`` per input; N inferences are run.
        in_place: index of the input that the output overwrites.
        label: what a failure is called.
    """

    op: Op
    ins: tuple[Tensor, ...]
    out: Tensor
    xs: tuple[Codes, ...]
    in_place: int | None = None
    label: str = ""

    @property
    def count(self) -> int:
        """Inferences."""
        return len(self.xs[0])

    def layer(self) -> CLayer:
        """The kernel's call."""
        return self.op.to_c(self.ins, self.out)

    def expected(self) -> Codes:
        """Codes of the output, ``[N, *shape]``."""
        return self.op.evaluate(self.xs, self.ins, self.out)


#: the fixture ``check``: asserts that C and Python agree on every case
Check = Callable[[Sequence[Case]], None]


@cache
def compiler() -> str:
    """The host's gcc; the test is skipped where there is none."""
    path = shutil.which("gcc")
    if path is None:
        pytest.skip("gcc is not on PATH: the C kernels cannot be tested")
    return path


def build(sources: Sequence[Path], target: Path, *flags: str) -> Path:
    """Compile and link with warnings as errors and with the sanitizers."""
    command = [compiler(), *WARNINGS, *SANITIZE, f"-I{LIBRARY / 'include'}", *flags]
    command += [str(source) for source in sources]
    result = subprocess.run(
        [*command, "-o", str(target)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return target


def build_shared(text: str, folder: Path, *names: str) -> ctypes.CDLL:
    """Functions of the C text ``text``, linked with the named sources of the library."""
    source, target = folder / "exports.c", folder / "exports.so"
    source.write_text(text)
    flags = [*WARNINGS, "-O2", "-fPIC", "-shared", f"-I{LIBRARY / 'include'}"]
    files = [str(source), *(str(LIBRARY / "src" / name) for name in names)]
    subprocess.run([compiler(), *flags, *files, "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


# --- operators as C text -------------------------------------------------------------------------


def _numbers(values: Codes) -> str:
    return ", ".join(map(str, values.tolist())) or "0"


def _field(value: object, prefix: str, tables: list[str]) -> str:
    if isinstance(value, CTable):
        name = f"{prefix}_{value.suffix}"
        array = f"{value.ctype} {name}[{len(value.values)}]"
        tables.append(f"static const {array} = {{{_numbers(value.values)}}};")
        return name
    if isinstance(value, Mapping):
        fields = (f".{key} = {_field(v, prefix, tables)}" for key, v in value.items())
        return f"{{{', '.join(fields)}}}"
    return str(value)


def _call(layer: CLayer, arguments: int) -> str:
    inputs = "inputs" if layer.gathers else ", ".join(f"inputs[{i}]" for i in range(arguments))
    scratch = ", scratch" if layer.scratch else ""
    return f"tq_run_{layer.stem}(&layer, {inputs}, output{scratch});"


def case_text(case: Case, index: int) -> str:
    """The descriptor of a case and a function that runs it."""
    layer, tables = case.layer(), []
    fields = _field(layer.fields, f"c{index}", tables)
    return "\n".join(
        [
            *tables,
            *([layer.code] if layer.code else []),
            f"static void run_{index}(const void *const *inputs, void *output, void *scratch) {{",
            "    (void)scratch;",
            f"    static const tq_{layer.stem} layer = {fields};",
            f"    {_call(layer, len(case.ins))}",
            "}",
        ]
    )


def _record(case: Case, index: int) -> str:
    sizes = ", ".join(str(x.size) for x in case.ins)
    in_place = -1 if case.in_place is None else case.in_place
    return (
        f"{{run_{index}, {case.count}, {len(case.ins)}, {{{sizes}}}, {case.out.size}, {in_place}, "
        f"{case.layer().scratch}}},"
    )


def program_text(cases: Sequence[Case]) -> str:
    """A program that runs every case: see runner.h."""
    return "\n".join(
        [
            '#include "runner.h"',
            *(case_text(case, i) for i, case in enumerate(cases)),
            "const test_case test_cases[] = {",
            *(_record(case, i) for i, case in enumerate(cases)),
            "};",
            f"const unsigned test_case_count = {len(cases)};",
        ]
    )


# --- running -------------------------------------------------------------------------------------


def _bytes(codes: Codes) -> bytes:
    return (np.asarray(codes, np.int64) & 255).astype(np.uint8).tobytes()


def _input_bytes(case: Case) -> bytes:
    return b"".join(_bytes(x[i]) for i in range(case.count) for x in case.xs)


def _split(data: bytes, cases: Sequence[Case]) -> list[Codes]:
    """What the program wrote: for every inference guard, output, guard."""
    raw, outputs, start = np.frombuffer(data, np.uint8), [], 0
    for case in cases:
        width = case.out.size + 2 * GUARD
        block = raw[start : start + case.count * width].reshape(case.count, width)
        guards = np.concatenate([block[:, :GUARD], block[:, -GUARD:]], axis=1)
        assert (guards == GUARD_BYTE).all(), f"{case.label}: written outside the output"
        codes = block[:, GUARD:-GUARD].view(case.out.numpy_dtype)
        outputs.append(codes.reshape(case.count, *case.out.shape))
        start += block.size
    assert start == len(raw)
    return outputs


def run_program(cases: Sequence[Case], library: Path, folder: Path) -> list[Codes]:
    """Outputs of all cases from the C kernels, ``[N, *shape]`` each."""
    source, data, result = folder / "cases.c", folder / "in.bin", folder / "out.bin"
    source.write_text(program_text(cases))
    data.write_bytes(b"".join(map(_input_bytes, cases)))
    runner = Path(__file__).parent
    program = build(
        [source, runner / "runner.c", library],
        folder / "program",
        f"-I{runner}",
        f"-DGUARD={GUARD}",
    )
    run = subprocess.run(
        [str(program), str(data), str(result)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return _split(result.read_bytes(), cases)


def check_cases(cases: Sequence[Case], library: Path, folder: Path) -> None:
    """Assert that the kernels compute ``op.evaluate`` for every case."""
    for case, got in zip(cases, run_program(cases, library, folder), strict=True):
        expected = case.expected()
        wrong = np.argwhere(got.astype(np.int64) != expected)
        if len(wrong):
            at = tuple(wrong[0])
            pytest.fail(
                f"{case.label}: {len(wrong)} of {got.size} differ, first at {at}: expected "
                f"{expected[at]}, got {got[at]}\n{case.op}\n{case.ins} -> {case.out}"
            )
