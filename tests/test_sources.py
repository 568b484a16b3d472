"""Every number that the book's chapters and the tutorials print, digit for digit.

Slips in the code that they print, which must come out right here, are in `test_slips`.
"""

import numpy as np
import pytest

from fastscratch import losses, ops
from fastscratch.data import split_validation
from fastscratch.gradient_check import numerical_gradient
from fastscratch.layers import Dense, Identity, ReLU, Sequential, Sigmoid
from fastscratch.models import SimpleConvNet
from fastscratch.models.perceptron import GATES, INPUTS, Perceptron
from fastscratch.optimizers import SGD, FlatParameters
from fastscratch.training import Trainer

# Chapter 2


@pytest.mark.parametrize(
    ("gate", "outputs"),
    [("AND", "0001"), ("NAND", "1110"), ("OR", "0111"), ("XOR", "0110")],
)
def test_gates(gate, outputs):
    assert "".join(str(GATES[gate](*inputs)) for inputs in INPUTS) == outputs


def test_the_gate_with_a_threshold():
    gate = Perceptron.from_threshold((0.5, 0.5), 0.7)
    assert [gate(*inputs) for inputs in INPUTS] == [0, 0, 0, 1]


# Chapter 3


def test_products_of_matrices():
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])
    assert ops.dense_forward(a, b).tolist() == [[19, 22], [43, 50]]
    assert ops.dense_forward(b, a).tolist() != [[19, 22], [43, 50]]
    weight = np.array([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])
    assert ops.dense_forward(np.array([[1.0, 2.0]]), weight).tolist() == [[5, 11, 17]]


THREE_LAYERS = {
    "a1": [0.3, 0.7, 1.1],
    "z1": [0.57444252, 0.66818777, 0.75026011],
    "a2": [0.51615984, 1.21402696],
    "z2": [0.62624937, 0.7710107],
    "a3": [0.31682708, 0.69627909],
    "y": [0.31682708, 0.69627909],
}


def test_the_three_layer_network():
    network = Sequential(
        ("a1", Dense(3)), ("z1", Sigmoid()), ("a2", Dense(2)), ("z2", Sigmoid()),
        ("a3", Dense(2)), ("y", Identity()),
    )  # fmt: skip
    network.build((2,), np.float64)
    network.load_state_dict({
        "a1.weight": np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]),
        "a1.bias": np.array([0.1, 0.2, 0.3]),
        "a2.weight": np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]),
        "a2.bias": np.array([0.1, 0.2]),
        "a3.weight": np.array([[0.1, 0.3], [0.2, 0.4]]),
        "a3.bias": np.array([0.1, 0.2]),
    })  # fmt: skip
    x = np.array([[1.0, 0.5]])
    for name, printed in THREE_LAYERS.items():
        x = network[name].forward(x)
        assert x[0].round(8).tolist() == printed, name


# Chapter 4

GOOD = np.array([[0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]])
BAD = np.array([[0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0]])
TWO = np.eye(10)[[2]]


def test_losses():
    squares, entropy = losses.SumSquaredError(), losses.CrossEntropy()
    assert squares.forward(GOOD, TWO) == 0.09750000000000003
    assert squares.forward(BAD, TWO) == 0.5975
    assert entropy.forward(GOOD, TWO) == 0.510825457099338
    assert entropy.forward(BAD, TWO) == 2.302584092994546


def square_sum(x):
    return float((x**2).sum())


@pytest.mark.parametrize(("at", "printed"), [((3.0, 4.0), [6.0, 8.0]), ((0.0, 2.0), [0.0, 4.0])])
def test_numerical_gradients(at, printed):
    found = numerical_gradient(square_sum, np.array(at), h=1e-4)
    np.testing.assert_allclose(found, printed, rtol=0, atol=1e-8)


def test_gradient_descent():
    dense = Dense(2, bias=False)
    dense.build((1,), np.float64)
    dense.weight.value = [[-3.0, 4.0]]
    flat, optimizer = FlatParameters(dense), SGD(lr=0.1)
    for _ in range(100):
        dense.weight.grad = numerical_gradient(square_sum, dense.weight.value, h=1e-4)
        optimizer.step(flat)
    printed = [-6.11110793e-10, 8.14814391e-10]
    np.testing.assert_allclose(dense.weight.value[0], printed, rtol=5e-9)


def test_the_simple_net():
    weight = np.array(
        [[1.48560966, -0.14753772, -0.31133111], [0.84614063, -1.36949181, -0.52690748]]
    )
    x, t = np.array([[0.6, 0.9]]), np.array([[0.0, 0.0, 1.0]])

    def softmax(scores):
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def loss(w):
        return losses.CrossEntropy().forward(softmax(ops.dense_forward(x, w)), t)

    p = ops.dense_forward(x, weight)
    # The weights are printed rounded, and so is what follows from them.
    np.testing.assert_allclose(p, [[1.65289237, -1.32106526, -0.6610154]], rtol=0, atol=2e-8)
    assert p.argmax() == 0
    assert loss(weight) == pytest.approx(2.453646622845499, abs=1e-8)
    printed = [[0.52174996, 0.02666177, -0.54841173], [0.78262494, 0.03999266, -0.8226176]]
    assert numerical_gradient(loss, weight, h=1e-4).round(8).tolist() == printed
    # Without the delta inside the logarithm the gradient differs in the sixth digit.
    exact = losses.SoftmaxCrossEntropy()
    exact.forward(p, t)
    np.testing.assert_allclose(x.T @ exact.backward(), printed, rtol=2e-6)
    assert abs(x.T @ exact.backward() - printed).max() > 5e-7


def test_the_validation_share():
    x = np.zeros((60_000, 1), np.uint8)
    train, validation = split_validation(x, np.zeros(60_000, np.uint8), 0.2)
    assert (len(validation[0]), len(train[0])) == (12_000, 48_000)


# Chapter 5 is in layers/test_nodes.py, but for


def test_the_mask_of_relu():
    relu = ReLU()
    x = np.array([[1.0, -0.5], [-2.0, 3.0]])
    relu.forward(x, training=True)
    mask = relu.backward(np.ones((2, 2))) == 0
    assert mask.tolist() == [[False, True], [True, False]]


# Chapter 6


@pytest.mark.parametrize(("weight_init", "alike"), [("zeros", True), ("xavier_normal", False)])
def test_weights_of_zero_stay_alike(weight_init, alike):
    """What begins alike gets the same gradients, and a layer is as good as one neuron."""
    x, t = np.random.default_rng(0).random((60, 8)), np.arange(60) % 3
    model = Sequential(Dense(5, weight_init=weight_init), Sigmoid(),
                       Dense(3, weight_init=weight_init))  # fmt: skip
    Trainer(model, losses.SoftmaxCrossEntropy(), SGD(0.5), batch_size=20).fit(x, t, epochs=5)
    hidden, last = model.parameters()[0].value, model.parameters()[2].value
    assert hidden.any() and last.any(), "it does move"
    assert np.allclose(hidden, hidden[:, :1], rtol=1e-9, atol=1e-15) == alike
    assert np.allclose(last, last[:1], rtol=1e-9, atol=1e-15) == alike


# Chapter 7


def test_images_and_their_columns():
    x = np.random.default_rng(0).random((10, 1, 28, 28))
    assert x[0].shape == x[1].shape == (1, 28, 28) and x[0, 0].shape == (28, 28)
    assert ops.im2col(np.zeros((1, 3, 7, 7)), 5).shape == (9, 75)
    assert ops.im2col(np.zeros((10, 3, 7, 7)), 5, stride=1, padding=0).shape == (90, 75)


@pytest.mark.parametrize(
    ("extent", "padding", "stride", "padded", "outputs"),
    [(4, 0, 1, 4, 2), (4, 1, 1, 6, 4), (4, 2, 1, 8, 6), (4, 3, 1, 10, 8), (7, 0, 2, 7, 3)],
)
def test_worked_sizes(extent, padding, stride, padded, outputs):
    x, weight = np.ones((1, 1, extent, extent)), np.ones((1, 1, 3, 3))
    y = ops.conv2d_forward(x, weight, padding=padding, stride=stride)
    assert y.shape == (1, 1, outputs, outputs)
    assert np.pad(x, padding).shape[-1] == padded
    biased = ops.conv2d_forward(x, weight, np.array([3.0]), padding=padding, stride=stride)
    np.testing.assert_array_equal(biased, y + 3)


def test_filters_and_biases_of_a_batch():
    x, weight = np.ones((2, 3, 8, 8)), np.ones((20, 3, 5, 5))
    y = ops.conv2d_forward(x, weight, np.arange(20.0))
    assert y.shape == (2, 20, 4, 4)
    assert y[0, :, 0, 0].tolist() == [75 + n for n in range(20)], "channels are summed"


def test_shapes_of_the_simple_conv_net():
    network = SimpleConvNet()
    assert network["conv1"].output_shape == (30, 24, 24)
    assert network["pool1"].output_shape == (30, 12, 12)
    shapes = [parameter.shape for parameter in network.parameters()]
    assert shapes == [(30, 1, 5, 5), (30,), (4320, 100), (100,), (100, 10), (10,)]


# The lecture


def test_the_first_step_of_adam_is_the_learning_rate():
    """t counts from 1, and the bias is corrected before the update."""
    value, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
    ops.adam_update(value, m, v, np.array([123.0]), t=1, lr=0.25)
    assert value.item() == pytest.approx(-0.25, rel=1e-8)
    assert (m.item(), v.item()) == pytest.approx((12.3, 15.129))


def test_adagrads_step_is_the_lectures():
    x, total, dx = np.array([1.0, 2.0]), np.array([4.0, 0.0]), np.array([2.0, -3.0])
    expected = x - 0.5 * dx / (np.sqrt(total + dx * dx) + 1e-7)
    ops.adagrad_update(x, total, dx, lr=0.5)
    np.testing.assert_allclose(x, expected, rtol=1e-15)
    assert total.tolist() == [8, 9]
