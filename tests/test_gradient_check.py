"""Numerical gradients: the documents' numbers; the checker finds what is wrong, and only that."""

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.gradient_check import check_gradients, numerical_gradient
from fastscratch.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    MaxPool2d,
    ReLU,
    Sequential,
)
from fastscratch.losses import MeanSquaredError, SoftmaxCrossEntropy


def square_sum(x):
    return (x**2).sum()


@pytest.mark.parametrize(
    ("at", "expected"), [([3.0, 4.0], [6, 8]), ([0.0, 2.0], [0, 4]), ([3.0, 0.0], [6, 0])]
)
def test_the_documents_points(at, expected):
    np.testing.assert_allclose(numerical_gradient(square_sum, np.array(at)), expected, atol=1e-8)


def test_the_documents_simple_net():
    weight = np.array(
        [[1.48560966, -0.14753772, -0.31133111], [0.84614063, -1.36949181, -0.52690748]]
    )
    x, t = np.array([0.6, 0.9]), np.array([0, 0, 1])
    p = x @ weight
    np.testing.assert_allclose(p, [1.65289237, -1.32106526, -0.6610154], atol=2e-8)
    assert p.argmax() == 0

    def loss(w):
        scores = x @ w
        y = np.exp(scores - scores.max())
        y /= y.sum()
        return -np.sum(t * np.log(y + 1e-7))

    assert loss(weight) == pytest.approx(2.453646622845499, abs=1e-8)
    printed = [[0.52174996, 0.02666177, -0.54841173], [0.78262494, 0.03999266, -0.8226176]]
    np.testing.assert_allclose(numerical_gradient(loss, weight, h=1e-4), printed, atol=1e-8)


def test_the_array_is_restored_bit_for_bit_even_after_an_error():
    x = np.array([0.1, 1e8, -3.3])
    kept = x.copy()
    numerical_gradient(square_sum, x)
    assert np.array_equal(x, kept)
    calls = []

    def fails(x):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError
        return 0.0

    with pytest.raises(RuntimeError):
        numerical_gradient(fails, x)
    assert np.array_equal(x, kept)


def test_f_may_look_at_the_array_from_outside():
    x = np.array([3.0, 4.0])
    np.testing.assert_allclose(numerical_gradient(lambda _: square_sum(x), x), [6, 8], atol=1e-8)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_other_dtypes_are_neither_truncated_nor_noisy(dtype):
    x = np.array([3, 4], dtype)
    np.testing.assert_allclose(numerical_gradient(square_sum, x), [6, 8], atol=1e-8)
    assert x.dtype == dtype and x.tolist() == [3, 4]


def test_large_arguments_get_larger_steps():
    # A step of 1e-4 is lost at 1e14, where neighbouring numbers lie 0.016 apart.
    for x in (1e14, -1e14, 1.0):
        assert numerical_gradient(lambda v: v[0] ** 2, np.array([x]))[0] == pytest.approx(
            2 * x, rel=1e-6
        )


def test_any_shape_and_scalars():
    assert numerical_gradient(square_sum, np.ones((2, 1, 3))).shape == (2, 1, 3)
    assert numerical_gradient(square_sum, np.array(3.0)) == pytest.approx(6)
    assert numerical_gradient(square_sum, [1.0, 2.0]).shape == (2,)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="one number"):
        numerical_gradient(lambda x: x, np.ones(3))  # type: ignore[arg-type,return-value]
    with pytest.raises(ArgumentError, match="h must"):
        numerical_gradient(square_sum, np.ones(3), h=0)


def make_net(**kinds):
    return Sequential(
        ("conv", kinds.get("conv", Conv2d)(4, 3, padding=1)),
        ("norm", kinds.get("norm", BatchNorm)()),
        ReLU(), MaxPool2d(2), Flatten(), ("drop", kinds.get("drop", Dropout)(0.3)),
        ("dense", kinds.get("dense", Dense)(3)),
    )  # fmt: skip


X = np.random.default_rng(0).standard_normal((5, 2, 6, 6)).astype(np.float32)
T = np.array([0, 1, 2, 1, 0])


def test_a_right_network_passes_and_is_left_as_it_was():
    net = make_net()
    net.forward(X, training=True)
    state = net.state_dict()
    report = check_gradients(net, SoftmaxCrossEntropy(), X, T)
    assert report.ok and not report.wrong, str(report)
    assert str(report).startswith("gradients agree to 1e-06")
    for name, array in net.state_dict().items():
        assert np.array_equal(array, state[name])
    assert net.dtype == np.float32
    named = {p.name for p in net.parameters()} | {"input"}
    assert set(report.worst()) == named
    assert len(report.entries) >= 6 * len(named)


class HalfBias(Dense):
    def _backward_parameters(self, dout):
        super()._backward_parameters(dout)
        assert self.bias is not None
        self.bias.grad *= 0.5


class OneElementOff(Conv2d):
    def _backward_parameters(self, dout):
        super()._backward_parameters(dout)
        self.weight.grad[0, 0, 0, 0] *= 1.001


class SilentInput(Dense):
    def _backward(self, dout):
        return np.zeros_like(super()._backward(dout))


class FrozenMean(BatchNorm):
    def _backward(self, dout):
        super()._backward(dout)
        _, _, var = self._saved
        return dout * (self.gamma.value / np.sqrt(var + self.eps)).reshape(1, -1, 1, 1)


class SumsNan(Dense):
    def _backward_parameters(self, dout):
        super()._backward_parameters(dout)
        self.weight.grad[0, 0] = np.nan


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        ({"dense": HalfBias}, ("dense.bias",)),
        ({"conv": OneElementOff}, ("conv.weight",)),
        ({"dense": SilentInput}, ("input", "conv.weight", "norm.gamma", "norm.beta")),
        ({"norm": FrozenMean}, ("input", "conv.weight", "conv.bias")),
        ({"dense": SumsNan}, ("dense.weight",)),
    ],
    ids=lambda case: (
        "-".join(kind.__name__ for kind in case.values()) if isinstance(case, dict) else ""
    ),
)
def test_a_wrong_layer_is_found_and_named(kinds, wrong):
    report = check_gradients(make_net(**kinds), SoftmaxCrossEntropy(), X, T)
    assert report.wrong == wrong, str(report)
    assert not report.ok
    assert str(report).startswith(f"gradients of {', '.join(wrong)} are off")
    assert f"WRONG {wrong[0]}: " in str(report)


def test_kinks_do_not_raise_false_alarms():
    for seed in range(10):
        net = Sequential(Dense(40), ReLU(), Dense(40), ReLU(), Dense(2), seed=seed)
        rng = np.random.default_rng(seed)
        x = np.round(rng.standard_normal((8, 10)), 1)
        report = check_gradients(net, MeanSquaredError(), x, rng.standard_normal((8, 2)), seed=seed)
        assert report.ok, str(report)
