"""ReLU and max pooling merged: the bits of the plain composition, and nothing else to notice."""

import copy

import numpy as np
import pytest

from fastscratch.errors import BackendUnavailableError
from fastscratch.layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential
from fastscratch.layers.rectified_pool import RectifiedPool

POOLS = {
    "side_by_side": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1, "rounding": "floor"},
    "dilated": {"kernel_size": 2, "stride": 1, "dilation": 2},
}


def image(kind, rng):
    x = rng.standard_normal((3, 4, 8, 8)).astype(np.float32)
    if kind == "ties":
        x = np.round(x)
    elif kind == "non-finite":
        places = rng.random(x.shape)
        x[places < 0.05], x[places > 0.95] = np.nan, np.inf
        x[(places > 0.4) & (places < 0.45)] = -np.inf
    return x


@pytest.mark.parametrize("kind", ["normal", "ties", "non-finite"])
@pytest.mark.parametrize("pool", POOLS)
def test_the_bits_of_the_plain_composition(pool, kind, backend):
    rng = np.random.default_rng(0)
    x = image(kind, rng)
    relu, plain = ReLU(backend=backend), MaxPool2d(**POOLS[pool], backend=backend)  # type: ignore[arg-type]
    merged = RectifiedPool(copy.deepcopy(relu), copy.deepcopy(plain))
    ref = plain.forward(relu.forward(x, training=True), training=True)
    out = merged.forward(x, True)
    np.testing.assert_array_equal(out, ref)
    dout = np.asarray(rng.standard_normal(ref.shape), np.float32)
    dout[0, 0, 0], dout[0, 1, 1] = np.inf, np.nan
    np.testing.assert_array_equal(merged.backward(dout), relu.backward(plain.backward(dout)))
    np.testing.assert_array_equal(merged.forward(x, False), ref)


def make_net():
    net = Sequential(
        ("conv", Conv2d(4, 3)), ("relu", ReLU()), ("pool", MaxPool2d(2)), Flatten(), Dense(3)
    )
    net.build((13, 8, 8))  # too many channels for one step with the convolution
    return net


def test_a_network_shows_its_layers_as_they_are():
    net = make_net()
    assert [type(step).__name__ for step in net._steps][:2] == ["Conv2d", "RectifiedPool"]
    assert [row.path for row in net.summary().rows] == ["conv", "relu", "pool", "3", "4"]
    x = np.ones((2, 13, 8, 8), np.float32)
    net.forward(x, training=True)
    assert net.backward(np.ones((2, 3), np.float32)).shape == x.shape
    net["conv"].weight.value[0, 0, 0, 0] = np.nan
    assert net.first_nonfinite(x) == "conv"
    net.forget()
    assert net["relu"]._saved is None and net["pool"]._saved is None


def test_predicting_stores_nothing():
    net = make_net()
    net.forward(np.ones((2, 13, 8, 8), np.float32))
    assert all(layer._saved is None for layer in net.walk())


def test_copies_step_through_their_own_layers():
    net = make_net()
    twin = net.astype(np.float64)
    step = twin._steps[1]
    assert isinstance(step, RectifiedPool)
    assert step.relu is twin["relu"] and step.pool is twin["pool"]


def test_each_layer_keeps_its_own_backend_and_name():
    net = Sequential(("relu", ReLU(backend="nowhere")), ("pool", MaxPool2d(2)))
    with pytest.raises(BackendUnavailableError, match=r"layer 'relu' .*'nowhere'"):
        net.forward(np.ones((1, 1, 4, 4), np.float32))


def test_a_subclass_is_left_alone():
    class Leaky(ReLU):
        def _activate(self, x):
            return np.where(x > 0, x, x / 8)

    net = Sequential(Leaky(), MaxPool2d(2))
    y = net.forward(np.full((1, 1, 2, 2), -8.0, np.float32))
    assert y.item() == -1
