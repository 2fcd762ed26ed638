# SPDX-License-Identifier: Apache-2.0
"""Which sources of the kernel library a program needs: all take some ten seconds a core.

Found in the text: a source is needed if it defines a ``tq_`` name that the program, or a source
already needed, mentions. A mention counts wherever it stands, a definition wherever a line that is
not indented could be one, so that rather too much is compiled than too little; a name that was
overlooked is an undefined reference for the linker, never a wrong program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_COMMENT: Final = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_NAME: Final = re.compile(r"\btq_\w+")
#: a function, or data with an initial value, at the start of a line
_DEFINITION: Final = re.compile(r"^(?!static\b|typedef\b|#)\w[^\n(=;]*?\b(tq_\w+)\s*[(=\[]", re.M)
#: a macro that makes a function of the names given
_MADE: Final = re.compile(r"^[A-Z][A-Z0-9_]*\(([^\n]*)", re.M)
#: a name that a macro completes, in C and in assembly: it counts by its beginning
_BEGINNING: Final = re.compile(r"\b(tq_\w*)(?:##|\\)")
_INCLUDE: Final = re.compile(r'^#include [<"]([\w./]+)[>"]', re.M)
#: a macro of a public header: its name, its text
_MACRO: Final = re.compile(r"^#define (TQ_\w+)\(((?:[^\n]*\\\n)*[^\n]*)", re.M)


@dataclass(frozen=True)
class _Text:
    """What a source says.

    Attributes:
        defines: names that it may define.
        beginnings: of names that its macros complete, to define or to mention them.
        mentions: all whole names.
        always: it defines what compilers call by themselves.
    """

    defines: frozenset[str]
    beginnings: tuple[str, ...]
    mentions: frozenset[str]
    always: bool

    def answers(self, wanted: _Wanted) -> bool:
        return (
            self.always
            or bool(self.defines & wanted.names)
            or any(name.startswith(self.beginnings) for name in wanted.names)
            or any(name.startswith(wanted.beginnings) for name in self.defines)
            or any(name.startswith(self.beginnings) for name in wanted.beginnings)
        )


@dataclass(frozen=True)
class _Wanted:
    """Names and beginnings of names that are mentioned somewhere."""

    names: frozenset[str]
    beginnings: tuple[str, ...]

    def with_mentions(self, texts: Iterable[_Text]) -> _Wanted:
        each = tuple(texts)
        names = self.names.union(*(text.mentions for text in each))
        return _Wanted(names, (*self.beginnings, *(b for text in each for b in text.beginnings)))


def needed_sources(library: Sequence[Path], users: Iterable[Path]) -> tuple[Path, ...]:
    """The sources of ``library`` that C or assembly files ``users`` need, in its order."""
    texts = {path: _read(path, path.stat().st_mtime_ns) for path in library}
    wanted = _Wanted(frozenset(), ()).with_mentions(
        _read(path, path.stat().st_mtime_ns) for path in users
    )
    needed: set[Path] = set()
    while found := {p for p in library if p not in needed and texts[p].answers(wanted)}:
        needed |= found
        wanted = wanted.with_mentions(texts[path] for path in found)
    return tuple(path for path in library if path in needed)


@cache
def _read(path: Path, changed: int) -> _Text:
    """``changed`` (ns): a file that has changed since is read again."""
    text = _plain(path)
    private = _included(path, path.parent)
    whole = "".join([text, *map(_plain, private)])
    public = "".join(map(_plain, _included(path, path.parent.parent / "include")))
    macros = (body for name, body in _MACRO.findall(public) if name in text)
    mentions = frozenset(_NAME.findall(whole))
    beginnings = set(_BEGINNING.findall("".join([whole, *macros])))
    if path.suffix == ".S":
        always = re.search(r"\.(global|weak) __", text) is not None
        return _Text(frozenset(_NAME.findall(text)), tuple(beginnings), mentions, always)
    made = (name for line in _MADE.findall(text) for name in _NAME.findall(line))
    defines = frozenset([*_DEFINITION.findall(text), *made])
    return _Text(defines, tuple(beginnings), mentions, always=False)


def _plain(path: Path) -> str:
    return _COMMENT.sub(" ", path.read_text())


def _included(path: Path, folder: Path) -> list[Path]:
    """The headers of ``folder`` that a source includes, with what these include in turn."""
    found: list[Path] = []
    waiting = [path]
    while waiting:
        own = (folder / name for name in _INCLUDE.findall(_plain(waiting.pop())))
        fresh = [header for header in own if header.is_file() and header not in found]
        found += fresh
        waiting += fresh
    return found
