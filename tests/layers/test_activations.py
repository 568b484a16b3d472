import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastscratch.layers import ReLU, Sigmoid, Softmax, Tanh

wide = st.floats(-(2.0**100), 2.0**100, width=32)
rows = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=4), elements=wide)


def both(layer, x, dout=None):
    y = layer.forward(x, training=True)
    return y, layer.backward(np.ones_like(y) if dout is None else dout)


def test_relu_is_flat_at_zero():
    y, dx = both(ReLU(), np.array([[1.0, -0.5, 0.0], [-2.0, 3.0, -0.0]]))
    assert y.tolist() == [[1, 0, 0], [0, 3, 0]]
    assert dx.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_relu_leaves_the_callers_gradient_alone():
    dout = np.ones((1, 3), np.float32)
    both(ReLU(), np.array([[-1.0, 0.0, 1.0]], np.float32), dout)
    assert dout.tolist() == [[1, 1, 1]]


def test_relu_keeps_nan_and_blocks_infinite_gradients():
    x = np.array([[np.nan, -1.0, 2.0]], np.float32)
    y, dx = both(ReLU(), x, np.array([[1.0, np.inf, np.inf]], np.float32))
    assert np.isnan(y[0, 0]) and dx.tolist() == [[0.0, 0.0, np.inf]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_at_the_extremes(dtype):
    x = np.array([[-1e4, -745.0, -88.0, 0.0, 88.0, 1e4, -np.inf, np.inf]], dtype)
    y, dx = both(Sigmoid(), x)
    assert y[0, 3] == 0.5 and y[0, 5] == 1 and y[0, 0] == 0
    assert y[0, 6] == 0 and y[0, 7] == 1
    assert y[0, 2] > 0, "small, not zero"
    assert np.isfinite(dx).all()
    assert y.dtype == dx.dtype == dtype


@given(rows)
def test_sigmoid_mirrors(x):
    np.testing.assert_allclose(Sigmoid().forward(x) + Sigmoid().forward(-x), 1, rtol=1e-6)


@given(rows)
def test_tanh_and_its_slope(x):
    y, dx = both(Tanh(), x)
    np.testing.assert_allclose(y, np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(dx, 1 - y * y, atol=1e-6)


@given(rows)
def test_softmax_is_a_distribution_along_axis_1(x):
    y = Softmax().forward(x)
    assert np.isfinite(y).all() and (y >= 0).all()
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)


def test_softmax_treats_each_row_alone():
    x = np.array([[1.0, 2.0, 3.0], [1001.0, 1002.0, 1003.0], [0.3, 2.9, 4.0]])
    y = Softmax().forward(x)
    np.testing.assert_allclose(y[0], y[1], rtol=1e-12)
    np.testing.assert_allclose(y[2], [0.01821127, 0.24519181, 0.73659691], atol=1e-8)
    for row, alone in zip(y, x, strict=True):
        np.testing.assert_array_equal(row, Softmax().forward(alone[None])[0])


@pytest.mark.parametrize("kind", [ReLU, Sigmoid, Tanh, Softmax])
def test_float32_stays(kind):
    y, dx = both(kind(), np.ones((2, 3), np.float32))
    assert y.dtype == dx.dtype == np.float32
