"""Taking a run up where its last checkpoint left it, and writing those checkpoints."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import fastscratch
from fastscratch.dispatch import get_num_threads, threads, use_backend
from fastscratch.errors import ArgumentError, CheckpointError, FastscratchError
from fastscratch.layers.registry import describe_layer, layer_from_description
from fastscratch.training import state
from fastscratch.training.callbacks import Callback
from fastscratch.training.checkpoint_file import CheckpointFolder, read_checkpoint
from fastscratch.training.history import History
from fastscratch.training.progress import Progress
from fastscratch.types import Array

if TYPE_CHECKING:
    from fastscratch.training.trainer import Trainer

Data = tuple[Array, Array]
_MODEL = "model/"


class Resume:
    """The checkpoints of one run of a trainer.

    Parameters
    ----------
    trainer : Trainer
        Its model is built.
    folder : CheckpointFolder
        Where they are.
    train, validation : (x, t)
        The data, by which the run is known.
    """

    def __init__(
        self, trainer: "Trainer", folder: CheckpointFolder, train: Data, validation: Data | None
    ) -> None:
        self._trainer = trainer
        self._folder = folder
        self._run = _describe_run(trainer, train, validation)
        self._choices_before: dict[str, dict[str, int]] = {}

    def refuse_existing(self) -> None:
        """Raise if the folder holds a run that a new one would overwrite."""
        if self._folder.exists():
            raise CheckpointError(
                f"{self._folder.folder} holds the checkpoint of a run already; pass resume=True to "
                f"go on with it, or name another folder, or delete it"
            )

    @contextmanager
    def take_up(self) -> Iterator[None]:
        """Put everything where the newest checkpoint has it, and choose as its run chose.

        Without a checkpoint the run begins afresh: it was stopped before its first one.
        """
        content = self._folder.load()
        if content is None:
            yield
            return
        header, arrays = content
        state.refuse_other_run(self._run, header["run"], self._folder.folder)
        implementations = header["implementations"]
        complete = header["progress"]["epoch"] > 0
        choices = state.choices_to_restore(implementations, complete)
        state.check_available(choices)
        if header["progress"]["step"] == 0:
            # What predicted, layer by layer, says nothing about batches: some layers train as one.
            choices = {}
        self._choices_before = implementations if complete else {}
        self._restore(header, arrays)
        with threads(header["threads"]), use_backend(**choices):
            yield

    def refuse_other_choices(self, choices: Mapping[str, Mapping[str, int]]) -> None:
        """Raise if this run does not compute as the one it goes on with did."""
        state.refuse_other_choices(self._choices_before, choices)

    def save(self) -> None:
        """Write a checkpoint of the trainer as it is now, between two batches."""
        trainer = self._trainer
        arrays = {_MODEL + name: array for name, array in trainer.model.state_dict().items()}
        header = {
            "fastscratch": fastscratch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "input_shape": list(trainer.model.input_shape),
            "dtype": trainer.model.dtype.name,
            "run": self._run,
            "progress": trainer.progress.as_dict(),
            "history": trainer.history.as_dict(),
            "base_lr": trainer.base_lr,
            "stopped": trainer.stopped,
            "threads": get_num_threads(),
            "implementations": trainer.history.implementations,
            "optimizer": state.split_arrays(trainer.optimizer.state_dict(), "optimizer", arrays),
            "callbacks": state.split_arrays(
                [callback.state_dict() for callback in _with_state(trainer)], "callbacks", arrays
            ),
        }
        self._folder.save(header, arrays)

    def _restore(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        trainer = self._trainer
        trainer.model.load_state_dict(_model_arrays(arrays))
        trainer.optimizer.load_state_dict(state.join_arrays(header["optimizer"], arrays))
        states = state.join_arrays(header["callbacks"], arrays)
        for callback, own in zip(_with_state(trainer), states, strict=True):
            callback.load_state_dict(own)
        trainer.progress = Progress.from_dict(header["progress"])
        trainer.history = History.from_dict(header["history"])
        trainer.base_lr = header["base_lr"]  # the optimizer's state holds the present rate
        trainer.stopped = header["stopped"]


def load_network(path: str | os.PathLike[str]) -> Any:
    """The network of a checkpoint, as it was when that was written.

    Parameters
    ----------
    path : path-like
        A checkpoint file.

    Returns
    -------
    Layer
        Built, with the parameters and running statistics of the checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or no checkpoint, or its layers are not known here.
    """
    header, arrays = read_checkpoint(path)
    try:
        model = layer_from_description(header["run"]["architecture"])
        if not model.built:
            model.build(tuple(header["input_shape"]), header["dtype"], header["run"]["model_seed"])
        model.load_state_dict(_model_arrays(arrays))
    except (FastscratchError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds no network that can be made: {error}") from error
    return model


def _model_arrays(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {k.removeprefix(_MODEL): v for k, v in arrays.items() if k.startswith(_MODEL)}


def _describe_run(trainer: "Trainer", train: Data, validation: Data | None) -> dict[str, Any]:
    """What a run is known by: another in any entry is another run."""
    model = trainer.model
    arrays = [*model.parameters(), *model.buffers()]
    return {
        "model": [[a.name, list(a.shape), a.value.dtype.name] for a in arrays],
        "architecture": _describe_model(model),
        "model_seed": model.seed,
        "loss": state.describe(trainer.loss),
        "optimizer": state.describe(trainer.optimizer),
        "schedule": state.describe(trainer.schedule),
        "schedule_every": trainer.schedule_every,
        "callbacks": [state.describe(callback) for callback in _with_state(trainer)],
        "batch_size": trainer.batch_size,
        "seed": trainer.seed,
        "drop_last": trainer.drop_last,
        "accuracy": trainer.accuracy,
        "samples": len(train[0]),
        "data": state.digest_data(*train),
        "validation": None if validation is None else state.digest_data(*validation),
    }


def _with_state(trainer: "Trainer") -> list[Callback]:
    """The callbacks that remember something; others may come and go between runs."""
    return [c for c in trainer.callbacks if type(c).state_dict is not Callback.state_dict]


def _describe_model(model: Any) -> Any:
    """The description of a network; None where a layer's class is not registered."""
    try:
        return describe_layer(model)
    except ArgumentError:
        return None
