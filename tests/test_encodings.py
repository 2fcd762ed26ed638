# SPDX-License-Identifier: Apache-2.0
"""Weight encodings: images, packing, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import random_weights
from hypothesis import given
from hypothesis import strategies as st

from tinyq.encodings import ENCODINGS, Weights, encode_image, pack_codes, unpack_codes
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
    assert np.array_equal(again.codes, encode_image(w.image(), ENCODINGS[name], w.exponents,
                                                    w.table).codes)


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
