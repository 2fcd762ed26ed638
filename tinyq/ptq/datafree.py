# SPDX-License-Identifier: Apache-2.0
"""Calibration inputs made from batch-norm statistics, for models without data.

Every batch normalization remembers mean and variance of what it saw in training.  Inputs are
optimized by gradient descent until what the normalizations see now has these moments
(Cai et al., ZeroQ, arXiv 2001.00281):

    loss = sum over normalizations of mean(((m - mean) / sd)**2) + mean((s / sd - 1)**2)

with m, s mean and standard deviation over samples and positions, per channel.  Inputs are bounded
by tanh where the range is known; otherwise a common scale and shift are learned with them.

Absent on purpose: labels, class balance, image priors beyond a smooth start.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tinyq.errors import InputError
from tinyq.frontends.keras import Source, load_model
from tinyq.progress import Progress, silent

FloatArray = npt.NDArray[np.float32]

STEPS: Final = 120
RATE: Final = 0.1
#: Smooth noise starts on a grid coarser by this factor.
_COARSENESS: Final = 8


def synthesize(
    source: Source,
    count: int = 64,
    seed: int = 0,
    low: float | None = None,
    high: float | None = None,
    steps: int = STEPS,
    progress: Progress = silent,
) -> tuple[FloatArray, ...]:
    """Calibration inputs for a Keras model; the same arguments give the same inputs.

    Args:
        source: a path or a model object, as ``frontends.keras.load_model`` takes it.
        count: samples of each input; memory and time grow with it.
        low, high: range of the model's inputs (after preprocessing); both or neither.
        steps: of gradient descent.

    Returns:
        float32 ``[count, *shape]`` for each input of the model, in order.

    Warns:
        UserWarning: the model has no batch normalization, so the inputs are plain noise.

    Raises:
        InputError: a range or a count that makes no sense.
        ToolMissing: tf_keras is not installed.
    """
    if (low is None) != (high is None) or (low is not None and high is not None and low >= high):
        raise InputError(f"the input range {low}..{high} needs two ends, the lower one first")
    if count < 2 or steps < 0:
        raise InputError(f"{count} samples, {steps} steps: at least 2 and 0 are needed")
    model = load_model(source)
    rng = np.random.default_rng(seed)
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    variables = [_smooth_noise(rng, (count, *shape)) for shape in shapes]
    variables += [np.zeros(2, np.float32) for _ in shapes]
    to_inputs = _parametrization(len(shapes), low, high)
    if not _normalizations(model):
        warnings.warn(
            f"model '{model.name}' has no batch normalization to calibrate on, so plain noise "
            "does it: expect poor accuracy; give calibration data instead",
            stacklevel=2,
        )
    elif steps:
        _descend(variables, _gradients(model, to_inputs), steps, progress)
    return tuple(np.asarray(x, np.float32) for x in to_inputs(variables))


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Normal noise; images also get a coarse component, repeated over blocks."""
    fine = rng.normal(size=shape)
    if len(shape) != 4:
        return (0.5 * fine).astype(np.float32)
    blocks = (shape[0], *(-(-size // _COARSENESS) for size in shape[1:3]), shape[3])
    coarse = rng.normal(size=blocks).repeat(_COARSENESS, 1).repeat(_COARSENESS, 2)
    return (0.7 * coarse[:, : shape[1], : shape[2]] + 0.15 * fine).astype(np.float32)


def _parametrization(
    inputs: int, low: float | None, high: float | None
) -> Callable[[Sequence[Any]], list[Any]]:
    """From free variables (noise of every input, then log scale and shift of each) to inputs."""
    import tensorflow as tf

    def bounded(variables: Sequence[Any]) -> list[Any]:
        assert low is not None
        assert high is not None
        middle, half = (high + low) / 2, (high - low) / 2
        return [middle + half * tf.tanh(z) for z in variables[:inputs]]

    def free(variables: Sequence[Any]) -> list[Any]:
        pairs = zip(variables[:inputs], variables[inputs:], strict=True)
        return [tf.exp(affine[0]) * (z + affine[1]) for z, affine in pairs]

    return free if low is None else bounded


def _normalizations(model: Any) -> list[tuple[Any, Any, Any]]:
    """(input tensor, mean, variance + epsilon) of every call of every batch normalization."""
    import tf_keras

    found = []
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
            for index in range(len(layer.inbound_nodes)):
                found.append((layer.get_input_at(index), mean, variance + layer.epsilon))
    return found


def _gradients(
    model: Any, to_inputs: Callable[[Sequence[Any]], list[Any]]
) -> Callable[[Sequence[FloatArray]], list[FloatArray]]:
    """A function from the variables to the gradients of the loss."""
    import tensorflow as tf
    import tf_keras

    statistics = _normalizations(model)
    probe = tf_keras.Model(model.inputs, [tensor for tensor, _, _ in statistics])

    def step(variables: Sequence[Any]) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(variables)
            seen = probe(to_inputs(variables), training=False)
            seen = seen if isinstance(seen, list | tuple) else [seen]
            loss = tf.add_n(
                [_mismatch(y, *known[1:]) for y, known in zip(seen, statistics, strict=True)]
            )
        return tape.gradient(loss, variables, unconnected_gradients="zero")

    compiled = tf.function(step)
    return lambda variables: [g.numpy() for g in compiled([tf.constant(v) for v in variables])]


def _mismatch(y: Any, mean: FloatArray, variance: FloatArray) -> Any:
    """The loss of one normalization."""
    import tensorflow as tf

    deviation = np.sqrt(variance)
    m, v = tf.nn.moments(y, list(range(len(y.shape) - 1)))
    return tf.reduce_mean(((m - mean) / deviation) ** 2) + tf.reduce_mean(
        (tf.sqrt(v + 1e-8) / deviation - 1) ** 2
    )


@dataclass
class _Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) for one array, in place."""

    value: FloatArray
    first: FloatArray = field(init=False)
    second: FloatArray = field(init=False)
    steps: int = 0

    def __post_init__(self) -> None:
        self.first, self.second = np.zeros_like(self.value), np.zeros_like(self.value)

    def update(self, gradient: FloatArray, rate: float) -> None:
        self.steps += 1
        self.first += 0.1 * (gradient - self.first)
        self.second += 0.001 * (gradient**2 - self.second)
        corrected = self.second / (1 - 0.999**self.steps)
        mean = self.first / (1 - 0.9**self.steps)
        self.value -= (rate * mean / (np.sqrt(corrected) + 1e-8)).astype(np.float32)


def _descend(
    variables: Sequence[FloatArray],
    gradients: Callable[[Sequence[FloatArray]], list[FloatArray]],
    steps: int,
    progress: Progress,
) -> None:
    """Adam with a cosine schedule, in place."""
    optimizers = [_Adam(value) for value in variables]
    for step in range(steps):
        progress("synthesizing calibration data", step, steps)
        rate = RATE * (1 + np.cos(np.pi * step / steps)) / 2
        for optimizer, gradient in zip(optimizers, gradients(variables), strict=True):
            optimizer.update(gradient, rate)
    progress("synthesizing calibration data", steps, steps)
