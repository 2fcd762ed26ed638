# SPDX-License-Identifier: Apache-2.0
"""What every operator answers: shape, integer value, float value, bounds.

An operator is a frozen dataclass.  The same class serves the float graph (``weights`` and ``bias``
are float32 arrays) and the integer graph (``weights`` is ``Weights``, ``bias`` int32 ``[O]``).
Arrays carry the batch dimension first; shapes do not.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from tinyq.encodings import Weights
from tinyq.errors import GraphError, UnsupportedError
from tinyq.numerics import (
    MAX_SHIFT,
    FloatArray,
    IntArray,
    requantize,
    rounding_margin,
)
from tinyq.ops.clayer import CLayer, CStruct, requant_fields, weights_fields
from tinyq.ops.twin import TwinBuilder, TwinOperator
from tinyq.tensors import Interval, Shape, Tensor

#: Activations that an operator can carry, with their real limits.
ACTIVATIONS: Final[dict[str, tuple[float, float]]] = {
    "linear": (-np.inf, np.inf),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
}


@dataclass(frozen=True)
class Op(abc.ABC):
    """Base of all operators."""

    #: file name of the operator in tinyq/ops, firmware/lib/tinyq and tests/kernels
    stem: ClassVar[str]
    #: output shares the exponent of every input (exact on codes)
    keeps_exponent: ClassVar[bool] = False
    #: output also shares dtype and bits
    keeps_type: ClassVar[bool] = False
    arity: ClassVar[int | None] = 1
    #: positions of the inputs that the output may replace element by element
    in_place: ClassVar[tuple[int, ...]] = ()

    @abc.abstractmethod
    def infer_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Shape of the output; GraphError where the inputs do not fit."""

    @abc.abstractmethod
    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        """Codes of the output, int64 ``[N, *out.shape]``, from the codes of the inputs."""

    @abc.abstractmethod
    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        """The float32 value of the output."""

    @abc.abstractmethod
    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        """Exact or sound bounds of the output's codes, per channel."""

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        """Refuse parameters that the integer kernels cannot honour (GraphError)."""
        if self.keeps_exponent:
            for x in ins:
                check_equal("exponent", x.exponent, out.exponent)
        if self.keeps_type:
            for x in ins:
                check_equal("type", (x.dtype, x.bits), (out.dtype, out.bits))

    def to_c(self, ins: Sequence[Tensor], out: Tensor) -> CLayer:
        """The operator as one call of the kernel library; UnsupportedError beyond its limits."""
        raise UnsupportedError(f"{type(self).__name__} has no C form")

    def to_tflite(self, twin: TwinBuilder, ins: Sequence[Tensor], out: Tensor) -> None:
        """Write the operator into a ``.tflite`` model; UnsupportedError where TFLM differs."""
        raise UnsupportedError(f"{type(self).__name__} has no TFLite form")

    def macs(self, ins: Sequence[Shape], out: Shape) -> int:
        """Multiply-accumulates of one inference, borders counted as if they were inside."""
        return 0


def check_equal(what: str, got: object, expected: object) -> None:
    """GraphError unless both are equal."""
    if got != expected:
        raise GraphError(f"{what} of the input is {got}, of the output {expected}: must be equal")


def check_in(what: str, value: int, allowed: range) -> None:
    """GraphError unless ``value`` lies in ``allowed``."""
    if value not in allowed:
        raise GraphError(f"{what} {value} outside {allowed[0]}..{allowed[-1]}")


def check_activation(activation: str) -> None:
    """GraphError for an unknown activation."""
    if activation not in ACTIVATIONS:
        raise GraphError(f"unknown activation '{activation}'; known: {', '.join(ACTIVATIONS)}")


def apply_activation(y: FloatArray, activation: str) -> FloatArray:
    """The float value after a fused activation."""
    if activation == "linear":
        return y
    return np.clip(y, *ACTIVATIONS[activation])


def output_limits(activation: str, out: Tensor) -> tuple[int, int]:
    """Clamp of the output's codes: its type's range, cut by the activation.

    relu6 ends at floor(6 / 2**e + 1/2), as TFLM computes it.
    """
    low, high = ACTIVATIONS[activation]
    lo = out.lo if np.isinf(low) else max(out.lo, 0)
    hi = out.hi
    if not np.isinf(high):
        hi = min(hi, int(np.floor(np.ldexp(high, -out.exponent) + 0.5)))
    return lo, hi


@dataclass(frozen=True)
class AccumulatorBounds:
    """Exact bounds of one layer's accumulator, int64 ``[O]`` each, bias included.

    ``final_*`` bound the sum, ``partial_*`` every partial sum in any order of additions.
    """

    final_lo: npt.NDArray[np.int64]
    final_hi: npt.NDArray[np.int64]
    partial_lo: npt.NDArray[np.int64]
    partial_hi: npt.NDArray[np.int64]

    @property
    def magnitude(self) -> int:
        """Largest absolute value that any partial sum can take."""
        return int(max(self.partial_hi.max(initial=0), -self.partial_lo.min(initial=0)))


@dataclass(frozen=True)
class LinearOp(Op):
    """An operator with weights: acc = bias + sum(weight * x), then requantization.

    Attributes:
        weights: float32 ``[O, ...]`` (float graph) or ``Weights`` (integer graph).
        bias: ``[O]``, float32, or int32 in units of 2**(e_x + e_w).
        activation: key of ``ACTIVATIONS``.
        rounding: "tflite" (default) or "half_up"; see ``numerics.ROUNDINGS``.
    """

    weights: Weights | FloatArray
    bias: IntArray | FloatArray
    activation: str = "linear"
    rounding: str = "tflite"

    @property
    def quantized(self) -> Weights:
        """The weights of an integer graph."""
        if not isinstance(self.weights, Weights):
            raise GraphError(f"{type(self).__name__} holds float weights: quantize the graph first")
        return self.weights

    @property
    def real(self) -> FloatArray:
        """The weights as real numbers, whatever the graph."""
        return self.weights.real() if isinstance(self.weights, Weights) else self.weights

    @abc.abstractmethod
    def accumulate(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        """sum(weight * x) without bias, in the floating-point type of the arguments."""

    @abc.abstractmethod
    def products(
        self, interval: Interval, image: IntArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Smallest and largest value of every product, int64 ``[O, K]`` each."""

    def shifts(self, ins: Sequence[Tensor], out: Tensor) -> npt.NDArray[np.int64]:
        """n = e_out - (e_x + e_w) per output channel, int64 ``[O]``."""
        per_channel = self.quantized.exponents_per_channel().astype(np.int64)
        return out.exponent - (ins[0].exponent + per_channel)

    def check(self, ins: Sequence[Tensor], out: Tensor) -> None:
        check_activation(self.activation)
        n = self.shifts(ins, out)
        if n.min() < 0 or n.max() > MAX_SHIFT:
            raise GraphError(
                f"requantization shift {n.min()}..{n.max()} outside 0..{MAX_SHIFT}: raise the "
                "output exponent or bound the weight exponents"
            )

    def evaluate(self, xs: Sequence[IntArray], ins: Sequence[Tensor], out: Tensor) -> IntArray:
        image = self.quantized.image()
        total = np.abs(image.astype(np.int64)).reshape(len(image), -1).sum(1).max(initial=0)
        reach = total * max(abs(ins[0].lo), ins[0].hi)
        # Sums of integers are exact in any order while they fit the significand.
        kind = np.float32 if reach < 2**24 else np.float64
        acc = self.accumulate(xs[0].astype(kind), image.astype(kind)).astype(np.int64)
        lo, hi = output_limits(self.activation, out)
        return requantize(
            acc + self.bias.astype(np.int64), self.shifts(ins, out), self.rounding, lo, hi
        )

    def evaluate_float(self, xs: Sequence[FloatArray]) -> FloatArray:
        kind = xs[0].dtype
        acc = self.accumulate(xs[0], self.real.astype(kind)) + self.bias.astype(kind)
        return apply_activation(acc, self.activation)

    def accumulator_bounds(self, interval: Interval) -> AccumulatorBounds:
        """Bounds of the accumulator for input codes within ``interval``."""
        low, high = self.products(interval, self.quantized.image().astype(np.int64))
        bias = self.bias.astype(np.int64)
        return AccumulatorBounds(
            bias + low.sum(1),
            bias + high.sum(1),
            np.minimum(bias, 0) + np.minimum(low, 0).sum(1),
            np.maximum(bias, 0) + np.maximum(high, 0).sum(1),
        )

    def output_interval(
        self, intervals: Sequence[Interval], ins: Sequence[Tensor], out: Tensor
    ) -> Interval:
        bounds = self.accumulator_bounds(intervals[0])
        n, limits = self.shifts(ins, out), output_limits(self.activation, out)
        return Interval(
            requantize(bounds.final_lo, n, self.rounding, *limits),
            requantize(bounds.final_hi, n, self.rounding, *limits),
        )

    def c_fields(self, ins: Sequence[Tensor], out: Tensor) -> CStruct:
        """Weights and requantization: what every descriptor of a weighted layer starts with."""
        limits = output_limits(self.activation, out)
        requant = requant_fields(self.bias, self.shifts(ins, out), self.rounding, limits)
        return {"weights": weights_fields(self.quantized), "requant": requant}

    def twin_operator(self, code: str, options: Mapping[str, float], out: Tensor) -> TwinOperator:
        """The TFLite operator of this layer, clamped as ``evaluate`` clamps."""
        limits = output_limits(self.activation, out)
        return TwinOperator(code, options, self.activation, limits)

    def accumulator_limit(self, ins: Sequence[Tensor], out: Tensor) -> int:
        """What rounding may add to a partial sum before the shift."""
        return rounding_margin(self.shifts(ins, out))


def product_range(
    image: IntArray, lo: IntArray, hi: IntArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Elementwise min and max of ``image * x`` for x in [lo, hi] (broadcast)."""
    at_lo, at_hi = image * lo, image * hi
    return np.minimum(at_lo, at_hi), np.maximum(at_lo, at_hi)
