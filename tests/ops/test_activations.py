"""Activations: any shape, how exact their exponentials are, what is not finite."""

import numpy as np
import pytest

from fastscratch import ops
from fastscratch.errors import DtypeError, ShapeError


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_any_shape_and_layout(name, backend):
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    x = np.linspace(-3, 3, 24).reshape(2, 3, 4)
    y = forward(x, backend=backend)
    for shape in ((24,), (4, 6), (1, 2, 3, 2, 2)):
        np.testing.assert_array_equal(forward(x.reshape(shape), backend=backend).ravel(), y.ravel())
    np.testing.assert_allclose(forward(x.T, backend=backend), y.T, rtol=1e-15)
    dx = backward(x, y, backend=backend)
    np.testing.assert_allclose(backward(x.T, y.T, backend=backend), dx.T, rtol=1e-15)
    out = np.empty_like(x)
    assert forward(x, backend=backend, out=out) is out
    np.testing.assert_array_equal(out, y)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("sigmoid", -110, 40), ("tanh", -12, 12), ("tanh", -0.7, 0.7), ("tanh", -1e-30, 1e-30)],
)
def test_the_error_is_below_four_units_in_the_last_place(name, low, high, backend):
    forward = getattr(ops, f"{name}_forward")
    x = np.linspace(low, high, 100_001).astype(np.float32)
    ref = forward(x.astype(np.float64), backend="numpy")
    unit = np.spacing(np.abs(ref).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(forward(x, backend=backend) - ref) / unit) < 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes(dtype, backend):
    x = np.array([-np.inf, -1e30, -0.0, 0.0, 1e30, np.inf, np.nan], dtype)
    for name, expected in {
        "relu": [0, 0, 0, 0, x[4], np.inf, np.nan],
        "sigmoid": [0, 0, 0.5, 0.5, 1, 1, np.nan],
        "tanh": [-1, -1, 0, 0, 1, 1, np.nan],
    }.items():
        y = getattr(ops, f"{name}_forward")(x, backend=backend)
        np.testing.assert_array_equal(y, np.array(expected, dtype), err_msg=name)


def test_no_axis_and_other_shapes_are_refused():
    with pytest.raises(ShapeError, match="relu_forward: x must have one axis or more"):
        ops.relu_forward(np.array(1.0))
    with pytest.raises(ShapeError, match=r"y must have the shape of dout, \(2, 3\), got \(3, 2\)"):
        ops.tanh_backward(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(DtypeError, match="sigmoid_forward: x must be float32 or float64, got int"):
        ops.sigmoid_forward(np.arange(3))
