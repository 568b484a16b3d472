"""What happened in a run, epoch by epoch, in a form that JSON can hold."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from fastscratch.errors import DataError
from fastscratch.files import written_whole

Record = dict[str, float | int | None]

TIMES = ("seconds", "validation_seconds", "images_per_second")
"""The entries of a record that differ between two runs which are equal otherwise."""


class History:
    """One record for each epoch, and how the run ended.

    Each record holds ``epoch`` (from 1), ``train_loss``, ``penalty``, ``train_accuracy``,
    ``validation_loss``, ``validation_accuracy`` (None where there is none), ``lr``, ``seconds`` of
    training, ``validation_seconds`` and ``images_per_second`` of training. Losses and accuracies of
    the training set are means over the epoch's batches, each seen just before its update.
    ``train_loss`` is what is minimised: weight decay's penalty, which ``penalty`` gives as it is at
    the end of the epoch, is in it; ``validation_loss`` is the loss of the samples alone.

    Attributes
    ----------
    records : list of dict
        One for each epoch that was completed.
    implementations : dict of str to dict of str to int
        For each operation, the implementations that ran, and for how many different problems.
    interrupted : bool
        Whether Ctrl-C ended the run.
    stopped : str
        Why the run ended before its last epoch, such as early stopping; "" if it did not.

    Examples
    --------
    >>> history = History()
    >>> history.append({"epoch": 1, "train_loss": 0.5, "seconds": 2.0})
    >>> history["train_loss"]
    [0.5]
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.implementations: dict[str, dict[str, int]] = {}
        self.interrupted = False
        self.stopped = ""

    def append(self, record: Mapping[str, float | int | None]) -> None:
        """Add an epoch's record."""
        self.records.append(dict(record))

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, name: str) -> list[float | int | None]:
        """One entry of all records, such as ``history["validation_loss"]``."""
        return [record.get(name) for record in self.records]

    @property
    def last(self) -> Record:
        """The last record; empty if no epoch was completed."""
        return self.records[-1] if self.records else {}

    @property
    def seconds(self) -> float:
        """Time of all epochs, validation included."""
        return float(
            sum((r.get("seconds") or 0) + (r.get("validation_seconds") or 0) for r in self)
        )

    def without_times(self) -> list[Record]:
        """The records without wall times: equal, bit for bit, in a run and its repetition."""
        return [{k: v for k, v in record.items() if k not in TIMES} for record in self]

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it: None stands for a number that is not finite."""
        return {
            "records": [{name: _plain(value) for name, value in r.items()} for r in self],
            "implementations": self.implementations,
            "interrupted": self.interrupted,
            "stopped": self.stopped,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The history of which `as_dict` made this."""
        history = cls()
        history.records = [dict(record) for record in content["records"]]
        history.implementations = {op: dict(n) for op, n in content["implementations"].items()}
        history.interrupted = bool(content["interrupted"])
        history.stopped = str(content["stopped"])
        return history

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, beside the file and then renamed.

        Parameters
        ----------
        path : path-like
            The file; its folder must exist.
        """
        text = json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n"
        with written_whole(path) as file:
            file.write(text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        History

        Raises
        ------
        DataError
            If the file is missing or holds no history.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text("utf-8")))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} holds no history of a training run ({error!r})") from error


def _plain(value: float | int | None) -> float | int | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
