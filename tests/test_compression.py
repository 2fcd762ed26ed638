# SPDX-License-Identifier: Apache-2.0
"""Estimated sizes against codes that are really written and read back."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from graphs import random_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyq.compression import RUN_BITS, compression, entropy_bytes, zero_run_bytes
from tinyq.encodings import ENCODINGS, encode_image


def write_runs(row: list[int], width: int) -> list[tuple[int, int]]:
    """(zeros before, code): a scheme that a decoder can read."""
    tokens, run = [], 0
    for value in row:
        if value == 0 and run < 2**width - 1:
            run += 1
        else:
            tokens.append((run, value))
            run = 0
    while tokens and tokens[-1][1] == 0:
        tokens.pop()
    return tokens


def read_runs(tokens: list[tuple[int, int]], length: int) -> list[int]:
    row = [x for run, value in tokens for x in [0] * run + [value]]
    return row + [0] * (length - len(row))


@given(hnp.arrays(np.int8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
                  elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, -3])))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_zero_runs_are_those_of_a_readable_code(rows: np.ndarray) -> None:
    sizes = []
    for width in RUN_BITS:
        written = [write_runs(row.tolist(), width) for row in rows]
        assert [read_runs(t, rows.shape[1]) for t in written] == rows.tolist()
        sizes.append(sum(-(-len(tokens) * (width + 4) // 8) for tokens in written))
    assert zero_run_bytes(rows, 4) == min(sizes)


def test_entropy() -> None:
    image = np.array([0] * 12 + [5] * 2 + [-1, 7], np.int8)
    bits = -sum(n * np.log2(n / 16) for n in Counter(image.tolist()).values())
    assert entropy_bytes(image) == np.ceil(bits / 8)
    assert entropy_bytes(np.zeros(1000, np.int8)) == 0
    assert entropy_bytes(np.arange(-64, 64).astype(np.int8)) == 128 * 7 // 8


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sizes_of_a_layer(encoding: str) -> None:
    weights = random_weights(np.random.default_rng(0), (6, 3, 3, 5), encoding)
    found = compression(weights)
    assert found.weights == 270
    assert found.zeros == int((weights.image() == 0).sum())
    assert found.stored_bytes == weights.packed().nbytes
    assert found.entropy_bytes <= found.stored_bytes
    both = found + found
    assert (both.weights, both.sparsity, both.ratio) == (540, found.sparsity, found.ratio)


def test_a_sparse_layer_is_small() -> None:
    image = np.zeros((16, 500), np.int64)
    image[:, ::50] = 3
    found = compression(encode_image(image, ENCODINGS["int8"], np.array([-5])))
    assert found.sparsity == 0.98
    assert found.entropy_bytes < found.zero_run_bytes < found.stored_bytes / 20
    assert found.ratio > 100
    nothing = compression(encode_image(image * 0, ENCODINGS["int4"], np.array([0])))
    assert (nothing.entropy_bytes, nothing.zero_run_bytes, nothing.sparsity) == (0, 0, 1.0)
