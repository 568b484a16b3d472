"""Fractional pooling as an operation: against max pooling, ties, bad windows, bad indices."""

import numpy as np
import pytest

from fastscratch import ops
from fastscratch.errors import DtypeError, ShapeError

EVEN = np.array([[0, 2], [2, 4], [4, 6]])
X = np.random.default_rng(0).standard_normal((2, 3, 6, 6))


def test_even_windows_are_those_of_max_pooling(backend):
    y, argmax = ops.fractional_max_pool2d_forward(X, EVEN, EVEN, backend=backend)
    ref, _ = ops.max_pool2d_forward(X, 2)
    np.testing.assert_array_equal(y, ref)
    np.testing.assert_array_equal(
        np.take_along_axis(X.reshape(2, 3, 36), _flat(argmax), 2), _flat(y)
    )


def _flat(array):
    return array.reshape(*array.shape[:2], -1)


def test_a_tie_goes_to_the_first_and_nan_over_everything(backend):
    x = np.ones((1, 1, 3, 3))
    whole = np.array([[0, 3]])
    assert ops.fractional_max_pool2d_forward(x, whole, whole, backend=backend)[1].item() == 0
    x[0, 0, 1, 1] = x[0, 0, 2, 2] = np.nan
    y, argmax = ops.fractional_max_pool2d_forward(x, whole, whole, backend=backend)
    assert np.isnan(y.item()) and argmax.item() == 4


def test_overlapping_windows_add_up_in_the_gradient(backend):
    x = np.array([[[[0.0, 9.0, 1.0]]]])
    rows, cols = np.array([[0, 1]]), np.array([[0, 2], [1, 3]])
    y, argmax = ops.fractional_max_pool2d_forward(x, rows, cols, backend=backend)
    assert y.ravel().tolist() == [9, 9]
    dx = ops.fractional_max_pool2d_backward(
        np.array([[[[2.0, 5.0]]]]), argmax, x.shape, backend=backend
    )
    assert dx.ravel().tolist() == [0, 7, 0]


def test_an_index_outside_the_image_is_dropped(backend):
    argmax = np.array([[[[-1, 4], [2**31 - 1, 3]]]], np.int32)
    dx = ops.fractional_max_pool2d_backward(
        np.ones((1, 1, 2, 2)), argmax, (1, 1, 2, 2), backend=backend
    )
    assert dx.ravel().tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "rows", [[[0, 7]], [[-1, 2]], [[2, 2]], [[3, 1]], [[2**62, 2**62 + 1]]], ids=str
)
def test_windows_that_leave_the_image_are_refused(rows):
    with pytest.raises(ShapeError, match=r"rows must hold windows .* inside of 0\.\.6"):
        ops.fractional_max_pool2d_forward(X, np.array(rows), EVEN)
    # The plan of a call that fits must not let others through.
    ops.fractional_max_pool2d_forward(X, np.array([[0, 6]]), EVEN)
    with pytest.raises(ShapeError, match="rows must hold"):
        ops.fractional_max_pool2d_forward(X, np.array(rows), EVEN)


def test_what_does_not_fit_is_refused():
    with pytest.raises(DtypeError, match="cols must be int64, got int32"):
        ops.fractional_max_pool2d_forward(X, EVEN, EVEN.astype(np.int32))
    with pytest.raises(ShapeError, match=r"shape \(windows, 2\), got \(6,\)"):
        ops.fractional_max_pool2d_forward(X, EVEN.ravel(), EVEN)
    with pytest.raises(ShapeError, match=r"axes \(N, C, H, W\)"):
        ops.fractional_max_pool2d_forward(X[0], EVEN, EVEN)
    with pytest.raises(ShapeError, match="no more windows than rows"):
        ops.fractional_max_pool2d_forward(X, np.repeat(EVEN, 3, axis=0), EVEN)
    argmax = np.zeros((2, 3, 3, 3), np.int32)
    with pytest.raises(ShapeError, match="do not fit"):
        ops.fractional_max_pool2d_backward(np.ones((2, 3, 3, 2)), argmax, X.shape)
    with pytest.raises(DtypeError, match="argmax must be int32"):
        ops.fractional_max_pool2d_backward(np.ones((2, 3, 3, 3)), argmax.astype(int), X.shape)
