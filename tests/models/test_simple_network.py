"""The tutorial's network: its arrays, its gradients, its training, and what it got wrong."""

import numpy as np
import pytest

from fastscratch.data import load_digits
from fastscratch.errors import ArgumentError
from fastscratch.gradient_check import check_gradients, numerical_gradient
from fastscratch.losses import MeanAbsoluteError, MeanSquaredError
from fastscratch.models import FullyConnectedLayer, SimpleNetwork, load_model
from fastscratch.models.simple_network import (
    derivated_loss_L2,
    derivated_sigmoid,
    loss_L2,
    sigmoid,
)

(X, T), (X_TEST, T_TEST) = load_digits(flatten=True)
ONE_HOT = np.eye(10, dtype=np.float32)[T]


def test_the_loss_and_its_gradient_are_both_divided_by_the_batch_size():
    rng = np.random.default_rng(0)
    pred, target = rng.standard_normal((2, 4, 3))
    assert loss_L2(pred, target) == pytest.approx(((pred - target) ** 2).sum() / 4)
    ref = numerical_gradient(lambda p: loss_L2(p, target), pred)
    np.testing.assert_allclose(derivated_loss_L2(pred, target), ref, rtol=1e-6)


def test_sigmoid_and_its_derivative_from_the_output():
    x = np.array([[-1e4, -2.0, 0.0, 1e4]])
    y = sigmoid(x)
    np.testing.assert_allclose(y, [[0, 1 / (1 + np.e**2), 0.5, 1]])
    np.testing.assert_array_equal(derivated_sigmoid(y), y * (1 - y))


def test_a_layer_has_the_tutorials_arrays():
    layer = FullyConnectedLayer(5, 3, sigmoid, derivated_sigmoid, init="standard_normal", seed=1)
    assert layer.size == 3 and layer.W.shape == (5, 3) and layer.b.shape == (3,)
    assert layer.b.any(), "biases are drawn, too"
    x = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    y = layer.forward(x, training=True)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-(x @ layer.W + layer.b))), rtol=1e-5)
    assert layer.x is x and layer.y is y
    dL_dx = layer.backward(np.ones_like(y))
    np.testing.assert_allclose(layer.dL_dW, x.T @ (y * (1 - y)), rtol=1e-5)
    np.testing.assert_allclose(dL_dx, (y * (1 - y)) @ layer.W.T, rtol=1e-5)
    before = layer.W.copy()
    layer.optimize(0.1)
    np.testing.assert_allclose(layer.W, before - 0.1 * layer.dL_dW, rtol=1e-6)


def test_an_activation_without_a_derivative_is_refused_at_once():
    with pytest.raises(ArgumentError, match=r"derivative .*sin .*derivated_activation_function"):
        SimpleNetwork(4, 2, activation_function=np.sin)


def test_gradients_of_named_and_own_activations():
    rng = np.random.default_rng(0)
    x, t = rng.random((4, 6)), rng.random((4, 3))
    for name in ("sigmoid", "tanh", "elu"):
        report = check_gradients(SimpleNetwork(6, 3, (5,), name), MeanSquaredError("sum"), x, t)
        assert report.ok, str(report)
    own, named = (
        SimpleNetwork(6, 3, (5,), *a) for a in ((np.tanh, lambda y: 1 - y * y), ("tanh",))
    )
    single = x.astype(np.float32)
    np.testing.assert_allclose(
        own.forward(single, training=True), named.forward(single, training=True), rtol=1e-5
    )
    dout = t.astype(np.float32)
    np.testing.assert_allclose(own.backward(dout), named.backward(dout), rtol=1e-4, atol=1e-6)


def test_it_learns_and_tells_in_the_tutorials_words():
    lines: list[str] = []
    network = SimpleNetwork(64, 10)
    losses, accuracies = network.train(
        X,
        ONE_HOT,
        X_TEST,
        T_TEST,
        batch_size=30,
        num_epochs=25,
        learning_rate=2.0,
        log=lines.append,
    )
    assert len(losses) == len(accuracies) == len(lines) == 25
    assert losses[-1] < 0.5 * losses[0] and accuracies[-1] > 0.85
    assert lines[-1] == (
        f"Epoch   24: training loss = {losses[-1]:.6f} | val accuracy = {100 * accuracies[-1]:.2f}%"
    )
    assert network.evaluate_accuracy(X_TEST, T_TEST) == accuracies[-1]
    assert network.evaluate_accuracy(X_TEST, np.eye(10)[T_TEST]) == accuracies[-1]


def test_arrays_of_the_layers_inside_a_network():
    network = SimpleNetwork(64, 10, (8,))
    y = network.forward(X[:5], training=True)
    first, last = network["layer1"], network["layer2"]
    assert isinstance(first, FullyConnectedLayer) and isinstance(last, FullyConnectedLayer)
    assert first.x is not None and first.y is last.x and last.y is y
    network.forward(X[:3])
    assert last.y is y, "prediction stores nothing"
    network.forget()
    assert first.y is None


def test_all_functions_as_the_tutorial_passes_them():
    """Its argument order, and a loss of one's own beside its derivative."""

    def loss_L1(pred, target):
        return np.abs(pred - target).sum() / len(pred)

    def derivated_loss_L1(pred, target):
        return np.sign(pred - target) / len(pred)

    def trained(*functions):
        network = SimpleNetwork(64, 10, (8,), *functions)
        found = network.train(X[:200], ONE_HOT[:200], num_epochs=3, learning_rate=0.5)[0]
        return found, network.state_dict()["layer1.dense.weight"]

    given = trained(sigmoid, derivated_sigmoid, loss_L2, derivated_loss_L2)
    for ref, out in zip(trained(), given, strict=True):
        np.testing.assert_array_equal(out, ref)
    ours = trained(sigmoid, derivated_sigmoid, MeanAbsoluteError("sum"))
    own = trained(sigmoid, derivated_sigmoid, loss_L1, derivated_loss_L1)
    np.testing.assert_allclose(own[0], ours[0], rtol=1e-6)
    np.testing.assert_allclose(own[1], ours[1], rtol=1e-4, atol=1e-6)
    for pair in ((loss_L1,), (None, derivated_loss_L1)):
        with pytest.raises(ArgumentError, match="derivated_loss_function"):
            SimpleNetwork(64, 10, (8,), sigmoid, derivated_sigmoid, *pair)


def test_prediction_is_per_sample():
    network = SimpleNetwork(64, 10, seed=3)
    together = network.predict(X[:300])
    assert together.shape == (300,)
    np.testing.assert_array_equal(together[:20], [network.predict(x[None])[0] for x in X[:20]])


def test_every_sample_is_trained_on_in_a_new_order():
    def weights(**options):
        network = SimpleNetwork(64, 10)
        network.train(X[:50], T[:50], num_epochs=1, learning_rate=0.1, **options)
        return network.state_dict()["layer1.dense.weight"]

    assert (weights(seed=0) != weights(seed=1)).any()
    # Fewer samples than a batch holds are a batch.
    assert (weights(batch_size=60) != SimpleNetwork(64, 10).parameters()[0].value).any()
    with pytest.raises(ArgumentError):
        SimpleNetwork(64, 10).train(X[:0], T[:0])


def test_files(tmp_path):
    network = SimpleNetwork(64, 10, (8,), sigmoid, seed=2)
    network.save(tmp_path / "net.npz")
    again = load_model(tmp_path / "net.npz")
    np.testing.assert_array_equal(again.forward(X[:5]), network.forward(X[:5]))
    with pytest.raises(ArgumentError, match="cannot be saved"):
        SimpleNetwork(4, 2, (3,), np.tanh, lambda y: 1 - y * y).save(tmp_path / "own.npz")
