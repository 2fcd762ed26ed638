# SPDX-License-Identifier: Apache-2.0
"""What an operator needs to write itself into C: a kernel, its descriptor, the tables it points at.

Plain data: the code generator (tinyq/codegen) lives above the operators and turns it into text.
Every operator is one call ``tq_run_<stem>(&descriptor, input, output)`` of the kernel library, and
a descriptor is a ``static const`` struct ``tq_<stem>`` with named fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS, Weights
from tinyq.errors import UnsupportedError
from tinyq.numerics import INT32_MAX, IntArray, rounding_constant
from tinyq.ops.windows import Padding, Pair
from tinyq.tensors import Shape, Tensor

#: greatest number of a uint16_t field
MAX_UINT16: Final = 65535


@dataclass(frozen=True, eq=False)
class CTable:
    """A constant array.

    Attributes:
        suffix: last word of its C name, unlike those of the layer's other tables.
        values: one-dimensional, int8, uint8, int16, uint16, int32 or uint32.
    """

    suffix: str
    values: npt.NDArray[Any]

    @property
    def ctype(self) -> str:
        """Its element type in C."""
        return f"{self.values.dtype.name}_t"

    @property
    def key(self) -> tuple[str, bytes]:
        """Equal for tables that may share one array."""
        return self.ctype, self.values.tobytes()


#: fields of a struct in the order of its declaration: numbers, C expressions, tables, structs
CStruct = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CLayer:
    """One call of the kernel library.

    The call is ``tq_run_<stem>(&descriptor, input..., output)``, with the scratch memory as one
    more argument at the end where the kernel needs any.

    Attributes:
        stem: the function is ``tq_run_<stem>``, the struct ``tq_<stem>``, the header
            ``tinyq/<stem>.h``.
        fields: of the descriptor.
        detail: a few words for comments, such as the kernel's size.
        gathers: the function takes one array of input pointers.
        scratch: bytes that the call may write, aligned to 4; undefined before and after.
        in_place: positions of the inputs that the output may overlay exactly.
        fuses: the kernel computes the following addition too: its inputs are the layer's and the
            addition's other one, its output is the addition's.
        code: C text that the descriptor refers to, written into the model's source before it.
        assembly: text of an assembly source that the model's library holds for this layer alone.
    """

    stem: str
    fields: CStruct
    detail: str = ""
    gathers: bool = False
    scratch: int = 0
    in_place: tuple[int, ...] = ()
    fuses: bool = False
    code: str = ""
    assembly: str = ""


def shape_fields(shape: Shape) -> CStruct:
    """A ``tq_shape``; UnsupportedError where a dimension exceeds 16 bits."""
    if max(shape) > MAX_UINT16:
        raise UnsupportedError(f"shape {shape}: a dimension is over {MAX_UINT16}; use smaller data")
    return {"height": shape[0], "width": shape[1], "channels": shape[2]}


def kernel_fields(kernel: Pair, strides: Pair, padding: Padding) -> CStruct:
    """A ``tq_kernel``; UnsupportedError where a number exceeds 16 bits."""
    numbers = (*kernel, *strides, padding[0], padding[2])
    if max(numbers) > MAX_UINT16:
        raise UnsupportedError(f"window {numbers}: a number is over {MAX_UINT16}")
    names = ("height", "width", "row_stride", "col_stride", "top", "left")
    return dict(zip(names, numbers, strict=True))


def weights_fields(weights: Weights) -> CStruct:
    """A ``tq_weights``: packed codes, the table of a LUT encoding, bytes of one channel."""
    packed = weights.packed()
    fields: dict[str, Any] = {"codes": CTable("codes", packed)}
    if weights.table is not None:
        fields["table"] = CTable("table", weights.table)
    return fields | {"channel_bytes": len(packed) // weights.shape[0]}


def requant_fields(
    bias: IntArray, shifts: IntArray, rounding: str, limits: tuple[int, int]
) -> CStruct:
    """A ``tq_requant``: bias with the rounding constant where it can be folded, shifts, clamp.

    It can where rounding differs for negative accumulators only and those are clamped away, or
    where the rule is half up for all (no shift above 1, or half_up itself).
    """
    n = shifts.astype(np.int64)
    folded = limits[0] >= 0 or rounding == "half_up" or int(n.max()) <= 1
    start = bias.astype(np.int64) + (rounding_constant(n, rounding) if folded else 0)
    if np.abs(start).max(initial=0) > INT32_MAX:
        raise UnsupportedError("a bias with its rounding constant exceeds 32 bits")
    common = bool((n == n[0]).all())
    return {
        "bias": CTable("bias", start.astype(np.int32)),
        "shift": CTable("shift", (n[:1] if common else n).astype(np.uint8)),
        "shift_step": 0 if common else 1,
        "rounding": "TQ_ROUND_FOLDED" if folded else "TQ_ROUND_TFLITE",
        "lo": limits[0],
        "hi": limits[1],
    }


def dot_function(weights: Weights, x: Tensor) -> str:
    """The dot product for an encoding and the type of the activations."""
    return f"tq_dot_{ENCODINGS[weights.encoding].name}_{type_suffix(x)}"


def type_suffix(tensor: Tensor) -> str:
    """How kernels name the type of a tensor."""
    return "s8" if tensor.signed else "u8"


def window_detail(kernel: Pair, strides: Pair) -> str:
    """``3x3`` or ``3x3 /2x2``, for comments."""
    text = f"{kernel[0]}x{kernel[1]}"
    return text if strides == (1, 1) else f"{text} /{strides[0]}x{strides[1]}"
