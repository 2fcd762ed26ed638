# SPDX-License-Identifier: Apache-2.0
"""What an operator needs to write itself into a ``.tflite`` file, the twin of its integer graph.

The builder lives above the operators (tinyq/tflite/builder.py); they know its protocol only.
Every activation is an int8 tensor there, a uint8 one with zero point -128, so that codes keep
their meaning.  Names with a ``#`` belong to the twin alone: padded, clamped, constant tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from tinyq.numerics import IntArray
from tinyq.ops.windows import NO_PADDING, Padding, Pair, same_padding
from tinyq.tensors import Shape, Tensor

if TYPE_CHECKING:
    from tinyq.ops.base import LinearOp

#: TFLite's Padding enumeration.
SAME: Final = 0
VALID: Final = 1

_NO_OPTIONS: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True)
class TwinOperator:
    """One TFLite operator.

    Attributes:
        code: a name of TFLite's BuiltinOperator.
        options: fields of its options table.
        activation: what its kernel clamps to by itself.
        limits: codes that the output must be clamped to; None where it cannot leave its type.
    """

    code: str
    options: Mapping[str, float] = field(default_factory=lambda: _NO_OPTIONS)
    activation: str = "linear"
    limits: tuple[int, int] | None = None


class TwinBuilder(Protocol):
    """Collects the tensors and operators of a ``.tflite`` model; tensors are numbers."""

    def activation(self, tensor: Tensor) -> int:
        """The TFLite tensor of an activation, created when first asked for."""

    def integers(self, name: str, values: IntArray) -> int:
        """A constant of int32 values."""

    def codes(self, name: str, like: Tensor, values: IntArray) -> int:
        """A constant of codes, quantized like the activation ``like``."""

    def parameters(self, op: LinearOp, x: Tensor, out: Tensor, channel_axis: int) -> list[int]:
        """Weights, their output channel moved to ``channel_axis`` (0 or 3), and bias."""

    def emit(self, operator: TwinOperator, inputs: Sequence[int], out: Tensor) -> None:
        """Append an operator that writes ``out``, and a clamp where the operator's is too wide."""


def derived(out: Tensor, suffix: str, shape: Shape | None = None) -> Tensor:
    """A tensor of the twin alone, named after ``out`` and quantized like it."""
    return replace(
        out,
        name=f"{out.name}#{suffix}",
        shape=out.shape if shape is None else shape,
        channels=None,
    )


def padding_option(shape: Shape, kernel: Pair, strides: Pair, padding: Padding) -> int | None:
    """SAME or VALID where TensorFlow's rule gives exactly this padding, else None."""
    if padding == NO_PADDING:
        return VALID
    return SAME if padding == same_padding(shape, kernel, strides) else None


def window_source(
    twin: TwinBuilder, x: Tensor, out: Tensor, window: tuple[Pair, Pair, Padding], code: int = 0
) -> tuple[int, int]:
    """The input of a sliding window (kernel, strides, padding) and its padding option.

    Where the option cannot say the padding, a PAD of ``code`` goes before.
    """
    option = padding_option(x.shape, *window)
    if option is not None:
        return twin.activation(x), option
    top, bottom, left, right = padding = window[2]
    height, width, channels = x.shape
    shape = (height + top + bottom, width + left + right, channels)
    padded = derived(x, f"for#{out.name}", shape)
    emit_pad(twin, x, padded, padding, code)
    return twin.activation(padded), VALID


def emit_pad(twin: TwinBuilder, x: Tensor, out: Tensor, padding: Padding, code: int = 0) -> None:
    """PAD (zeros) or PADV2 (another code) from ``x`` to ``out``."""
    amounts = np.array([[0, 0], padding[:2], padding[2:], [0, 0]])
    inputs = [twin.activation(x), twin.integers(f"{out.name}#amounts", amounts)]
    if code != 0:
        inputs.append(twin.codes(f"{out.name}#border", out, np.array([code])))
    twin.emit(TwinOperator("PAD" if code == 0 else "PADV2"), inputs, out)
