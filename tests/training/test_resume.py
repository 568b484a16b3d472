"""A run that is broken off and taken up again ends bit for bit where an unbroken one does."""

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import ArgumentError, CheckpointError, FallbackWarning
from fastscratch.layers import Dense, Dropout, Layer, Sequential
from fastscratch.losses import MeanSquaredError, SoftmaxCrossEntropy
from fastscratch.optimizers import SGD, Adam, Momentum
from fastscratch.schedules import CosineDecay
from fastscratch.training import (
    Callback,
    EarlyStopping,
    Trainer,
    load_network,
    read_checkpoint,
)

EPOCHS = 3
BATCHES = 4  # of 50 samples, 14 at a time


class Break(Callback):
    """Breaks a run off after a number of batches, as a crash would."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, loss):
        if trainer.progress.step == self.step:
            raise ZeroDivisionError


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Nobody pulls the plug here; waiting for the disk is tested where processes are killed."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def start(points, make_model, tmp_path):
    """Run, or go on with, a training run in a folder; returns its trainer."""

    def start(name="run", *, resume=False, epochs=EPOCHS, extra=(), model=None, data=points,
              validation=points, **arguments):  # fmt: skip
        settings = {
            "batch_size": 14,
            "seed": 5,
            "schedule": CosineDecay(8),
            "callbacks": [EarlyStopping(patience=2), *extra],
            "checkpoint": tmp_path / name,
            "checkpoint_every": 1,
            "loss": SoftmaxCrossEntropy(),
            "optimizer": Adam(0.05),
        } | arguments
        loss, optimizer = settings.pop("loss"), settings.pop("optimizer")
        trainer = Trainer(model or make_model(), loss, optimizer, **settings)
        trainer.fit(*data, epochs=epochs, validation=validation, resume=resume)
        return trainer

    return start


def check_equal(trainer, ref) -> None:
    assert trainer.history.without_times() == ref.history.without_times()
    assert trainer.history.stopped == ref.history.stopped
    assert trainer.optimizer.lr == ref.optimizer.lr
    for state, ref_state in (
        (trainer.model.state_dict(), ref.model.state_dict()),
        (trainer.optimizer.state_dict(), ref.optimizer.state_dict()),
    ):
        assert state.keys() == ref_state.keys()
        for name, value in ref_state.items():
            if name == "lr":  # compared above; the state of a run that is over may hold another
                continue
            np.testing.assert_array_equal(state[name], value, err_msg=name)


@pytest.mark.parametrize("step", range(1, EPOCHS * BATCHES + 1))
def test_broken_at_any_batch(start, step):
    ref = start("ref")
    with pytest.raises(ZeroDivisionError):
        start(extra=[Break(step)])
    check_equal(start(resume=True), ref)


@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("step", [1, 5, 8, 11])
def test_batches_since_the_last_checkpoint_are_done_again(start, step, every):
    ref = start("ref")
    with pytest.raises(ZeroDivisionError):
        start(extra=[Break(step)], checkpoint_every=every)
    check_equal(start(resume=True, checkpoint_every=every), ref)


@pytest.mark.parametrize(
    "optimizer", [lambda: SGD(0.1), lambda: Momentum(0.05), lambda: Adam(weight_decay=0.1)]
)
def test_every_optimizer(start, optimizer):
    ref = start("ref", optimizer=optimizer())
    with pytest.raises(ZeroDivisionError):
        start(extra=[Break(7)], optimizer=optimizer())
    check_equal(start(resume=True, optimizer=optimizer()), ref)


class BreakBeforeValidation(Break):
    """Breaks off once the checkpoint of an epoch's last batch is written."""

    def on_epoch_end(self, trainer, record):
        if trainer.progress.step == self.step:
            raise ZeroDivisionError

    def on_batch_end(self, trainer, loss):
        pass


@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_broken_between_training_and_validation(start, epoch, every):
    ref = start("ref", schedule_every=every)
    with pytest.raises(ZeroDivisionError):
        start(extra=[BreakBeforeValidation(epoch * BATCHES)], schedule_every=every)
    check_equal(start(resume=True, schedule_every=every), ref)


class Halve(Callback):
    """Sets the learning rate itself, as a callback may."""

    def on_epoch_end(self, trainer, record):
        trainer.optimizer.lr /= 2


@pytest.mark.parametrize("step", [3, 5, 8, 10])
def test_a_learning_rate_that_a_callback_set_is_kept(start, step):
    ref = start("ref", extra=[Halve()], schedule=None)
    assert ref.history["lr"] == [0.05, 0.025, 0.0125]
    with pytest.raises(ZeroDivisionError):
        start(extra=[Halve(), Break(step)], schedule=None)
    check_equal(start(resume=True, extra=[Halve()], schedule=None), ref)


def test_broken_many_times(start):
    ref = start("ref")
    for step in (2, 3, 5, 9, 10):
        with pytest.raises(ZeroDivisionError):
            start(extra=[Break(step)], resume=step > 2)
    check_equal(start(resume=True), ref)


def test_in_the_same_process_with_the_same_objects(points, make_model, tmp_path, start):
    ref = start("ref")
    crash = Break(6)
    trainer = Trainer(
        make_model(), SoftmaxCrossEntropy(), Adam(0.05), batch_size=14, seed=5,
        schedule=CosineDecay(8), callbacks=[EarlyStopping(patience=2), crash],
        checkpoint=tmp_path / "same", checkpoint_every=2,
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        trainer.fit(*points, epochs=EPOCHS, validation=points)
    crash.step = 0
    trainer.fit(*points, epochs=EPOCHS, validation=points, resume=True)
    check_equal(trainer, ref)


def test_early_stopping_goes_on_with_its_count_and_best_weights(start):
    # A learning rate that spoils what was learned: the best epoch is an early one.
    ref = start("ref", optimizer=SGD(30.0), epochs=20)
    assert ref.history.stopped and 2 < len(ref.history) < 20
    last_epoch = BATCHES * (len(ref.history) - 1)
    with pytest.raises(ZeroDivisionError):
        start(extra=[Break(last_epoch + 1)], optimizer=SGD(30.0), epochs=20)
    check_equal(start(resume=True, optimizer=SGD(30.0), epochs=20), ref)
    # A run that is over stays over, and restores the best weights again.
    check_equal(start(resume=True, optimizer=SGD(30.0), epochs=20), ref)


def test_a_finished_run_is_left_as_it_is_and_may_be_made_longer(start):
    ref = start("ref", epochs=5)
    start(epochs=2)
    check_equal(start(resume=True, epochs=5), ref)
    check_equal(start(resume=True, epochs=5), ref)
    assert len(start(resume=True, epochs=1).history) == 5


def test_interrupted_by_ctrl_c(start):
    import signal

    class Press(Callback):
        def on_batch_end(self, trainer, loss):
            if trainer.progress.step == 6:
                signal.raise_signal(signal.SIGINT)

    ref = start("ref")
    stopped = start(extra=[Press()], checkpoint_every=None)
    assert stopped.history.interrupted
    assert stopped.progress.step == 6
    again = start(resume=True)
    assert not again.history.interrupted
    check_equal(again, ref)


def test_without_a_checkpoint_the_run_begins(start):
    check_equal(start(resume=True), start("ref"))


def test_damaged_newest_falls_back_to_the_one_before(start, tmp_path):
    ref = start("ref")
    with pytest.raises(ZeroDivisionError):
        start(extra=[Break(6)])
    newest = tmp_path / "run" / "checkpoint.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(FallbackWarning, match="going on from the one before"):
        check_equal(start(resume=True), ref)


def test_an_existing_run_is_not_overwritten(start, tmp_path):
    start()
    before = (tmp_path / "run" / "checkpoint.npz").read_bytes()
    with pytest.raises(CheckpointError, match="holds the checkpoint of a run already; pass resume"):
        start()
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        (lambda m, p: {"model": m(hidden=9)}, "model"),
        (lambda m, p: {"model": m(seed=4)}, "model_seed"),
        (lambda m, p: {"optimizer": SGD()}, "optimizer"),
        (lambda m, p: {"optimizer": Adam(0.06)}, "optimizer"),
        (lambda m, p: {"loss": MeanSquaredError()}, "loss"),
        (lambda m, p: {"batch_size": 13}, "batch_size"),
        (lambda m, p: {"seed": 6}, "seed"),
        (lambda m, p: {"drop_last": True}, "drop_last"),
        (lambda m, p: {"schedule": CosineDecay(9)}, "schedule"),
        (lambda m, p: {"schedule_every": "step"}, "schedule_every"),
        (lambda m, p: {"callbacks": []}, "callbacks"),
        (lambda m, p: {"callbacks": [EarlyStopping(patience=3)]}, "callbacks"),
        (lambda m, p: {"data": (p[0] + 1, p[1])}, "data"),
        (lambda m, p: {"data": (p[0], p[1][::-1].copy())}, "data"),
        (lambda m, p: {"data": (p[0][:-1], p[1][:-1])}, "samples"),
        (lambda m, p: {"validation": None}, "validation"),
        (lambda m, p: {"validation": (p[0] + 1, p[1])}, "validation"),
    ],
)
def test_another_run_is_refused(start, make_model, points, change, entry, tmp_path):
    start(epochs=1)
    before = (tmp_path / "run" / "checkpoint.npz").read_bytes()
    with pytest.raises(
        CheckpointError, match=rf"(?s)belongs to another run:.*\n  {entry}: .* here, "
    ):
        start(resume=True, epochs=2, **change(make_model, points))
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == before


def test_a_layer_s_ratio_is_part_of_the_model(points, tmp_path):
    def trainer(ratio):
        model = Sequential(Dense(3), Dropout(ratio), seed=1)
        return Trainer(model, SoftmaxCrossEntropy(), SGD(), checkpoint=tmp_path)

    trainer(0.1).fit(*points, epochs=1)
    with pytest.raises(CheckpointError, match="architecture"):
        trainer(0.2).fit(*points, epochs=2, resume=True)


def test_threads_and_implementations_are_restored(start, points):
    def dense(x, weight, bias, y, num_threads):
        used.append(num_threads)
        y[...] = x @ weight + bias

    used: list[int] = []
    fs.register_kernel("dense_forward", dense, name="outside")
    try:
        with fs.use_backend(dense_forward="outside"), fs.threads(2):
            start(epochs=1)
        used.clear()
        with fs.threads(1):
            again = start(resume=True, epochs=2)
            assert fs.get_num_threads() == 1
        assert used
        assert again.history.implementations["dense_forward"].keys() == {"outside"}
        header, _ = read_checkpoint(again.folder.newest)
        assert header["threads"] == 2
        assert header["implementations"]["dense_forward"].keys() == {"outside"}
    finally:
        fs.unregister_kernel("dense_forward", "outside")
    with pytest.raises(CheckpointError, match=r"used 'outside' for dense_forward, .*not available"):
        start(resume=True, epochs=3)


def test_other_choices_among_several_are_noticed(start, tmp_path):
    """Two implementations shared an operation's problems; a third one is not theirs."""
    from fastscratch.training import CheckpointFolder

    start(epochs=1)
    folder = CheckpointFolder(tmp_path / "run")
    kept = folder.load()
    assert kept is not None
    header, arrays = kept
    for entry in (header["implementations"], header["history"]["implementations"]):
        entry["dense_forward"] = {"swift": 1, "swifter": 1}
    folder.save(header, arrays)
    with pytest.raises(
        CheckpointError, match=r"uses numpy for dense_forward, where .* swift, swifter"
    ):
        start(resume=True, epochs=2)


def test_load_network(start, tmp_path, points):
    trainer = start(epochs=2, callbacks=[])
    model = load_network(tmp_path / "run" / "checkpoint.npz")
    np.testing.assert_array_equal(model.predict(points[0]), trainer.model.predict(points[0]))
    (tmp_path / "model.npz").write_bytes(b"")
    trainer.model.save(tmp_path / "model.npz")
    with pytest.raises(CheckpointError, match="not a fastscratch checkpoint"):
        load_network(tmp_path / "model.npz")


class Unknown(Layer):
    def _build(self, input_shape):
        return input_shape

    def _forward(self, x, training):
        return x

    def _backward(self, dout):
        return dout


def test_layers_that_are_not_registered_can_be_resumed(points, tmp_path):
    def trainer():
        model = Sequential(Dense(3), Unknown(), seed=1)
        return Trainer(model, SoftmaxCrossEntropy(), SGD(), checkpoint=tmp_path)

    trainer().fit(*points, epochs=1)
    assert len(trainer().fit(*points, epochs=2, resume=True)) == 2
    with pytest.raises(CheckpointError, match="holds no network that can be made"):
        load_network(tmp_path / "checkpoint.npz")


def test_a_callback_s_state_must_fit_the_format(points, tmp_path):
    class Odd(Callback):
        def state_dict(self):
            return {"what": object()}

    trainer = Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD(), callbacks=[Odd()],
                      checkpoint=tmp_path)  # fmt: skip
    with pytest.raises(
        CheckpointError, match="callbacks/0/what: a checkpoint cannot hold a object"
    ):
        trainer.fit(*points, epochs=1)


def test_unwritable_folder_is_told_before_training(points, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    trainer = Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD(),
                      checkpoint=tmp_path / "file" / "run")  # fmt: skip
    with pytest.raises(CheckpointError, match="cannot be written"):
        trainer.fit(*points, epochs=1)
    assert trainer.progress.step == 0


def test_resume_without_a_folder(points):
    with pytest.raises(ArgumentError, match="resume"):
        Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD()).fit(*points, resume=True)
