# SPDX-License-Identifier: Apache-2.0
"""Everything that can run an integer graph, by the name that ``--on`` gives it.

Adding one is a class with ``name``, ``run``, ``selftest`` and ``tools`` and an entry here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tinyq.backends.base import Backend
from tinyq.backends.emulated import EmulatedBackend
from tinyq.backends.numpy import NumpyBackend
from tinyq.backends.tflm import TflmBackend
from tinyq.cores import GENERIC
from tinyq.emulators import BACKENDS as EMULATORS
from tinyq.errors import InputError

__all__ = ["BACKENDS", "Backend", "EmulatedBackend", "find_backend"]

BACKENDS: Final[Mapping[str, Backend]] = {
    "numpy": NumpyBackend(),
    "tflm": TflmBackend(),
    **{name: EmulatedBackend(name) for name in EMULATORS},
}


def find_backend(
    name: str,
    core: str = GENERIC.name,
    kernels: Mapping[str, str] | None = None,
    ram: int | None = None,
) -> Backend:
    """The backend of that name.

    Args:
        core: whose kernels this computer runs; emulated cores run their own.
        kernels: kernel by layer, see ``Target.overrides``; only generated C has any.
        ram: bytes that the arena may have, see ``Target.ram``.

    Raises:
        InputError: there is none; the message lists those that there are.
    """
    if name not in BACKENDS:
        raise InputError(f"unknown backend '{name}'; choose one of {', '.join(BACKENDS)}")
    found = BACKENDS[name]
    return (
        found.with_target(core, kernels or {}, ram) if isinstance(found, EmulatedBackend) else found
    )
