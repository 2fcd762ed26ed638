# SPDX-License-Identifier: Apache-2.0
"""How small weights could be stored: share of zeros, entropy, runs of zeros.

Estimates beside the bytes that the firmware stores; no kernel reads compressed weights.  Tables,
biases and shifts are left out.

- *entropy*: bits of an ideal code for the image of each weight on its own, from the layer's own
  frequencies, H = -sum p log2 p; a real coder also stores those frequencies.
- *zero runs* (as in Han et al., *Deep Compression*, arXiv 1510.00149): each weight that is not zero
  is stored as the number of zeros before it, in r bits, then its code; a longer run takes stored
  zeros in between.  r is the best of 1..8 for the layer; channels are padded to whole bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS, Weights

RUN_BITS: Final = range(1, 9)
FLOAT_BYTES: Final = 4


@dataclass(frozen=True)
class Compression:
    """Sizes of one layer's weights, or of several together.

    Attributes:
        weights: how many; zeros: how many of them are zero.
        stored_bytes: packed as the firmware stores them.
        entropy_bytes, zero_run_bytes: estimates, see the module.
    """

    weights: int
    zeros: int
    stored_bytes: int
    entropy_bytes: int
    zero_run_bytes: int

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / max(self.weights, 1)

    @property
    def ratio(self) -> float:
        """float32 bytes by entropy-coded ones."""
        return FLOAT_BYTES * self.weights / max(self.entropy_bytes, 1)

    def __add__(self, other: Compression) -> Compression:
        return Compression(
            self.weights + other.weights,
            self.zeros + other.zeros,
            self.stored_bytes + other.stored_bytes,
            self.entropy_bytes + other.entropy_bytes,
            self.zero_run_bytes + other.zero_run_bytes,
        )


def compression(weights: Weights) -> Compression:
    """Sizes of one layer's weights."""
    image = weights.image()
    rows = image.reshape(image.shape[0], -1)
    return Compression(
        image.size,
        int((image == 0).sum()),
        len(weights.packed()),
        entropy_bytes(image),
        zero_run_bytes(rows, ENCODINGS[weights.encoding].bits),
    )


def entropy_bytes(image: npt.NDArray[np.int8]) -> int:
    """Bytes of an ideal code for each weight on its own."""
    counts = np.unique(image, return_counts=True)[1]
    bits = (counts * np.log2(image.size / counts)).sum()
    return int(np.ceil(bits / 8 - 1e-9))


def zero_run_bytes(rows: npt.NDArray[np.int8], bits: int) -> int:
    """Bytes of ``rows`` [O, K] with runs of zeros counted; ``bits`` of a code."""
    runs = [_zero_runs(row) for row in rows]
    return min(
        sum(-(-_tokens(run, width) * (width + bits) // 8) for run in runs) for width in RUN_BITS
    )


def _zero_runs(row: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Zeros before each weight that is not zero; those after the last need no storing."""
    return np.diff(np.flatnonzero(row), prepend=-1) - 1


def _tokens(runs: npt.NDArray[np.int64], width: int) -> int:
    """Stored weights: one a run, and one zero for every 2**width zeros that a run cannot count."""
    return len(runs) + int((runs >> width).sum())
