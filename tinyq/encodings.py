# SPDX-License-Identifier: Apache-2.0
"""Weight encodings: what a stored code means, and how codes are packed into bytes.

A weight is ``image(code) * 2**exponent``: every encoding has an exact int8 *image* in [-127, 127],
so one integer graph serves all of them.  Uniform codes are two's complement numbers, table codes
are indices into a table of int8 entries that belongs to the layer.  Power-of-two (pot) and additive
power-of-two (apot) codes are a sign above a magnitude code that says how far to shift an activation
(Przewlocka-Rus et al., arXiv 2203.05025; the layout of the bits is ours); magnitude code 0 is zero.
A sign with magnitude code 0 reads as 0 and is never written.

Packing: the codes of one output channel form a little-endian bit string, code i in the bits
[i*b, (i+1)*b), padded to a whole byte, so that every channel starts at a byte.

Adding an encoding is an entry of ``ENCODINGS`` here and one ``dot_<name>.c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import GraphError
from tinyq.numerics import IntArray

ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Encoding:
    """How the codes of a layer are stored.

    Attributes:
        name: the name users write, and the suffix of the C dot product.
        bits: bits of one stored code.
        levels: the fixed image of code 0, 1, ... for an encoding with constant levels; ``None``
            for uniform codes (the image is the code) and for tables of the layer's own.
        uses_table: the layer owns a table of ``2**bits`` int8 entries.
    """

    name: str
    bits: int
    levels: tuple[int, ...] | None = None
    uses_table: bool = False

    @property
    def is_uniform(self) -> bool:
        """True when the image of a code is the code itself."""
        return not self.uses_table and self.levels is None

    @property
    def max_level(self) -> int:
        """Largest magnitude that an image can take."""
        if self.levels is not None:
            return max(abs(level) for level in self.levels)
        return 127 if self.uses_table else 2 ** (self.bits - 1) - 1

    @property
    def table_entries(self) -> int:
        """Entries of the layer's table; 0 where there is none."""
        return 2**self.bits if self.uses_table else 0


def _with_sign(magnitudes: tuple[int, ...]) -> tuple[int, ...]:
    """Levels of the codes magnitude, then sign + magnitude, for each magnitude code."""
    return (*magnitudes, *(-magnitude for magnitude in magnitudes))


#: Magnitude code m: bit 2 adds 2; the bits below add nothing (0), else 2**((m & 3) ^ 1).
_APOT4: Final = (0, 1, 8, 4, 2, 3, 10, 6)

ENCODINGS: Final[dict[str, Encoding]] = {
    e.name: e
    for e in (
        Encoding("int8", 8),
        Encoding("int4", 4),
        Encoding("int3", 3),
        Encoding("int2", 2),
        Encoding("lut4", 4, uses_table=True),
        Encoding("lut3", 3, uses_table=True),
        Encoding("lut2", 2, uses_table=True),
        Encoding("pot4", 4, levels=_with_sign((0, *(2**k for k in range(7))))),
        Encoding("pot3", 3, levels=_with_sign((0, *(2**k for k in range(3))))),
        Encoding("apot4", 4, levels=_with_sign(_APOT4)),
        Encoding("apot3", 3, levels=_with_sign((0, 1, 2, 3))),
    )
}


@dataclass(frozen=True)
class Weights:
    """Quantized weights of one layer.

    Attributes:
        encoding: key of ``ENCODINGS``.
        codes: int8 ``[O, ...]``; two's complement values (uniform) or indices >= 0 (table).
        exponents: int32 ``[1]`` (per tensor) or ``[O]`` (per output channel).
        table: int8 ``[2**bits]`` for table encodings, else ``None``.
    """

    encoding: str
    codes: npt.NDArray[np.int8]
    exponents: npt.NDArray[np.int32]
    table: npt.NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        check_weights(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the codes, output channel first."""
        return self.codes.shape

    def image(self) -> npt.NDArray[np.int8]:
        """The int8 value of every weight, ``[O, ...]``, in units of ``2**exponent``."""
        encoding = ENCODINGS[self.encoding]
        if encoding.is_uniform:
            return self.codes
        levels = self.table if self.table is not None else np.array(encoding.levels, np.int8)
        decoded: npt.NDArray[np.int8] = levels[self.codes.astype(np.intp)]
        return decoded

    def exponents_per_channel(self) -> npt.NDArray[np.int32]:
        """Exponents ``[O]``, repeated where they are per tensor."""
        return np.broadcast_to(self.exponents, (self.codes.shape[0],)).astype(np.int32)

    def real(self) -> npt.NDArray[np.float64]:
        """The weights as float64 ``[O, ...]``."""
        exponents = self.exponents_per_channel().reshape((-1,) + (1,) * (self.codes.ndim - 1))
        return np.ldexp(self.image().astype(np.float64), exponents)

    def packed(self) -> ByteArray:
        """The bytes that the firmware stores (see the module's docstring), one-dimensional."""
        return pack_codes(self.codes, ENCODINGS[self.encoding].bits)

    def take(self, channels: IntArray) -> Weights:
        """The weights of the given output channels."""
        exponents = self.exponents if len(self.exponents) == 1 else self.exponents[channels]
        return Weights(self.encoding, self.codes[channels], exponents, self.table)


def check_weights(weights: Weights) -> None:
    """Refuse codes, tables and exponents that break the encoding's rules (GraphError)."""
    if weights.encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise GraphError(f"unknown weight encoding '{weights.encoding}'; known: {known}")
    encoding = ENCODINGS[weights.encoding]
    codes, low, high = weights.codes, *code_range(encoding)
    if codes.dtype != np.int8 or codes.ndim < 1:
        raise GraphError(f"{encoding.name} codes must be int8 [O, ...], got {codes.dtype}")
    if codes.size and (codes.min() < low or codes.max() > high):
        raise GraphError(
            f"{encoding.name} codes {codes.min()}..{codes.max()} outside {low}..{high}"
        )
    if weights.exponents.shape not in ((1,), (codes.shape[0],)):
        raise GraphError(f"exponents of shape {weights.exponents.shape} for {codes.shape[0]} rows")
    table = weights.table
    entries = None if table is None else table.shape
    if entries != ((encoding.table_entries,) if encoding.uses_table else None):
        raise GraphError(f"{encoding.name} table of shape {entries}")
    if table is not None and (table.dtype != np.int8 or table.min() < -127):
        raise GraphError(f"{encoding.name} table entries must be int8 in -127..127")


def code_range(encoding: Encoding) -> tuple[int, int]:
    """Smallest and largest stored code; uniform codes are narrow range (symmetric)."""
    if encoding.is_uniform:
        return -encoding.max_level, encoding.max_level
    count = len(encoding.levels) if encoding.levels is not None else encoding.table_entries
    return 0, count - 1


def pack_codes(codes: npt.NDArray[np.int8], bits: int) -> ByteArray:
    """Pack codes ``[O, ...]`` into bytes ``[O * ceil(K * bits / 8)]``, channel by channel."""
    rows = np.ascontiguousarray(codes).reshape(codes.shape[0], -1).view(np.uint8)
    if bits == 8:
        return rows.reshape(-1)
    stream = (rows[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(stream.reshape(len(rows), -1), axis=1, bitorder="little").reshape(-1)


def unpack_codes(
    packed: ByteArray, shape: tuple[int, ...], bits: int, signed: bool
) -> npt.NDArray[np.int8]:
    """The inverse of ``pack_codes``: int8 codes of the given shape ``[O, ...]``."""
    count = int(np.prod(shape[1:]))
    stream = np.unpackbits(packed.reshape(shape[0], -1), axis=1, bitorder="little")
    values = stream[:, : count * bits].reshape(shape[0], count, bits).astype(np.int64)
    codes = values @ (1 << np.arange(bits))
    if signed:
        codes = codes - ((codes >> (bits - 1)) << bits)
    return codes.reshape(shape).astype(np.int8)


def fixed_levels(encoding: Encoding) -> npt.NDArray[Any] | None:
    """Sorted int64 levels of an encoding whose levels are known beforehand; None for tables."""
    if encoding.uses_table:
        return None
    if encoding.levels is not None:
        return np.unique(np.array(encoding.levels, np.int64))
    return np.arange(-encoding.max_level, encoding.max_level + 1, dtype=np.int64)


def encode_image(
    image: IntArray,
    encoding: Encoding,
    exponents: IntArray,
    table: IntArray | None = None,
) -> Weights:
    """Weights whose int8 image is exactly ``image`` (int, ``[O, ...]``).

    ``table`` holds at most ``2**bits`` distinct entries for table encodings; it is sorted and
    padded by repeating its last entry, and codes point at the first equal entry.
    """
    exponents = np.atleast_1d(np.asarray(exponents)).astype(np.int32)
    if encoding.is_uniform:
        return Weights(encoding.name, image.astype(np.int8), exponents)
    if encoding.uses_table:
        entries = np.unique(np.asarray(image if table is None else table, np.int64))
        full = np.pad(entries, (0, encoding.table_entries - len(entries)), mode="edge")
        stored: npt.NDArray[np.int8] | None = full.astype(np.int8)
    else:
        full, stored = np.array(encoding.levels, np.int64), None
    order = np.argsort(full, kind="stable")
    positions = np.searchsorted(full[order], np.asarray(image, np.int64))
    codes = order[np.minimum(positions, len(full) - 1)]
    if not np.array_equal(full[codes], image):
        raise GraphError(f"a weight lies outside the {len(full)} levels of {encoding.name}")
    return Weights(encoding.name, codes.astype(np.int8), exponents, stored)
