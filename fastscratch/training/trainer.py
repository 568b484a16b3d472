"""The training loop."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any, Literal

import numpy as np

from fastscratch.arguments import as_count
from fastscratch.dispatch import get_num_threads, record_choices, reuse_buffers, single_blas_thread
from fastscratch.errors import ArgumentError, ShapeError, TrainingError
from fastscratch.optimizers import FlatParameters
from fastscratch.training.batches import Batches
from fastscratch.training.callbacks import Callback
from fastscratch.training.checkpoint_file import CheckpointFolder
from fastscratch.training.evaluation import count_hits, counts_hits, evaluate
from fastscratch.training.history import History, Record
from fastscratch.training.interrupt import HeldInterrupt
from fastscratch.training.progress import Progress, bar_texts, make_bar
from fastscratch.training.resume import Resume
from fastscratch.training.step import explain, update
from fastscratch.types import Array

Data = tuple[Array, Array]


class Trainer:
    """Trains a network on mini-batches.

    While it trains on compiled kernels, BLAS is held at one thread, so that the two do not stand in
    each other's way. The first Ctrl-C ends the run after the present batch, with everything reached
    kept; the second interrupts at once.

    Parameters
    ----------
    model : Layer
        Built if it is not yet.
    loss : Loss
        A mean over the batch.
    optimizer : Optimizer
        Keeps its state from one `fit` to the next.
    batch_size : int
        Samples in a batch.
    seed : int
        Of the shuffle, which is a function of the seed and the epoch.
    drop_last : bool
        Leave out a last batch that is not full.
    schedule : callable, optional
        From the number of epochs done (of updates done, if ``schedule_every="step"``) to a factor
        on the optimizer's learning rate; see `fastscratch.schedules`.
    schedule_every : {"epoch", "step"}
        When the schedule is asked.
    callbacks : sequence of Callback
        Called in this order.
    accuracy : bool, optional
        Whether to count hits; None means where the loss is a cross-entropy.
    checkpoint : path-like, optional
        Folder for checkpoints: one before the first batch, one after each epoch.
    checkpoint_every : int, optional
        Write one after so many batches, too.
    progress_bar : bool, optional
        Show a bar on stderr; None means if that is a terminal.

    Attributes
    ----------
    history : History
        Of the present or last run.
    progress : Progress
        Where it is.
    steps : int
        Updates that it has if nothing ends it early.
    stopped : str
        Why it ends before its last epoch, if it does.
    base_lr : float
        What the schedule's factors multiply; the optimizer has it back after the run.

    Examples
    --------
    >>> from fastscratch import data, layers, losses, optimizers
    >>> (x, t), test = data.load_digits(flatten=True)
    >>> model = layers.Sequential(layers.Dense(32), layers.ReLU(), layers.Dense(10))
    >>> trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(0.01))
    >>> history = trainer.fit(x, t, epochs=10, validation=test)
    >>> history.last["validation_accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any,
        *,
        batch_size: int = 100,
        seed: int = 0,
        drop_last: bool = False,
        schedule: Any = None,
        schedule_every: Literal["epoch", "step"] = "epoch",
        callbacks: Sequence[Callback] = (),
        accuracy: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        progress_bar: bool | None = None,
    ) -> None:
        as_count(batch_size, "batch_size")
        if checkpoint_every is not None:
            as_count(checkpoint_every, "checkpoint_every")
            if checkpoint is None:
                raise ArgumentError("Trainer: checkpoint_every needs a folder in checkpoint")
        if schedule_every not in ("epoch", "step"):
            raise ArgumentError(
                f'Trainer: schedule_every must be "epoch" or "step", got {schedule_every!r}'
            )
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.seed = seed
        self.drop_last = drop_last
        self.schedule = schedule
        self.schedule_every = schedule_every
        self.callbacks = list(callbacks)
        self.accuracy = counts_hits(loss) if accuracy is None else accuracy
        self.folder = None if checkpoint is None else CheckpointFolder(checkpoint)
        self.checkpoint_every = checkpoint_every
        self.progress_bar = progress_bar
        self.history = History()
        self.progress = Progress()
        self.steps = 0
        self.stopped = ""
        self._flat: Any = None
        self.base_lr = float(optimizer.lr)
        self._resume: Resume | None = None
        self._choices: dict[str, dict[str, int]] = {}

    def fit(
        self,
        x: Array,
        t: Array,
        *,
        epochs: int = 10,
        validation: Data | None = None,
        resume: bool = False,
    ) -> History:
        """Train for a number of epochs, from the model's present parameters.

        Parameters
        ----------
        x, t : ndarray
            Training samples and their targets, first axis in common.
        epochs : int
            Of the whole run; a resumed run does those that are left.
        validation : (x, t), optional
            Evaluated after each epoch.
        resume : bool
            Go on from the newest checkpoint in the folder, if there is one: the run then ends bit
            for bit where it would have without the break. Model, optimizer, data, seed and batch
            size must be those of the run (more epochs are fine).

        Returns
        -------
        History
            Also in ``trainer.history``, where it stays if an error ends the run.

        Raises
        ------
        ArgumentError, ShapeError
            If there are no samples, or `x` and `t` differ in length; or if the optimizer reads
            curvature, as L-BFGS does, and the batches are not whole or a layer draws at random.
        TrainingError
            If a loss or a gradient is not finite; the message names the layer where that arose.
        CheckpointError
            If a checkpoint cannot be written, is damaged, or belongs to another run; or if there is
            one and `resume` is False.
        """
        as_count(epochs, "epochs")
        if validation is not None:
            samples, targets = (len(array) for array in validation)
            if samples != targets or samples == 0:
                raise ShapeError(f"fit: validation has {samples} samples and {targets} targets")
        batches = Batches(x, t, self.batch_size, seed=self.seed, drop_last=self.drop_last)
        self.steps = epochs * batches.count
        if not self.model.built:
            self.model.build(x.shape[1:], x.dtype)
        if self.optimizer.full_batch:
            self._refuse_several_functions(batches.count > 1 or self.batch_size < len(x))
        if self._flat is None:
            self._flat = FlatParameters(self.model)
        with ExitStack() as stack:
            self._begin(batches, (x, t), validation, resume, stack)
            interrupt = stack.enter_context(HeldInterrupt())
            self._loop(batches, epochs, validation, interrupt)
        return self.history

    def _refuse_several_functions(self, mini_batches: bool) -> None:
        """Two passes must differ by the parameters alone where curvature is read from them."""
        reason = (
            f"{type(self.optimizer).__name__} compares gradients at different points, which must "
            "be those of one function; "
        )
        if mini_batches:
            raise ArgumentError(
                f"{reason}those of mini-batches differ by their samples, so that what it learns of "
                "the curvature is noise. Pass batch_size=len(x), or Adam"
            )
        drawing = [layer for layer in self.model.walk() if layer.draws]
        if drawing:
            names = ", ".join(f"{type(layer).__name__} {layer.path!r}" for layer in drawing)
            raise ArgumentError(
                f"{reason}this network's differ by what is drawn at random at each pass ({names}), "
                "so that what it learns of the curvature is noise. Train it without, or with Adam"
            )

    def stop(self, reason: str) -> None:
        """End the run after the present epoch."""
        self.stopped = reason

    def _begin(
        self,
        batches: Batches,
        train: Data,
        validation: Data | None,
        resume: bool,
        stack: ExitStack,
    ) -> None:
        """Start afresh, or take up a checkpoint, and settle what runs where."""
        self.history, self.progress, self.stopped = History(), Progress(), ""
        self.base_lr = self.optimizer.lr
        stack.callback(setattr, self.optimizer, "lr", self.base_lr)
        self._resume = None
        if self.folder is not None:
            stack.enter_context(self.folder.hold())
            self._resume = Resume(self, self.folder, train, validation)
            if resume:
                stack.enter_context(self._resume.take_up())
            else:
                self._resume.refuse_existing()
        elif resume:
            raise ArgumentError("fit: resume needs the run's folder in Trainer(checkpoint=...)")
        self._choices = stack.enter_context(record_choices())
        stack.enter_context(reuse_buffers())
        # A first look without training: who runs, which nothing that follows can change.
        batches.begin(self.progress.epoch)
        with np.errstate(all="ignore"):
            self.model.forward(batches.take(0)[0])
        names = {name for counts in self._choices.values() for name in counts}
        if get_num_threads() == 1 or any(name.partition(":")[0] != "numpy" for name in names):
            stack.enter_context(single_blas_thread())

    def _loop(
        self, batches: Batches, epochs: int, validation: Data | None, interrupt: HeldInterrupt
    ) -> None:
        done = self.progress.epoch * batches.count + self.progress.batch
        bar = make_bar(self.progress_bar, batches.count, epochs, done)
        with bar, self._noting_choices():
            self._call("on_train_begin")
            if self.progress.step == 0:
                self._save()
            while self.progress.epoch < epochs and not self.stopped and not interrupt.requested:
                bar.set_description(f"epoch {self.progress.epoch + 1}/{epochs}", refresh=False)
                if self.progress.batch == 0:
                    self._call("on_epoch_begin")
                self._train(batches, bar, interrupt)
                if interrupt.requested:
                    break
                self._finish_epoch(validation, bar)
            if interrupt.requested:
                self._save()
                self.history.interrupted = True
            self.history.stopped = self.stopped
            self._call("on_train_end")

    def _train(self, batches: Batches, bar: Any, interrupt: HeldInterrupt) -> None:
        """The batches of the present epoch that are left."""
        progress = self.progress
        batches.begin(progress.epoch)
        while progress.batch < batches.count and not interrupt.requested:
            self._set_lr()
            begun = perf_counter()
            x, t = batches.take(progress.batch)
            try:
                loss, scores = update(self.model, self.loss, self.optimizer, self._flat, x, t)
            except TrainingError as error:
                place = f"epoch {progress.epoch + 1}, batch {progress.batch + 1} of {batches.count}"
                raise TrainingError(f"{place}: {error}") from error
            hits = count_hits(scores, t) if self.accuracy else 0
            progress.add(loss, hits, len(x), perf_counter() - begun)
            self._call("on_batch_end", loss)
            bar.update()
            if self.checkpoint_every and progress.batch % self.checkpoint_every == 0:
                self._save()

    def _finish_epoch(self, validation: Data | None, bar: Any) -> None:
        """Validate, record, tell the callbacks, write the checkpoint."""
        progress = self.progress
        record: Record = {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss_sum / progress.samples,
            "penalty": self.optimizer.penalty(self._flat),
            "train_accuracy": progress.hits / progress.samples if self.accuracy else None,
            "validation_loss": None,
            "validation_accuracy": None,
            "lr": self.optimizer.lr,
            "seconds": progress.seconds,
            "validation_seconds": 0.0,
            "images_per_second": progress.samples / max(progress.seconds, 1e-9),
        }
        if validation is not None:
            begun = perf_counter()
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # looked for below
                found = evaluate(self.model, self.loss, *validation, accuracy=self.accuracy)
            if not math.isfinite(found.loss):
                raise TrainingError(
                    f"epoch {progress.epoch + 1}: the validation loss is {found.loss}: "
                    f"{explain(self.model, self.loss, *validation)}"
                )
            record["validation_loss"], record["validation_accuracy"] = found.loss, found.accuracy
            record["validation_seconds"] = perf_counter() - begun
        self.history.append(record)
        bar.set_postfix(bar_texts(record), refresh=False)
        progress.next_epoch()
        self._call("on_epoch_end", record)
        self._save()

    def _set_lr(self) -> None:
        if self.schedule is not None:
            done = self.progress.epoch if self.schedule_every == "epoch" else self.progress.step
            self.optimizer.lr = self.base_lr * float(self.schedule(done))

    def _call(self, name: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, name)(self, *arguments)

    @contextmanager
    def _noting_choices(self) -> Iterator[None]:
        """Put what was chosen in the history, however the block ends."""
        try:
            yield
        except KeyboardInterrupt:
            self.history.interrupted = True
            raise
        finally:
            self._merge_choices()

    def _merge_choices(self) -> None:
        known = self.history.implementations
        for op, counts in self._choices.items():
            merged = known.setdefault(op, {})
            for name, count in counts.items():
                merged[name] = max(count, merged.get(name, 0))

    def _save(self) -> None:
        if self._resume is not None:
            self._resume.refuse_other_choices(self._choices)
            self._merge_choices()
            self._resume.save()
