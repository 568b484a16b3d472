"""Convolution, ReLU and max pooling in one: the first layers of a network for images."""

from dataclasses import replace

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.geometry import argmax_dtype, as_pair
from fastscratch.kernels.problem import WindowProblem
from fastscratch.ops.conv2d import check_bias, check_groups, conv_problem
from fastscratch.ops.plan import call, dtype_name, expect_dims, fitted, pair
from fastscratch.types import Array, IntOrPair, PaddingLike, Rounding

_FORWARD = "conv2d_relu_max_pool2d_forward"
_BACKWARD = "conv2d_relu_max_pool2d_backward_weight"


def conv2d_relu_max_pool2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    pool: IntOrPair,
    stride: IntOrPair = 1,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    rounding: Rounding = "exact",
    backend: str | None = None,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Convolve, rectify, and take the maximum of windows that lie side by side.

    The same as ``relu_forward(max_pool2d_forward(conv2d_forward(x, weight, bias), pool)[0])``, in
    which rectifying could as well come before pooling. The map between is not stored as a whole.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, H, W)
        Images.
    weight : ndarray, shape (OC, C/groups, KH, KW)
        Filters, of x's dtype.
    bias : ndarray, shape (OC,), optional
        Added to every element of an output channel.
    pool : int or (int, int)
        Extents of the pooling's windows, and their distance; rows and columns that fill no window
        are left out.
    stride, padding, dilation, groups, rounding, backend
        Of the convolution, as in `conv2d_forward`.
    out : (ndarray, ndarray), optional
        Where to write y and argmax.

    Returns
    -------
    y : ndarray, shape (N, OC, OH/pool, OW/pool)
        The rectified maxima.
    argmax : ndarray of uint8 (int32 for windows of more than 256 elements), of y's shape
        Which element of its window each maximum is, as `max_pool2d_forward` has it.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `conv2d_forward`; also if not one window of the pooling fits.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d_relu_max_pool2d_forward(x, np.ones((1, 1, 2, 2)), pool=2)
    (array([[[[24.]]]]), array([[[[3]]]], dtype=uint8))
    """
    y, argmax = call(
        _FORWARD, pool_forward_problem, (x, weight, bias),
        (pool, stride, padding, dilation, groups, rounding), backend,
        pair(out, _FORWARD, "(y, argmax)"),
    )  # fmt: skip
    return y, argmax


def conv2d_relu_max_pool2d_backward_weight(
    dout: Array,
    y: Array,
    argmax: Array,
    x: Array,
    kernel_size: IntOrPair,
    *,
    pool: IntOrPair,
    stride: IntOrPair = 1,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    rounding: Rounding = "exact",
    backend: str | None = None,
    out: Array | None = None,
    bias_out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the filters of `conv2d_relu_max_pool2d_forward`.

    ``dw[oc] = sum of dout[n, oc, oh, ow] * (the window of x that the maximum was computed from)``
    over the pooling's windows with ``y > 0``. No other element of the map has a gradient: for
    windows of 2 by 2 that is less than a quarter of the multiply-adds of `conv2d_backward_weight`.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, OC, PH, PW)
        Gradient of the loss with respect to the output.
    y, argmax : ndarray, of dout's shape
        As the forward pass returned them. An offset outside its window names no element, and its
        gradient is dropped.
    x : ndarray, shape (N, C, H, W)
        The images of the forward pass. What an infinity or NaN does where no gradient arrives is
        not settled.
    kernel_size : int or (int, int)
        ``(KH, KW)`` of the filters.
    pool, stride, padding, dilation, groups, rounding, backend
        As in `conv2d_relu_max_pool2d_forward`.
    out : ndarray, shape (OC, C/groups, KH, KW), optional
        Where to write the result.
    bias_out : ndarray, shape (OC,), optional
        Where to write the gradient with respect to the bias, which the kernels find on the way.

    Returns
    -------
    ndarray, shape (OC, C/groups, KH, KW)

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `conv2d_relu_max_pool2d_forward`; also if dout, y or argmax are not as it returns them.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> y, argmax = conv2d_relu_max_pool2d_forward(x, np.ones((1, 1, 2, 2)), pool=2)
    >>> conv2d_relu_max_pool2d_backward_weight(np.ones((1, 1, 1, 1)), y, argmax, x, 2, pool=2)[0, 0]
    array([[4., 5.],
           [7., 8.]])
    """
    dw, _ = call(
        _BACKWARD, pool_backward_problem, (dout, y, argmax, x),
        (kernel_size, pool, stride, padding, dilation, groups, rounding), backend, (out, bias_out),
    )  # fmt: skip
    return dw


def pool_forward_problem(
    x: Array, weight: Array, bias: Array | None, pool: IntOrPair, stride: IntOrPair,
    padding: PaddingLike, dilation: IntOrPair, groups: int, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `conv2d_relu_max_pool2d_forward` poses, its arguments checked."""
    dtype = dtype_name(_FORWARD, x=x, weight=weight)
    expect_dims(_FORWARD, "x", x, "(N, C, H, W)")
    expect_dims(_FORWARD, "weight", weight, "(OC, C/groups, KH, KW)")
    N, C, H, W = x.shape
    problem = conv_problem(
        _FORWARD, dtype, (N, C, H, W), weight.shape, stride, padding, dilation, groups, rounding
    )
    if bias is not None:
        check_bias(_FORWARD, bias, x, problem.OC)
    return _with_pool(fitted(problem, padding), pool)


def pool_backward_problem(
    dout: Array, y: Array, argmax: Array, x: Array, kernel_size: IntOrPair, pool: IntOrPair,
    stride: IntOrPair, padding: PaddingLike, dilation: IntOrPair, groups: int, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem of a call of `conv2d_relu_max_pool2d_backward_weight`, its arguments checked."""
    dtype = dtype_name(_BACKWARD, dout=dout, y=y, x=x)
    expect_dims(_BACKWARD, "dout", dout, "(N, OC, PH, PW)")
    expect_dims(_BACKWARD, "x", x, "(N, C, H, W)")
    N, C, H, W = x.shape
    OC = dout.shape[1]
    check_groups(_BACKWARD, C, OC, groups)
    weight_shape = (OC, C // groups, *as_pair(kernel_size, "kernel_size", _BACKWARD))
    problem = conv_problem(
        _BACKWARD, dtype, (N, C, H, W), weight_shape, stride, padding, dilation, groups, rounding
    )
    problem = _with_pool(fitted(problem, padding), pool)
    expected = OPS[_BACKWARD].arrays(problem)["y"].shape
    for name, array in (("dout", dout), ("y", y), ("argmax", argmax)):
        if array.shape != expected:
            raise ShapeError(
                f"{_BACKWARD}: {name} must have shape {expected}, which the forward pass returns "
                f"for such images, got {array.shape}"
            )
    wanted = argmax_dtype(problem.pool)
    if argmax.dtype != wanted:
        raise DtypeError(f"{_BACKWARD}: argmax must be {wanted}, got {argmax.dtype}")
    return problem


def _with_pool(problem: WindowProblem, pool: IntOrPair) -> WindowProblem:
    problem = replace(problem, pool=as_pair(pool, "pool", problem.op))
    if min(problem.pooled) < 1:
        raise ShapeError(
            f"{problem.op}: no pooling window of {problem.pool} fits a map of {problem.outputs}"
        )
    return problem
