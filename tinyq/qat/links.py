# SPDX-License-Identifier: Apache-2.0
"""How a quantized layer knows the exponents of its inputs.

Values travel through the Keras model as real numbers, q * 2**e.  A layer that rounds as the chip
does must know e of every input, so each quantized layer finds its *producers* when it is called on
symbolic tensors: the nearest quantized layers upstream, looking through stock layers that are exact
on codes (``TRANSPARENT``).  This happens again when a model is cloned or loaded.

An ``OwnerLayer`` owns the exponent of its output; the others inherit one.  Owners whose outputs
meet in a concatenation form a ``Group``, whose exponent is the largest that a member asks for.

Absent on purpose: exponents as tensors of the Keras model; a layer reads its producer's variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import tensorflow as tf
import tf_keras

from tinyq.errors import UnsupportedError
from tinyq.quantizers import Activation
from tinyq.quantizers.functions import Tensor, exp2, power_of_two, requantize

#: stock Keras layers whose output holds the same codes under the same exponent
TRANSPARENT: Final = frozenset(
    {
        "MaxPooling2D",
        "GlobalMaxPooling2D",
        "ZeroPadding2D",
        "Flatten",
        "Reshape",
        "Dropout",
        "SpatialDropout2D",
        "GaussianDropout",
        "GaussianNoise",
    }
)
RELU6_LIMIT: Final = 6.0
#: between the user's name and ours in the names of stock layers that ``prepare`` adds
GENERATED: Final = ".tinyq_"


@dataclass(frozen=True)
class Links:
    """The producers of a layer's inputs; a plain object, so that Keras does not adopt them."""

    producers: tuple[QuantLayer, ...] = ()


class Group:
    """Owners that share one exponent; grows while concatenations are called."""

    def __init__(self, first: OwnerLayer) -> None:
        self.members = [first]

    def merge(self, other: Group) -> None:
        """Take over the members of another group."""
        if other is not self:
            self.members += other.members
            for member in other.members:
                member.share(self)


def find_producer(tensor: Any) -> QuantLayer:
    """The quantized layer whose codes a symbolic tensor holds.

    Raises:
        UnsupportedError: a layer on the way is neither quantized nor exact on codes.
    """
    layer, index = tensor._keras_history.layer, tensor._keras_history.node_index
    while not isinstance(layer, QuantLayer):
        inputs = layer._inbound_nodes[index].keras_inputs
        if type(layer).__name__ not in TRANSPARENT or len(inputs) != 1:
            raise UnsupportedError(
                f"layer '{layer.name}' ({type(layer).__name__}) stays unquantized, but a quantized "
                "layer reads its output; replace it by a supported layer"
            )
        history = inputs[0]._keras_history
        layer, index = history.layer, history.node_index
    return layer


def is_training(training: Any) -> bool:
    """True only for a definite training call; symbolic and missing flags mean inference."""
    return isinstance(training, bool | int) and bool(training)


class QuantLayer(tf_keras.layers.Layer):
    """A layer whose output consists of integers times one power of two."""

    #: False for the layer that turns real inputs into codes
    reads_codes = True
    #: True while training sees real numbers instead of this layer's codes
    float_output = False

    def __init__(self, source_layers: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_layers = tuple(source_layers)
        self.links = Links()
        self.symbolic = False

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = tf.nest.flatten(inputs)
        self.symbolic = all(hasattr(t, "_keras_history") for t in tensors)
        if self.symbolic and self.reads_codes:
            self.links = Links(tuple(find_producer(t) for t in tensors))
            self.connect()
        return super().__call__(inputs, *args, **kwargs)

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: Any = None) -> Tensor:
        """Keras' entry point; a model under construction only needs the shape."""
        return self.outline(inputs) if self.symbolic else self.compute(inputs, training)

    def compute(self, x: Any, training: Any) -> Tensor:
        """The layer's function; exact unless ``training`` is True."""
        raise NotImplementedError

    def outline(self, x: Any) -> Tensor:
        """A cheap tensor of the output's shape and type."""
        return x

    def connect(self) -> None:
        """Called when the producers are known."""

    @property
    def producers(self) -> tuple[QuantLayer, ...]:
        """The quantized layers that feed this one, one per input."""
        return self.links.producers

    def owners(self) -> tuple[OwnerLayer, ...]:
        """The layers that decide the exponent of the output."""
        return self.producers[0].owners()

    def exponent(self) -> Tensor:
        """Exponent of the output, float32 scalar."""
        return self.producers[0].exponent()

    @property
    def signed(self) -> bool:
        """True for int8 output."""
        return self.producers[0].signed

    @property
    def bits(self) -> int:
        """Bits of the output codes."""
        return self.producers[0].bits

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest code of the output's type."""
        if self.signed:
            return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "source_layers": list(self.source_layers)}


class OwnerLayer(QuantLayer):
    """A layer that requantizes: it has an activation quantizer and an activation."""

    def __init__(
        self,
        activation_quantizer: Activation | dict[str, Any],
        activation: str = "linear",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation_quantizer: Activation = restore(activation_quantizer)
        self.activation = activation
        self.group = Group(self)
        self.activation_variables: dict[str, Any] = {}

    def build(self, input_shape: Any) -> None:
        self.activation_variables = self.activation_quantizer.build([], "activation", self)
        super().build(input_shape)

    def share(self, group: Group) -> None:
        """Join a group."""
        self.group = group

    def owners(self) -> tuple[OwnerLayer, ...]:
        return (self,)

    def wanted_exponent(self) -> Tensor:
        """The exponent that this layer's own theta asks for."""
        return self.activation_quantizer.exponent(self.activation_variables)

    def exponent(self) -> Tensor:
        wanted = [member.wanted_exponent() for member in self.group.members]
        return wanted[0] if len(wanted) == 1 else tf.reduce_max(tf.stack(wanted))

    def accumulator_exponent(self) -> Tensor:
        """Exponent before requantization, scalar or ``[C]``; the output's must not be below it."""
        raise NotImplementedError

    @property
    def signed(self) -> bool:
        return self.activation_quantizer.signed

    @property
    def bits(self) -> int:
        return self.activation_quantizer.bits

    @property
    def never_negative(self) -> bool:
        """True where the values cannot be negative whatever the type of the codes."""
        return self.activation != "linear"

    def activate(self, y: Tensor) -> Tensor:
        """The activation on real values."""
        if self.activation == "linear":
            return y
        y = tf.nn.relu(y)
        return tf.minimum(y, tf.cast(RELU6_LIMIT, y.dtype)) if self.activation == "relu6" else y

    def requantize(
        self, y: Tensor, exponent: Tensor, accumulator_exponent: Tensor, rounding: str
    ) -> Tensor:
        """Real float32 outputs of the given exponent from activated values (float32 or float64)."""
        if self.float_output:
            return tf.cast(y, tf.float32)
        shift = tf.stop_gradient(exponent - accumulator_exponent)
        exponent = self.activation_quantizer.learn(exponent, y, self.activation_variables)
        limits = cut_by_activation(self.activation, *self.code_range, exponent)
        codes = requantize(y, exponent, shift, limits, rounding)
        return tf.cast(codes, tf.float32) * exp2(exponent)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation_quantizer": serialize(self.activation_quantizer),
            "activation": self.activation,
        }


def cut_by_activation(
    activation: str, low: int, high: int, exponent: Tensor
) -> tuple[Tensor, Tensor]:
    """Limits of codes after an activation; relu6 ends at floor(6 / 2**e + 1/2)."""
    bottom = float(low if activation == "linear" else max(low, 0))
    if activation != "relu6":
        return bottom, float(high)
    six = tf.floor(RELU6_LIMIT * power_of_two(-exponent) + 0.5)
    return bottom, tf.stop_gradient(tf.minimum(six, float(high)))


def serialize(quantizer: Any) -> dict[str, Any]:
    """A quantizer as the dictionary that Keras stores."""
    config: dict[str, Any] = tf_keras.utils.serialize_keras_object(quantizer)
    return config


def restore(quantizer: Any) -> Any:
    """The inverse of ``serialize``; quantizers pass unchanged."""
    if isinstance(quantizer, dict):
        return tf_keras.utils.deserialize_keras_object(quantizer)
    return quantizer
