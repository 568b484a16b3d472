"""Convolution, ReLU and max pooling in one: what a call may not pose."""

import numpy as np
import pytest

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.ops import (
    conv2d_forward,
    conv2d_relu_max_pool2d_backward_weight,
    conv2d_relu_max_pool2d_forward,
    max_pool2d_forward,
    relu_forward,
)

X = np.arange(72.0).reshape(2, 1, 6, 6) - 30
WEIGHT = np.ones((3, 1, 3, 3))


def test_is_its_parts_one_after_the_other(backend):
    bias = np.array([1.0, 0.0, -200.0])
    y, argmax = conv2d_relu_max_pool2d_forward(X, WEIGHT, bias, pool=2, backend=backend)
    largest, expected = max_pool2d_forward(conv2d_forward(X, WEIGHT, bias), 2)
    np.testing.assert_array_equal(y, relu_forward(largest))
    np.testing.assert_array_equal(argmax, expected)


def test_rows_that_fill_no_window_are_left_out(backend):
    options = {"pool": (3, 4), "backend": backend}
    y, argmax = conv2d_relu_max_pool2d_forward(X, WEIGHT, **options)
    assert y.shape == (2, 3, 1, 1)
    dout, bias_out = np.ones_like(y), np.empty(3)
    dw = conv2d_relu_max_pool2d_backward_weight(dout, y, argmax, X, 3, **options, bias_out=bias_out)
    # The last of its windows is the largest, and positive in the second image only.
    np.testing.assert_array_equal(dw, np.broadcast_to(X[1:, :, 2:5, 3:6], dw.shape))
    np.testing.assert_array_equal(bias_out, [1, 1, 1])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"pool": 5}, ShapeError, "no pooling window"),
        ({"dout": np.ones((2, 3, 4, 4))}, ShapeError, r"dout must have shape \(2, 3, 2, 2\)"),
        ({"y": np.ones((2, 3, 2, 1))}, ShapeError, "y must have shape"),
        ({"argmax": np.zeros((2, 3, 2, 2), np.int32)}, DtypeError, "argmax must be uint8"),
        ({"x": X.astype(np.float32)}, DtypeError, "float32"),
        ({"kernel_size": 1}, ShapeError, "dout must have shape"),
    ],
)
def test_what_does_not_fit_is_named(changes, error, words):
    y = np.ones((2, 3, 2, 2))
    good = {
        "dout": y, "y": y, "argmax": np.zeros(y.shape, np.uint8), "x": X, "kernel_size": 3,
        "pool": 2,
    }  # fmt: skip
    with pytest.raises(error, match=words):
        conv2d_relu_max_pool2d_backward_weight(**good | changes)
