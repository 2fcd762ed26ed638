# SPDX-License-Identifier: Apache-2.0
"""tinyq: a Keras model becomes an integer-only C library, proved equal to the bit.

The functions of ``tinyq.api`` are reachable here; they are loaded at their first use, so that
``import tinyq`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tinyq.api import (
        explain,
        export,
        inspect,
        load,
        profile,
        quantize,
        run,
        save,
        size,
        train,
        verify,
    )

__all__ = [
    "explain",
    "export",
    "inspect",
    "load",
    "profile",
    "quantize",
    "run",
    "save",
    "size",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tinyq' has no attribute '{name}'")
    from tinyq import api

    return getattr(api, name)
