"""Optimizers, networks and the trainer that stand in for the book's."""

import pickle
from typing import Any

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.compat.book.layers import Affine
from fastscratch.compat.book.multi_layer_net import MultiLayerNet
from fastscratch.compat.book.multi_layer_net_extend import MultiLayerNetExtend
from fastscratch.compat.book.optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from fastscratch.compat.book.trainer import Trainer
from fastscratch.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(3)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_numbers():
    """Whichever tests ran before in this process."""
    RNG.bit_generator.state = START
    np.random.seed(3)


def steps(name, g, state, t):
    """The change by one step, from the formulas."""
    if name == "SGD":
        return -0.1 * g
    if name in ("Momentum", "Nesterov"):
        v = state["v"] = 0.9 * state.get("v", 0) - 0.1 * g
        return v if name == "Momentum" else 0.9 * v - 0.1 * g
    if name == "AdaGrad":
        h = state["h"] = state.get("h", 0) + g * g
        return -0.1 * g / (np.sqrt(h) + 1e-7)
    if name == "RMSprop":
        h = state["h"] = 0.99 * state.get("h", 0) + 0.01 * g * g
        return -0.1 * g / (np.sqrt(h) + 1e-7)
    m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * g * g
    rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return -rate * m / (np.sqrt(v) + 1e-7)


OPTIMIZERS = [SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("kind", ["f8", "f4", "strided", "mixed", "number", "no_axes"])
def test_optimizers_follow_their_formulas_where_the_arrays_are(optimizer, kind):
    """Every step counts, not the first alone; and the array stays the one that it was."""
    start = RNG.standard_normal((4, 3))
    cases: dict[str, tuple[Any, str]] = {
        "f8": (start.copy(), "f8"), "f4": (start.astype("f4"), "f4"), "mixed": (start.copy(), "f4"),
        "strided": (start.copy()[:, ::2], "f8"), "number": (1.5, "f8"),
        "no_axes": (np.array(1.5), "f8"),
    }  # fmt: skip
    w, dtype = cases[kind]
    params: dict[str, Any] = {"W": w}
    state: dict[str, Any] = {}
    opt = optimizer(lr=0.1)
    ref = np.array(w, dtype="f8")
    for t in range(1, 6):
        g = np.asarray(RNG.standard_normal(np.shape(w)) if np.ndim(w) else 0.3 * t, dtype)
        opt.update(params, {"W": g})
        ref = ref + steps(optimizer.__name__, np.asarray(g, "f8"), state, t)
    np.testing.assert_allclose(params["W"], ref, rtol=1e-4 if dtype == "f4" else 1e-7)
    if isinstance(w, np.ndarray):
        assert params["W"] is w


def test_optimizers_have_the_book_s_attributes():
    params = {"W": np.ones((2, 2))}
    for opt, names in ((Momentum(), "v"), (AdaGrad(), "h"), (Adam(), "mv")):
        assert all(getattr(opt, name) is None for name in names)
        opt.update(params, {"W": np.ones((2, 2))})
        assert all(getattr(opt, name)["W"].shape == (2, 2) for name in names)
    assert (Adam().lr, Adam().beta1, Adam().beta2, Adam().iter) == (0.001, 0.9, 0.999, 0)
    assert (SGD().lr, Momentum().momentum, RMSprop().decay_rate) == (0.01, 0.9, 0.99)


def test_optimizers_run_on_the_operations():
    params = {"W": np.ones((2, 2))}
    with fs.record_choices() as choices:
        for optimizer in OPTIMIZERS:
            optimizer().update(params, {"W": np.ones((2, 2))})
    assert set(choices) == {
        f"{name}_update" for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
    }


def test_integer_parameters_are_refused_as_numpy_refuses_them():
    with pytest.raises(TypeError, match="Cannot cast"):
        SGD().update({"W": np.ones(2, int)}, {"W": np.ones(2)})


def test_first_weights_are_numpy_s_own_random_numbers():
    np.random.seed(5)
    network = MultiLayerNet(6, [5, 4], 3, weight_init_std="relu")
    np.random.seed(5)
    for idx, (inputs, outputs) in enumerate(((6, 5), (5, 4), (4, 3)), start=1):
        ref = np.sqrt(2 / inputs) * np.random.randn(inputs, outputs)
        np.testing.assert_array_equal(network.params[f"W{idx}"], ref)
    assert MultiLayerNet(10_000, [1], 1, weight_init_std=0.01).params["W1"].std() < 0.011
    xavier = MultiLayerNet(100, [100], 1, weight_init_std="sigmoid").params["W1"].std()
    assert 0.09 < xavier < 0.11


@pytest.mark.parametrize("network_class", [MultiLayerNet, MultiLayerNetExtend])
def test_parameters_are_shared_however_they_change(network_class):
    network = network_class(4, [3], 2)
    x = RNG.random((5, 4))
    network.params["W1"] -= 0.5 * np.ones((4, 3))
    assert network.layers["Affine1"].W is network.params["W1"]
    for change in ("put", "update", "all"):
        weights = RNG.random((4, 3))
        if change == "put":
            network.params["W1"] = weights
        elif change == "update":
            network.params.update(W1=weights)
        else:
            network.params = {**network.params, "W1": weights}
        assert network.layers["Affine1"].W is weights
        layers = network.params
        hidden = np.maximum(x @ weights + layers["b1"], 0)
        ref = hidden @ layers["W2"] + layers["b2"]
        np.testing.assert_allclose(network.predict(x), ref, rtol=1e-12)


def test_saved_parameters_are_a_plain_dictionary():
    network = MultiLayerNet(4, [3], 2)
    loaded = pickle.loads(pickle.dumps(network.params))
    assert type(loaded) is dict
    other = MultiLayerNet(4, [3], 2)
    for key, value in loaded.items():
        other.params[key] = value
    x = RNG.random((5, 4))
    np.testing.assert_array_equal(other.predict(x), network.predict(x))


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("decay", [0, 0.1])
def test_gradients_of_a_network(activation, decay):
    np.random.seed(0)
    network = MultiLayerNet(6, [5, 4], 3, activation, 0.5, weight_decay_lambda=decay)
    x, t = RNG.random((7, 6)), RNG.integers(0, 3, 7)
    numeric, analytic = network.numerical_gradient(x, t), network.gradient(x, t)
    assert set(numeric) == set(analytic) == {"W1", "b1", "W2", "b2", "W3", "b3"}
    for key in numeric:
        np.testing.assert_allclose(analytic[key], numeric[key], atol=1e-7, err_msg=key)
    plain = network.last_layer.forward(network.predict(x), t)
    squares = sum((network.params[f"W{i}"] ** 2).sum() for i in (1, 2, 3))
    assert network.loss(x, t) == pytest.approx(plain + 0.5 * decay * squares, rel=1e-12)


def test_gradients_of_an_extended_network():
    np.random.seed(0)
    network = MultiLayerNetExtend(6, [5, 4], 3, "sigmoid", 0.5, 0.01, use_batchnorm=True)
    x, t = RNG.random((7, 6)), RNG.integers(0, 3, 7)
    numeric, analytic = network.numerical_gradient(x, t), network.gradient(x, t)
    assert {"gamma1", "beta1", "gamma2", "beta2"} < set(numeric) == set(analytic)
    for key in numeric:
        np.testing.assert_allclose(analytic[key], numeric[key], atol=1e-6, err_msg=key)


def test_dropout_s_keyword_is_known_by_both_spellings():
    spellings: list[dict[str, Any]] = [{"dropout_ration": 0.2}, {"dropout_ratio": 0.2}]
    for keywords in spellings:
        network = MultiLayerNetExtend(4, [3], 2, use_dropout=True, **keywords)
        assert network.layers["Dropout1"].dropout_ratio == 0.2
    assert MultiLayerNetExtend(4, [3], 2, use_dropout=True).layers["Dropout1"].dropout_ratio == 0.5
    # The book's order of positional arguments.
    network = MultiLayerNetExtend(4, [3], 2, "relu", "relu", 0, True, 0.3, True)
    assert list(network.layers) == [
        "Affine1", "BatchNorm1", "Activation_function1", "Dropout1", "Affine2"
    ]  # fmt: skip
    assert network.layers["Dropout1"].dropout_ratio == 0.3
    with pytest.raises(ArgumentError, match="are the same; pass one"):
        MultiLayerNetExtend(4, [3], 2, dropout_ration=0.1, dropout_ratio=0.2)


def test_networks_evaluate_without_dropout():
    network = MultiLayerNetExtend(4, [50], 2, use_dropout=True, dropout_ration=0.5)
    x = RNG.random((5, 4))
    np.testing.assert_array_equal(network.predict(x), network.predict(x))
    assert (network.predict(x, train_flg=True) != network.predict(x, train_flg=True)).any()


def test_names_that_are_not_known_are_told():
    with pytest.raises(ArgumentError, match='activation must be one of "relu", "sigmoid", got'):
        MultiLayerNet(4, [3], 2, activation="swish")
    with pytest.raises(ArgumentError, match="weight_init_std must be one of"):
        MultiLayerNet(4, [3], 2, weight_init_std="best")


def test_accuracy_counts_every_sample_and_takes_one_hot_rows():
    network = MultiLayerNet(4, [3], 2)
    x = RNG.random((5003, 4))
    t = network.predict(x).argmax(axis=1)
    assert network.accuracy(x, t) == network.accuracy(x, np.eye(2)[t]) == 1
    t[-3:] = 1 - t[-3:]
    assert network.accuracy(x, t) == pytest.approx(5000 / 5003)


class Counting:
    """The least that a trainer asks of a network."""

    def __init__(self):
        self.params = {"W": np.zeros((2, 2))}
        self.sizes = []

    def gradient(self, x, t):
        return {"W": np.ones((2, 2))}

    def loss(self, x, t):
        return len(x)

    def accuracy(self, x, t):
        self.sizes.append(len(x))
        return 0.5


@pytest.mark.parametrize(
    ("samples", "batch", "per_epoch"), [(100, 10, 10), (105, 10, 11), (7, 100, 1)]
)
def test_trainer_measures_every_epoch_once(capsys, samples, batch, per_epoch):
    """Also where the samples are no multiple of the batch."""
    network = Counting()
    x, t = np.zeros((samples, 2)), np.zeros(samples, int)
    trainer = Trainer(network, x, t, x[:5], t[:5], 3, batch, "sgd", {"lr": 0.5}, 4)
    trainer.train()
    assert len(trainer.train_loss_list) == trainer.current_iter == 3 * per_epoch
    assert trainer.train_acc_list == trainer.test_acc_list == [0.5] * 3
    assert network.sizes == [4, 4] * 3 + [5]
    np.testing.assert_array_equal(network.params["W"], -0.5 * 3 * per_epoch * np.ones((2, 2)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"train loss:{batch}"
    assert lines[1] == "=== epoch:1, train acc:0.5, test acc:0.5 ==="
    assert lines[-2:] == ["=============== Final Test Accuracy ===============", "test acc:0.5"]


def test_trainer_is_quiet_if_told_so(capsys):
    x, t = np.zeros((4, 2)), np.zeros(4, int)
    Trainer(Counting(), x, t, x, t, epochs=1, mini_batch_size=2, verbose=False).train()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["SGD", "Momentum", "nesterov", "AdaGrad", "RMSprpo", "adam"])
def test_trainer_knows_the_optimizers_by_name(name):
    x, t = np.zeros((4, 2)), np.zeros(4, int)
    trainer = Trainer(Counting(), x, t, x, t, optimizer=name)
    assert type(trainer.optimizer).__name__.lower() == name.lower().replace("prpo", "prop")


def test_trainer_refuses_what_cannot_be_trained():
    x, t = np.zeros((4, 2)), np.zeros(4, int)
    with pytest.raises(ArgumentError, match="optimizer must be"):
        Trainer(Counting(), x, t, x, t, optimizer="lion")
    with pytest.raises(ShapeError, match="one or more; got 0 and 0"):
        Trainer(Counting(), x[:0], t[:0], x, t)
    with pytest.raises(ShapeError, match="got 4 and 3"):
        Trainer(Counting(), x, t[:3], x, t)


def test_a_network_of_affine_layers_alone_learns(capsys):
    np.random.seed(0)
    x = RNG.standard_normal((200, 4))
    t = x[:, :3].argmax(axis=1)
    network = MultiLayerNet(4, [20], 3)
    Trainer(network, x, t, x, t, 30, 20, "Adam", {"lr": 0.01}, verbose=False).train()
    assert network.accuracy(x, t) > 0.9
    assert isinstance(network.layers["Affine1"], Affine)
