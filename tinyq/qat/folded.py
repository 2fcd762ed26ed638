# SPDX-License-Identifier: Apache-2.0
"""Convolution, depthwise convolution, dense and batch normalization with the norm folded in.

Folding comes before quantization, in training too: with f = gamma * rsqrt(variance + epsilon)

    w = kernel * f,   b = beta + (bias - mean) * f,
    y = activation(conv(x, Q(w)) + round(b / 2**e_acc) * 2**e_acc),   e_acc = e_x + e_w,

and y is requantized with the rounding of the kernels.  While ``batch_statistics`` is on, training
folds by the moving variance and rescales the output by sqrt(moving / batch) (*ema_stats_folding*,
Krishnamoorthi, arXiv 1806.08342), so that weights do not jitter with the batch.

Inference is exact.  Every sum is an integer times 2**e_acc; float32 holds it while
|partial sum| + 2**(n-1) + 1 < 2**24.  The layer computes that bound from its codes in the graph and
evaluates itself in float64 where it fails.

The factor is written with rsqrt, because Grappler rewrites a division by sqrt and would change the
last bit between eager mode and graphs.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import tensorflow as tf
import tf_keras

from tinyq.numerics import FLOAT32_EXACT
from tinyq.qat.links import OwnerLayer, is_training, restore, serialize
from tinyq.quantizers import WeightQuantizer
from tinyq.quantizers.base import Accumulator, Variables
from tinyq.quantizers.functions import Tensor, exp2, exponent_above, power_of_two, round_half_up
from tinyq.quantizers.wide import Wide

#: bits that a bias may need in units of the accumulator; channels whose weights are far smaller
#: than their bias get a coarser weight exponent
MAX_BIAS_BITS: Final = 22
#: largest requantization shift; finer weights could not change the output
MAX_TRAINED_SHIFT: Final = 22
#: of an accumulator of bounded width a bias takes at most 2**-2, the rounding constant 2**-4
BIAS_HEADROOM: Final = 3
SHIFT_HEADROOM: Final = 4
#: rounds in which weights are fitted beside a bias and the bias takes up what their mean lost
BIAS_CORRECTIONS: Final = 3

BatchNorm = dict[str, Any]


class Parameters(NamedTuple):
    """What a folded layer computes with.

    codes: float32 integers, shape of the kernel; exponent: broadcastable to it; bias: float32
    integers ``[O]`` in units of the accumulator; accumulator: exponents ``[O]`` or ``[1]``;
    output: the output's exponent.
    """

    codes: Tensor
    exponent: Tensor
    bias: Tensor
    accumulator: Tensor
    output: Tensor


class FoldedLayer(OwnerLayer, abc.ABC):
    """A linear operator with folded batch normalization, a weight and an activation quantizer.

    Variables are named as Keras names them (kernel, bias, gamma, beta, moving_mean,
    moving_variance), because tfmot copies trained values by name.
    """

    kernel_name = "kernel"

    def __init__(
        self,
        weight_quantizer: WeightQuantizer | dict[str, Any],
        batch_norm: BatchNorm | None = None,
        use_bias: bool = True,
        rounding: str = "tflite",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.weight_quantizer: WeightQuantizer = restore(weight_quantizer)
        self.batch_norm = batch_norm
        self.use_bias = use_bias
        self.rounding = rounding
        self.batch_statistics = False
        self.wide_weights = False
        self.weight_variables: dict[str, Any] = {}

    @abc.abstractmethod
    def kernel_shape(self, input_shape: Sequence[int]) -> list[int]:
        """Shape of the kernel in Keras' layout."""

    @abc.abstractmethod
    def linear(self, x: Tensor, kernel: Tensor) -> Tensor:
        """The operator without bias, in the dtype of its arguments."""

    @abc.abstractmethod
    def spread(self, per_channel: Tensor) -> Tensor:
        """``[O]`` reshaped to multiply the kernel."""

    def build(self, input_shape: Any) -> None:
        shape = self.kernel_shape(list(input_shape))
        channels = _channels(shape, self.weight_quantizer.channel_axes)
        self.build_kernel(shape)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=[channels], initializer="zeros")
        if self.batch_norm is not None:
            self._build_batch_norm(channels, self.batch_norm)
        self.weight_variables = self.weight_quantizer.build(shape, "weight", self)
        super().build(input_shape)

    def build_kernel(self, shape: list[int]) -> None:
        """Create the kernel variable."""
        self.kernel = self.add_weight(name=self.kernel_name, shape=shape)

    def _build_batch_norm(self, channels: int, options: BatchNorm) -> None:
        def add(name: str, value: str, trainable: bool) -> Any:
            return self.add_weight(
                name=name,
                shape=[channels],
                initializer=value,
                trainable=trainable,
                aggregation=tf.VariableAggregation.MEAN,  # of replicas that saw other samples
            )

        self.gamma = add("gamma", "ones", True) if options["scale"] else tf.ones([channels])
        self.beta = add("beta", "zeros", True) if options["center"] else tf.zeros([channels])
        self.moving_mean = add("moving_mean", "zeros", False)
        self.moving_variance = add("moving_variance", "ones", False)

    def _bias(self) -> Tensor:
        return self.bias if self.use_bias else 0.0

    def factor(self) -> Tensor:
        """What batch normalization multiplies each channel by, ``[O]``."""
        epsilon = self.batch_norm["epsilon"] if self.batch_norm else 0.0
        return self.gamma * tf.math.rsqrt(self.moving_variance + epsilon)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias with the batch normalization folded in, real numbers."""
        if self.batch_norm is None:
            shape = [_channels(self.kernel.shape, self.weight_quantizer.channel_axes)]
            return self.kernel, tf.broadcast_to(self._bias(), shape)
        factor = self.factor()
        bias = self.beta + (self._bias() - self.moving_mean) * factor
        return self.kernel * self.spread(factor), bias

    def quantization(self, kernel: Tensor) -> tuple[WeightQuantizer, Variables]:
        """The weight quantizer in force and what it computes with."""
        if self.wide_weights:
            own = self.weight_quantizer
            return Wide(own.scale, own.channel_axes), {"kernel": kernel}
        return self.weight_quantizer, self.weight_variables

    def weight_exponent(
        self, exponent: Tensor, bias: Tensor, source: Tensor, output: Tensor
    ) -> Tensor:
        """Exponents of the weights, bounded so that bias and shift stay within their limits."""
        bias_bits, shift = self.headroom()
        above_bias = exponent_above(bias) - source - bias_bits
        floor = tf.stop_gradient(tf.maximum(above_bias, output - source - shift))
        per_tensor = self.weight_quantizer.scale == "per_tensor"
        return tf.maximum(exponent, tf.reduce_max(floor) if per_tensor else self.spread(floor))

    def headroom(self) -> tuple[int, int]:
        """Bits that a bias may need, and the largest shift."""
        bits = self.weight_quantizer.accumulator_bits
        if bits is None:
            return MAX_BIAS_BITS, MAX_TRAINED_SHIFT
        bias_bits = min(bits - BIAS_HEADROOM, MAX_BIAS_BITS)
        return bias_bits, min(bits - SHIFT_HEADROOM, MAX_TRAINED_SHIFT)

    def parameters(self) -> Parameters:
        """Codes, exponents and bias as they are now."""
        kernel, bias = self.folded()
        source, output = tf.stop_gradient(self.producers[0].exponent()), self.exponent()
        quantizer, variables = self.quantization(kernel)
        exponent = self.weight_exponent(quantizer.exponent(variables), bias, source, output)
        accumulator = tf.stop_gradient(source + tf.reshape(exponent, [-1]))
        whole = round_half_up(bias * power_of_two(-accumulator))
        beside = self.beside(accumulator, whole, output)
        codes = quantizer.bounded_codes(kernel, variables, exponent, beside)
        return Parameters(codes, exponent, whole, accumulator, output)

    def beside(self, accumulator: Tensor, bias: Tensor, output: Tensor) -> Accumulator:
        """What the accumulators hold beside the products: bias and rounding constant."""
        channels = _channels(self.kernel.shape, self.weight_quantizer.channel_axes)
        shift = tf.maximum(tf.reduce_max(output - accumulator), 1.0)
        margin = power_of_two(shift - 1.0) + 1.0
        low, high = self.producers[0].code_range
        return Accumulator(low, high, tf.broadcast_to(bias, [channels]), margin)

    def penalty(self, p: Parameters) -> Tensor | None:
        """The weight quantizer's own loss."""
        if self.wide_weights:
            return None
        kernel, _ = self.folded()
        beside = self.beside(p.accumulator, p.bias, p.output)
        return self.weight_quantizer.penalty(kernel, self.weight_variables, p.exponent, beside)

    def accumulator_exponent(self) -> Tensor:
        return self.parameters().accumulator

    def compute(self, x: Tensor, training: Any) -> Tensor:
        p = self.parameters()
        if is_training(training):
            penalty = self.penalty(p)
            if penalty is not None:
                self.add_loss(penalty)
            y = self._with_batch_statistics(x, p) if self._uses_batch() else self._sum(x, p)
            return self.requantize(self.activate(y), p.output, p.accumulator, self.rounding)
        return tf.cond(
            self.fits_float32(p),
            lambda: self._evaluate(x, p, tf.float32),
            lambda: self._evaluate(x, p, tf.float64),
        )

    def outline(self, x: Tensor) -> Tensor:
        return self.linear(x, self.kernel)

    def _evaluate(self, x: Tensor, p: Parameters, dtype: Any) -> Tensor:
        y = self._sum(tf.cast(x, dtype), p)
        return self.requantize(self.activate(y), p.output, p.accumulator, self.rounding)

    def _sum(self, x: Tensor, p: Parameters) -> Tensor:
        kernel = tf.cast(p.codes * exp2(p.exponent), x.dtype)
        return self.linear(x, kernel) + tf.cast(p.bias * power_of_two(p.accumulator), x.dtype)

    def real_output(self, x: Tensor) -> Tensor:
        """Activated float32 output before requantization; what calibration looks at."""
        return self.activate(self._sum(x, self.parameters()))

    def _uses_batch(self) -> bool:
        return self.batch_norm is not None and self.batch_statistics

    def _with_batch_statistics(self, x: Tensor, p: Parameters) -> Tensor:
        """Output normalized by the batch, weights folded by the moving variance."""
        raw = self.linear(x, self.kernel)
        mean, variance = tf.nn.moments(raw, list(range(len(raw.shape) - 1)))
        options = self.batch_norm or {}
        keep = options["momentum"]
        self.moving_mean.assign(keep * self.moving_mean + (1 - keep) * (mean + self._bias()))
        self.moving_variance.assign(keep * self.moving_variance + (1 - keep) * variance)
        inverse = tf.math.rsqrt(variance + options["epsilon"])
        rescale = tf.sqrt(self.moving_variance + options["epsilon"]) * inverse
        y = self.linear(x, p.codes * exp2(p.exponent)) * rescale
        return y + (self.beta - mean * self.gamma * inverse)

    def fits_float32(self, p: Parameters) -> Tensor:
        """The certificate: no partial sum, with rounding, reaches 2**24 codes."""
        low, high = self.producers[0].code_range
        axes = _other_axes(p.codes.shape, self.weight_quantizer.channel_axes)
        codes = tf.cast(p.codes, tf.float64)
        positive = tf.reshape(tf.reduce_sum(tf.nn.relu(codes), axes), [-1])
        negative = tf.reshape(tf.reduce_sum(tf.nn.relu(-codes), axes), [-1])
        reach = tf.maximum(positive * high - negative * low, negative * high - positive * low)
        half = power_of_two(tf.maximum(p.output - p.accumulator, 0.0))
        margin = tf.cast(tf.abs(p.bias) + half, tf.float64) + 1.0
        return tf.reduce_all(reach + margin < float(FLOAT32_EXACT))

    def initialize_weights(self, x: Tensor | None = None) -> None:
        """Fit the weight quantizer to the folded kernel.

        Where that changes the kernel, the bias takes up the mean of the change over inputs ``x``.
        """
        kernel, bias = self.folded()
        wanted = None if x is None else self.linear(x, kernel) + bias
        for _ in range(BIAS_CORRECTIONS):
            if not self._fit_weights(kernel) or wanted is None:
                return
            self._correct_bias(x, wanted)

    def _fit_weights(self, kernel: Tensor) -> bool:
        """Fit the weight quantizer beside the bias of now; True where it changed the kernel."""
        source = float(self.producers[0].exponent().numpy())
        beside = Accumulator(*self.producers[0].code_range, self.folded()[1].numpy(), 0.0)
        start = self.weight_quantizer.initialize_bounded(
            kernel.numpy(), self.weight_variables, beside, source
        )
        if start is not None and isinstance(self.kernel, tf.Variable):
            scale = 1.0 if self.batch_norm is None else self.spread(self.factor())
            self.kernel.assign(tf.math.divide_no_nan(start, scale))
        return start is not None

    def _correct_bias(self, x: Tensor, wanted: Tensor) -> None:
        """Bring each channel's mean output to that of ``wanted`` by what of the bias can train."""
        lost = wanted - self._sum(x, self.parameters())
        mean = tf.reduce_mean(lost, list(range(len(lost.shape) - 1)))
        if self.batch_norm is not None and self.batch_norm["center"]:
            self.beta.assign_add(mean)
        elif self.use_bias:
            factor = 1.0 if self.batch_norm is None else self.factor()
            self.bias.assign_add(tf.math.divide_no_nan(mean, factor * tf.ones_like(mean)))

    def refresh_weights(self) -> None:
        """Let the weight quantizer adapt what no gradient trains."""
        self.weight_quantizer.refresh(self.folded()[0].numpy(), self.weight_variables)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight_quantizer": serialize(self.weight_quantizer),
            "batch_norm": self.batch_norm,
            "use_bias": self.use_bias,
            "rounding": self.rounding,
        }


def _channels(shape: Sequence[int], axes: Sequence[int]) -> int:
    count = 1
    for axis in axes:
        count *= int(shape[axis])
    return count


def _other_axes(shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    kept = {axis % len(shape) for axis in axes}
    return [axis for axis in range(len(shape)) if axis not in kept]


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantConv2D(FoldedLayer):
    """2-D convolution; kernel ``[KH, KW, I, O]``."""

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        strides: Sequence[int] = (1, 1),
        padding: str = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.padding = padding

    def kernel_shape(self, input_shape: Sequence[int]) -> list[int]:
        return [*self.kernel_size, input_shape[-1], self.filters]

    def linear(self, x: Tensor, kernel: Tensor) -> Tensor:
        return tf.nn.conv2d(x, kernel, self.strides, self.padding.upper())

    def spread(self, per_channel: Tensor) -> Tensor:
        return per_channel

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "kernel_size": list(self.kernel_size)}
        window = {"strides": list(self.strides), "padding": self.padding}
        return {**super().get_config(), **own, **window}


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantDepthwiseConv2D(FoldedLayer):
    """Depthwise convolution; kernel ``[KH, KW, C, M]``, output channel c * M + m."""

    kernel_name = "depthwise_kernel"

    def __init__(
        self,
        kernel_size: Sequence[int],
        strides: Sequence[int] = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.padding = padding
        self.depth_multiplier = depth_multiplier

    def kernel_shape(self, input_shape: Sequence[int]) -> list[int]:
        return [*self.kernel_size, input_shape[-1], self.depth_multiplier]

    def linear(self, x: Tensor, kernel: Tensor) -> Tensor:
        return tf.nn.depthwise_conv2d(x, kernel, [1, *self.strides, 1], self.padding.upper())

    def spread(self, per_channel: Tensor) -> Tensor:
        return tf.reshape(per_channel, [1, 1, -1, self.depth_multiplier])

    def get_config(self) -> dict[str, Any]:
        own = {"kernel_size": list(self.kernel_size), "depth_multiplier": self.depth_multiplier}
        window = {"strides": list(self.strides), "padding": self.padding}
        return {**super().get_config(), **own, **window}


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantDense(FoldedLayer):
    """Fully connected layer; kernel ``[I, O]``."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def kernel_shape(self, input_shape: Sequence[int]) -> list[int]:
        return [input_shape[-1], self.units]

    def linear(self, x: Tensor, kernel: Tensor) -> Tensor:
        return tf.matmul(x, kernel)

    def spread(self, per_channel: Tensor) -> Tensor:
        return per_channel

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@tf_keras.utils.register_keras_serializable("tinyq")
class QuantBatchNormalization(FoldedLayer):
    """Batch normalization that no linear layer could take over: a 1x1 depthwise convolution."""

    def build_kernel(self, shape: list[int]) -> None:
        self.kernel = tf.ones(shape)

    def kernel_shape(self, input_shape: Sequence[int]) -> list[int]:
        return [input_shape[-1]]

    def linear(self, x: Tensor, kernel: Tensor) -> Tensor:
        return x * kernel

    def spread(self, per_channel: Tensor) -> Tensor:
        return per_channel
