# SPDX-License-Identifier: Apache-2.0
"""TFLM's DECODE operator: weights stored as indices into a table of values.

DECODE takes pairs (indices, ancillary) and writes the expanded weights into the arena: flash is
saved, RAM is not.  The indices are a bit string, most significant bit first, in the order of the
tensor.  The ancillary bytes are a header of 16 and the table:

    [0] 0: a lookup table   [1] 1: version   [4] 1: version of the table
    [5] axis << 4 | bits    [6] entries from one channel's table to the next

TFLM takes the number of channels from the *scales* of the expanded tensor, whatever the axis says:
one table with scales per channel therefore needs a step of 0 and the channel's axis, otherwise
every channel after the first reads past the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

#: Wider indices save too little and leave TFLM's fast paths.
MAX_BITS: Final = 4
#: Bytes of a file that two more tensors and an operator take.
OVERHEAD: Final = 320
_HEADER_BYTES: Final = 16
_PER_TENSOR_AXIS: Final = 15


@dataclass(frozen=True)
class EncodedWeights:
    """The two inputs of DECODE, uint8 each."""

    indices: npt.NDArray[np.uint8]
    ancillary: npt.NDArray[np.uint8]


def encode(image: npt.NDArray[np.int8], per_channel: bool, axis: int) -> EncodedWeights | None:
    """``image`` (int8, TFLite's layout) for DECODE; None where that would not be smaller.

    Args:
        per_channel: the tensor has a scale for each of its channels on ``axis``.
    """
    values, indices = np.unique(image, return_inverse=True)
    bits = max(1, int(len(values) - 1).bit_length())
    if bits > MAX_BITS:
        return None
    header = np.zeros(_HEADER_BYTES, np.uint8)
    header[[1, 4]] = 1
    header[5] = (axis if per_channel else _PER_TENSOR_AXIS) << 4 | bits
    header[6] = 0 if per_channel else 2**bits
    table = np.pad(values, (0, 2**bits - len(values))).view(np.uint8)
    encoded = EncodedWeights(pack_indices(indices, bits), np.concatenate([header, table]))
    stored = len(encoded.indices) + len(encoded.ancillary) + OVERHEAD
    return encoded if stored < image.size else None


def pack_indices(indices: npt.NDArray[np.intp], bits: int) -> npt.NDArray[np.uint8]:
    """A bit string of ``bits`` per index, most significant first, padded to whole bytes."""
    places = np.arange(bits - 1, -1, -1)
    return np.packbits((indices.reshape(-1, 1) >> places & 1).astype(np.uint8))


def pack_nibbles(image: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """TFLite's INT4 buffer: two's complement, the first of a pair in the low nibble."""
    nibbles = np.pad(image.reshape(-1).view(np.uint8) & 15, (0, image.size % 2))
    pairs: npt.NDArray[np.uint8] = nibbles[::2] | nibbles[1::2] << 4
    return pairs
