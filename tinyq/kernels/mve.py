# SPDX-License-Identifier: Apache-2.0
"""What the kernels for Helium vectors (Cortex-M55) share: weights, windows, requantization.

Four output channels are a block: the assembly keeps their sums in core registers and their
requantization in the lanes of one vector.  Weights and channels are filled up with zeros to whole
vectors of 16 elements and whole blocks.

Activations are multiplied as int8; uint8 ones as x - 128, for which the bias holds
128 * sum(w) more.  Sums wrap modulo 2**32 and end at the layer's own, which the proof bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tinyq.encodings import ENCODINGS, Weights
from tinyq.kernels.request import Request
from tinyq.numerics import INT32_MAX, MAX_SHIFT, IntArray
from tinyq.ops import LinearOp
from tinyq.ops.base import output_limits
from tinyq.ops.clayer import CStruct, CTable, kernel_fields, shape_fields
from tinyq.ops.windows import Padding, Pair
from tinyq.tensors import Shape

#: elements of a vector, channels of a block
LANES: Final = 16
BLOCK: Final = 4
#: what a byte of a uint8 tensor is xored with
FLIP: Final = 128
#: scale of the products where 4-bit weights stay in the high half of a byte
NIBBLE_SCALE: Final = 16


@dataclass(frozen=True, eq=False)
class Form:
    """How a layer's weights are stored for the vector kernels.

    Attributes:
        name: ``int8``; ``int4`` (a nibble is its own image, shifted); ``table`` (a nibble is an
            index).
        values: images (int8) or codes 0..15, ``[O, ...]``.
        table: int8 ``[16]`` of the form ``table``.
        scale: of the products.
    """

    name: str
    values: IntArray
    table: IntArray | None = None
    scale: int = 1

    @property
    def is_packed(self) -> bool:
        """Two codes are in a byte."""
        return self.name != "int8"

    @property
    def table_field(self) -> CStruct:
        """The descriptor's table, if any."""
        return {} if self.table is None else {"table": CTable("table", self.table)}


@dataclass(frozen=True)
class Window:
    """A window over an image, as it is or with rows and columns changed: it slides along columns.

    Attributes:
        x, y: shapes of input and output.
        kernel, strides, padding: of the operator.
        x_steps, y_steps: elements from a row and from a column to the next.
    """

    x: Shape
    y: Shape
    kernel: Pair
    strides: Pair
    padding: Padding
    x_steps: Pair
    y_steps: Pair

    def transposed(self) -> Window:
        """Rows for columns."""
        return Window(
            (self.x[1], self.x[0], self.x[2]),
            (self.y[1], self.y[0], self.y[2]),
            (self.kernel[1], self.kernel[0]),
            (self.strides[1], self.strides[0]),
            (*self.padding[2:], *self.padding[:2]),
            (self.x_steps[1], self.x_steps[0]),
            (self.y_steps[1], self.y_steps[0]),
        )

    @staticmethod
    def of(x: Shape, y: Shape, kernel: Pair, strides: Pair, padding: Padding) -> Window:
        """As it is."""
        steps = (x[1] * x[2], x[2]), (y[1] * y[2], y[2])
        return Window(x, y, kernel, strides, padding, *steps)

    @property
    def fields(self) -> CStruct:
        """The descriptor's shapes, kernel and steps."""
        return {
            "input": shape_fields(self.x),
            "output": shape_fields(self.y),
            "kernel": kernel_fields(self.kernel, self.strides, self.padding),
            "in_row": self.x_steps[0],
            "in_col": self.x_steps[1],
            "out_row": self.y_steps[0],
            "out_col": self.y_steps[1],
        }


def weights_form(request: Request) -> Form | None:
    """The form of a layer's weights; ``None`` where a code has neither 4 bits nor 8."""
    op = request.node.op
    if not isinstance(op, LinearOp) or request.proof is None:
        return None
    weights = op.quantized
    bits = ENCODINGS[weights.encoding].bits
    if bits == 8:
        return Form("int8", weights.image())
    if bits != 4:
        return None
    codes = weights.codes.astype(np.uint8) & 15
    longest = int(op.shifts(request.ins, request.out).max()) + 4
    fits = request.proof.magnitude * NIBBLE_SCALE <= INT32_MAX and longest <= MAX_SHIFT
    if weights.encoding == "int4" and fits:
        return Form("int4", codes, scale=NIBBLE_SCALE)
    return Form("table", codes, code_images(weights))


def code_images(weights: Weights) -> IntArray:
    """The images of the 4-bit codes 0..15, int8 ``[16]``."""
    encoding = ENCODINGS[weights.encoding]
    if weights.table is not None:
        return weights.table
    if encoding.levels is not None:
        return np.array(encoding.levels, np.int8)
    return np.array([*range(8), *range(-8, 0)], np.int8)


def vectors_of(elements: int) -> int:
    """Vectors that hold so many elements."""
    return -(-elements // LANES)


def block_codes(form: Form, values: IntArray) -> CTable:
    """Weights ``[O, K]`` as the dot products read them.

    ``[blocks][vectors][4][16]`` int8, or ``[blocks][vectors][2][16]`` bytes of two codes: channels
    0 and 2 of the block in the low halves, 1 and 3 in the high ones.
    """
    channels, elements = values.shape
    blocks, vectors = -(-channels // BLOCK), vectors_of(elements)
    whole = np.zeros((blocks * BLOCK, vectors * LANES), values.dtype)
    whole[:channels, :elements] = values
    lanes = whole.reshape(blocks, BLOCK, vectors, LANES).swapaxes(1, 2)
    if form.is_packed:
        lanes = lanes[:, :, 0::2] | lanes[:, :, 1::2] << 4
    return CTable("codes", lanes.ravel().view(np.uint8))


def requant_fields(request: Request, form: Form) -> CStruct:
    """A ``tq_mve_requant``: the bias makes up for flipped inputs, its tables hold whole blocks."""
    op = request.node.op
    assert isinstance(op, LinearOp)
    n = op.shifts(request.ins, request.out)
    lo, hi = output_limits(op.activation, request.out)
    # The TFLite rule adds one more to positive sums, if n >= 2; no negative one survives a ReLU.
    nudge = (n >= 2).astype(np.int64) if op.rounding == "tflite" else np.zeros_like(n)
    is_folded = lo >= 0 or not nudge.any()
    total = op.quantized.image().astype(np.int64).reshape(len(n), -1).sum(1)
    start = op.bias.astype(np.int64) + flip_of(request) * total + (nudge if is_folded else 0)
    added = int(np.log2(form.scale))
    fields: dict[str, Any] = {
        "bias": CTable("bias", whole_blocks((start * form.scale).astype(np.int32))),
        "shift": CTable("shift", whole_blocks((-n - added).astype(np.int8))),
    }
    if not is_folded:
        fields["nudge"] = CTable("nudge", whole_blocks((nudge * form.scale).astype(np.uint8)))
    return fields | {"lo": lo, "hi": hi}


def whole_blocks(values: IntArray) -> IntArray:
    """Values per channel, filled up with zeros."""
    return np.pad(values, (0, -len(values) % BLOCK))


def flip_of(request: Request) -> int:
    """0x80 for a uint8 input, 0 for int8."""
    return 0 if request.ins[0].signed else FLIP
