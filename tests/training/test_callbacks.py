"""Callbacks and early stopping."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.optimizers import SGD, Adam
from fastscratch.training import Callback, EarlyStopping, StepLog, Trainer


def make_trainer(model, **arguments):
    return Trainer(model, SoftmaxCrossEntropy(), Adam(), batch_size=20, **arguments)


def test_points_of_a_run(points, make_model):
    seen = []

    class Watch(Callback):
        def on_train_begin(self, trainer):
            seen.append("begin")

        def on_epoch_begin(self, trainer):
            seen.append(f"epoch {trainer.progress.epoch}")

        def on_batch_end(self, trainer, loss):
            assert np.isfinite(loss)
            seen.append(f"batch {trainer.progress.batch}")

        def on_epoch_end(self, trainer, record):
            assert trainer.history.last is trainer.history.records[-1] and record["epoch"] >= 1
            seen.append("end of epoch")

        def on_train_end(self, trainer):
            seen.append("end")

    make_trainer(make_model(), callbacks=[Watch()]).fit(*points, epochs=2)
    epoch = ["batch 1", "batch 2", "batch 3", "end of epoch"]
    assert seen == ["begin", "epoch 0", *epoch, "epoch 1", *epoch, "end"]


def test_stop(points, make_model):
    class Stop(Callback):
        def on_epoch_end(self, trainer, record):
            if record["epoch"] == 2:
                trainer.stop("enough")

    history = make_trainer(make_model(), callbacks=[Stop()]).fit(*points, epochs=9)
    assert len(history) == 2 and history.stopped == "enough" and not history.interrupted


def test_lines_of_steps(points, make_model):
    """At the first and after each three, whatever the epochs' lengths; nothing at the last."""
    lines: list[str] = []
    values: list[float] = []

    class Watch(Callback):
        def on_batch_end(self, trainer, loss):
            values.append(loss)

    watchers = [StepLog(every=4, log=lines.append), Watch()]
    make_trainer(make_model(), callbacks=watchers).fit(*points, epochs=3)
    assert len(values) == 9
    assert lines == [
        f"Iteration {step:4d}/9, Loss : {values[step]:6f}" for step in (0, 4, 8)
    ]  # fmt: skip
    assert lines[0].startswith("Iteration    0/9, Loss : ")
    with pytest.raises(ArgumentError, match="every must be 1 or more, got 0"):
        StepLog(every=0)


class Feed(Callback):
    """Writes its own values into the records, so that stopping can be foreseen."""

    def __init__(self, values, entry="validation_loss"):
        self.values, self.entry, self.states = list(values), entry, []

    def on_epoch_end(self, trainer, record):
        record[self.entry] = self.values[len(self.states)]
        self.states.append(trainer.model.state_dict())


@pytest.mark.parametrize(
    ("values", "entry", "arguments", "epochs", "best_epoch"),
    [
        ([5, 4, 3, 2, 1, 0], "validation_loss", {"patience": 1}, 6, 6),
        ([5, 4, 4, 4, 1, 0], "validation_loss", {"patience": 2}, 4, 2),
        ([5, 4, 6, 3, 6, 6], "validation_loss", {"patience": 3}, 6, 4),
        ([5, 4.5, 4, 3.9, 9, 9], "validation_loss", {"patience": 2, "min_delta": 0.6}, 5, 3),
        ([0.1, 0.5, 0.4, 0.5, 0.9, 1], "validation_accuracy", {"patience": 2}, 4, 2),
    ],
)
def test_early_stopping(points, make_model, values, entry, arguments, epochs, best_epoch):
    feed, stopping = Feed(values, entry), EarlyStopping(entry, **arguments)
    trainer = make_trainer(make_model(), callbacks=[feed, stopping])
    history = trainer.fit(*points, epochs=6)
    assert len(history) == epochs
    assert (stopping.best_epoch, stopping.best) == (best_epoch, values[best_epoch - 1])
    assert history.stopped.startswith("early stopping") == (epochs < 6)
    for name, ref in feed.states[best_epoch - 1].items():
        np.testing.assert_array_equal(trainer.model.state_dict()[name], ref)


def test_without_restoring(points, make_model):
    feed = Feed([1, 2, 3])
    stopping = EarlyStopping(patience=2, restore_best=False)
    trainer = make_trainer(make_model(), callbacks=[feed, stopping])
    trainer.fit(*points, epochs=3)
    for name, ref in feed.states[-1].items():
        np.testing.assert_array_equal(trainer.model.state_dict()[name], ref)


def test_nothing_to_watch(points, make_model):
    trainer = make_trainer(make_model(), callbacks=[EarlyStopping()])
    with pytest.raises(
        ArgumentError, match=r"no 'validation_loss', only .*train_loss.*validation="
    ):
        trainer.fit(*points, epochs=1)


def test_one_object_serves_several_runs(points, make_model):
    stopping = EarlyStopping("train_loss", patience=1)
    for _ in range(2):
        trainer = Trainer(make_model(), SoftmaxCrossEntropy(), SGD(), callbacks=[stopping])
        assert len(trainer.fit(*points, epochs=2)) == 2


@pytest.mark.parametrize("arguments", [{"patience": 0}, {"min_delta": -1}, {"min_delta": np.nan}])
def test_refusals(arguments):
    with pytest.raises(ArgumentError, match="EarlyStopping"):
        EarlyStopping(**arguments)
