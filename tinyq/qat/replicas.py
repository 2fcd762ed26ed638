# SPDX-License-Identifier: Apache-2.0
"""Training on several devices or machines: what replicas share and what each does alone.

A model that was made under ``strategy.scope()`` is trained under that strategy.  Every replica gets
the whole batch and takes every n-th sample; gradients, losses and moving statistics are summed over
replicas.  Decisions that are taken outside TensorFlow (checkpoints, tables fitted anew) are the
first worker's, and the others receive its arrays.

Absent on purpose: parameter servers and asynchronous updates; they cannot repeat a training.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyq.errors import InputError

Array = npt.NDArray[Any]


def strategy_scope(name: str | None) -> AbstractContextManager[Any]:
    """The scope of a strategy by name: "mirrored", "workers", or None for the current one.

    "workers" must come first in a process, before TensorFlow has computed anything.

    Raises:
        InputError: no such strategy, or no workers in TF_CONFIG.
    """
    if name is None:
        return nullcontext()
    if name not in STRATEGIES:
        raise InputError(f"strategy '{name}' is unknown; use one of {', '.join(STRATEGIES)}")
    if name == "workers" and "TF_CONFIG" not in os.environ:
        raise InputError("training in workers needs TF_CONFIG in each process' environment")
    scope: AbstractContextManager[Any] = STRATEGIES[name]().scope()
    return scope


STRATEGIES: Final[dict[str, Callable[[], Any]]] = {
    "mirrored": tf.distribute.MirroredStrategy,
    "workers": tf.distribute.MultiWorkerMirroredStrategy,
}


def workers(strategy: Any) -> int:
    """Processes that train together."""
    resolver = strategy.cluster_resolver
    if resolver is None:
        return 1
    spec = resolver.cluster_spec().as_dict()
    return max(1, len(spec.get("worker", ())) + len(spec.get("chief", ())))


def is_chief(strategy: Any) -> bool:
    """True in the process that writes files."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type in (None, "chief"):
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return bool(resolver.task_type == "worker" and resolver.task_id == 0 and not has_chief)


def share_of(values: Any) -> Any:
    """What the replica that runs takes of the tensors of a global batch."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return values
    own = context.replica_id_in_sync_group
    return tf.nest.map_structure(
        lambda t: tf.gather(t, tf.range(own, tf.shape(t)[0], count)), values
    )


def from_chief(strategy: Any, arrays: Sequence[Array]) -> list[Array]:
    """The first replica's arrays, in every worker; as they are where there is one worker.

    Shapes and dtypes must be the same everywhere.  The bytes travel as one vector of integers, to
    which all but the first replica add zeros.
    """
    if workers(strategy) == 1:
        return list(arrays)
    data = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    own = np.frombuffer(data + bytes(-len(data) % 4), np.int32)

    def add(value: Any) -> Any:
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group, 0)
        part = tf.where(first, value, tf.zeros_like(value))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, part)

    total = tf.function(lambda value: strategy.run(add, (value,)), autograph=False)(own)
    received = np.asarray(strategy.experimental_local_results(total)[0]).tobytes()
    return _unpacked(received, arrays)


def _unpacked(data: bytes, like: Sequence[Array]) -> list[Array]:
    """Arrays of the shapes and dtypes of ``like`` from their bytes."""
    arrays, start = [], 0
    for array in like:
        flat = np.frombuffer(data, array.dtype, array.size, start)
        arrays.append(flat.reshape(array.shape))
        start += array.nbytes
    return arrays
