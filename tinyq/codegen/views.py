# SPDX-License-Identifier: Apache-2.0
"""What the templates see: text and numbers, ready to print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TableView:
    """A constant array; ``rows`` are the lines of its initialiser."""

    name: str
    ctype: str
    count: int
    rows: tuple[str, ...]


@dataclass(frozen=True)
class DescriptorView:
    """A constant struct; ``lines`` are its designated initialisers."""

    name: str
    ctype: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ConstantView:
    """A descriptor with what it refers to.

    Attributes:
        tables: those that it is the first to need.
        code: C text that it needs.
        assembly: text of an assembly source of its own.
    """

    tables: tuple[TableView, ...]
    code: str
    descriptor: DescriptorView
    assembly: str


@dataclass(frozen=True)
class LayerView:
    """One step of the schedule.

    Attributes:
        comment: number, user's layer, shapes.
        constants: what this step is the first to need.
        calls: the statements.
        output: expression of the output's address.
        output_bytes: its size.
    """

    index: int
    comment: str
    constants: tuple[ConstantView, ...]
    calls: tuple[str, ...]
    output: str
    output_bytes: int


@dataclass(frozen=True)
class IntegerForm:
    """q = clamp((x * multiplier + addend) >> shift): a raw integer x to a code."""

    multiplier: int
    addend: int
    shift: int


@dataclass(frozen=True)
class PortView:
    """An input or an output of the model.

    Attributes:
        macro: prefix of its macros.
        place: expression of its address.
        scale, offset: decimal text; empty where the raw data are the model's input.
        integer: how raw bytes become codes without floating point, where that is exact.
    """

    index: int
    macro: str
    name: str
    place: str
    bytes: int
    shape: str
    dims: tuple[int, ...]
    type: str
    exponent: int
    is_signed: int
    bits: int
    lo: int
    hi: int
    scale: str = ""
    offset: str = ""
    integer: IntegerForm | None = None


@dataclass(frozen=True)
class VectorView:
    """One input of the self-test: a table, or numbers made on the device from a seed."""

    index: int
    bytes: int
    table: TableView | None
    drop_bits: int
    lo: int
    seed: int


@dataclass(frozen=True)
class ModelView:
    """A whole model."""

    name: str
    macro: str
    version: str
    abi: int
    sha256: str
    core: str
    summary: tuple[str, ...]
    headers: tuple[str, ...]
    inputs: tuple[PortView, ...]
    outputs: tuple[PortView, ...]
    layers: tuple[LayerView, ...]
    arena_bytes: int
    arena_align: int
    arena_words: int
    arena_word: str
    state_bytes: int
    state_words: int
    vector: tuple[VectorView, ...]
    crcs: TableView
