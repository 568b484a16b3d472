"""Where a run is, what its present epoch has summed up so far, and the bar that shows it."""

import sys
from dataclasses import asdict, dataclass
from typing import Any, Self

from fastscratch.training.history import Record


@dataclass
class Progress:
    """The place in a run, between two batches.

    Attributes
    ----------
    epoch : int
        Epochs completed.
    batch : int
        Batches of the present epoch done; all of them while the epoch is being validated.
    step : int
        Updates done in the run.
    loss_sum, hits, samples
        Sums over the samples of the present epoch.
    seconds : float
        Training time of the present epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    samples: int = 0
    seconds: float = 0.0

    def add(self, loss: float, hits: int, samples: int, seconds: float) -> None:
        """Count a batch."""
        self.batch += 1
        self.step += 1
        self.loss_sum += loss * samples
        self.hits += hits
        self.samples += samples
        self.seconds += seconds

    def next_epoch(self) -> None:
        """Begin the next epoch with nothing summed up."""
        self.epoch += 1
        self.batch = self.hits = self.samples = 0
        self.loss_sum = self.seconds = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it, exactly."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(**content)


def make_bar(shown: bool | None, batches: int, epochs: int, start: int) -> Any:
    """A bar over all batches of a run; None shows it on a terminal only."""
    from tqdm import tqdm  # predicting needs none

    visible = sys.stderr.isatty() if shown is None else shown
    return tqdm(
        total=batches * epochs,
        initial=min(start, batches * epochs),
        disable=not visible,
        unit="batch",
        dynamic_ncols=True,
        mininterval=0.2,
    )


def bar_texts(record: Record) -> dict[str, str]:
    """The few numbers that fit behind a progress bar."""
    shown = {"loss": record["train_loss"], "validation": record["validation_loss"]}
    texts = {name: f"{value:.4f}" for name, value in shown.items() if value is not None}
    accuracy = record["validation_accuracy"]
    if accuracy is None:
        accuracy = record["train_accuracy"]
    return texts if accuracy is None else {**texts, "accuracy": f"{100 * accuracy:.2f} %"}
