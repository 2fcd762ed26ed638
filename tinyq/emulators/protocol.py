# SPDX-License-Identifier: Apache-2.0
"""The files between Python and the harness; firmware/src/main.c is the other half.

Instruction counts come from clock readings under QEMU's ``-icount shift=S``: one instruction takes
2^S ns of virtual time, and the counter read by the harness ticks at f Hz, so an interval of n
instructions spans n * 2^S * f / 1e9 ticks. With S = 8 that is at least 4 ticks an instruction on
every board, so that rounding gives n exactly. What a reading itself costs is the same each time and
is calibrated out: two readings with one branch between them come first in every sequence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tinyq.emulators.base import Profile, RunError, RunRequest, RunResult

MAGIC = 0x31515154
SELFTEST, TRACE, PROFILE = 1, 2, 4
ICOUNT_SHIFT = 8
FILES = ("cmd", "in", "out", "trace", "profile", "report")

#: Arm's exceptions, and 16 + cause of RISC-V's traps
_FAULTS = {
    2: "NMI",
    3: "HardFault",
    4: "MemManage",
    5: "BusFault",
    6: "UsageFault",
    16: "instruction address misaligned",
    17: "instruction access fault",
    18: "illegal instruction",
    19: "breakpoint",
    20: "load address misaligned",
    21: "load access fault",
    22: "store address misaligned",
    23: "store access fault",
}
_CODES = {
    2: "the harness could not read or write its files",
    3: "the model's init failed",
    4: "this machine cannot count instructions",
    5: "the stack ran into the data below it",
}


def path_of(folder: Path, name: str) -> Path:
    """The file called ``name`` of FILES."""
    return folder / f"tinyq_{name}.bin"


def write_request(folder: Path, request: RunRequest) -> None:
    """Write the command and the inputs."""
    flags = SELFTEST * request.selftest | TRACE * request.trace | PROFILE * request.profile
    path_of(folder, "cmd").write_bytes(struct.pack("<3I", MAGIC, request.samples, flags))
    path_of(folder, "in").write_bytes(request.inputs)


def explain_exit(code: int) -> str:
    """An exit code of the harness in words."""
    if code > 128:
        return f"fault {code - 128} ({_FAULTS.get(code - 128, 'exception')})"
    return _CODES.get(code, "unknown exit code")


def check_exit(name: str, code: int, console: str = "") -> None:
    """Raise RunError unless the harness ended well."""
    if code:
        said = f": {console.strip().splitlines()[-1]}" if console.strip() else ""
        raise RunError(f"{name}: the program ended with {code}, {explain_exit(code)}{said}")


def read_result(
    folder: Path, request: RunRequest, machine: str, seconds: float, profiles: tuple[Profile, ...]
) -> RunResult:
    """Collect the harness's files; ``profiles`` come from the backend's own way of counting."""
    magic, done, selftest, stack, layers, in_bytes, out_bytes, outside = _report(folder)
    if magic != MAGIC or done != request.samples:
        raise RunError(f"{machine}: the program did {done} of {request.samples} samples")
    if len(request.inputs) != in_bytes * done:
        raise RunError(
            f"{machine}: {len(request.inputs)} bytes of input for {done} samples of {in_bytes}"
        )
    outputs = _read(folder, "out", out_bytes * done)
    records = list(_trace_records(_read(folder, "trace"))) if request.trace else []
    return RunResult(
        machine=machine,
        outputs=tuple(outputs[i * out_bytes : (i + 1) * out_bytes] for i in range(done)),
        trace=_by_sample(records, done, layers) if request.trace else (),
        profiles=profiles,
        selftest=_signed(selftest) if request.selftest else None,
        stack_bytes=stack or None,
        invoke_stack_bytes=stack - outside if stack and outside else None,
        seconds=seconds,
    )


def layer_count(folder: Path) -> int:
    """How many layers the program said that it has."""
    return _report(folder)[4]


def _report(folder: Path) -> tuple[int, ...]:
    """The harness's eight words."""
    return struct.unpack("<8I", _read(folder, "report", 32))


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _read(folder: Path, name: str, size: int | None = None) -> bytes:
    path = path_of(folder, name)
    data = path.read_bytes() if path.is_file() else b""
    if size is not None and len(data) != size:
        raise RunError(f"{path.name} holds {len(data)} bytes instead of {size}")
    return data


def _trace_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        layer, size = struct.unpack_from("<2I", data, position)
        position += 8
        yield layer, data[position : position + size]
        position += size


def _by_sample(
    records: list[tuple[int, bytes]], samples: int, layers: int
) -> tuple[tuple[bytes, ...], ...]:
    if [layer for layer, _ in records] != list(range(layers)) * samples:
        raise RunError(f"the trace does not hold {samples} x {layers} layers in their order")
    tensors = [tensor for _, tensor in records]
    return tuple(tuple(tensors[i * layers : (i + 1) * layers]) for i in range(samples))


def instructions_between(ticks: int, hertz: int) -> int:
    """Instructions in an interval of the counter (modulo 2^32), for ICOUNT_SHIFT."""
    numerator, denominator = (ticks % (1 << 32)) * 10**9, hertz << ICOUNT_SHIFT
    return (2 * numerator + denominator) // (2 * denominator)


def read_profiles(folder: Path, samples: int, hertz: int) -> tuple[Profile, ...]:
    """Instruction counts from the clock readings of every sample."""
    layers = layer_count(folder)
    size = 3 + 3 + layers
    words = struct.unpack(f"<{samples * size}I", _read(folder, "profile", 4 * samples * size))
    return tuple(
        profile_of(
            [instructions_between(b - a, hertz) for a, b in pairwise(words[i : i + 3])],
            [instructions_between(b - a, hertz) for a, b in pairwise(words[i + 3 : i + size])],
        )
        for i in range(0, len(words), size)
    )


def profile_of(plain: list[int], hooked: list[int]) -> Profile:
    """From instructions between readings to a profile.

    Args:
        plain: [calibration, inference] with no hook set.
        hooked: [calibration, layer 0, ..., last layer, tail].

    The calibration spans one reading and one branch. ``invoke`` is entered by a branch as well, and
    the last reading is called by one.
    """
    reading = hooked[0] - 1
    first, *others = (count - reading for count in hooked[1:])
    return Profile(plain[1] - (plain[0] - 1) - 2, (first - 1, *others[:-1]), others[-1] - 1)
