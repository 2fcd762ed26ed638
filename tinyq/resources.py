# SPDX-License-Identifier: Apache-2.0
"""Where templates/ and firmware/ are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _find(name: str) -> Path:
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def templates_dir() -> Path:
    """The folder of Jinja2 templates."""
    return _find("templates")


def firmware_dir() -> Path:
    """The PlatformIO project; its ``lib/tinyq`` is the kernel library."""
    return _find("firmware")
