# SPDX-License-Identifier: Apache-2.0
"""Weight encodings: images, packing, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import random_weights
from hypothesis import given
from hypothesis import strategies as st

from tinyq.encodings import (
    ENCODINGS,
    Weights,
    encode_image,
    fixed_levels,
    pack_codes,
    unpack_codes,
)
from tinyq.errors import GraphError

NAMES = sorted(ENCODINGS)


@given(st.sampled_from(NAMES), st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 19))
def test_packing_is_lossless_and_row_aligned(name: str, seed: int, rows: int, count: int) -> None:
    form = ENCODINGS[name]
    w = random_weights(np.random.default_rng(seed), (rows, count), name)
    packed = w.packed()
    assert len(packed) == rows * -(-count * form.bits // 8)
    assert np.array_equal(unpack_codes(packed, w.shape, form.bits, form.is_uniform), w.codes)


def test_first_code_is_in_the_low_bits() -> None:
    assert pack_codes(np.array([[1, 2, 3]], np.int8), 4).tolist() == [0x21, 0x03]
    assert pack_codes(np.array([[-1, 1]], np.int8), 4).tolist() == [0x1F]
    assert pack_codes(np.array([[1, 2, 3]], np.int8), 3).tolist() == [0b11_010_001, 0]


@given(st.sampled_from(NAMES), st.integers(0, 2**32))
def test_an_image_survives_encoding(name: str, seed: int) -> None:
    w = random_weights(np.random.default_rng(seed), (4, 3, 3), name, per_channel=True)
    again = encode_image(w.image(), ENCODINGS[name], w.exponents, w.table)
    assert np.array_equal(again.image(), w.image())
    assert np.array_equal(
        again.codes, encode_image(w.image(), ENCODINGS[name], w.exponents, w.table).codes
    )


def test_real_weights_use_the_exponent_of_their_channel() -> None:
    w = encode_image(np.array([[1, -2], [3, 4]]), ENCODINGS["int8"], np.array([-1, 2]))
    assert w.real().tolist() == [[0.5, -1.0], [12.0, 16.0]]


def test_levels_outside_the_table_are_refused() -> None:
    with pytest.raises(GraphError, match="outside the 4 levels of lut2"):
        encode_image(np.array([[5]]), ENCODINGS["lut2"], np.array([0]), np.array([-1, 0, 1]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("int9", np.zeros((1, 1), np.int8), np.zeros(1, np.int32)), "unknown weight encoding"),
        (("int4", np.full((1, 1), -8, np.int8), np.zeros(1, np.int32)), r"outside -7\.\.7"),
        (("int8", np.zeros((2, 1), np.int8), np.zeros(3, np.int32)), "exponents of shape"),
        (("lut4", np.zeros((1, 1), np.int8), np.zeros(1, np.int32)), "table of shape None"),
        (("int8", np.zeros((1, 1), np.int16), np.zeros(1, np.int32)), "must be int8"),
    ],
)
def test_broken_weights_are_refused(fields: tuple, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Weights(*fields)


MAGNITUDES = {
    "pot4": [0, 1, 2, 4, 8, 16, 32, 64],
    "pot3": [0, 1, 2, 4],
    "apot4": [0, 1, 8, 4, 2, 3, 10, 6],
    "apot3": [0, 1, 2, 3],
}


@pytest.mark.parametrize("name", MAGNITUDES)
def test_shifting_codes_are_a_sign_above_a_magnitude(name: str) -> None:
    magnitudes = np.array(MAGNITUDES[name])
    form = ENCODINGS[name]
    codes = np.arange(2**form.bits, dtype=np.int8)
    image = Weights(name, codes[None], np.zeros(1, np.int32)).image()[0]
    assert np.array_equal(image, np.concatenate([magnitudes, -magnitudes]))
    assert np.array_equal(fixed_levels(form), np.unique(image))


@pytest.mark.parametrize("name", MAGNITUDES)
def test_a_negative_zero_reads_as_zero_and_is_never_written(name: str) -> None:
    form = ENCODINGS[name]
    negative_zero = np.full((1, 3), 2 ** (form.bits - 1), np.int8)
    read = Weights(name, negative_zero, np.zeros(1, np.int32))
    assert not read.image().any()
    assert not encode_image(read.image(), form, read.exponents).codes.any()


def test_additive_codes_are_sums_of_two_terms() -> None:
    """The levels of APoT: one of {0, 2^-1, 2^-2, 2^-4} and one of {0, 2^-3}, in units of 2^-4."""
    sums = {a + b for a in (0, 8, 4, 1) for b in (0, 2)}
    assert {abs(level) for level in ENCODINGS["apot4"].levels} == sums


def test_levels_outside_an_encoding_are_refused() -> None:
    for name, value in (("pot4", 3), ("pot3", 8), ("apot4", 5), ("apot3", -4)):
        with pytest.raises(GraphError, match=f"levels of {name}"):
            encode_image(np.array([[value]]), ENCODINGS[name], np.array([0]))
