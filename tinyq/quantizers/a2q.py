# SPDX-License-Identifier: Apache-2.0
"""Accumulator-aware weights: the sum of an output channel's magnitudes is bounded while training.

A2Q (Colbert, Pappalardo, Petri-Koenig, arXiv 2308.13504) normalizes weights by their l1 norm and
learns the norm g and the scale s as powers of two:

    q = clip(trunc(r * v / |v|_1), +-(2**(bits - 1) - 1)),   r = min(g / s, R),   w^ = s * q,

with g = 2**gain, s = 2**ceil(theta).  Rounding toward zero can only lower the sum of magnitudes.
An accumulator of P bits cannot overflow while, in its integer units, with L = 2**(P - 1) - 1, bias
b, rounding constant m and input codes x in [low, high],

    a2q         max(-low, high) * sum|q| + |b| + m <= L,
    a2q_plus    high * Q+ - low * Q- + max(b, 0) + m <= L   and
                high * Q- - low * Q+ + max(-b, 0) + m <= L,

where Q+ and Q- are the sums of positive and of negative magnitudes.  A2Q+ (arXiv 2401.10432)
subtracts the channel's mean from v, which makes Q+ = Q- before rounding and doubles what unsigned
inputs leave room for; kernels of fewer than ``MIN_CENTERED`` weights, depthwise ones among them,
and layers that say so keep their mean.

Our choices: R is the largest radius for which these inequalities hold of the *rounded* codes, found
by bisection, not of the numbers before rounding (the papers' T): they waste half a code for each
weight that is not zero.  The inequalities are those of ``tinyq.proof``, over integers, so what the
Keras model computes is within P bits at every step and at export, whatever training did; nothing
has to be clipped afterwards.  b and m are those of the moment.

Training: rounding is straight-through; where R binds, no gradient reaches g, and the penalty
lambda * sum(relu(g - R * s)) pulls g back.  The start is the Euclidean projection onto the l1 ball
(soft thresholding), half a code added so that truncation starts as rounding to nearest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.errors import InputError
from tinyq.quantizers import scales
from tinyq.quantizers.base import Accumulator, Variables, WeightQuantizer, bounded_spread
from tinyq.quantizers.functions import Tensor, exp2, straight_through

FloatArray = npt.NDArray[np.float64]
METHODS: Final = ("a2q", "a2q_plus")
ACCUMULATOR_BITS: Final = range(8, 33)
#: of the regulariser
PENALTY: Final = 1e-3
#: kernels of fewer weights a channel keep their mean: subtracting it costs more than it gains
MIN_CENTERED: Final = 32
#: the radius before rounding at which the search starts, and how far above it ends
_CAUTION: Final = 1.0 - 2.0**-12
_REACH: Final = 4.0
_BISECTIONS: Final = 8
#: exponents tried around the one that fills the ball
_STEPS: Final = range(-6, 4)
_THRESHOLD_BISECTIONS: Final = 30
#: share of the range that the rounding constant takes at most (see ``qat.folded``)
_MARGIN_SHARE: Final = 2.0**-4
#: share that biases start with; a quarter is the most (there), so that they can grow
_BIAS_SHARE: Final = 2.0**-3


@tf_keras.utils.register_keras_serializable("tinyq")
class A2q(WeightQuantizer):
    """Uniform codes of 8, 4, 3 or 2 bits within an accumulator of ``accumulator_bits``."""

    groups = {"theta": "scale", "gain": "gain"}  # noqa: RUF012

    def __init__(
        self,
        bits: int = 8,
        accumulator_bits: int = 16,
        method: str = "a2q",
        scale: str = "per_channel",
        channel_axes: Sequence[int] = (-1,),
        zero_center: bool = True,
    ) -> None:
        super().__init__(scale, channel_axes)
        scales.check_choice("method", method, METHODS)
        if bits not in (8, 4, 3, 2):
            raise InputError(f"uniform weights have 8, 4, 3 or 2 bits, not {bits}")
        if accumulator_bits not in ACCUMULATOR_BITS:
            least, most = ACCUMULATOR_BITS[0], ACCUMULATOR_BITS[-1]
            raise InputError(f"accumulator_bits={accumulator_bits} is not in {least}..{most}")
        self.bits = bits
        self.accumulator_bits: int = accumulator_bits
        self.method = method
        self.zero_center = zero_center

    @property
    def limit(self) -> int:
        """Largest code."""
        return 2 ** (self.bits - 1) - 1

    @property
    def capacity(self) -> int:
        """Largest magnitude that the accumulator holds, L."""
        return 2 ** (self.accumulator_bits - 1) - 1

    @property
    def encoding(self) -> str:
        return f"int{self.bits}"

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        shape = list(tensor_shape)

        def add(suffix: str, axes: Sequence[int]) -> Any:
            return layer.add_weight(
                name=f"{name}_{suffix}",
                shape=scales.scale_shape(shape, axes),
                initializer="zeros",
                trainable=True,
            )

        return {"theta": add("theta", self.scale_axes), "gain": add("gain", self.channel_axes)}

    def exponent(self, weights: Variables) -> Tensor:
        return bounded_spread(scales.exponent_of_theta(weights["theta"], 0))

    def codes(self, inputs: Tensor, weights: Variables, exponent: Tensor) -> Tensor:
        """Codes beside a bias of 0 for uint8 inputs; layers call ``bounded_codes``."""
        channels = math.prod(scales.scale_shape(inputs.shape, self.channel_axes))
        accumulator = Accumulator(0, 255, tf.zeros([channels]), tf.constant(0.0))
        return self.bounded_codes(inputs, weights, exponent, accumulator)

    def bounded_codes(
        self, inputs: Tensor, weights: Variables, exponent: Tensor, accumulator: Accumulator
    ) -> Tensor:
        direction = self.direction(inputs)
        wanted = _exp2_real(weights["gain"] - exponent)
        bound = self.radius(direction, wanted, accumulator)
        return self._truncate(direction * tf.minimum(wanted, bound))

    def penalty(
        self, inputs: Tensor, weights: Variables, exponent: Tensor, accumulator: Accumulator
    ) -> Tensor:
        wanted = _exp2_real(weights["gain"] - exponent)
        bound = self.radius(self.direction(inputs), wanted, accumulator)
        excess = _exp2_real(weights["gain"]) - bound * exp2(exponent)
        return PENALTY * tf.reduce_sum(tf.nn.relu(excess))

    def direction(self, kernel: Tensor) -> Tensor:
        """v / |v|_1 per channel, v centred where the method centres; zero for a zero channel."""
        axes = self._inner_axes(kernel.shape)
        if self.centers(kernel.shape):
            # Norms and means in float64: float32 sums depend on the order of additions.
            mean = tf.reduce_mean(tf.cast(kernel, tf.float64), axes, keepdims=True)
            kernel = kernel - tf.cast(mean, tf.float32)
        norm = tf.reduce_sum(tf.cast(tf.abs(kernel), tf.float64), axes, keepdims=True)
        return kernel * tf.cast(tf.math.divide_no_nan(tf.ones_like(norm), norm), tf.float32)

    def centers(self, shape: Sequence[int]) -> bool:
        """True where the mean of each channel is subtracted."""
        inner = math.prod(int(shape[axis]) for axis in self._inner_axes(shape))
        depthwise = len(self.channel_axes) > 1
        wanted = self.method == "a2q_plus" and self.zero_center
        return wanted and not depthwise and inner >= MIN_CENTERED

    def radius(self, direction: Tensor, wanted: Tensor, accumulator: Accumulator) -> Tensor:
        """The largest found r for which trunc(r * direction) fits; ``wanted`` where that does.

        Shape ``[1, ..., O]``; a constant to the gradient.
        """
        direction, wanted = tf.stop_gradient(direction), tf.stop_gradient(wanted)

        def fits(r: Tensor) -> Tensor:
            return self.fits(self._truncate(direction * r), accumulator)

        low = _CAUTION * self._safe_radius(direction, accumulator)
        high = _REACH * low
        low = tf.where(fits(low), low, 0.0)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            inside = fits(middle)
            low, high = tf.where(inside, middle, low), tf.where(inside, high, middle)
        return tf.stop_gradient(tf.where(fits(wanted), tf.maximum(wanted, low), low))

    def fits(self, codes: Tensor, accumulator: Accumulator) -> Tensor:
        """True per channel, ``[1, ..., O]``, where integer codes cannot overflow P bits."""
        axes = self._inner_axes(codes.shape)
        exact = tf.cast(codes, tf.float64)
        positive = tf.reduce_sum(tf.nn.relu(exact), axes, keepdims=True)
        negative = tf.reduce_sum(tf.nn.relu(-exact), axes, keepdims=True)
        up, down = self._demand(positive, negative, accumulator)
        above, below = self._room(codes.shape, accumulator)
        return (up <= above) & (down <= below)

    def _safe_radius(self, direction: Tensor, accumulator: Accumulator) -> Tensor:
        """The papers' T: a radius that fits whatever rounding toward zero takes away."""
        axes = self._inner_axes(direction.shape)
        positive = tf.reduce_sum(tf.nn.relu(direction), axes, keepdims=True)
        negative = tf.reduce_sum(tf.nn.relu(-direction), axes, keepdims=True)
        up, down = self._demand(positive, negative, accumulator)
        above, below = self._room(direction.shape, accumulator)
        above, below = tf.cast(above, tf.float32), tf.cast(below, tf.float32)
        return tf.minimum(tf.math.divide_no_nan(above, up), tf.math.divide_no_nan(below, down))

    def _demand(self, positive: Any, negative: Any, accumulator: Accumulator) -> tuple[Any, Any]:
        """Largest and, negated, smallest sum of products for sums of magnitudes."""
        low, high = float(-accumulator.low), float(accumulator.high)
        if self.method == "a2q":
            both = max(low, high) * (positive + negative)
            return both, both
        return high * positive + low * negative, high * negative + low * positive

    def _room(self, shape: Sequence[int], accumulator: Accumulator) -> tuple[Tensor, Tensor]:
        """What bias and rounding leave of L above and below zero, float64 ``[1, ..., O]``."""
        bias = tf.cast(tf.stop_gradient(accumulator.bias), tf.float64)
        left = self.capacity - tf.cast(tf.stop_gradient(accumulator.margin), tf.float64)
        if self.method == "a2q":
            above = below = left - tf.abs(bias)
        else:
            above, below = left - tf.nn.relu(bias), left - tf.nn.relu(-bias)
        form = scales.scale_shape(shape, self.channel_axes)
        return tf.reshape(above, form), tf.reshape(below, form)

    def _truncate(self, x: Tensor) -> Tensor:
        limit = float(self.limit)
        return tf.clip_by_value(
            straight_through(x, tf.sign(x) * tf.floor(tf.abs(x))), -limit, limit
        )

    def _inner_axes(self, shape: Sequence[int]) -> list[int]:
        kept = {axis % len(shape) for axis in self.channel_axes}
        return [axis for axis in range(len(shape)) if axis not in kept]

    # ------------------------------------------------------------ start

    def initialize(
        self, values: npt.NDArray[np.float32], weights: Variables
    ) -> npt.NDArray[np.float32]:
        channels = math.prod(scales.scale_shape(values.shape, self.channel_axes))
        accumulator = Accumulator(0, 255, np.zeros(channels), 0.0)
        return self.initialize_bounded(values, weights, accumulator, 0.0)

    def initialize_bounded(
        self,
        values: npt.NDArray[np.float32],
        weights: Variables,
        accumulator: Accumulator,
        source: float,
    ) -> npt.NDArray[np.float32]:
        cols = scales.columns(values, self.channel_axes)
        if self.centers(values.shape):
            cols = cols - cols.mean(0)
        start = self._filling_exponents(cols, accumulator)
        start = np.maximum(start, self._bias_exponents(accumulator) - source - _STEPS[0])
        trials = [start + step for step in _STEPS]
        starts = [self._project(cols, e, accumulator, source) for e in trials]
        errors = np.array(
            [
                ((np.trunc(u) * 2.0**e - cols) ** 2).sum(0)
                for e, u in zip(trials, starts, strict=True)
            ]
        )
        if self.scale == "per_tensor":
            errors = np.broadcast_to(errors.sum(1, keepdims=True), errors.shape)
        best, every = errors.argmin(0), np.arange(cols.shape[1])
        exponents = np.array(trials)[best, every]
        chosen = np.array(starts)[best, :, every].T * 2.0**exponents
        self._assign(chosen, exponents, weights)
        return _uncolumns(chosen, values.shape, self.channel_axes).astype(np.float32)

    def _assign(self, chosen: FloatArray, exponents: FloatArray, weights: Variables) -> None:
        norms = np.abs(chosen).sum(0)
        gain = np.log2(np.where(norms > 0, norms, 2.0**exponents))
        weights["gain"].assign(gain.reshape(weights["gain"].shape))
        own = exponents.max(keepdims=True) if self.scale == "per_tensor" else exponents
        weights["theta"].assign((own - scales.TQT_OFFSET).reshape(weights["theta"].shape))

    def _filling_exponents(self, cols: FloatArray, accumulator: Accumulator) -> FloatArray:
        """Exponents at which the weights' l1 norm is about what half the range holds."""
        norms = np.abs(cols).sum(0)
        top = norms.max(initial=0.0)
        if top == 0:
            return np.zeros(cols.shape[1])
        most = self.capacity / 2 / max(-accumulator.low, accumulator.high)
        filling = np.ceil(np.log2(np.maximum(norms, top * 2.0**-scales.MAX_SPREAD) / most))
        covering = scales.covering_exponents(cols, self.limit)
        chosen: FloatArray = np.maximum(filling, covering)
        return np.full_like(chosen, chosen.max()) if self.scale == "per_tensor" else chosen

    def _bias_exponents(self, accumulator: Accumulator) -> FloatArray:
        """Least accumulator exponents at which biases take an eighth of the range."""
        bias = np.abs(np.asarray(accumulator.bias, np.float64))
        least = np.ceil(np.log2(np.maximum(bias, 2.0**-100) / (self.capacity * _BIAS_SHARE)))
        return np.full_like(least, least.max()) if self.scale == "per_tensor" else least

    def _project(
        self, cols: FloatArray, exponents: FloatArray, accumulator: Accumulator, source: float
    ) -> FloatArray:
        """Weights in codes, soft-thresholded until their truncation fits; ``[K, C]``."""
        x = cols / 2.0**exponents
        bias = np.abs(np.asarray(accumulator.bias, np.float64)) / 2.0 ** (source + exponents)
        room = np.maximum(self.capacity * (1 - _MARGIN_SHARE) - bias, 0.0)

        def shrunk(threshold: FloatArray) -> FloatArray:
            magnitude = np.maximum(np.abs(x) + 0.5 - threshold, 0.0)
            return np.sign(x) * np.minimum(magnitude, self.limit + 0.5)

        def fits(threshold: FloatArray) -> npt.NDArray[np.bool_]:
            q = np.trunc(shrunk(threshold))
            sums = np.maximum(q, 0).sum(0), np.maximum(-q, 0).sum(0)
            up, down = self._demand(*sums, accumulator)
            return np.asarray((up <= room) & (down <= room))

        low, high = np.zeros(cols.shape[1]), np.abs(x).max(0) + 0.5
        high = np.where(fits(low), low, high)
        for _ in range(_THRESHOLD_BISECTIONS):
            middle = (low + high) / 2
            inside = fits(middle)
            low, high = np.where(inside, low, middle), np.where(inside, middle, high)
        return shrunk(high)

    def get_config(self) -> dict[str, Any]:
        own = {"bits": self.bits, "accumulator_bits": self.accumulator_bits}
        more = {"method": self.method, "zero_center": self.zero_center}
        return {**super().get_config(), **own, **more}


def _exp2_real(x: Tensor) -> Tensor:
    """2**x for real x; by way of float64, whose last bits float32 does not show."""
    return tf.cast(tf.exp(tf.cast(x, tf.float64) * math.log(2.0)), tf.float32)


def _uncolumns(cols: FloatArray, shape: Sequence[int], axes: Sequence[int]) -> FloatArray:
    """The inverse of ``scales.columns``."""
    kept = sorted(axis % len(shape) for axis in axes)
    inner = [size for i, size in enumerate(shape) if i not in kept]
    outer = [shape[axis] for axis in kept]
    moved = cols.reshape(*inner, *outer)
    return np.moveaxis(moved, range(len(inner), len(shape)), kept)
