# SPDX-License-Identifier: Apache-2.0
"""Exponents: which axes own one, how a first one is found, how TQT learns it.

A scale is 2**e.  TQT (Jain et al., *Trained Quantization Thresholds*, MLSys 2020) stores a real
number theta with e = ceil(theta) - (bits - 1) for signed and ceil(theta) - bits for unsigned codes,
so that 2**theta is the largest magnitude; autodiff of clip(round(x / s)) * s gives
dx^/dtheta = s ln 2 * (round(x/s) - x/s inside, the bound outside).

Methods: ``tqt`` learns theta, which starts half a step below the exponent with the least squared
error; ``mse`` keeps that exponent; ``minmax`` keeps the smallest exponent that clips nothing.
``lsq`` and ``llsq`` learn theta in other ways (see their modules) and round it to the nearest
integer, not up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyq.errors import InputError
from tinyq.numerics import ceil_log2
from tinyq.quantizers.functions import Tensor, ceil_through

FloatArray = npt.NDArray[np.float64]
SCALES: Final = ("per_tensor", "per_channel")
SCALE_LEARNING: Final = ("tqt", "lsq", "llsq", "mse", "minmax")
#: what ``Uniform`` and ``Activation`` do themselves; the others are subclasses
PLAIN_LEARNING: Final = ("tqt", "mse", "minmax")
FIXED: Final = ("mse", "minmax")
#: theta starts this far below the best exponent, where the gradient can move it either way
TQT_OFFSET: Final = 0.5
#: exponents of one layer span at most this range: channels whose weights are almost zero would
#: otherwise ask for accumulators of more than 32 bits
MAX_SPREAD: Final = 16
#: exponents tried below the largest one
SEARCH_DEPTH: Final = 14


def check_choice(what: str, value: str, known: Sequence[str]) -> None:
    """InputError unless ``value`` is one of ``known``."""
    if value not in known:
        raise InputError(f"{what}='{value}' is unknown; choose one of {', '.join(known)}")


def scale_shape(shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    """Shape of the exponents, broadcastable to ``shape``: 1 except along ``axes``."""
    kept = {axis % len(shape) for axis in axes}
    return [size if i in kept else 1 for i, size in enumerate(shape)]


def columns(values: npt.NDArray[Any], axes: Sequence[int]) -> FloatArray:
    """``values`` as float64 ``[K, C]`` with one column for each exponent (C = 1 without axes)."""
    x = np.asarray(values, np.float64)
    if not axes:
        return x.reshape(-1, 1)
    kept = sorted(axis % x.ndim for axis in axes)
    width = int(np.prod([x.shape[axis] for axis in kept]))
    return np.moveaxis(x, kept, range(x.ndim - len(kept), x.ndim)).reshape(-1, width)


def covering_exponents(cols: FloatArray, largest: float) -> FloatArray:
    """Per column the smallest e with max|x| <= largest * 2**e, at most ``MAX_SPREAD`` apart."""
    peaks = np.abs(cols).max(0)
    top = peaks.max(initial=0.0)
    if top == 0:
        return np.zeros(cols.shape[1])
    safe = np.maximum(peaks, top * 2.0**-40)
    exponents = ceil_log2(safe / largest).astype(np.float64)
    return np.maximum(exponents, exponents.max() - MAX_SPREAD)


def squared_error(
    cols: FloatArray, exponents: FloatArray, codes: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Sum of squared quantization errors per column, ``[C]``."""
    scale = 2.0**exponents
    return ((codes(cols / scale) * scale - cols) ** 2).sum(0)


def best_exponents(
    cols: FloatArray,
    largest: float,
    codes: Callable[[FloatArray], FloatArray],
    steps: Iterable[int] = range(0, -SEARCH_DEPTH, -1),
) -> FloatArray:
    """Per column the exponent with the least squared error among covering + ``steps``."""
    start = covering_exponents(cols, largest)
    best, error = start, squared_error(cols, start, codes)
    for step in steps:
        trial = start + step
        trial_error = squared_error(cols, trial, codes)
        best = np.where(trial_error < error, trial, best)
        error = np.minimum(error, trial_error)
    return best


def exponent_of_theta(theta: Tensor, magnitude_bits: int) -> Tensor:
    """ceil(theta) - magnitude_bits, gradient 1 to theta."""
    return ceil_through(theta) - float(magnitude_bits)


def assign_per_channel(variable: Any, values: FloatArray) -> bool:
    """Set a variable from one value or one for each of its elements; False where neither fits."""
    size = int(np.prod(variable.shape))
    if values.size not in (1, size):
        return False
    variable.assign(np.broadcast_to(values.ravel(), (size,)).reshape(variable.shape))
    return True


def theta_of_exponent(exponents: FloatArray, magnitude_bits: int, learned: bool) -> FloatArray:
    """The theta from which ``exponent_of_theta`` gives these exponents."""
    return exponents + magnitude_bits - (TQT_OFFSET if learned else 0.0)


def nearest_exponent(theta: Tensor, magnitude_bits: int) -> Tensor:
    """floor(theta + 1/2) - magnitude_bits; no gradient."""
    return tf.stop_gradient(tf.floor(theta + 0.5)) - float(magnitude_bits)


def theta_of_step(steps: FloatArray | float, magnitude_bits: int) -> FloatArray:
    """The theta of positive real steps; steps of 0 are as far below the largest as may be."""
    largest = np.max(steps)
    if largest == 0:
        return np.full(np.shape(steps), float(magnitude_bits))
    return np.log2(np.maximum(steps, largest * 2.0**-MAX_SPREAD)) + magnitude_bits
