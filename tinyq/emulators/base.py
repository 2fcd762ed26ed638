# SPDX-License-Identifier: Apache-2.0
"""What every backend takes and gives: one request, one result, one protocol.

A backend runs the harness (firmware/src/main.c) in a folder of its own; how the request and the
result travel as files is in :mod:`tinyq.emulators.protocol`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tinyq.boards import Region
from tinyq.errors import TinyqError
from tinyq.toolchain import Image

#: how often a basic block (address, bytes) was left for an address
Edges = Mapping[tuple[int, int, int], int]


class RunError(TinyqError):
    """The program on the emulator did not end as it should."""


class RunTimeout(RunError):
    """The program was still running when its time was up."""


@dataclass(frozen=True)
class Scope:
    """What one call may touch besides its stack and constant data.

    Attributes:
        function: address of what is called.
        readable, writable: regions of RAM.
        label: what it is called in messages.
    """

    function: int
    readable: tuple[Region, ...]
    writable: tuple[Region, ...]
    label: str = ""


@dataclass(frozen=True)
class RunRequest:
    """What to run.

    Attributes:
        image: built for the backend's core (:func:`tinyq.toolchain.build_image`).
        inputs: the samples, one after another; of each all input tensors in their order.
        samples: how many.
        trace: give every layer's output tensor.
        profile: count the instructions of every inference and layer.
        selftest: run the model's self-test first.
        check_memory: prove for every load and store that it lies in the program's memory and, on
            cores that need it, is aligned (Unicorn only; slow).
        scopes: with ``check_memory``: the calls of an inference in their order; while each runs,
            what they call included, only what it names may be touched.
        constants: with ``scopes``: what any call may read in flash.
        timeout: seconds.
    """

    image: Image
    inputs: bytes = b""
    samples: int = 0
    trace: bool = False
    profile: bool = False
    selftest: bool = False
    check_memory: bool = False
    scopes: tuple[Scope, ...] = ()
    constants: tuple[Region, ...] = ()
    timeout: float = 600.0


@dataclass(frozen=True)
class Profile:
    """Executed instructions of one sample.

    Attributes:
        instructions: of one invoke with no hook set, its return included.
        layers: for every layer from the end of the previous one's hook (the first: from the entry
            of invoke) up to and including the call of its own hook.
        tail: from the last hook to the end of invoke.
        edges: the blocks of the invoke with no hook set, then those of every layer, with the branch
            that leads to its hook; empty where the backend knows none.
    """

    instructions: int
    layers: tuple[int, ...]
    tail: int
    edges: tuple[Edges, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class RunResult:
    """What came back.

    Attributes:
        machine: what ran it, e.g. ``QEMU mps2-an386``.
        outputs: per sample, all output tensors in their order.
        trace: per sample and layer, the output tensor; empty unless asked for.
        profiles: per sample; empty unless asked for.
        selftest: the self-test's result (0 is passed); None unless asked for.
        stack_bytes: deepest use of the stack, the harness included; None where it is not known.
        invoke_stack_bytes: of these below the call of invoke; at least what invoke needs, and more
            only where a hook or the harness's files go deeper.
        seconds: wall-clock time of the run.
    """

    machine: str
    outputs: tuple[bytes, ...]
    trace: tuple[tuple[bytes, ...], ...]
    profiles: tuple[Profile, ...]
    selftest: int | None
    seconds: float
    stack_bytes: int | None = None
    invoke_stack_bytes: int | None = None


class Emulator(Protocol):
    """One backend for one core (``host`` for this computer)."""

    @property
    def name(self) -> str:
        """The name on the command line, e.g. ``qemu-m4``."""

    @property
    def core(self) -> str:
        """What the image has to be built for."""

    def require(self) -> None:
        """Raises EmulatorMissing with what to install where the backend cannot run."""

    def version(self) -> str:
        """The emulator and its release, for certificates; empty for this computer."""

    def run(self, request: RunRequest) -> RunResult:
        """Run the program.

        Raises:
            EmulatorMissing: the emulator is not installed.
            RunTimeout, RunError: the program hung, crashed or broke the protocol.
            InputError: the backend does not offer what is asked for.
        """
