"""A residual block and ReLU as one step: what the two layers give, and nothing else to notice."""

import copy

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.errors import ShapeError, TrainingError
from fastscratch.layers import Conv2d, ReLU, Residual, Sequential
from fastscratch.layers.rectified_residual import RectifiedResidual

RNG = np.random.default_rng(0)


def make_pair(shortcut=None, backend=None):
    residual = Residual(Conv2d(4, 3, padding=1), shortcut, backend=backend)
    relu = ReLU(backend=backend)
    residual.build((4, 6, 5), np.float64, path="block")
    relu.build((4, 6, 5), np.float64, path="relu")
    return residual, relu


@pytest.mark.parametrize("way", ["itself", "convolution"])
def test_the_results_of_the_two_layers(way, backend):
    residual, relu = make_pair(Conv2d(4, 1) if way == "convolution" else None, backend)
    step = RectifiedResidual(*copy.deepcopy((residual, relu)))
    x, dout = RNG.standard_normal((2, 3, 4, 6, 5))
    with fs.record_choices() as choices:
        out = step.forward(x, True)
        dx = step.backward(dout)
    assert {"add_relu_forward", "relu_backward", "add_forward"} <= set(choices)
    assert "relu_forward" not in choices
    np.testing.assert_array_equal(out, relu.forward(residual.forward(x, True), True))
    np.testing.assert_array_equal(dx, residual.backward(relu.backward(dout)))
    for found, expected in zip(step.parameters(), residual.parameters(), strict=True):
        np.testing.assert_array_equal(found.grad, expected.grad)
    np.testing.assert_array_equal(step.forward(x, False), out)


def test_a_prediction_stores_nothing():
    residual, relu = make_pair()
    RectifiedResidual(residual, relu).forward(RNG.standard_normal((2, 4, 6, 5)), False)
    assert relu._saved is None and residual.body._saved is None


def test_where_a_part_is_named_the_parts_run():
    step = RectifiedResidual(*make_pair())
    with fs.use_backend(add_forward="numpy"), fs.record_choices() as choices:
        step.forward(RNG.standard_normal((2, 4, 6, 5)), True)
    assert choices["add_forward"] == {"numpy": 1}
    assert "relu_forward" in choices and "add_relu_forward" not in choices


def test_a_network_merges_a_pair_of_one_backend():
    def steps(*layers):
        net = Sequential(*layers)
        net.build((4, 8, 8))
        return [type(step).__name__ for step in net.steps]

    def block():
        return Residual(Conv2d(4, 3, padding=1))

    assert steps(block(), ReLU()) == ["RectifiedResidual"]
    assert steps(block(), ReLU(backend="numpy")) == ["Residual", "ReLU"]


def test_errors_name_the_layer():
    step = RectifiedResidual(*make_pair())
    with pytest.raises(ShapeError, match=r"layer 'block' .*takes input of shape"):
        step.forward(np.ones((2, 3, 6, 5)), True)
    with pytest.raises(TrainingError, match="backward needs a forward pass"):
        step.backward(np.ones((2, 4, 6, 5)))
