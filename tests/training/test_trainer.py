"""The training loop: what it computes, what it tells, and how it ends."""

import signal
import threading

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import ArgumentError, DtypeError, ShapeError, TrainingError
from fastscratch.layers import Dense, Layer, ReLU, Sequential
from fastscratch.losses import MeanSquaredError, SoftmaxCrossEntropy
from fastscratch.optimizers import SGD, Adam, FlatParameters
from fastscratch.schedules import StepDecay
from fastscratch.training import Callback, Trainer, evaluate
from fastscratch.training.batches import Batches


def number(value: float | None) -> float:
    """An entry of a record that must be there."""
    assert value is not None
    return value


def test_the_loop_is_forward_backward_step(points, make_model):
    x, t = points
    model, ref = make_model(), make_model()
    Trainer(model, SoftmaxCrossEntropy(), SGD(0.1), batch_size=20, seed=7).fit(x, t, epochs=3)

    ref.build((2,))
    flat, loss, optimizer = FlatParameters(ref), SoftmaxCrossEntropy(), SGD(0.1)
    batches = Batches(x, t, 20, seed=7)
    for epoch in range(3):
        batches.begin(epoch)
        for number in range(batches.count):
            xb, tb = batches.take(number)
            loss.forward(ref.forward(xb, training=True), tb)
            ref.backward(loss.backward())
            optimizer.step(flat)
    for name, value in ref.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value)


def test_it_learns_and_tells(points, make_model):
    x, t = points
    trainer = Trainer(make_model(), SoftmaxCrossEntropy(), Adam(0.02), batch_size=15)
    history = trainer.fit(x, t, epochs=20, validation=points)
    assert history is trainer.history and len(history) == 20
    assert history["epoch"] == list(range(1, 21))
    assert number(history.last["validation_accuracy"]) > 0.9
    assert number(history["train_loss"][-1]) < number(history["train_loss"][0])
    found = evaluate(trainer.model, SoftmaxCrossEntropy(), x, t)
    assert (found.loss, found.accuracy) == (
        history.last["validation_loss"], history.last["validation_accuracy"],
    )  # fmt: skip
    assert history.implementations["dense_forward"].keys() == {"numpy"}
    assert history.implementations.keys() >= {"dense_backward_weight", "dense_backward_input"}
    for name in ("seconds", "images_per_second"):
        assert all(number(value) > 0 for value in history[name])
    assert not history.interrupted and history.stopped == ""


def test_same_seed_same_run(points, make_model):
    runs = []
    for seed in (1, 1, 2):
        trainer = Trainer(make_model(), SoftmaxCrossEntropy(), Adam(), batch_size=7, seed=seed)
        runs.append((trainer.fit(*points, epochs=2).without_times(), trainer.model.state_dict()))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert all(np.array_equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])


def test_training_means_count_the_partial_batch_for_what_it_holds(points):
    # With a learning rate of almost nothing, the running mean is the mean over all samples.
    x, t = points
    model = Sequential(Dense(3), seed=1)
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(1e-30), batch_size=33)
    record = trainer.fit(x, t, epochs=1).last
    ref = evaluate(model, SoftmaxCrossEntropy(), x, t)
    assert record["train_accuracy"] == ref.accuracy
    assert record["train_loss"] == pytest.approx(ref.loss, rel=1e-6)


def test_drop_last(points):
    seen = []

    class Count(Callback):
        def on_batch_end(self, trainer, loss):
            seen.append(trainer.progress.samples)

    Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD(), batch_size=20, drop_last=True,
            callbacks=[Count()]).fit(*points, epochs=1)  # fmt: skip
    assert seen == [20, 40]


def test_regression_has_no_accuracy(points):
    x, _ = points
    history = Trainer(Sequential(Dense(1)), MeanSquaredError(), SGD(0.05)).fit(
        x, x[:, :1] * 2, epochs=5, validation=(x, x[:, :1] * 2)
    )
    assert history.last["train_accuracy"] is history.last["validation_accuracy"] is None
    assert number(history["validation_loss"][-1]) < number(history["validation_loss"][0])


def test_one_hot_targets_and_float64(points):
    x, t = points
    model = Sequential(Dense(3))
    history = Trainer(model, SoftmaxCrossEntropy(), SGD()).fit(
        x.astype(np.float64), np.eye(3)[t], epochs=1
    )
    assert model.dtype == np.float64 and 0 <= number(history.last["train_accuracy"]) <= 1


@pytest.mark.parametrize(
    ("every", "expected"),
    [("epoch", [1.0, 1.0, 0.5, 0.5]), ("step", [0.5, 0.25, 0.0625, 0.03125])],
)
def test_schedule(points, every, expected):
    optimizer = SGD(1.0)
    trainer = Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), optimizer, batch_size=20,
                      schedule=StepDecay(2, 0.5), schedule_every=every)  # fmt: skip
    history = trainer.fit(*points, epochs=4)
    assert history["lr"] == expected
    assert optimizer.lr == 1.0  # as it was, for the next run


def test_any_function_is_a_schedule(points):
    history = Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD(0.5),
                      schedule=lambda epoch: 1 / (1 + epoch)).fit(*points, epochs=2)  # fmt: skip
    assert history["lr"] == [0.5, 0.25]


def test_the_caller_s_arrays_stay_as_they_are(points):
    x, t = points
    copies = x.copy(), t.copy()
    for array in (x, t):
        array.flags.writeable = False
    Trainer(Sequential(Dense(3), ReLU()), SoftmaxCrossEntropy(), SGD(), batch_size=16).fit(
        x, t, epochs=2
    )
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(t, copies[1])


class Explode(Layer):
    """Turns to infinity in a training pass, at its n-th one."""

    def __init__(self, at=3, backward=False, *, backend=None):
        super().__init__(backend=backend)
        self.at, self.backwards, self.passes = at, backward, 0

    def _build(self, input_shape):
        return input_shape

    def _forward(self, x, training):
        self.passes += training
        return x * np.inf if training and not self.backwards and self.passes >= self.at else x

    def _backward(self, dout):
        return dout * np.inf if self.backwards and self.passes >= self.at else dout


@pytest.mark.parametrize("backward", [False, True])
def test_a_loss_that_is_not_finite_names_the_layer(points, backward):
    model = Sequential(("first", Dense(4)), ("bad", Explode(5, backward)), ("last", Dense(3)))
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(), batch_size=20)
    what = "a gradient is not finite" if backward else "the loss became nan"
    with pytest.raises(
        TrainingError, match=rf"epoch 2, batch 2 of 3: {what}.*first in layer 'bad'"
    ):
        trainer.fit(*points, epochs=5)
    assert len(trainer.history) == 1  # what was reached stays
    assert all(np.isfinite(value).all() for value in model.state_dict().values())


def test_a_diverging_run_names_a_layer(points):
    x, _ = points
    model = Sequential(("a", Dense(8)), ReLU(), ("b", Dense(1)))
    trainer = Trainer(model, MeanSquaredError(), SGD(1e6), batch_size=10)
    with pytest.raises(TrainingError, match=r"layer '(a|b)'"):
        trainer.fit(x, x[:, :1], epochs=50)


def test_input_that_is_not_finite_is_told_apart(points):
    x, t = points
    x = x.copy()
    x[17, 1] = np.nan
    with pytest.raises(TrainingError, match="the input itself is not finite, first in its row"):
        Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD()).fit(x, t, epochs=1)
    x, _ = points
    targets = np.ones((50, 3), np.float32)
    targets[3] = np.inf
    with pytest.raises(TrainingError, match="the array of targets itself is not finite"):
        Trainer(Sequential(Dense(3)), MeanSquaredError(), SGD()).fit(x, targets, epochs=1)


def test_parameter_that_is_not_finite_is_named(points):
    dense = Dense(3)
    model = Sequential(("only", dense))
    model.build((2,))
    assert dense.bias is not None
    dense.bias.value[1] = np.inf
    with pytest.raises(TrainingError, match=r"parameter only\.bias of layer 'only' is not finite"):
        Trainer(model, SoftmaxCrossEntropy(), SGD()).fit(*points, epochs=1)


def test_validation_loss_that_is_not_finite(points):
    x, t = points
    bad = x.copy()
    bad[4] = np.inf
    with pytest.raises(
        TrainingError, match=r"epoch 1: the validation loss is nan: the input itself"
    ):
        Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD()).fit(x, t, validation=(bad, t))


class PressCtrlC(Callback):
    """Raises SIGINT after a number of batches."""

    def __init__(self, step, times=1):
        self.step, self.times = step, times

    def on_batch_end(self, trainer, loss):
        if trainer.progress.step == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_after_the_batch(points, make_model):
    trainer = Trainer(make_model(), SoftmaxCrossEntropy(), Adam(), batch_size=20,
                      callbacks=[PressCtrlC(5)])  # fmt: skip
    history = trainer.fit(*points, epochs=9)
    assert history.interrupted and len(history) == 1
    assert (trainer.progress.epoch, trainer.progress.batch, trainer.progress.step) == (1, 2, 5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_ctrl_c_interrupts_at_once(points, make_model):
    optimizer = Adam(0.01)
    trainer = Trainer(make_model(), SoftmaxCrossEntropy(), optimizer, batch_size=20,
                      callbacks=[PressCtrlC(5, times=2)], schedule=StepDecay(1))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*points, epochs=9)
    assert trainer.history.interrupted and len(trainer.history) == 1
    assert trainer.history.implementations  # told, however the run ends
    assert optimizer.lr == 0.01
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_training_in_another_thread(points, make_model):
    found = []

    def work():
        with fs.use_backend("numpy"):
            found.append(Trainer(make_model(), SoftmaxCrossEntropy(), SGD()).fit(*points, epochs=1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(found[0]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a positive int"),
        ({"batch_size": 2.0}, "batch_size must be a positive int"),
        ({"batch_size": True}, "batch_size must be a positive int"),
        ({"checkpoint_every": 3}, "needs a folder"),
        ({"schedule_every": "week"}, "schedule_every"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD(), **arguments)


def test_data_that_does_not_fit(points):
    x, t = points
    trainer = Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD())
    with pytest.raises(ArgumentError, match="the training set is empty"):
        trainer.fit(x[:0], t[:0])
    with pytest.raises(ShapeError, match="50 samples but t has 49"):
        trainer.fit(x, t[:-1])
    with pytest.raises(ShapeError, match="validation has 0 samples and 0"):
        trainer.fit(x, t, validation=(x[:0], t[:0]))
    with pytest.raises(ArgumentError, match="epochs must be a positive int, got 0"):
        trainer.fit(x, t, epochs=0)
    with pytest.raises(ArgumentError, match="resume needs the run's folder"):
        trainer.fit(x, t, resume=True)
    with pytest.raises(DtypeError, match="uint8"):
        trainer.fit(x.astype(np.uint8), t)


def test_bar_is_shown_when_asked_for(points, capsys):
    Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD(), progress_bar=True).fit(
        *points, epochs=2
    )
    assert "epoch 2/2" in capsys.readouterr().err
    Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD()).fit(*points, epochs=2)
    assert capsys.readouterr().err == ""  # no terminal


def test_blas_is_held_while_compiled_kernels_run(points, monkeypatch):
    """One thread pool at a time: BLAS's, or the kernels'."""
    import contextlib

    from fastscratch.training import trainer as module

    held = []

    @contextlib.contextmanager
    def hold():
        held.append("in")
        yield
        held.append("out")

    monkeypatch.setattr(module, "single_blas_thread", hold)

    def dense(x, weight, bias, y, num_threads):
        y[...] = x @ weight + bias

    fs.register_kernel("dense_forward", dense, name="outside")
    try:
        with fs.threads(2):
            Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD()).fit(*points, epochs=1)
            assert held == []
            with fs.use_backend(dense_forward="outside"):
                Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD()).fit(*points, epochs=1)
            assert held == ["in", "out"]
    finally:
        fs.unregister_kernel("dense_forward", "outside")
    with fs.threads(1):
        Trainer(Sequential(Dense(3)), SoftmaxCrossEntropy(), SGD()).fit(*points, epochs=1)
    assert held == ["in", "out"] * 2


def test_the_penalty_of_weight_decay_shows_in_the_loss(points, make_model):
    x, t = points

    def first_loss(**options):
        trainer = Trainer(make_model(), SoftmaxCrossEntropy(), SGD(1e-12, **options), batch_size=20)
        history = trainer.fit(x, t, epochs=1, validation=points)
        weights = [p.value for p in trainer.model.parameters() if p.decay]
        return history.last, sum(float((w.astype(float) ** 2).sum()) for w in weights)

    plain, squares = first_loss()
    decayed, _ = first_loss(weight_decay=0.1)
    apart, _ = first_loss(weight_decay=0.1, decoupled=True)
    assert plain["penalty"] == apart["penalty"] == 0
    assert decayed["penalty"] == pytest.approx(0.05 * squares, rel=1e-5)
    assert number(decayed["train_loss"]) - number(plain["train_loss"]) == pytest.approx(
        0.05 * squares, rel=1e-4
    )
    assert decayed["validation_loss"] == pytest.approx(number(plain["validation_loss"]), rel=1e-6)
