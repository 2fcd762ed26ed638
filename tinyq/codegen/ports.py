# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of a model as macros: shapes, exponents, and how raw data become codes.

Raw data x (what a data file or a sensor holds) become the code
q = clamp(floor((x - offset) * scale / 2**exponent + 1/2)).  For raw bytes the same in integers:
q = clamp((x * multiplier + addend) >> shift), given only where it equals the executor for every x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from tinyq.codegen.text import comment, dimensions
from tinyq.codegen.views import IntegerForm, PortView
from tinyq.graph import Graph, Preprocess
from tinyq.numerics import INT32_MAX
from tinyq.tensors import Tensor

#: raw values for which the integer form is checked: int8 and uint8 data
RAW_VALUES: Final = range(-128, 256)
_MAX_SHIFT: Final = 24


def ports(
    graph: Graph, names: Sequence[str], places: Mapping[str, str], macro: str
) -> tuple[PortView, ...]:
    """One view a tensor; preprocessing goes with inputs."""
    are_inputs = tuple(names) == graph.inputs and macro.endswith("INPUT")
    steps = graph.preprocess or (Preprocess(),) * len(graph.inputs)
    return tuple(
        _port(graph.tensors[name], index, places[name], macro, steps[index] if are_inputs else None)
        for index, name in enumerate(names)
    )


def _port(t: Tensor, index: int, place: str, macro: str, step: Preprocess | None) -> PortView:
    return PortView(
        index=index,
        macro=f"{macro}{index}",
        name=comment(t.name),
        place=place,
        bytes=t.size,
        shape=dimensions(t.shape),
        dims=t.shape,
        type=t.dtype,
        exponent=t.exponent,
        is_signed=int(t.signed),
        bits=t.bits,
        lo=t.lo,
        hi=t.hi,
        scale=repr(float(step.scale)) if step else "",
        offset=repr(float(step.offset)) if step else "",
        integer=integer_form(t, step) if step else None,
    )


def integer_form(tensor: Tensor, step: Preprocess) -> IntegerForm | None:
    """Numbers that turn raw bytes into codes in 32 bits, or None where none are exact."""
    x = np.array(RAW_VALUES, np.int64)
    real = (x.astype(np.float32) - np.float32(step.offset)) * np.float32(step.scale)
    codes = tensor.quantize(real).astype(np.int64)
    factor = np.ldexp(float(np.float32(step.scale)), -tensor.exponent)
    start = 0.5 - float(np.float32(step.offset)) * factor
    for shift in range(_MAX_SHIFT, -1, -1):
        form = IntegerForm(round(np.ldexp(factor, shift)), round(np.ldexp(start, shift)), shift)
        if abs(form.multiplier) * 256 + abs(form.addend) > INT32_MAX:
            continue
        got = np.clip((x * form.multiplier + form.addend) >> shift, tensor.lo, tensor.hi)
        if np.array_equal(got, codes):
            return form
    return None
