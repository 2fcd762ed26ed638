# SPDX-License-Identifier: Apache-2.0
"""Training of a quantized model: three learning rates, one schedule, any number of replicas.

Adam moves kernels, biases and norms; exponents (theta) and tables have rates of their own, because
they are measured in powers of two and in codes.  Exponents freeze late and before the end, so that
the weights settle on them; batch statistics, 8-bit weights and real activations, where they are
used at all, come first.

A step depends on the state in a checkpoint and on nothing else, and every op repeats to the bit, so
that a training that was killed and resumed ends with the same bits as one that was not.

Absent on purpose: Keras' ``fit`` (it works on these models too, but knows neither the rates nor the
phases).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tinyq.errors import InputError, TinyqError
from tinyq.qat.calibrate import legalize, quant_layers, refresh_weights
from tinyq.qat.checkpoint import State, check_arrays, digest, load_state, save_state
from tinyq.qat.determinism import deterministic
from tinyq.qat.events import EventLog
from tinyq.qat.folded import FoldedLayer
from tinyq.qat.forward import forward, logits_model, phase_applied
from tinyq.qat.losses import Objective, make_objective
from tinyq.qat.quantize import variables_by_group
from tinyq.qat.replicas import from_chief, is_chief, share_of, workers
from tinyq.qat.schedule import Phase, TrainConfig, phase_at, rates_at
from tinyq.qat.sources import Augment, Batch, augmented, open_source, padded, prepare_pair

#: of Adam; the gradients of table entries are tiny
ADAM_EPSILON: Final = 1e-7
#: instead of a step, where the first worker's checkpoint cannot be used
REFUSED: Final = -1


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


@deterministic()
def train(
    model: Any,
    x: Any,
    y: Any = None,
    config: TrainConfig | None = None,
    progress: Callable[[Progress], None] | None = None,
    *,
    teacher: Callable[..., Any] | None = None,
    augment: Augment | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_steps: int = 0,
    log_dir: str | os.PathLike[str] | None = None,
) -> list[float]:
    """Train a quantized model in place.

    Args:
        model: what ``quantize`` returned.  Made under ``strategy.scope()``, it is trained on all
            replicas of that strategy; every worker calls this function with the same arguments.
        x: float32 ``[N, ...]`` as the model sees them, or a list of one array per input; or a
            ``tf.data.Dataset`` of batches (x, y) or x, where x may also map the inputs' names.
        y: class numbers ``[N]``, 0/1 flags ``[N, K]`` for a model that ends in K sigmoids, real
            outputs where ``config.loss`` says "squares", or a list of these, one per output.
            Without labels the model learns from the teacher, or to reconstruct ``x``.
        config: schedule and losses.
        progress: called after each step.
        teacher: the float model, called on the inputs (a list where there are several) with
            ``training=False``; its outputs are probabilities where the model's are.
        augment: (x, y, numpy random generator) -> (x, y), on each batch of arrays.
        checkpoint_dir: where the training is saved after each epoch, and every
            ``checkpoint_steps`` steps; a training that is found there is resumed.  Resumed ones
            end with the same bits, for data sets only if they repeat themselves.
        log_dir: TensorBoard's event files.

    Returns:
        the mean loss of each epoch.

    Raises:
        DataError: samples and labels that do not fit each other or the model.
        UnsupportedError: reconstruction with several inputs or outputs.
        InputError, ModelFileError: a checkpoint of another training, or a damaged one.
        OutputError: checkpoint or events cannot be written.
    """
    config = config or TrainConfig()
    source = open_source(x, y, len(model.outputs), config)
    objective = make_objective(model, config, source.labelled, teacher is not None)
    if y is not None or not source.labelled:
        _check_arrays_early(model, objective, x, y)
    tf_keras.utils.set_random_seed(config.seed)
    strategy = model.distribute_strategy
    with strategy.scope():
        steps = config.epochs * source.steps_per_epoch
        trainer = _Trainer(model, config, objective, teacher, steps)
        run = _Run(trainer, source.steps_per_epoch, checkpoint_dir, checkpoint_steps, log_dir)
        run.resume(source.fingerprint)
        batches = source.start(trainer.done)
        while trainer.done < steps:
            pair = augmented(next(batches), augment, config.seed, trainer.done)
            inputs, goals = prepare_pair(model, objective.heads, pair, objective.hard > 0)
            run.step(padded(inputs, goals, strategy.num_replicas_in_sync), progress)
        run.events.close()
    return run.epoch_losses()


def _check_arrays_early(model: Any, objective: Objective, x: Any, y: Any) -> None:
    """All of the arrays, so that a bad label does not end a long training in its last step."""
    if not isinstance(x, tf.data.Dataset):
        prepare_pair(model, objective.heads, (x, y), objective.hard > 0)


class _Run:
    """Everything around the steps: epochs, checkpoints, events."""

    def __init__(
        self,
        trainer: _Trainer,
        epoch_steps: int,
        checkpoint_dir: str | os.PathLike[str] | None,
        checkpoint_steps: int,
        log_dir: str | os.PathLike[str] | None,
    ) -> None:
        chief = is_chief(trainer.strategy)
        self.trainer = trainer
        self.epoch_steps = epoch_steps
        self.folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        self.writes = chief and self.folder is not None
        self.checkpoint_steps = checkpoint_steps
        self.events = EventLog(log_dir if chief else None)
        self.losses: list[float] = []
        self.fingerprint: dict[str, str] = {}

    def resume(self, data: str) -> None:
        """Start from the first worker's weights, or go on from its checkpoint."""
        trainer, state = self.trainer, None
        refusal: TinyqError | None = None
        if self.folder is not None:
            self.fingerprint = _fingerprint(trainer, data)
            try:
                state = self._load() if self.writes else None
            except TinyqError as error:
                refusal = error
        done = REFUSED if refusal else state.step if state else 0
        (where,) = from_chief(trainer.strategy, [np.array(done)])
        if int(where) == REFUSED:
            raise refusal or InputError("the first worker cannot use its checkpoint")
        losses = np.zeros(int(where)) if state is None else np.array(state.losses)
        arrays = trainer.arrays() if state is None else list(state.arrays)
        losses, *arrays = from_chief(trainer.strategy, [losses, *arrays])
        trainer.assign(arrays)
        trainer.done, self.losses = int(where), losses.tolist()

    def _load(self) -> State | None:
        assert self.folder is not None
        state = load_state(self.folder, self.fingerprint)
        if state is not None:
            check_arrays(self.folder, state.arrays, self.trainer.variables())
        return state

    def step(self, batch: Batch, progress: Callable[[Progress], None] | None) -> None:
        """One step and what is due after it."""
        trainer = self.trainer
        if trainer.done and trainer.done % self.epoch_steps == 0:
            trainer.between_epochs()
        rates = trainer.rates()
        self.losses.append(trainer.step(batch))
        report = Progress(
            trainer.done,
            trainer.steps,
            (trainer.done - 1) // self.epoch_steps + 1,
            self.losses[-1],
            rates["weight"],
        )
        if trainer.done % self.epoch_steps == 0:
            legalize(trainer.model)
        self._log(report, {f"rate/{name}": rates[name] for name in trainer.groups})
        self._save_if_due()
        if progress is not None:
            progress(report)

    def _log(self, report: Progress, rates: dict[str, float]) -> None:
        self.events.scalars(report.step, {"loss": report.loss, **rates})
        if report.step % self.epoch_steps == 0:
            self.events.scalars(report.step, {"epoch_loss": self.epoch_losses()[-1]})
            self.events.flush()

    def _save_if_due(self) -> None:
        done = self.trainer.done
        due = done % self.epoch_steps == 0
        if self.checkpoint_steps:
            due = due or done % self.checkpoint_steps == 0
        if due and self.writes and self.folder is not None:
            arrays = tuple(self.trainer.arrays())
            save_state(self.folder, State(done, tuple(self.losses), arrays), self.fingerprint)

    def epoch_losses(self) -> list[float]:
        """Mean loss of each finished epoch."""
        size = self.epoch_steps
        count = len(self.losses) // size
        return [float(np.mean(self.losses[i * size : (i + 1) * size])) for i in range(count)]


def _fingerprint(trainer: _Trainer, data: str) -> dict[str, str]:
    """What must be the same for a checkpoint to be continued."""
    return {
        "schedule": digest(asdict(trainer.config)),
        "model": digest([_nameless(layer.get_config()) for layer in trainer.model.layers]),
        "first weights": digest(*trainer.model.get_weights()),
        "data": digest(data),
        "teacher": digest(trainer.teacher is not None),
    }


def _nameless(config: Any) -> Any:
    """A configuration without names, which Keras counts up within a process."""
    if not isinstance(config, dict):
        return config
    kept = {key: value for key, value in config.items() if key not in ("name", "source_layers")}
    return {key: _nameless(value) for key, value in kept.items()}


class _Trainer:
    """Optimizers and the compiled step of one training."""

    def __init__(
        self,
        model: Any,
        config: TrainConfig,
        objective: Objective,
        teacher: Callable[..., Any] | None,
        steps: int,
    ) -> None:
        self.config = config
        self.model = model
        self.objective = objective
        self.teacher = teacher
        self.steps = steps
        self.done = 0
        self.strategy = model.distribute_strategy
        self.network = logits_model(model)
        self.groups = {k: v for k, v in variables_by_group(model).items() if v}
        self.optimizers = {
            name: tf_keras.optimizers.Adam(1e-3, epsilon=ADAM_EPSILON) for name in self.groups
        }
        for name, optimizer in self.optimizers.items():
            optimizer.build(self.groups[name])
        self._compiled: dict[Phase, Any] = {}

    # ------------------------------------------------------------ state

    def variables(self) -> list[Any]:
        """Everything that a step changes."""
        optimizers = [v for optimizer in self.optimizers.values() for v in optimizer.variables]
        return [*self.model.weights, *optimizers]

    def arrays(self) -> list[npt.NDArray[Any]]:
        """The values of ``variables``."""
        return [np.asarray(variable.numpy()) for variable in self.variables()]

    def assign(self, arrays: list[npt.NDArray[Any]]) -> None:
        """Set ``variables``."""
        for variable, array in zip(self.variables(), arrays, strict=True):
            variable.assign(array)

    # ------------------------------------------------------------ schedule

    def rates(self) -> dict[str, float]:
        """Learning rate of each group at the current step."""
        return dict(rates_at(self.config, self.done, self.steps))

    def phase(self, step: int) -> Phase:
        """What is special about a step."""
        return phase_at(self.config, step, self.steps)

    def between_epochs(self) -> None:
        """Adapt what no gradient trains."""
        if not self.phase(self.done - 1).wide_weights:
            refresh_weights(self.model)
            self._agree()

    def _narrow(self) -> None:
        """Fit the weight quantizers to what the weights have become at 8 bits."""
        for layer in quant_layers(self.model):
            if isinstance(layer, FoldedLayer):
                layer.initialize_weights()
        legalize(self.model)
        self._agree()

    def _agree(self) -> None:
        """Workers compute alike, but only equal processors compute the same bits."""
        if workers(self.strategy) > 1:
            self.assign(from_chief(self.strategy, self.arrays()))

    # ------------------------------------------------------------ steps

    def step(self, batch: Batch) -> float:
        """One update; returns the loss."""
        now = self.phase(self.done)
        if self.done and self.phase(self.done - 1).wide_weights and not now.wide_weights:
            self._narrow()
        for name, optimizer in self.optimizers.items():
            optimizer.learning_rate.assign(self.rates()[name])
        if now not in self._compiled:
            self._compiled[now] = self._compile(now, batch)
        seed = tf.constant([self.config.seed % 2**31, self.done], tf.int32)
        loss = self._compiled[now](batch.inputs, batch.goals, batch.weights, seed)
        self.done += 1
        return float(loss)

    def _compile(self, phase: Phase, batch: Batch) -> Any:
        """The step of a phase, for batches of any size: one trace, whatever came before."""

        def update(inputs: Any, goals: Any, weights: Any, seed: Any) -> Any:
            with phase_applied(self.model, phase):
                losses = self.strategy.run(self._update, (inputs, goals, weights, seed))
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

        def any_size(array: Any) -> Any:
            return tf.TensorSpec([None, *array.shape[1:]], array.dtype)

        signature = tf.nest.map_structure(any_size, (batch.inputs, batch.goals, batch.weights))
        signature = (*signature, tf.TensorSpec([2], tf.int32))
        return tf.function(update, autograph=False, input_signature=signature)

    def _update(self, inputs: Any, goals: Any, weights: Any, seed: Any) -> Any:
        """One replica's part of a step; its share of the loss."""
        context = tf.distribute.get_replica_context()
        seed = tf.random.experimental.stateless_fold_in(seed, context.replica_id_in_sync_group)
        inputs, goals, weights = share_of((inputs, goals, weights))
        taught = self._taught(inputs)
        with tf.GradientTape() as tape:
            outputs, own = forward(self.network, inputs, seed)
            losses = self.objective.sample_losses(outputs, goals, taught)
            loss = tf.reduce_sum(losses * weights) + own / context.num_replicas_in_sync
        variables = [v for group in self.groups.values() for v in group]
        found = dict(zip((id(v) for v in variables), tape.gradient(loss, variables), strict=True))
        for name, group in self.groups.items():
            pairs = [(found[id(v)], v) for v in group if found[id(v)] is not None]
            if pairs:
                self.optimizers[name].apply_gradients(pairs)
        return loss

    def _taught(self, inputs: Any) -> list[Any]:
        if self.teacher is None or not self.objective.soft:
            return []
        outputs = self.teacher(inputs[0] if len(inputs) == 1 else list(inputs), training=False)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
