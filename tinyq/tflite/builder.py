# SPDX-License-Identifier: Apache-2.0
"""Collects tensors and operators and packs them as a TFLite flatbuffer.

Scales are 2**exponent in float32, exactly.  Constants start at multiples of 16 bytes, as the
schema asks and as microcontrollers need; the file is the same for the same graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tinyq.encodings import ENCODINGS
from tinyq.errors import TflmMissing, UnsupportedError
from tinyq.numerics import IntArray
from tinyq.ops import LinearOp, output_limits
from tinyq.ops.twin import TwinOperator, derived
from tinyq.tensors import Tensor, full_interval
from tinyq.tflite.decode import encode, pack_nibbles
from tinyq.tflite.schema import INSTALL, schema

#: How weights are stored: expanded; table indices for DECODE; INT4 tensors where they fit.
WeightForm = Literal["int8", "decode", "int4"]

#: Exponents whose power of two is a normal float32.
FLOAT32_EXPONENTS: Final = range(-126, 128)
ALIGNMENT: Final = 16
#: TFLM doubles the accumulator of a layer without a shift, in 32 bits.
UNSHIFTED_LIMIT: Final = 2**30
SCHEMA_VERSION: Final = 3
FILE_MARK: Final = b"TFL3"
DECODE_NAME: Final = "TFLM_DECODE"


@dataclass(frozen=True)
class OperatorForm:
    """Options table and version of an operator; whether it clamps by a fused activation."""

    options: str | None
    version: int
    fuses: bool = False


FORMS: Final[dict[str, OperatorForm]] = {
    "ADD": OperatorForm("AddOptions", 2, fuses=True),
    "AVERAGE_POOL_2D": OperatorForm("Pool2DOptions", 2, fuses=True),
    "CONCATENATION": OperatorForm("ConcatenationOptions", 2),
    "CONV_2D": OperatorForm("Conv2DOptions", 3, fuses=True),
    "DEPTHWISE_CONV_2D": OperatorForm("DepthwiseConv2DOptions", 3, fuses=True),
    "FULLY_CONNECTED": OperatorForm("FullyConnectedOptions", 4, fuses=True),
    "LOGISTIC": OperatorForm(None, 2),
    "MAXIMUM": OperatorForm("MaximumMinimumOptions", 2),
    "MAX_POOL_2D": OperatorForm("Pool2DOptions", 2, fuses=True),
    "MINIMUM": OperatorForm("MaximumMinimumOptions", 2),
    "PAD": OperatorForm("PadOptions", 2),
    "PADV2": OperatorForm("PadV2Options", 2),
    "RELU": OperatorForm(None, 2),
    "RESHAPE": OperatorForm("ReshapeOptions", 1),
    "SOFTMAX": OperatorForm("SoftmaxOptions", 2),
}
FUSED: Final[dict[str, str]] = {"linear": "NONE", "relu": "RELU", "relu6": "RELU6"}


@dataclass(frozen=True)
class Quantization:
    """Power-of-two scales of a tensor: one exponent, or one for each channel on ``axis``."""

    exponents: tuple[int, ...]
    zero: int = 0
    axis: int = 0


def quantization_of(tensor: Tensor) -> Quantization:
    """How an activation is written: uint8 codes become int8 with zero point -128."""
    return Quantization((tensor.exponent,), 0 if tensor.signed else -128)


class Builder:
    """The ``TwinBuilder`` that operators write themselves into; see its protocol."""

    def __init__(self, weights: WeightForm = "int8") -> None:
        self.weights = weights
        self.quantizations: dict[int, Quantization] = {}
        self._schema = schema()
        self._tensors: list[Any] = []
        self._names: dict[str, int] = {}
        self._buffers: dict[bytes, int] = {b"": 0}
        self._codes: dict[tuple[str, int], int] = {}
        self._operators: list[Any] = []

    def activation(self, tensor: Tensor) -> int:
        if tensor.name not in self._names:
            shape = (1, *tensor.shape)
            self._add(tensor.name, shape, "INT8", None, quantization_of(tensor))
        return self._names[tensor.name]

    def integers(self, name: str, values: IntArray) -> int:
        array = np.asarray(values, np.int32)
        return self._add(name, array.shape, "INT32", array, None)

    def codes(self, name: str, like: Tensor, values: IntArray) -> int:
        quantization = quantization_of(like)
        stored = (np.asarray(values, np.int64) + quantization.zero).astype(np.int8)
        return self._add(name, stored.shape, "INT8", stored, quantization)

    def parameters(self, op: LinearOp, x: Tensor, out: Tensor, channel_axis: int) -> list[int]:
        check_requantization(op, x, out)
        weights = op.quantized
        image = weights.image()
        if channel_axis == 3:
            image = np.ascontiguousarray(np.moveaxis(image, 0, -1)[None])
        axis = channel_axis if len(weights.exponents) > 1 else 0
        quantization = Quantization(tuple(weights.exponents.tolist()), axis=axis)
        bias = op.bias.astype(np.int32)
        units = tuple((weights.exponents + x.exponent).tolist())
        return [
            self._weights(f"{out.name}#weights", image, quantization, weights.encoding),
            self._add(f"{out.name}#bias", bias.shape, "INT32", bias, Quantization(units)),
        ]

    def emit(self, operator: TwinOperator, inputs: Sequence[int], out: Tensor) -> None:
        steps = [] if operator.limits is None else clamp_steps(operator, out)
        target = derived(out, "wide") if steps else out
        self._operator(operator, inputs, self.activation(target))
        for position, (code, limit) in enumerate(steps):
            source, last = target, position == len(steps) - 1
            target = out if last else derived(out, "half")
            constant = self.codes(f"{out.name}#{code.lower()}", out, np.array([limit]))
            inputs = [self.activation(source), constant]
            self._operator(TwinOperator(code), inputs, self.activation(target))

    def build(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """The flatbuffer of everything collected, with the given inputs and outputs."""
        s = self._schema
        graph = s.SubGraphT()
        graph.name, graph.tensors, graph.operators = name, self._tensors, self._operators
        graph.inputs = [self._names[n] for n in inputs]
        graph.outputs = [self._names[n] for n in outputs]
        model = s.ModelT()
        model.version, model.description, model.subgraphs = SCHEMA_VERSION, "tinyq", [graph]
        model.operatorCodes = [self._operator_code(*key) for key in self._codes]
        model.buffers = [_AlignedBuffer(s, data) for data in self._buffers]
        return _pack(model)

    def _weights(
        self, name: str, image: npt.NDArray[np.int8], quantization: Quantization, encoding: str
    ) -> int:
        per_channel = len(quantization.exponents) > 1
        if self.weights == "decode":
            encoded = encode(image, per_channel, quantization.axis)
            if encoded is not None:
                parts = {"indices": encoded.indices, "table": encoded.ancillary}
                inputs = [
                    self._add(f"{name}_{part}", data.shape, "UINT8", data, None)
                    for part, data in parts.items()
                ]
                expanded = self._add(name, image.shape, "INT8", None, quantization)
                self._operator(TwinOperator(DECODE_NAME), inputs, expanded)
                return expanded
        fits = ENCODINGS[encoding].is_uniform and ENCODINGS[encoding].bits <= 4
        # TFLM's fully connected kernel refuses INT4 with a scale per channel.
        if self.weights == "int4" and fits and not (per_channel and image.ndim == 2):
            return self._add(name, image.shape, "INT4", pack_nibbles(image), quantization)
        return self._add(name, image.shape, "INT8", image, quantization)

    def _add(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        data: npt.NDArray[Any] | None,
        quantization: Quantization | None,
    ) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape = name, list(shape)
        tensor.type = getattr(self._schema.TensorType, kind)
        content = b"" if data is None else np.ascontiguousarray(data).tobytes()
        tensor.buffer = self._buffers.setdefault(content, len(self._buffers))
        index = self._names.setdefault(name, len(self._tensors))
        if index != len(self._tensors):
            raise UnsupportedError(f"tensor name '{name}' occurs twice in the .tflite file")
        if quantization is not None:
            tensor.quantization = self._parameters_of(name, quantization)
            self.quantizations[index] = quantization
        self._tensors.append(tensor)
        return index

    def _parameters_of(self, name: str, quantization: Quantization) -> Any:
        for exponent in quantization.exponents:
            if exponent not in FLOAT32_EXPONENTS:
                raise UnsupportedError(f"scale 2^{exponent} of '{name}' is no normal float32")
        parameters = self._schema.QuantizationParametersT()
        parameters.scale = [2.0**e for e in quantization.exponents]
        parameters.zeroPoint = [quantization.zero] * len(quantization.exponents)
        parameters.quantizedDimension = quantization.axis
        return parameters

    def _operator(self, operator: TwinOperator, inputs: Sequence[int], output: int) -> None:
        s = self._schema
        form = FORMS.get(operator.code, OperatorForm(None, 1))
        key = operator.code, form.version
        node = s.OperatorT()
        node.opcodeIndex = self._codes.setdefault(key, len(self._codes))
        node.inputs, node.outputs = list(inputs), [output]
        if form.options is not None:
            options = getattr(s, f"{form.options}T")()
            _set_fields(options, operator.options)
            if form.fuses:
                kind = FUSED[operator.activation]
                options.fusedActivationFunction = getattr(s.ActivationFunctionType, kind)
            node.builtinOptionsType = getattr(s.BuiltinOptions, form.options)
            node.builtinOptions = options
        self._operators.append(node)

    def _operator_code(self, name: str, version: int) -> Any:
        code = self._schema.OperatorCodeT()
        custom = name == DECODE_NAME
        code.customCode = name if custom else None
        code.builtinCode = getattr(self._schema.BuiltinOperator, "CUSTOM" if custom else name)
        # Readers older than the wide field look at the narrow one.
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        return code


def check_requantization(op: LinearOp, x: Tensor, out: Tensor) -> None:
    """Refuse what TFLM's multiplier arithmetic would compute otherwise than the firmware."""
    n = op.shifts([x], out)
    if op.rounding != "tflite" and n.max() >= 2:
        raise UnsupportedError(
            f"rounding '{op.rounding}' is not what stock TFLM computes: export with rounding "
            "'tflite' for a .tflite twin"
        )
    reach = op.accumulator_bounds(full_interval(x)).magnitude
    if n.min() == 0 and reach >= UNSHIFTED_LIMIT:
        raise UnsupportedError(
            f"accumulator up to {reach} with no shift overflows in TFLM from {UNSHIFTED_LIMIT} "
            "on: raise the output exponent by one"
        )


def clamp_steps(operator: TwinOperator, out: Tensor) -> list[tuple[str, int]]:
    """MINIMUM and MAXIMUM, with their codes, that bring TFLM's own clamp to the limits wanted."""
    if operator.limits is None:
        return []
    zero = quantization_of(out).zero
    whole = Tensor(out.name, out.shape, out.dtype, 8, out.exponent)
    low, high = output_limits(operator.activation, whole)
    low, high = max(low, -128 - zero), min(high, 127 - zero)
    lo, hi = operator.limits
    steps = [("MINIMUM", hi)] if hi < high else []
    return steps + ([("MAXIMUM", lo)] if lo > low else [])


def _set_fields(options: Any, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not hasattr(options, name):
            raise AttributeError(f"{type(options).__name__} has no field {name}")
        setattr(options, name, value)


class _AlignedBuffer:
    """A schema buffer whose data start at a multiple of ``ALIGNMENT``."""

    def __init__(self, schema_module: Any, data: bytes) -> None:
        self._schema = schema_module
        self._data = data

    def Pack(self, builder: Any) -> Any:  # noqa: N802, the name that the schema's classes call
        """Write the buffer into a flatbuffers builder and return its offset."""
        vector = None
        if self._data:
            builder.Prep(ALIGNMENT, len(self._data))
            vector = builder.CreateByteVector(self._data)
        self._schema.BufferStart(builder)
        if vector is not None:
            self._schema.BufferAddData(builder, vector)
        return self._schema.BufferEnd(builder)


def _pack(model: Any) -> bytes:
    try:
        import flatbuffers
    except ImportError as error:
        raise TflmMissing(f"a .tflite file needs the flatbuffers package: {INSTALL}") from error
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_MARK)
    return bytes(builder.Output())
