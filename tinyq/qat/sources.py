# SPDX-License-Identifier: Apache-2.0
"""Training data as an endless stream of batches that can be entered at any step.

Arrays are shuffled anew in each epoch by (seed, epoch), so that any step is found at once.  A
``tf.data.Dataset`` yields finished batches, of any and of changing size; it is repeated without end
and entered by skipping what came before, so it must yield the same batches again: give shuffles a
seed.  Augmentation draws from (seed, step).

All workers of a distributed training read the same stream; each replica takes its share of every
batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyq.errors import DataError
from tinyq.qat.calibrate import check_inputs
from tinyq.qat.losses import Head, encode_labels, label_columns
from tinyq.qat.schedule import TrainConfig

Array = npt.NDArray[Any]
#: inputs and labels as the user gave them; labels may be None
Pair = tuple[Any, Any]
#: (x, y, random generator) -> (x, y) of a batch
Augment = Callable[[Any, Any, np.random.Generator], Pair]

#: of the random numbers of augmentation, apart from those of shuffling
_AUGMENT_STREAM: Final = 2


@dataclass(frozen=True)
class Source:
    """A stream of batches.

    steps_per_epoch: batches of an epoch; labelled: labels come with the samples;
    start: gives the batches from a step on, without end;
    fingerprint: what can be told of the data without reading all of them.
    """

    steps_per_epoch: int
    labelled: bool
    start: Callable[[int], Iterator[Pair]]
    fingerprint: str


def open_source(x: Any, y: Any, outputs: int, config: TrainConfig) -> Source:
    """The stream of arrays or of a data set.

    Raises:
        DataError: labels beside a data set, or a data set of unknown length.
    """
    if is_dataset(x):
        return _dataset_source(x, y, config)
    inputs = [np.asarray(a) for a in x] if isinstance(x, list | tuple) else [np.asarray(x)]
    return _array_source(inputs, None if y is None else label_columns(y, outputs), config)


def is_dataset(x: Any) -> bool:
    """True for a ``tf.data.Dataset``."""
    return isinstance(x, tf.data.Dataset)


# ---------------------------------------------------------------- arrays


def _array_source(inputs: list[Array], labels: list[Array] | None, config: TrainConfig) -> Source:
    count = len(inputs[0]) if inputs and inputs[0].ndim else 0
    whole = max(1, -(-count // config.batch_size))
    steps = min(whole, config.steps_per_epoch or whole)

    def start(step: int) -> Iterator[Pair]:
        while True:
            epoch, index = divmod(step, steps)
            order = np.random.default_rng([config.seed, epoch]).permutation(count)
            for i in range(index, steps):
                chosen = order[i * config.batch_size : (i + 1) * config.batch_size]
                yield [a[chosen] for a in inputs], _rows(labels, chosen)
            step = (epoch + 1) * steps

    digest = "|".join(f"{a.dtype}{a.shape}{_checksum(a)}" for a in [*inputs, *(labels or [])])
    return Source(steps, labels is not None, start, digest)


def _rows(labels: list[Array] | None, chosen: Array) -> Any:
    if labels is None:
        return None
    return labels[0][chosen] if len(labels) == 1 else [column[chosen] for column in labels]


def _checksum(array: Array) -> int:
    """A sum over all bytes that notices other data and another order."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)


# ---------------------------------------------------------------- data sets


def _dataset_source(dataset: Any, y: Any, config: TrainConfig) -> Source:
    if y is not None:
        raise DataError("a tf.data.Dataset brings its own labels: give (x, y) in it and no y")
    steps = config.steps_per_epoch or int(dataset.cardinality())
    if steps < 1:
        raise DataError(
            "the data set has no known length; set steps_per_epoch (TrainConfig) or give it one "
            "with tf.data.experimental.assert_cardinality"
        )
    labelled = isinstance(dataset.element_spec, tuple) and len(dataset.element_spec) == 2

    def start(step: int) -> Iterator[Pair]:
        for element in dataset.repeat().skip(step).as_numpy_iterator():
            yield _pair(element)
        raise DataError("the data set yields no batches")

    return Source(steps, labelled, start, str(dataset.element_spec))


def _pair(element: Any) -> Pair:
    if isinstance(element, tuple) and len(element) == 2:
        x, y = element
        return x, list(y) if isinstance(y, tuple) else y
    return (element[0] if isinstance(element, tuple) and len(element) == 1 else element), None


def preprocessed(dataset: Any, scale: float, offset: float) -> Any:
    """The data set with inputs (x - offset) * scale."""

    def real(x: Any) -> Any:
        return tf.nest.map_structure(lambda t: (tf.cast(t, tf.float32) - offset) * scale, x)

    if isinstance(dataset.element_spec, tuple) and len(dataset.element_spec) == 2:
        return dataset.map(lambda x, y: (real(x), y))
    return dataset.map(lambda *x: real(x if len(x) > 1 else x[0]))


def first_samples(model_inputs: Sequence[str], dataset: Any, count: int) -> list[Array]:
    """At most ``count`` samples from the start of a data set, one array per input."""
    parts: list[list[Array]] = []
    total = 0
    for element in dataset.as_numpy_iterator():
        columns = _columns(_pair(element)[0], model_inputs)
        parts.append(columns)
        total += len(columns[0])
        if total >= count:
            break
    if not parts:
        raise DataError("the data set yields no batches")
    return [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]


def _columns(x: Any, names: Sequence[str]) -> list[Array]:
    """One array per input from an array, a sequence, or a mapping by the inputs' names."""
    if isinstance(x, dict):
        if sorted(x) != sorted(names):
            raise DataError(f"data for inputs {', '.join(x)}; the model's are {', '.join(names)}")
        return [np.asarray(x[name]) for name in names]
    return [np.asarray(a) for a in x] if isinstance(x, list | tuple) else [np.asarray(x)]


# ---------------------------------------------------------------- batches


@dataclass(frozen=True)
class Batch:
    """float32 inputs, goals of the losses, and a weight for each sample that adds up to 1."""

    inputs: tuple[Array, ...]
    goals: tuple[Array, ...]
    weights: Array


def prepare_pair(
    model: Any, heads: Sequence[Head], pair: Pair, hard: bool
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Checked inputs and goals of some samples; no goals where only a teacher is listened to."""
    inputs = check_inputs(model, _columns(pair[0], model.input_names))
    if len({len(x) for x in inputs}) > 1:
        counts = ", ".join(str(len(x)) for x in inputs)
        raise DataError(f"the inputs have {counts} samples; they must have equally many")
    return tuple(inputs), encode_labels(heads, pair[1], inputs) if hard else ()


def augmented(pair: Pair, augment: Augment | None, seed: int, step: int) -> Pair:
    """The pair after the user's function; one input comes as an array, several as a list."""
    if augment is None:
        return pair
    x, y = pair
    alone = isinstance(x, list | tuple) and len(x) == 1
    rng = np.random.default_rng([seed, _AUGMENT_STREAM, step])
    return augment(x[0] if alone else x, y, rng)


def padded(inputs: Sequence[Array], goals: Sequence[Array], replicas: int) -> Batch:
    """A batch whose size the replicas divide; repeated samples weigh nothing."""
    count = len(inputs[0])
    size = -(-count // replicas) * replicas
    index = np.arange(size) % count
    weights = np.where(np.arange(size) < count, 1.0 / count, 0.0).astype(np.float32)
    if size == count:
        return Batch(tuple(inputs), tuple(goals), weights)
    return Batch(tuple(x[index] for x in inputs), tuple(g[index] for g in goals), weights)
