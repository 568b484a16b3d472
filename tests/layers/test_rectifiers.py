"""LeakyReLU, ELU, PReLU: values, slopes at zero, learning a slope."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError
from fastscratch.layers import ELU, Identity, LeakyReLU, PReLU, Sequential, Step
from fastscratch.losses import MeanSquaredError
from fastscratch.optimizers import SGD, FlatParameters

X = np.array([[-2.0, -0.5, 0.0, 3.0]])


@pytest.mark.parametrize("alpha", [0.01, 0.1, 2.0, -1.0])
def test_leaky_relu_with_any_slope(alpha):
    layer = LeakyReLU(alpha)
    np.testing.assert_allclose(layer.forward(X, training=True), np.where(X > 0, X, alpha * X))
    np.testing.assert_allclose(layer.backward(np.ones_like(X)), [[alpha, alpha, alpha, 1]])


def test_elu_of_large_numbers_warns_of_nothing():
    x = np.array([[-1e30, 1e30, 710.0]])  # exp(710) overflows
    np.testing.assert_array_equal(ELU().forward(x), [[-1, 1e30, 710]])


@pytest.mark.parametrize("shared", [False, True])
def test_prelu_learns_its_slopes(shared):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)).astype(np.float32)
    slopes = np.float32(0.7) if shared else np.array([0.1, 0.5, 0.9], np.float32)
    targets = np.where(x > 0, x, slopes * x)
    model = Sequential(("prelu", PReLU(shared=shared)))
    model.build((3,))
    layer = model["prelu"]
    assert isinstance(layer, PReLU)
    assert layer.slopes.value.tolist() == [0.25] * (1 if shared else 3)
    flat, optimizer, loss = FlatParameters(model), SGD(lr=1.0), MeanSquaredError()
    for _ in range(100):
        loss.forward(model.forward(x, training=True), targets)
        model.backward_parameters(loss.backward())
        optimizer.step(flat)
    np.testing.assert_allclose(layer.slopes.value, slopes, atol=1e-4)


def test_decay_leaves_slopes_alone():
    layer = PReLU()
    layer.build((3,))
    assert not layer.slopes.decay


def test_images_have_a_slope_for_each_channel():
    layer = PReLU()
    layer.build((4, 5, 5))
    assert layer.slopes.shape == (4,)
    assert PReLU(shared=True).forward(np.ones((0, 4, 5, 5), np.float32)).shape == (0, 4, 5, 5)


def test_impossible_slopes():
    for make in (lambda: LeakyReLU(float("nan")), lambda: PReLU(float("inf")), lambda: ELU(-1.0)):
        with pytest.raises(ArgumentError):
            make()


def test_identity_and_step():
    assert Identity().forward(X) is X
    step = Step()
    assert step.forward(X, training=True).tolist() == [[0, 0, 0, 1]]
    assert step.backward(X).tolist() == [[0, 0, 0, 0]]
