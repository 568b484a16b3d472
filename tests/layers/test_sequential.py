import json
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastscratch.errors import ArgumentError, DtypeError, ShapeError, TrainingError
from fastscratch.layers import BatchNorm, Conv2d, Dense, Dropout, Flatten, ReLU, Sequential
from fastscratch.losses import MeanSquaredError, SoftmaxCrossEntropy

X = np.random.default_rng(0).standard_normal((10, 1, 6, 6)).astype(np.float32)
T = np.arange(10) % 3


def make_net(**options):
    return Sequential(
        ("conv", Conv2d(4, 3)),
        ("norm", BatchNorm()),
        ReLU(),
        Flatten(),
        ("drop", Dropout(0.5)),
        ("dense", Dense(3)),
        **options,
    )


def test_the_books_three_layer_network():
    from fastscratch.layers import Sigmoid

    net = Sequential(Dense(3), Sigmoid(), Dense(2), Sigmoid(), Dense(2))
    net.build((2,), np.float64)
    net.load_state_dict(
        {
            "0.weight": np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]),
            "0.bias": np.array([0.1, 0.2, 0.3]),
            "2.weight": np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]),
            "2.bias": np.array([0.1, 0.2]),
            "4.weight": np.array([[0.1, 0.3], [0.2, 0.4]]),
            "4.bias": np.array([0.1, 0.2]),
        }
    )
    x = np.array([[1.0, 0.5]])
    expected = [
        [0.3, 0.7, 1.1],
        [0.57444252, 0.66818777, 0.75026011],
        [0.51615984, 1.21402696],
        [0.62624937, 0.7710107],
        [0.31682708, 0.69627909],
    ]
    for layer, values in zip(net.layers.values(), expected, strict=True):
        x = layer.forward(x)
        np.testing.assert_allclose(x[0], values, atol=5e-9)


def test_names_and_access():
    net = Sequential(Dense(2), ("top", Dense(3)), ReLU())
    assert [name for name, _ in net.children()] == ["0", "top", "2"]
    assert net["top"] is net[1] and net[-1] is net["2"] and len(net) == 3


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "at least one"),
        ((("a", ReLU()), ("a", ReLU())), "two layers are called 'a'"),
        ((ReLU(), ("0", ReLU())), "two layers are called '0'"),
        ((("a.b", ReLU()),), "without dots"),
        ((("", ReLU()),), "without dots"),
        ((ReLU,), "takes layers"),
        ((("a", "b"),), "takes layers"),
    ],
)
def test_impossible_lists(layers, message):
    with pytest.raises(ArgumentError, match=message):
        Sequential(*layers)


def test_shapes_are_inferred_from_the_first_batch():
    net = make_net()
    assert not net.built
    assert net.forward(X).shape == (10, 3)
    assert net.input_shape == (1, 6, 6) and net.output_shape == (3,) and net.dtype == np.float32
    assert make_net().forward(X.astype(np.float64)).dtype == np.float64


def test_a_mismatch_names_the_layer_in_the_middle():
    with pytest.raises(ShapeError, match=r"layer 'late' \(Conv2d\): takes images"):
        Sequential(Flatten(), ("late", Conv2d(2, 3))).build((1, 6, 6))


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 256])
def test_predict_gives_what_forward_gives(batch_size):
    net = make_net()
    net.forward(X, training=True)
    scores = net.predict(X, batch_size)
    np.testing.assert_allclose(scores, net.forward(X), rtol=1e-5, atol=1e-6)
    assert net.predict(X[:0]).shape == (0, 3)


def test_predict_refuses_what_it_cannot_take():
    net = make_net()
    net.build((1, 6, 6))
    with pytest.raises(ShapeError, match="takes input of shape"):
        net.predict(X[:, :, :5])
    with pytest.raises(DtypeError):
        net.predict(X.astype(np.float64))
    with pytest.raises(ArgumentError, match="batch_size"):
        net.predict(X, 0)


def test_prediction_never_shares_the_callers_memory():
    net = Sequential(Flatten(), Dropout(0.5))
    for batch_size in (3, 100):
        assert not np.shares_memory(net.predict(X, batch_size), X)


def test_backward_runs_through_all_layers():
    net = make_net()
    loss = SoftmaxCrossEntropy()
    loss.forward(net.forward(X, training=True), T)
    assert net.backward(loss.backward()).shape == X.shape
    assert all(p.grad.any() or p.name == "conv.bias" for p in net.parameters())


def test_backward_parameters_stops_at_the_first_parameters(monkeypatch):
    seen = []

    def noting(word, original):
        def noted(dout):
            seen.append(word)
            return original(dout)

        return noted

    net = Sequential(Flatten(), ReLU(), Dense(4), ReLU(), Dense(3))
    y = net.forward(X, training=True)
    for name, layer in net.children():
        for method in ("_backward", "_backward_parameters"):
            replacement = noting(f"{name}{method}", getattr(layer, method))
            monkeypatch.setattr(layer, method, replacement)
    net.backward_parameters(np.ones_like(y))
    assert "2_backward" not in seen and "2_backward_parameters" in seen
    assert not [word for word in seen if word[0] in "01"]


def test_a_nested_network_skips_its_first_gradient_too():
    outer = Sequential(Flatten(), Sequential(ReLU(), Dense(4)), Dense(3))
    y = outer.forward(X, training=True)
    outer.backward(np.ones_like(y))
    grads = [p.grad.copy() for p in outer.parameters()]
    outer.backward_parameters(np.ones_like(y))
    for p, grad in zip(outer.parameters(), grads, strict=True):
        assert np.array_equal(p.grad, grad)


def test_summary_counts():
    net = Sequential(("conv", Conv2d(30, 5)), ReLU(), Flatten(), ("dense", Dense(10)))
    with pytest.raises(TrainingError, match="input_shape"):
        net.summary()
    summary = net.summary((1, 28, 28))
    assert not net.built
    assert summary.parameters == 30 * 25 + 30 + 17280 * 10 + 10
    assert summary.multiply_adds == 30 * 25 * 24 * 24 + 172800
    assert [row.path for row in summary.rows] == ["conv", "1", "2", "dense"]
    assert summary.rows[0].output_shape == (30, 24, 24)
    lines = str(summary).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert lines[-1].split() == ["total", "(10,)", "173,590", "604,800"]
    assert len({len(line) for line in lines}) == 1, "columns line up"
    net.build((1, 28, 28))
    assert str(net.summary()) == str(summary) == str(net.summary((1, 28, 28)))
    with pytest.raises(ShapeError):
        net.summary((1, 14, 14))


def test_summary_of_nested_networks_shows_paths():
    net = Sequential(("stem", Sequential(Dense(4), ReLU())), ("top", Dense(2)))
    assert [row.path for row in net.summary((3,)).rows] == ["stem.0", "stem.1", "top"]


def test_first_nonfinite_says_where():
    net = make_net()
    net.forward(X, training=True)
    loss = SoftmaxCrossEntropy()
    assert net.first_nonfinite(X) is None
    assert net.first_nonfinite(X, loss, T) is None
    bad = X.copy()
    bad[3, 0, 2, 2] = np.inf
    assert net.first_nonfinite(bad) == "input"
    kept = net.state_dict()
    for name, expected in (
        ("dense.bias", "dense"),
        ("norm.gamma", "norm"),
        ("conv.weight", "conv"),
    ):
        net.load_state_dict(kept)
        parameter = next(p for p in net.parameters() if p.name == name)
        parameter.value.flat[0] = np.nan
        assert net.first_nonfinite(X) == expected
        assert net.first_nonfinite(X, loss, T) == expected


def test_first_nonfinite_looks_at_loss_and_gradients():
    a, b, c = Dense(3), Dense(3), Dense(3)
    net = Sequential(("a", a), ("inner", Sequential(("b", b))), ("c", c))
    x = np.ones((2, 4), np.float32)
    net.build((4,))

    class Breaks(MeanSquaredError):
        def _backward(self):
            return np.full((2, 3), 1e30, np.float32)

    # Forward stays small; backward through b overflows: 1e30 * 1e20.
    b.weight.value = np.full((3, 3), 1e20)
    a.weight.value = np.zeros((4, 3))
    c.weight.value = np.ones((3, 3))
    targets = np.zeros((2, 3), np.float32)
    assert net.first_nonfinite(x) is None
    assert net.first_nonfinite(x, Breaks(), targets) == "inner.b"

    class Endless(MeanSquaredError):
        def _forward(self, scores, targets):
            return float("inf")

    assert net.first_nonfinite(x, Endless(), targets) == "loss"


def test_first_nonfinite_changes_no_state():
    net = make_net()
    net.forward(X, training=True)
    state = net.state_dict()
    net.first_nonfinite(X, SoftmaxCrossEntropy(), T)
    for name, array in net.state_dict().items():
        assert np.array_equal(array, state[name])
    with pytest.raises(TrainingError):
        net.backward(np.ones((10, 3), np.float32))


def test_config_round_trip_of_a_nested_network():
    net = Sequential(
        ("stem", Sequential(Conv2d(2, 3, padding=(1, 0)), ReLU())), Flatten(), Dense(3), seed=5
    )
    again = Sequential.from_config(net.config())
    assert again.config() == net.config() and repr(again) == repr(net)
    assert np.array_equal(net.forward(X), again.forward(X))


def test_training_one_network_beside_predicting_with_another():
    one, other = make_net(seed=1), make_net(seed=2)
    one.build((1, 6, 6))
    expected = one.predict(X)
    stop = threading.Event()

    def train():
        while not stop.is_set():
            y = other.forward(X, training=True)
            other.backward(np.ones_like(y))

    worker = threading.Thread(target=train)
    worker.start()
    try:
        for _ in range(30):
            assert np.array_equal(one.predict(X), expected)
    finally:
        stop.set()
        worker.join()


row_layers = st.one_of(
    st.builds(Dense, st.integers(1, 5), bias=st.booleans()),
    st.builds(ReLU),
    st.builds(BatchNorm, momentum=st.floats(0, 1)),
    st.builds(Dropout, st.floats(0, 0.9)),
)


@given(st.lists(row_layers, min_size=1, max_size=5), st.integers(0, 2**40))
def test_any_network_comes_back_from_its_config_and_state(layers, seed):
    net = Sequential(*layers, seed=seed)
    x = X.reshape(10, 36)
    net.forward(x, training=True)
    twin = Sequential.from_config(json.loads(json.dumps(net.config())))
    twin.build((36,), seed=seed + 1)
    twin.load_state_dict(net.state_dict())
    assert np.array_equal(twin.forward(x), net.forward(x))
    assert str(twin.summary()) == str(net.summary())
