"""Fractional max pooling: windows of different extents, forward and backward."""

from typing import Any

import numpy as np

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.kernels.arrays import FLAT, LABELS
from fastscratch.kernels.problem import RegionsProblem
from fastscratch.ops.plan import as_shape, call, dtype_name, expect_dims, pair
from fastscratch.types import Array

_MOST_ELEMENTS = 2**31
"""Of a plane, whose elements are numbered in int32."""


def fractional_max_pool2d_forward(
    x: Array,
    rows: Array,
    cols: Array,
    *,
    backend: str | None = None,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Take the maximum of each window of a grid whose windows differ in extent.

    ``y[n, c, oh, ow] = max of x[n, c, rows[oh, 0]:rows[oh, 1], cols[ow, 0]:cols[ow, 1]]``. Where
    windows lie is the caller's matter: `fastscratch.layers.FractionalMaxPool2d` draws them. Among
    equal elements the first in row-major order wins, and the first NaN wins over everything.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, H, W)
        Images.
    rows : ndarray of int64, shape (OH, 2)
        The first row of each row of windows, and the one behind its last.
    cols : ndarray of int64, shape (OW, 2)
        The same for columns.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : (ndarray, ndarray), optional
        Where to write y and argmax.

    Returns
    -------
    y : ndarray, shape (N, C, OH, OW)
        The maxima.
    argmax : ndarray of int32, shape (N, C, OH, OW)
        ``ih*W + iw`` of the element that is the maximum.

    Raises
    ------
    ShapeError
        If a window is empty or leaves the image, or shapes do not fit.
    DtypeError
        If `x` is neither float32 nor float64, or `rows` or `cols` is not int64.
    BackendUnavailableError
        If the implementation that is named is not there.

    References
    ----------
    .. [1] B. Graham, "Fractional max-pooling", 2014.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> y, argmax = fractional_max_pool2d_forward(x, np.array([[0, 2], [2, 3]]), np.array([[0, 3]]))
    >>> y.ravel(), argmax.ravel()
    (array([5., 8.]), array([5, 8], dtype=int32))
    """
    op = "fractional_max_pool2d_forward"
    for name, table, axis in (("rows", rows, 2), ("cols", cols, 3)):
        _check_inside(op, name, table, x, axis)
    y, argmax = call(
        op, forward_problem, (x, rows, cols), (), backend, pair(out, op, "(y, argmax)")
    )
    return y, argmax


def fractional_max_pool2d_backward(
    dout: Array,
    argmax: Array,
    input_shape: tuple[int, ...],
    *,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the images of `fractional_max_pool2d_forward`.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    argmax : ndarray of int32, shape (N, C, OH, OW)
        As the forward pass returned it. An index outside the image names no element, and its
        gradient is dropped.
    input_shape : (int, int, int, int)
        ``(N, C, H, W)``.
    backend : str, optional
        As in `fractional_max_pool2d_forward`.
    out : ndarray, shape (N, C, H, W), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, C, H, W)

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `fractional_max_pool2d_forward`.

    Examples
    --------
    >>> dout = np.array([[[[5.0], [7.0]]]])
    >>> argmax = np.array([[[[2], [3]]]], np.int32)
    >>> fractional_max_pool2d_backward(dout, argmax, (1, 1, 2, 2)).ravel()
    array([0., 0., 5., 7.])
    """
    (dx,) = call(
        "fractional_max_pool2d_backward", backward_problem, (dout, argmax), (input_shape,),
        backend, (out,),
    )  # fmt: skip
    return dx


def forward_problem(x: Array, rows: Array, cols: Array) -> RegionsProblem:
    """The problem that a call poses, its arguments checked but for what the tables hold."""
    op = "fractional_max_pool2d_forward"
    expect_dims(op, "x", x, "(N, C, H, W)")
    for name, table in (("rows", rows), ("cols", cols)):
        if table.dtype != LABELS:
            raise DtypeError(f"{op}: {name} must be int64, got {table.dtype}")
        if table.ndim != 2 or table.shape[1] != 2 or not len(table):
            raise ShapeError(
                f"{op}: {name} must hold a first and a stop for each window, shape (windows, 2), "
                f"got {table.shape}"
            )
    return _problem(op, dtype_name(op, x=x), x.shape, (len(rows), len(cols)))


def backward_problem(dout: Array, argmax: Array, input_shape: Any) -> RegionsProblem:
    """The problem that a call of `fractional_max_pool2d_backward` poses, its arguments checked."""
    op = "fractional_max_pool2d_backward"
    expect_dims(op, "dout", dout, "(N, C, OH, OW)")
    shape = as_shape(op, input_shape)
    if argmax.dtype != FLAT:
        raise DtypeError(f"{op}: argmax must be int32, got {argmax.dtype}")
    if argmax.shape != dout.shape or dout.shape[:2] != shape[:2]:
        raise ShapeError(
            f"{op}: dout {dout.shape}, argmax {argmax.shape} and input_shape {shape} do not fit; "
            "pass the forward pass's own argmax and the shape of its input"
        )
    return _problem(op, dtype_name(op, dout=dout), shape, dout.shape[2:])


def _problem(
    op: str, dtype: str, shape: tuple[int, ...], windows: tuple[int, ...]
) -> RegionsProblem:
    N, C, H, W = shape
    OH, OW = windows
    if C < 1 or not 1 <= OH <= H or not 1 <= OW <= W:
        raise ShapeError(
            f"{op}: {OH} x {OW} windows over {C} channels of {H} x {W}: there must be one or more "
            "of each, and no more windows than rows and columns"
        )
    if H * W >= _MOST_ELEMENTS:
        raise ShapeError(f"{op}: a plane of {H} x {W} has more elements than int32 can number")
    return RegionsProblem(op, dtype, N, C, H, W, OH, OW)


def _check_inside(op: str, name: str, table: Any, x: Any, axis: int) -> None:
    """Raise if a window leaves the image; the rest is checked with the problem."""
    if not isinstance(table, np.ndarray) or table.dtype != LABELS or table.shape[1:] != (2,):
        return
    if not len(table) or np.ndim(x) != 4:
        return
    first, stop, extent = table[:, 0], table[:, 1], np.shape(x)[axis]
    if first.min() < 0 or stop.max() > extent or (first >= stop).any():
        raise ShapeError(
            f"{op}: {name} must hold windows of one element or more inside of 0..{extent}, got "
            f"{table.tolist()}"
        )
