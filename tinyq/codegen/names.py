# SPDX-License-Identifier: Apache-2.0
"""Names of models in C: what is allowed, and why not."""

from __future__ import annotations

import re
from typing import Final

from tinyq.errors import InputError

MAX_NAME: Final = 48
_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z", re.ASCII)

#: C11 and C++20, because the header is for both
_KEYWORDS: Final = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
    char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
    constinit continue decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long main mutable namespace new noexcept not
    not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires
    restrict return short signed sizeof static static_assert static_cast struct switch template
    this thread_local throw true try typedef typeid typename union unsigned using virtual void
    volatile wchar_t while xor xor_eq
"""
#: the model's header is <name>.h and must not hide one of these
_HEADERS: Final = """
    alloca assert complex ctype errno fenv float inttypes iso646 limits locale malloc math memory
    new setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn
    string strings tgmath threads time uchar unistd wchar wctype arduino
"""


def check_model_name(name: str) -> str:
    """The name, if functions, macros, a folder and a header can be called after it.

    Raises:
        InputError: it is not a C identifier, reserved, or belongs to the kernel library.
    """
    if not _IDENTIFIER.match(name):
        raise InputError(f"--name {name!r} is not a C identifier: use letters, digits and _")
    lower = name.lower()
    if len(name) > MAX_NAME:
        raise InputError(f"--name {name} has {len(name)} characters, at most {MAX_NAME}")
    if lower in _KEYWORDS.split() or lower in _HEADERS.split():
        raise InputError(f"--name {name} is reserved in C or C++; choose another, e.g. {name}_net")
    if re.match(r"(tq|tinyq)(_|\Z)", lower):
        raise InputError(f"--name {name} collides with the kernel library; choose another prefix")
    return name
