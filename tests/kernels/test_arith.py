# SPDX-License-Identifier: Apache-2.0
"""arith.h and crc32.h against tinyq.numerics and zlib, through a shared library."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.harness import LIBRARY, WARNINGS, build_shared
from tinyq import numerics

EXPORTS = """
#include <tinyq/tinyq.h>
int32_t tflite(int32_t acc, uint32_t n) { return tq_round_shift_tflite(acc, n); }
int32_t folded(int32_t acc, uint32_t n) { return tq_round_shift(acc, n, TQ_ROUND_FOLDED); }
int32_t away(int32_t acc, uint32_t n) { return tq_round_shift_away(acc, n); }
int32_t average(int32_t t, uint32_t count) { return tq_divide_away(t, count); }
int32_t clamp(int32_t x, int32_t lo, int32_t hi) { return tq_clamp(x, lo, hi); }
int32_t read_byte(uint8_t x, int is_signed) { return tq_read(x, tq_sign_bit(is_signed)); }
"""
SHIFTS = st.integers(0, 31)


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions above."""
    library = build_shared(EXPORTS, tmp_path_factory.mktemp("arith"), "crc32.c", "arith.c")
    library.tq_crc32.restype = ctypes.c_uint32
    return library


@st.composite
def accumulators(draw: st.DrawFn) -> tuple[int, int]:
    """A shift and an accumulator that the proof of 32 bits admits with it, often at a tie."""
    n = draw(SHIFTS)
    limit = numerics.INT32_MAX - numerics.rounding_margin(n)
    near_tie = st.builds(
        lambda k, d: max(-limit, min(limit, (k << n >> 1) + d)),
        st.integers(-300, 300),
        st.integers(-2, 2),
    )
    return draw(
        st.one_of(near_tie, st.integers(-limit, limit), st.sampled_from([-limit, limit]))
    ), n


def python(rule: str, acc: int, n: int) -> int:
    """The rule of tinyq.numerics on one number."""
    return int(numerics.ROUNDINGS[rule](np.array(acc, np.int64), np.array(n, np.int64)))


@given(accumulators())
def test_tflite(c: ctypes.CDLL, pair: tuple[int, int]) -> None:
    assert c.tflite(*pair) == python("tflite", *pair)


@given(accumulators())
def test_half_away(c: ctypes.CDLL, pair: tuple[int, int]) -> None:
    assert c.away(*pair) == python("half_away", *pair)


@given(accumulators())
def test_half_up_is_a_folded_constant(c: ctypes.CDLL, pair: tuple[int, int]) -> None:
    acc, n = pair
    constant = int(numerics.rounding_constant(np.array(n), "half_up"))
    assert c.folded(acc + constant, n) == python("half_up", acc, n)


@given(accumulators())
def test_tflite_before_relu_is_a_folded_constant(c: ctypes.CDLL, pair: tuple[int, int]) -> None:
    acc, n = pair
    constant = int(numerics.rounding_constant(np.array(n), "tflite"))
    assert max(c.folded(acc + constant, n), 0) == max(python("tflite", acc, n), 0)


@given(st.integers(1, 1 << 22), st.data())
def test_average(c: ctypes.CDLL, count: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(-128 * count, 128 * count))
    assert c.average(total, count) == int(numerics.divide_half_away(np.int64(total), count))


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-128, 255), st.integers(-128, 255))
def test_clamp(c: ctypes.CDLL, x: int, a: int, b: int) -> None:
    lo, hi = min(a, b), max(a, b)
    assert c.clamp(x, lo, hi) == min(max(x, lo), hi)


def test_every_byte(c: ctypes.CDLL) -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert [c.read_byte(i, 0) for i in range(256)] == codes.tolist()
    assert [c.read_byte(i, 1) for i in range(256)] == codes.view(np.int8).tolist()


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_crc32_is_zlibs(c: ctypes.CDLL, a: bytes, b: bytes) -> None:
    assert c.tq_crc32(0, a, len(a)) == zlib.crc32(a)
    assert c.tq_crc32(zlib.crc32(a), b, len(b)) == zlib.crc32(a + b)


def test_headers_include_from_cpp(tmp_path: Path) -> None:
    """Every header by itself, in C99 and in C++11."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not on PATH")
    for header in sorted((LIBRARY / "include" / "tinyq").glob("*.h")):
        text = f"#include <tinyq/{header.name}>\n" * 2 + "int main(void) { return 0; }\n"
        for tool, standard, suffix in (("gcc", "c99", "c"), ("g++", "c++11", "cpp")):
            source = tmp_path / f"{header.stem}.{suffix}"
            source.write_text(text)
            flags = [f"-std={standard}", *WARNINGS[1:], f"-I{LIBRARY / 'include'}"]
            command = [tool, *flags, "-fsyntax-only", str(source)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stderr
