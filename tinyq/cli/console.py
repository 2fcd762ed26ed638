# SPDX-License-Identifier: Apache-2.0
"""What all commands share: output, progress, one clear line for errors, JSON files."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tinyq import progress
from tinyq.errors import OutputError
from tinyq.files import write_atomic

CHECK_FAILED: Final = 1
BAD_INPUT: Final = 2
#: width of tables where nothing is known of the terminal: files and pipes do not wrap lines
_PLAIN_WIDTH: Final = 140


def console() -> Console:
    """Standard output; plain text where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


def say(text: str) -> None:
    """One line on standard output, unwrapped."""
    console().print(text, markup=False, soft_wrap=True)


def complain(message: str) -> None:
    """Exactly one line on standard error."""
    sys.stderr.write(f"tinyq: error: {' '.join(message.split())}\n")


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line on standard error for a warning of ours."""
    sys.stderr.write(f"tinyq: warning: {' '.join(str(message).split())}\n")


@contextmanager
def own_standard_error() -> Iterator[None]:
    """Keep standard error for our lines.

    TensorFlow writes banners to file descriptor 2 past Python, whatever it is told, and warns
    through ``warnings`` and ``logging``.  All of it is dropped, unless ``TINYQ_DEBUG`` is set;
    warnings of tinyq itself stay, one line each.
    """
    if os.environ.get("TINYQ_DEBUG"):
        yield
        return
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    before, saved = sys.stderr, os.dup(2)
    with Path(os.devnull).open("wb") as hole:
        os.dup2(hole.fileno(), 2)
    sys.stderr = os.fdopen(os.dup(saved), "w", buffering=1, errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, module=r"tinyq\.")
            warnings.showwarning = _warn
            yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        os.dup2(saved, 2)
        os.close(saved)


@contextmanager
def progress_bar() -> Iterator[progress.Progress]:
    """A listener that draws a bar per task on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield progress.silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def listen(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield listen


def write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    """The result of a command for scripts; nothing without ``--json``."""
    if path is not None:
        write_atomic(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def check_writable(*paths: Path | None, keep: Sequence[Path | None] = ()) -> None:
    """Refuse a path that cannot be written before any work is done (OutputError).

    Args:
        paths: what the command writes; no two may be the same.
        keep: files that the command reads, which it must not write over.
    """
    taken = {path.resolve() for path in keep if path is not None}
    for path in paths:
        if path is None:
            continue
        _check_writable(path)
        if path.resolve() in taken:
            raise OutputError(
                f"cannot write {path}: this command reads or writes it already; choose another path"
            )
        taken.add(path.resolve())


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give a file name")
    check_folder(path.parent, path)


def check_folder(folder: Path, wanted: Path | None = None) -> None:
    """Refuse a folder that is neither writable nor can be made (OutputError)."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        reason = f"{existing} is not a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        reason = f"folder {existing} is read-only"
    else:
        return
    raise OutputError(
        f"cannot write {wanted or folder}: {reason}; choose another path or change its permissions"
    )
