"""What may watch a run, act on it and stop it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastscratch.errors import ArgumentError
from fastscratch.training.history import Record

if TYPE_CHECKING:
    from fastscratch.training.trainer import Trainer


class Callback:
    """Called by the trainer at the points of a run; override what you need.

    ``trainer.model``, ``trainer.optimizer``, ``trainer.history``, ``trainer.progress`` (epoch,
    batch, step) may be read, and ``trainer.stop(reason)`` ends the run after the present epoch.

    Examples
    --------
    >>> class StopAt(Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...     def on_epoch_end(self, trainer, record):
    ...         if record["train_loss"] < self.loss:
    ...             trainer.stop(f"training loss below {self.loss}")
    """

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Before the first batch, of a resumed run too."""

    def on_epoch_begin(self, trainer: "Trainer") -> None:
        """Before the first batch of an epoch; not called again where a run resumes within one."""

    def on_batch_end(self, trainer: "Trainer", loss: float) -> None:
        """After each update, with the loss before it."""

    def on_epoch_end(self, trainer: "Trainer", record: Record) -> None:
        """After validation, before the epoch's checkpoint; ``record`` is the epoch's history."""

    def on_train_end(self, trainer: "Trainer") -> None:
        """When the run is over: completed, stopped, or interrupted by Ctrl-C."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: numbers, texts, arrays, in dicts and lists."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""


class StepLog(Callback):
    """A line with the loss of a mini-batch, at the first update and after each so many.

    The loss is the one that the update began with, a penalty of weight decay included.

    Parameters
    ----------
    every : int
        Updates from one line to the next.
    log : callable
        Is given the line.

    Examples
    --------
    >>> from fastscratch import data, losses, models, optimizers, training
    >>> (x, t), _ = data.load_digits(flatten=True)
    >>> model = models.TwoLayerNet((64,), weight_init=0.1)
    >>> trainer = training.Trainer(
    ...     model, losses.SoftmaxCrossEntropy(), optimizers.SGD(0.1), callbacks=[StepLog(every=100)]
    ... )
    >>> history = trainer.fit(x, t, epochs=14)
    Iteration    0/210, Loss : 2.31...
    Iteration  100/210, Loss : 0.9...
    Iteration  200/210, Loss : 0.4...
    """

    def __init__(self, every: int = 100, log: Callable[[str], Any] = print) -> None:
        if every < 1:
            raise ArgumentError(f"StepLog: every must be 1 or more, got {every}")
        self.every = every
        self.log = log

    def on_batch_end(self, trainer: "Trainer", loss: float) -> None:
        done = trainer.progress.step - 1
        if done % self.every == 0:
            self.log(f"Iteration {done:4d}/{trainer.steps}, Loss : {loss:6f}")


class EarlyStopping(Callback):
    """Stop when an entry of the history has not improved for some epochs.

    Parameters
    ----------
    monitor : str
        Entry of the records; larger is better if its name ends in ``accuracy``, smaller otherwise.
    patience : int
        Epochs in a row without improvement after which the run stops.
    min_delta : float
        What counts as an improvement: more than this.
    restore_best : bool
        Give the model the parameters of its best epoch when the run is over, however it ends.

    Attributes
    ----------
    best : float or None
        The best value so far.
    best_epoch : int
        Its epoch, from 1; 0 before the first.

    Examples
    --------
    >>> EarlyStopping("validation_accuracy", patience=3).larger_is_better
    True
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        if patience < 1:
            raise ArgumentError(f"EarlyStopping: patience must be 1 or more, got {patience}")
        if not min_delta >= 0:
            raise ArgumentError(f"EarlyStopping: min_delta must be 0 or more, got {min_delta}")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self.best: float | None = None
        self.best_epoch = 0
        self._waited = 0
        self._best_state: dict[str, Any] = {}

    @property
    def larger_is_better(self) -> bool:
        """Whether the entry is an accuracy."""
        return self.monitor.endswith("accuracy")

    def on_train_begin(self, trainer: "Trainer") -> None:
        if trainer.progress.step == 0:
            self._reset()  # the same object may serve several runs

    def on_epoch_end(self, trainer: "Trainer", record: Record) -> None:
        value = record.get(self.monitor)
        if value is None:
            known = ", ".join(name for name, entry in record.items() if entry is not None)
            raise ArgumentError(
                f"EarlyStopping: the history has no {self.monitor!r}, only {known}; "
                f"pass validation=(x, t) to fit, or monitor another entry"
            )
        if self._improves(value):
            self.best, self.best_epoch, self._waited = float(value), int(record["epoch"] or 0), 0
            self._best_state = trainer.model.state_dict() if self.restore_best else {}
            return
        self._waited += 1
        if self._waited >= self.patience:
            trainer.stop(
                f"early stopping: {self.monitor} was best in epoch {self.best_epoch}, "
                f"{self._waited} epochs before"
            )

    def on_train_end(self, trainer: "Trainer") -> None:
        if self._best_state:
            trainer.model.load_state_dict(self._best_state)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "best_state": self._best_state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._waited, self._best_state = state["waited"], state["best_state"]

    def _reset(self) -> None:
        self.best = None
        self.best_epoch = 0
        self._waited = 0
        self._best_state = {}

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return True
        gain = value - self.best if self.larger_is_better else self.best - value
        return gain > self.min_delta
