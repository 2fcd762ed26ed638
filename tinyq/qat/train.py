# SPDX-License-Identifier: Apache-2.0
"""Training of a quantized model: three learning rates, one cosine, two freezes.

Adam moves kernels, biases and norms; exponents (theta) and tables have rates of their own, because
they are measured in powers of two and in codes.  Exponents freeze late and before the end, so that
the weights settle on them; batch statistics, where they are used at all, freeze first.

The loss is cross-entropy of the logits: of classes, or of independent flags where the model ends in
a sigmoid (softmax and sigmoid themselves are left out while training).  Without labels it is the
squared error of the reconstructed input.

Absent on purpose: augmentation, distributed training, Keras' ``fit`` (it works on these models too,
but knows neither the rates nor the freezes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.errors import DataError, UnsupportedError
from tinyq.qat.calibrate import check_inputs, legalize, quant_layers, refresh_weights
from tinyq.qat.config import TrainConfig
from tinyq.qat.elementwise import QuantSigmoid, UnitLayer
from tinyq.qat.folded import FoldedLayer
from tinyq.qat.quantize import variables_by_group

#: of Adam; the gradients of table entries are tiny
ADAM_EPSILON: Final = 1e-7


@dataclass(frozen=True)
class Progress:
    """One training step.

    step, steps: 1-based and in total; epoch: 1-based; loss: of this step; rate: of the weights.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    rate: float


def train(
    model: Any,
    x: Any,
    y: Any = None,
    config: TrainConfig | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[float]:
    """Train a quantized model in place.

    Args:
        model: what ``quantize`` returned; one input and one output.
        x: float32 ``[N, ...]`` as the model sees them.
        y: class numbers ``[N]``, or 0/1 flags ``[N, K]`` for a model that ends in K sigmoids;
            None trains the model to reconstruct ``x``.
        config: schedule; ``progress``: called after each step.

    Returns:
        the mean loss of each epoch.

    Raises:
        DataError: samples and labels that do not fit each other or the model.
        UnsupportedError: a model with several inputs or outputs.
    """
    config = config or TrainConfig()
    inputs, targets = _check_data(model, x, y)
    tf_keras.utils.set_random_seed(config.seed)
    trainer = _Trainer(model, config, LOSSES[_loss_name(model, y)], len(inputs))
    losses = []
    for epoch in range(config.epochs):
        if epoch > 0:
            refresh_weights(model)
        total = []
        for batch in _batches(len(inputs), config, epoch):
            total.append(trainer.step(inputs[batch], targets[batch]))
            if progress is not None:
                progress(trainer.progress(epoch + 1, total[-1]))
        legalize(model)
        losses.append(float(np.mean(total)))
    set_batch_statistics(model, False)
    return losses


def set_batch_statistics(model: Any, active: bool) -> None:
    """Let batch normalizations use (and learn) batch statistics in training, or freeze them."""
    for layer in quant_layers(model):
        if isinstance(layer, FoldedLayer):
            layer.batch_statistics = active


def logits_model(model: Any) -> Any:
    """The same layers up to the output of the last one before a final softmax or sigmoid."""
    tensor = model.outputs[0]
    layer = tensor._keras_history.layer
    while isinstance(layer, UnitLayer):
        tensor = layer.inbound_nodes[0].keras_inputs[0]
        layer = tensor._keras_history.layer
    return tf_keras.Model(model.inputs, tensor)


def _squared_error(output: Any, goal: Any) -> Any:
    return tf.math.squared_difference(output, goal)


def _class_entropy(output: Any, goal: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(goal, output)


def _flag_entropy(output: Any, goal: Any) -> Any:
    return tf.nn.sigmoid_cross_entropy_with_logits(goal, output)


#: loss of each sample (and element), averaged by the trainer
LOSSES: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "reconstruction": _squared_error,
    "classes": _class_entropy,
    "flags": _flag_entropy,
}


def _loss_name(model: Any, y: Any) -> str:
    if y is None:
        return "reconstruction"
    ends = isinstance(model.outputs[0]._keras_history.layer, QuantSigmoid)
    return "flags" if ends else "classes"


def _check_data(
    model: Any, x: Any, y: Any
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | npt.NDArray[np.int64]]:
    """Inputs and what the loss compares the output with."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UnsupportedError(
            f"'{model.name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "train() needs one of each: use Keras' fit"
        )
    (inputs,) = check_inputs(model, x)
    shape = tuple(model.outputs[0].shape[1:])
    kind = _loss_name(model, y)
    if kind == "reconstruction":
        if shape != inputs.shape[1:]:
            raise DataError(
                f"without labels the model must reconstruct its input {inputs.shape[1:]}, but its "
                f"output is {shape}; give labels"
            )
        return inputs, inputs
    labels = np.asarray(y)
    return inputs, (_flags if kind == "flags" else _classes)(labels, len(inputs), shape)


def _classes(labels: npt.NDArray[Any], count: int, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    if labels.shape[:1] != (count,) or labels.size != count or len(shape) != 1:
        raise DataError(
            f"{count} samples, labels of shape {labels.shape} and outputs of shape {shape}; give "
            "one class number for each sample"
        )
    flat = labels.reshape(-1)
    if not np.array_equal(flat, np.floor(flat)) or flat.min() < 0 or flat.max() >= shape[0]:
        raise DataError(f"labels {flat.min()}..{flat.max()} are no classes 0..{shape[0] - 1}")
    return flat.astype(np.int64)


def _flags(labels: npt.NDArray[Any], count: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if labels.size == count and shape != (1,):
        return np.eye(shape[0], dtype=np.float32)[_classes(labels, count, shape)]
    if labels.shape[:1] != (count,) or labels.size != count * int(np.prod(shape)):
        raise DataError(
            f"{count} samples, labels of shape {labels.shape} and sigmoids of shape {shape}; give "
            "one flag for each sigmoid"
        )
    if not np.isin(labels, (0, 1)).all():
        raise DataError(f"labels {labels.min()}..{labels.max()} of sigmoids must be 0 or 1")
    return labels.reshape(count, *shape).astype(np.float32)


def _batches(count: int, config: TrainConfig, epoch: int) -> Iterator[npt.NDArray[np.int64]]:
    order = np.random.default_rng([config.seed, epoch]).permutation(count)
    for start in range(0, count, config.batch_size):
        yield order[start : start + config.batch_size]


class _Trainer:
    """Optimizers and the compiled step of one training."""

    def __init__(
        self, model: Any, config: TrainConfig, loss: Callable[[Any, Any], Any], count: int
    ) -> None:
        self.config = config
        self.model = model
        self.network = logits_model(model)
        self.loss = loss
        self.steps = config.epochs * -(-count // config.batch_size)
        self.done = 0
        self.groups = {k: v for k, v in variables_by_group(model).items() if v}
        self.optimizers = {
            name: tf_keras.optimizers.Adam(1e-3, epsilon=ADAM_EPSILON) for name in self.groups
        }
        for name, optimizer in self.optimizers.items():
            optimizer.build(self.groups[name])
        self._compiled: dict[bool, Any] = {}

    def rates(self) -> dict[str, float]:
        """Learning rate of each group at the current step."""
        position = self.done / max(self.steps, 1)
        cosine = 0.5 * (1 + math.cos(math.pi * position))
        scale = self.config.scale_rate if position < self.config.freeze_scales else 0.0
        return {
            "weight": self.config.learning_rate * cosine,
            "scale": scale * cosine,
            "table": self.config.table_rate * cosine,
        }

    def step(self, x: Any, goal: Any) -> float:
        """One update; returns the loss."""
        batch = self.done < self.config.batch_statistics * self.steps
        set_batch_statistics(self.model, batch)
        rates = self.rates()
        for name, optimizer in self.optimizers.items():
            optimizer.learning_rate.assign(rates[name])
        if batch not in self._compiled:
            self._compiled[batch] = tf.function(
                self._update, autograph=False, reduce_retracing=True
            )
        loss = self._compiled[batch](tf.constant(x), tf.constant(goal))
        self.done += 1
        return float(loss)

    def progress(self, epoch: int, loss: float) -> Progress:
        """The report of the step that was just done."""
        return Progress(self.done, self.steps, epoch, loss, self.rates()["weight"])

    def _update(self, x: Any, goal: Any) -> Any:
        with tf.GradientTape() as tape:
            output = self.network(x, training=True)
            loss = tf.reduce_mean(self.loss(output, goal)) + sum(self.network.losses)
        variables = [v for group in self.groups.values() for v in group]
        found = dict(zip((id(v) for v in variables), tape.gradient(loss, variables), strict=True))
        for name, group in self.groups.items():
            pairs = [(found[id(v)], v) for v in group if found[id(v)] is not None]
            self.optimizers[name].apply_gradients(pairs)
        return loss
