# SPDX-License-Identifier: Apache-2.0
"""What a quantized model is trained towards: labels, a teacher, its own input, or a mixture.

Losses see logits: a final softmax or sigmoid is left out while training.

    classes   cross-entropy of class numbers        teacher: T^2 KL(softmax(t/T) || softmax(z/T))
    flags     cross-entropy of independent 0/1s     teacher: T^2 KL of the softened flags
    squares   squared error of real outputs         teacher: squared error to its outputs

Distillation (Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015) mixes both by a
weight; T^2 keeps the gradient's size independent of the temperature.  Without labels the teacher is
all there is, and without both the model reconstructs its input.  The losses of several outputs are
added.

Absent on purpose: weights of classes, samples or outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyq.errors import DataError, InputError, UnsupportedError
from tinyq.qat.elementwise import QuantSigmoid, UnitLayer
from tinyq.qat.schedule import TrainConfig

Tensor = Any
Array = npt.NDArray[Any]

#: a teacher's probabilities are kept this far from 0 and, for flags, from 1
SMALLEST_CLASS: Final = 1e-30
SMALLEST_FLAG: Final = 1e-7


@dataclass(frozen=True)
class Head:
    """An output and its loss.

    name: of the output; kind: "classes", "flags" or "squares"; shape: without the batch;
    unit: the model ends in a softmax or sigmoid here.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    unit: bool


def heads_of(model: Any, loss: str | tuple[str, ...], labelled: bool) -> tuple[Head, ...]:
    """The outputs of a model with the losses that ``TrainConfig.loss`` chooses."""
    names = (loss,) * len(model.outputs) if isinstance(loss, str) else loss
    if len(names) != len(model.outputs):
        raise InputError(f"{len(names)} losses for {len(model.outputs)} outputs; give one for each")
    return tuple(
        _head(tensor, name, labelled) for tensor, name in zip(model.outputs, names, strict=True)
    )


def _head(tensor: Any, loss: str, labelled: bool) -> Head:
    layer = tensor._keras_history.layer
    unit = isinstance(layer, UnitLayer)
    natural = "flags" if isinstance(layer, QuantSigmoid) else "classes"
    kind = loss if loss != "auto" else natural if unit or labelled else "squares"
    if unit and kind != natural:
        raise InputError(f"loss='{kind}' does not fit output '{layer.name}'; use '{natural}'")
    return Head(layer.name, kind, tuple(int(size) for size in tensor.shape[1:]), unit)


# ---------------------------------------------------------------- labels


def encode_labels(heads: Sequence[Head], labels: Any, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """What the losses compare the outputs with.

    Args:
        heads: of the model.
        labels: an array ``[N, ...]``, a list of one for each of several outputs, or None to
            reconstruct the input.
        inputs: float32 ``[N, ...]``, one per input.

    Returns:
        for each output int64 ``[N]`` (classes) or float32 ``[N, *shape]``.

    Raises:
        DataError: labels that do not fit the samples or the outputs.
        UnsupportedError: reconstruction with several inputs or outputs.
    """
    if labels is None:
        return (_reconstruction(heads, inputs),)
    columns = label_columns(labels, len(heads))
    count = len(inputs[0])
    return tuple(
        ENCODERS[head.kind](np.asarray(column), count, head.shape)
        for head, column in zip(heads, columns, strict=True)
    )


def label_columns(labels: Any, outputs: int) -> list[Array]:
    """One array for each output: all of ``labels`` for one, else the items of a list.

    Raises:
        DataError: no list of as many arrays as there are outputs.
    """
    if outputs == 1:
        return [np.asarray(labels)]
    if not isinstance(labels, list | tuple) or len(labels) != outputs:
        raise DataError(
            f"the model has {outputs} outputs; give labels as a list with one array each"
        )
    return [np.asarray(column) for column in labels]


def _reconstruction(heads: Sequence[Head], inputs: Sequence[Array]) -> Array:
    if len(heads) != 1 or len(inputs) != 1:
        raise UnsupportedError(
            f"a model of {len(inputs)} inputs and {len(heads)} outputs cannot learn to reconstruct "
            "its input; give labels, a list with one array per output, or a teacher"
        )
    if heads[0].shape != inputs[0].shape[1:]:
        raise DataError(
            f"without labels the model must reconstruct its input {inputs[0].shape[1:]}, but its "
            f"output is {heads[0].shape}; give labels or a teacher"
        )
    return inputs[0]


def _classes(labels: Array, count: int, shape: tuple[int, ...]) -> Array:
    if labels.shape[:1] != (count,) or labels.size != count or len(shape) != 1:
        raise DataError(
            f"{count} samples, labels of shape {labels.shape} and outputs of shape {shape}; give "
            "one class number for each sample, or loss='squares' for real outputs"
        )
    flat = labels.reshape(-1)
    if not np.array_equal(flat, np.floor(flat)) or flat.min() < 0 or flat.max() >= shape[0]:
        raise DataError(f"labels {flat.min()}..{flat.max()} are no classes 0..{shape[0] - 1}")
    return flat.astype(np.int64)


def _flags(labels: Array, count: int, shape: tuple[int, ...]) -> Array:
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


def _reals(labels: Array, count: int, shape: tuple[int, ...]) -> Array:
    if labels.shape[:1] != (count,) or labels.size != count * int(np.prod(shape)):
        raise DataError(
            f"{count} samples, labels of shape {labels.shape} and outputs of shape {shape}; give "
            "one number for each output"
        )
    if not np.isfinite(labels).all():
        raise DataError("labels hold NaN or infinity; clean them")
    return labels.reshape(count, *shape).astype(np.float32)


ENCODERS: Final[dict[str, Callable[[Array, int, tuple[int, ...]], Array]]] = {
    "classes": _classes,
    "flags": _flags,
    "squares": _reals,
}


# ---------------------------------------------------------------- losses of each sample and element


def _class_entropy(output: Tensor, goal: Tensor) -> Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(goal, output)


def _flag_entropy(output: Tensor, goal: Tensor) -> Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(goal, output)


def _squared_error(output: Tensor, goal: Tensor) -> Tensor:
    return tf.math.squared_difference(output, goal)


LOSSES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "classes": _class_entropy,
    "flags": _flag_entropy,
    "squares": _squared_error,
}


def class_divergence(output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher/T) || softmax(output/T)) of logits ``[..., K]``, shape ``[...]``."""
    goal = tf.nn.softmax(teacher / temperature)
    log_ratio = tf.nn.log_softmax(teacher / temperature) - tf.nn.log_softmax(output / temperature)
    return temperature**2 * tf.reduce_sum(goal * log_ratio, -1)


def flag_divergence(output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL of the Bernoulli distributions sigmoid(teacher/T) and sigmoid(output/T)."""
    soft, own = teacher / temperature, output / temperature
    goal = tf.sigmoid(soft)
    positive = goal * (tf.math.log_sigmoid(soft) - tf.math.log_sigmoid(own))
    negative = (1 - goal) * (tf.math.log_sigmoid(-soft) - tf.math.log_sigmoid(-own))
    return temperature**2 * (positive + negative)


DIVERGENCES: Final[dict[str, Callable[[Tensor, Tensor, float], Tensor]]] = {
    "classes": class_divergence,
    "flags": flag_divergence,
    "squares": lambda output, teacher, _: _squared_error(output, teacher),
}


def teacher_logits(head: Head, output: Tensor) -> Tensor:
    """Logits from a teacher's output, which is a probability where the model's is."""
    if not head.unit:
        return output
    if head.kind == "flags":
        p = tf.clip_by_value(output, SMALLEST_FLAG, 1 - SMALLEST_FLAG)
        return tf.math.log(p) - tf.math.log(1 - p)
    return tf.math.log(tf.maximum(output, SMALLEST_CLASS))


@dataclass(frozen=True)
class Objective:
    """The loss of a training.

    heads: of the model; hard, soft: weights of the labels' and of the teacher's loss;
    temperature: of the softened outputs.
    """

    heads: tuple[Head, ...]
    hard: float
    soft: float
    temperature: float

    def sample_losses(
        self, outputs: Sequence[Tensor], goals: Sequence[Tensor], taught: Sequence[Tensor]
    ) -> Tensor:
        """Losses ``[N]``; ``goals`` is not read where ``hard`` is 0, nor ``taught``."""
        total = tf.zeros(tf.shape(outputs[0])[:1])
        for i, (head, output) in enumerate(zip(self.heads, outputs, strict=True)):
            if self.hard:
                total += self.hard * _per_sample(LOSSES[head.kind](output, goals[i]))
            if self.soft:
                logits = teacher_logits(head, taught[i])
                divergence = DIVERGENCES[head.kind](output, logits, self.temperature)
                total += self.soft * _per_sample(divergence)
        return total


def _per_sample(loss: Tensor) -> Tensor:
    return tf.reduce_mean(loss, list(range(1, len(loss.shape))))


def make_objective(model: Any, config: TrainConfig, labelled: bool, taught: bool) -> Objective:
    """The objective of a training with or without labels and teacher."""
    soft = 0.0 if not taught else config.distillation if labelled else 1.0
    heads = heads_of(model, config.loss, labelled)
    return Objective(heads, 1.0 - soft, soft, config.temperature)
