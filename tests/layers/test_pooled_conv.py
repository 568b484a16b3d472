"""Convolution, ReLU and max pooling as one step: what the parts give, and nothing to notice."""

from typing import Any

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.dispatch import record_choices
from fastscratch.kernels.problem import CONV_POOL_OPS
from fastscratch.layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential
from fastscratch.layers.pooled_conv import PooledConv

CONVS: dict[str, Any] = {
    "plain": {"kernel_size": 3},
    "no_bias": {"kernel_size": 3, "bias": False},
    "all_options": {"kernel_size": 3, "stride": 2, "padding": 2, "groups": 2, "rounding": "floor"},
}


def make_net(**conv):
    parts = ("conv", Conv2d(4, **conv)), ("relu", ReLU()), ("pool", MaxPool2d(2))
    net = Sequential(*parts, Flatten(), ("scores", Dense(3)))
    net.build((2, 10, 10), np.float64)
    return net


def numbers(shape):
    """Whole ones, whose sums do not depend on the order."""
    return np.random.default_rng(0).integers(-3, 4, shape).astype(np.float64)


@pytest.mark.parametrize("conv", CONVS)
def test_what_the_layers_give_one_by_one(conv, backend):
    net = make_net(**CONVS[conv])
    assert isinstance(net.steps[0], PooledConv)
    for parameter in net.parameters():
        parameter.value = numbers(parameter.shape)
    x, dout = numbers((3, 2, 10, 10)), numbers((3, 3))
    with fs.use_backend(backend):
        y = net.forward(x, training=True)
        net.backward_parameters(dout)
        first = [parameter.grad.copy() for parameter in net.parameters()]
        dx = net.backward(dout)
        second = [parameter.grad.copy() for parameter in net.parameters()]
        ref, back = x, dout
        for _, layer in net.children():
            ref = layer.forward(ref, training=True)
        for _, layer in reversed(net.children()):
            back = layer.backward(back)
    np.testing.assert_array_equal(y, ref)
    np.testing.assert_array_equal(dx, back)
    for one, two, parameter in zip(first, second, net.parameters(), strict=True):
        np.testing.assert_array_equal(one, parameter.grad)
        np.testing.assert_array_equal(two, parameter.grad)


def test_predicting_stores_nothing_and_copies_have_steps_of_their_own():
    net = make_net(kernel_size=3)
    net.forward(numbers((2, 2, 10, 10)))
    assert all(layer._saved is None for layer in net.walk())
    step = net.astype(np.float32)._steps[0]
    assert isinstance(step, PooledConv) and step.conv is not net["conv"]
    assert step.conv.weight.value.dtype == np.float32


def test_an_implementation_named_for_a_part_runs():
    net = make_net(kernel_size=3)
    x = numbers((2, 2, 10, 10))
    with record_choices() as choices:
        net.forward(x, training=True)
        net.backward_parameters(numbers((2, 3)))
    assert choices.keys() >= set(CONV_POOL_OPS)
    with fs.use_backend("numpy", conv2d_backward_weight="numpy"), record_choices() as choices:
        net.forward(x, training=True)
        net.backward_parameters(numbers((2, 3)))
    assert choices["conv2d_forward"] == choices["conv2d_backward_weight"] == {"numpy": 1}


@pytest.mark.parametrize(
    "layers",
    [
        (Conv2d(3, 3), ReLU(), MaxPool2d(3, stride=2, rounding="floor")),
        (Conv2d(3, 3), ReLU(), MaxPool2d(2, padding=1)),
        (Conv2d(3, 3), ReLU(), MaxPool2d(3, rounding="ceil")),
        (Conv2d(3, 3), ReLU(backend="numpy"), MaxPool2d(2)),
        (Conv2d(3, 3), MaxPool2d(2), ReLU()),
        (Conv2d(13, 1), Conv2d(3, 3), ReLU(), MaxPool2d(2)),
    ],
)
def test_others_stay_steps_of_their_own(layers):
    net = Sequential(*layers)
    net.build((2, 10, 10))
    assert not any(isinstance(step, PooledConv) for step in net._steps)


@pytest.mark.parametrize(("extent", "merged"), [(258, True), (260, False)])
def test_a_large_map_is_not_held_in_scratch_memory(extent, merged):
    net = Sequential(Conv2d(4, 3), ReLU(), MaxPool2d(2))
    net.build((1, extent, extent))
    assert isinstance(net.steps[0], PooledConv) is merged
