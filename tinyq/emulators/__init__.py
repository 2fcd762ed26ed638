# SPDX-License-Identifier: Apache-2.0
"""Emulated cores and this computer behind one interface.

``BACKENDS["qemu-m4"]()`` gives an :class:`Emulator`; :func:`build` compiles the image that it
takes. Adding a backend is one file with a class that has ``name``, ``core``, ``require`` and
``run``, and its entries here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tinyq.boards import core_boards
from tinyq.emulators.base import (
    Emulator,
    Profile,
    RunError,
    RunRequest,
    RunResult,
    RunTimeout,
)
from tinyq.emulators.host import Host
from tinyq.emulators.qemu import Qemu
from tinyq.emulators.renode import Renode, renode_cores
from tinyq.emulators.unicorn import MODELS, Unicorn
from tinyq.errors import InputError
from tinyq.toolchain import Image, Part, build_host_image, build_image

__all__ = [
    "BACKENDS",
    "Emulator",
    "Profile",
    "RunError",
    "RunRequest",
    "RunResult",
    "RunTimeout",
    "build",
    "emulator",
]

BACKENDS: Mapping[str, Callable[[], Emulator]] = {
    "host": Host,
    **{f"qemu-{core}": partial(Qemu, core) for core in core_boards()},
    **{f"unicorn-{core}": partial(Unicorn, core) for core in MODELS},
    **{f"renode-{core}": partial(Renode, core) for core in renode_cores()},
}


def emulator(name: str) -> Emulator:
    """The backend of this name, ready to run.

    Raises:
        InputError: no such backend.
        EmulatorMissing: it is not installed.
    """
    if name not in BACKENDS:
        raise InputError(f"unknown backend '{name}': choose one of {', '.join(BACKENDS)}")
    found = BACKENDS[name]()
    found.require()
    return found


def build(backend: Emulator, model: Sequence[Part], symbol: str) -> Image:
    """The harness around a model, for a backend.

    Args:
        model: the model's parts and the kernel library's.
        symbol: its ``tq_model``, e.g. ``net_model``.

    Raises:
        ToolMissing, BuildError: see :mod:`tinyq.toolchain`.
    """
    if backend.core == "host":
        return build_host_image(model, symbol)
    return build_image(model, symbol, backend.core)
