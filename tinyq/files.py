# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all: write beside the target, then rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinyq.errors import OutputError


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` in one step, creating parent folders.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}; choose another path with -o or change its permissions"
        ) from error


def write_tree(root: Path, files: Mapping[str, bytes | str]) -> tuple[str, ...]:
    """Write ``{relative path: content}`` under ``root``; unchanged files keep their time stamps.

    Returns:
        the relative paths that were written.
    """
    changed = []
    for name, content in sorted(files.items()):
        data = content.encode() if isinstance(content, str) else content
        path = root / name
        if not (path.is_file() and path.read_bytes() == data):
            write_atomic(path, data)
            changed.append(name)
    return tuple(changed)
