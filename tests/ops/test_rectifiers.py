"""Rectifiers as operations: any slope, no overflow, no lost digits, gradients, refusals."""

import numpy as np
import pytest

from fastscratch import ops
from fastscratch.errors import DtypeError, ShapeError

X = np.array([-800.0, -2.0, -1e-12, 0.0, 3.0, np.nan])


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.01, 1.0, 3.0])
def test_any_slope_is_the_slope_below_zero(alpha, backend):
    y = ops.leaky_relu_forward(X, alpha=alpha, backend=backend)
    np.testing.assert_array_equal(y, [alpha * -800, alpha * -2, alpha * -1e-12, 0, 3, np.nan])
    dx = ops.leaky_relu_backward(np.ones(6), X, alpha=alpha, backend=backend)
    np.testing.assert_array_equal(dx, [alpha] * 4 + [1, alpha])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elu_neither_overflows_nor_cancels(dtype, backend):
    x = np.array([-1e4, -1.0, -1e-6, 0, 1e-6, 1e4, np.inf, -np.inf], dtype)
    y = ops.elu_forward(x, alpha=2.0, backend=backend)
    expected = np.where(x > 0, x, 2 * np.expm1(np.minimum(x.astype(np.float64), 0)))
    np.testing.assert_allclose(y, expected, rtol=8 * np.finfo(dtype).eps)
    assert y.dtype == dtype


def test_elu_slope_comes_from_the_output(backend):
    x = np.array([-3.0, -0.5, 0.25, 2.0])
    y = ops.elu_forward(x, alpha=1.5, backend=backend)
    dx = ops.elu_backward(np.full(4, 2.0), y, alpha=1.5, backend=backend)
    np.testing.assert_allclose(dx, 2 * np.where(x > 0, 1, 1.5 * np.exp(x)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 5)])
def test_prelu_has_a_slope_for_each_channel(shape, backend):
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal(shape), rng.standard_normal(shape)
    slopes = np.array([0.5, -1.0, 2.0])
    wide = slopes.reshape(1, 3, *[1] * (len(shape) - 2))
    y = ops.prelu_forward(x, slopes, backend=backend)
    np.testing.assert_allclose(y, np.where(x > 0, x, wide * x), rtol=1e-14)
    dx, dslopes = ops.prelu_backward(dout, x, slopes, backend=backend)
    np.testing.assert_allclose(dx, np.where(x > 0, dout, wide * dout), rtol=1e-14)
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    np.testing.assert_allclose(dslopes, (dout * np.minimum(x, 0)).sum(axes), rtol=1e-12)


def test_results_go_where_they_are_asked_to():
    x, slopes = np.ones((2, 3)), np.ones(3)
    out, slopes_out = np.empty((2, 3)), np.empty(3)
    assert ops.prelu_forward(x, slopes, out=out) is out
    dx, dslopes = ops.prelu_backward(x, x, slopes, out=out, slopes_out=slopes_out)
    assert dx is out and dslopes is slopes_out
    assert ops.elu_forward(x, out=out) is out


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"x has 3 channels, so slopes must have shape \(3,\)"):
        ops.prelu_forward(np.ones((2, 3)), np.ones(2))
    with pytest.raises(DtypeError, match="slopes is float32 and x is float64"):
        ops.prelu_forward(np.ones((2, 3)), np.ones(3, np.float32))
    with pytest.raises(ShapeError, match="x must have the shape of dout"):
        ops.leaky_relu_backward(np.ones(3), np.ones(4))
    with pytest.raises(DtypeError, match="float32 or float64, got int64"):
        ops.elu_forward(np.ones(3, np.int64))
