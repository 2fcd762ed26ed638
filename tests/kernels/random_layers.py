# SPDX-License-Identifier: Apache-2.0
"""Random tensors, weights and layers for the kernel tests; everything follows from a generator."""

from __future__ import annotations

import numpy as np

from tinyq.encodings import ENCODINGS, Weights, code_range
from tinyq.ops import LinearOp
from tinyq.tensors import Shape, Tensor

#: exponent of every test input
X_EXPONENT = -3


def tensor(
    name: str, shape: Shape, dtype: str = "int8", exponent: int = X_EXPONENT, bits: int = 8
) -> Tensor:
    """An integer tensor."""
    return Tensor(name, tuple(shape), dtype, bits, exponent)


def codes(rng: np.random.Generator, t: Tensor, count: int = 2) -> np.ndarray:
    """Random codes, then all greatest, then all smallest: ``[count + 2, *shape]``."""
    random = rng.integers(t.lo, t.hi + 1, (count, *t.shape))
    ends = [np.full((1, *t.shape), value) for value in (t.hi, t.lo)]
    return np.concatenate([random, *ends]).astype(np.int64)


def random_input(rng: np.random.Generator, shape: Shape) -> Tensor:
    """An input of either type, sometimes of 4 bits."""
    return tensor("x", shape, str(rng.choice(["int8", "uint8"])), bits=int(rng.choice([8, 8, 4])))


def random_window(rng: np.random.Generator, limit: int) -> tuple[Shape, dict[str, object]]:
    """Height and width of an image and a window that fits it: kernel, strides, padding."""
    kernel = tuple(map(int, rng.integers(1, limit + 1, 2)))
    padding = tuple(int(rng.integers(0, k)) for k in (kernel[0], kernel[0], kernel[1], kernel[1]))
    least = (kernel[0] - padding[0] - padding[1], kernel[1] - padding[2] - padding[3])
    size = tuple(int(rng.integers(max(1, n), limit + 4)) for n in least)
    strides = tuple(map(int, rng.integers(1, 4, 2)))
    return size, {"kernel": kernel, "strides": strides, "padding": padding}


def weights(
    rng: np.random.Generator, encoding: str, shape: Shape, exponents: np.ndarray, extreme: bool
) -> Weights:
    """Random weights; ``extreme``: only the largest magnitudes that the encoding has."""
    kind = ENCODINGS[encoding]
    low, high = code_range(kind)
    table = None
    if kind.uses_table:
        table = rng.integers(-127, 128, kind.table_entries).astype(np.int8)
        table[:2] = -127, 127
    ends = np.array([0, 1] if kind.uses_table else [low, high])
    if kind.levels is not None:
        ends = np.array([np.argmin(kind.levels), np.argmax(kind.levels)])
    drawn = rng.choice(ends, shape) if extreme else rng.integers(low, high + 1, shape)
    return Weights(encoding, drawn.astype(np.int8), exponents.astype(np.int32), table)


def shifts(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Shifts of the channels, ``[channels]`` or ``[1]``: per tensor or not, small, usual, 31."""
    choice = np.array([0, 1, 2, 3, 7, 8, 9, 11, 31])
    return rng.choice(choice, channels if rng.random() < 0.6 else 1)


def bias(rng: np.random.Generator, n: np.ndarray, reach: int, channels: int) -> np.ndarray:
    """Biases from nothing to what the proof of 32 bits admits beside products up to ``reach``."""
    top = (1 << (int(n.max()) - 1)) + 1 if n.max() > 0 else 0
    limit = 2**31 - 1 - top - reach
    scale = rng.choice([0, 100, 1 << 14, limit])
    drawn = rng.integers(-scale, scale + 1, channels)
    drawn[rng.random(channels) < 0.2] = scale
    drawn[rng.random(channels) < 0.1] = -scale
    return drawn.astype(np.int32)


def linear_parameters(
    rng: np.random.Generator, encoding: str, shape: Shape, x: Tensor
) -> tuple[dict[str, object], Tensor]:
    """Arguments of a weighted operator and its output tensor (of no shape yet)."""
    n = shifts(rng, shape[0])
    extreme = bool(rng.random() < 0.3)
    out_exponent = int(rng.integers(-6, 3))
    quantized = weights(rng, encoding, shape, out_exponent - x.exponent - n, extreme)
    image = np.abs(quantized.image().astype(np.int64)).reshape(shape[0], -1)
    reach = int(image.sum(1).max()) * max(abs(x.lo), x.hi)
    activation = str(rng.choice(["linear", "linear", "relu", "relu6"]))
    dtype = "int8" if activation == "linear" and rng.random() < 0.8 else "uint8"
    parameters: dict[str, object] = {
        "weights": quantized,
        "bias": bias(rng, n, reach, shape[0]),
        "activation": activation,
        "rounding": str(rng.choice(["tflite", "tflite", "half_up"])),
    }
    return parameters, tensor("y", (1,), dtype, out_exponent, int(rng.choice([8, 8, 4])))


def label(op: LinearOp, x: Tensor) -> str:
    """Encoding and shapes of a layer."""
    return f"{type(op).__name__} {op.quantized.encoding} {op.weights.shape} on {x.dtype} {x.shape}"
