# SPDX-License-Identifier: Apache-2.0
"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

#: called with what is being done, steps done, steps in all
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The listener that does nothing."""
