"""Maximum and average over windows of images, forward and backward."""

from typing import Any

import numpy as np

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.kernels.geometry import argmax_dtype, as_padding, as_pair, window_counts
from fastscratch.kernels.problem import WindowProblem
from fastscratch.ops.plan import as_shape, call, dtype_name, expect_dims, fitted, pair, rounding_of
from fastscratch.types import Array, IntOrPair, PaddingLike, Rounding


def max_pool2d_forward(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    rounding: Rounding = "exact",
    backend: str | None = None,
    out: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Take the maximum of each window, and remember where it was.

    ``y[n, c, oh, ow] = max over kh, kw of x[n, c, ih, iw]`` with
    ``ih = oh*stride - top + kh*dilation``. Padding counts as minus infinity. Among equal elements
    the first in row-major order wins, and the first NaN wins over everything.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, H, W)
        Images.
    kernel_size : int or (int, int)
        Extents of the window, ``(KH, KW)``.
    stride : int or (int, int), optional
        Distance between windows; the kernel size if None.
    padding : int, (int, int), (int, int, int, int), "same" or "valid"
        Rows and columns around the image that hold no element; see `conv2d_forward`.
    dilation : int or (int, int)
        Distance between the elements of a window.
    rounding : {"exact", "floor", "ceil"}
        What to do when windows leave a remainder: an error, leave it out, or overhang.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : (ndarray, ndarray), optional
        Where to write y and argmax.

    Returns
    -------
    y : ndarray, shape (N, C, OH, OW)
        The maxima.
    argmax : ndarray of uint8 (int32 for windows of more than 256 elements), shape (N, C, OH, OW)
        ``kh*KW + kw`` of the element that is the maximum;
        `fastscratch.kernels.geometry.flat_index` makes an index into the image of it.

    Raises
    ------
    ShapeError
        If windows do not fit, or one of them lies in the padding alone.
    DtypeError, ArgumentError, BackendUnavailableError
        As `conv2d_forward`.

    References
    ----------
    .. [1] K. Saitoh, "Deep Learning from Scratch", 2016, section 7.3.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 2.0], [4.0, 3.0]]]])
    >>> y, argmax = max_pool2d_forward(x, 2)
    >>> y.item(), argmax.item()
    (4.0, 2)
    """
    y, argmax = call(
        "max_pool2d_forward", max_forward_problem, (x,),
        (kernel_size, stride, padding, dilation, rounding), backend,
        pair(out, "max_pool2d_forward", "(y, argmax)"),
    )  # fmt: skip
    return y, argmax


def max_pool2d_backward(
    dout: Array,
    argmax: Array,
    input_shape: tuple[int, ...],
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    rounding: Rounding = "exact",
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the images of `max_pool2d_forward`.

    Each window's gradient goes to the element that was its maximum, and to no other.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    argmax : ndarray of uint8 or int32, shape (N, C, OH, OW)
        As the forward pass returned it. An offset outside its window, or outside the image, names
        no element, and its gradient is dropped.
    input_shape : (int, int, int, int)
        ``(N, C, H, W)``.
    kernel_size, stride, padding, dilation, rounding, backend
        As in `max_pool2d_forward`.
    out : ndarray, shape (N, C, H, W), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, C, H, W)

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `max_pool2d_forward`; also if dout does not have the windows of such an input.

    Examples
    --------
    >>> import numpy as np
    >>> argmax = np.array([[[[2]]]], dtype=np.uint8)
    >>> max_pool2d_backward(np.ones((1, 1, 1, 1)), argmax, (1, 1, 2, 2), 2)[0, 0]
    array([[0., 0.],
           [1., 0.]])
    """
    (dx,) = call(
        "max_pool2d_backward", max_backward_problem, (dout, argmax),
        (input_shape, kernel_size, stride, padding, dilation, rounding), backend, (out,),
    )  # fmt: skip
    return dx


def avg_pool2d_forward(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: PaddingLike = 0,
    rounding: Rounding = "exact",
    count_include_pad: bool = True,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Take the mean of each window.

    ``y[n, c, oh, ow]`` is the sum over the window, where padding is 0, divided by the number of
    its elements.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, H, W)
        Images.
    kernel_size, stride, padding, rounding, backend
        As in `max_pool2d_forward`.
    count_include_pad : bool
        Whether the padding counts as elements. What lies beyond the padding (where
        ``rounding="ceil"`` lets a window overhang) never does.
    out : ndarray, shape (N, C, OH, OW), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, C, OH, OW)

    Raises
    ------
    ShapeError
        If windows do not fit, or one that does not count its padding holds nothing else.
    DtypeError, ArgumentError, BackendUnavailableError
        As `conv2d_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool2d_forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]]), 2).item()
    2.5
    """
    (y,) = call(
        "avg_pool2d_forward", avg_forward_problem, (x,),
        (kernel_size, stride, padding, rounding, count_include_pad), backend, (out,),
    )  # fmt: skip
    return y


def avg_pool2d_backward(
    dout: Array,
    input_shape: tuple[int, ...],
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: PaddingLike = 0,
    rounding: Rounding = "exact",
    count_include_pad: bool = True,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the images of `avg_pool2d_forward`.

    Each window's gradient, divided by the number of its elements, goes to all of them.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    input_shape : (int, int, int, int)
        ``(N, C, H, W)``.
    kernel_size, stride, padding, rounding, count_include_pad, backend
        As in `avg_pool2d_forward`.
    out : ndarray, shape (N, C, H, W), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, C, H, W)

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `avg_pool2d_forward`; also if dout does not have the windows of such an input.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool2d_backward(np.ones((1, 1, 1, 1)), (1, 1, 2, 2), 2)[0, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    (dx,) = call(
        "avg_pool2d_backward", avg_backward_problem, (dout,),
        (input_shape, kernel_size, stride, padding, rounding, count_include_pad), backend, (out,),
    )  # fmt: skip
    return dx


def max_forward_problem(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair | None, padding: PaddingLike,
    dilation: IntOrPair, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `max_pool2d_forward` poses, its arguments checked."""
    op = "max_pool2d_forward"
    dtype = dtype_name(op, x=x)
    expect_dims(op, "x", x, "(N, C, H, W)")
    problem = _problem(op, dtype, x.shape, kernel_size, stride, padding, dilation, rounding)
    _check_filled(problem)
    return problem


def max_backward_problem(
    dout: Array, argmax: Array, input_shape: Any, kernel_size: IntOrPair,
    stride: IntOrPair | None, padding: PaddingLike, dilation: IntOrPair, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `max_pool2d_backward` poses, its arguments checked."""
    op = "max_pool2d_backward"
    problem = _backward_problem(
        op, dout, input_shape, kernel_size, stride, padding, dilation, rounding
    )
    expected = argmax_dtype(problem.kernel_size)
    if argmax.dtype != expected:
        raise DtypeError(
            f"{op}: argmax must be {expected} for a window of {problem.kernel_size}, got "
            f"{argmax.dtype}; pass the argmax that max_pool2d_forward returned"
        )
    if argmax.shape != dout.shape:
        raise ShapeError(f"{op}: argmax must have dout's shape {dout.shape}, got {argmax.shape}")
    return problem


def avg_forward_problem(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair | None, padding: PaddingLike,
    rounding: str, count_include_pad: bool,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `avg_pool2d_forward` poses, its arguments checked."""
    op = "avg_pool2d_forward"
    dtype = dtype_name(op, x=x)
    expect_dims(op, "x", x, "(N, C, H, W)")
    problem = _problem(
        op, dtype, x.shape, kernel_size, stride, padding, 1, rounding, bool(count_include_pad)
    )
    if not count_include_pad:
        _check_filled(problem)
    return problem


def avg_backward_problem(
    dout: Array, input_shape: Any, kernel_size: IntOrPair, stride: IntOrPair | None,
    padding: PaddingLike, rounding: str, count_include_pad: bool,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `avg_pool2d_backward` poses, its arguments checked."""
    op = "avg_pool2d_backward"
    problem = _backward_problem(
        op, dout, input_shape, kernel_size, stride, padding, 1, rounding, bool(count_include_pad)
    )
    if not count_include_pad:
        _check_filled(problem)
    return problem


def _problem(
    op: str, dtype: str, shape: tuple[int, ...], kernel_size: IntOrPair,
    stride: IntOrPair | None, padding: PaddingLike, dilation: IntOrPair, rounding: str,
    count_include_pad: bool = True,
) -> WindowProblem:  # fmt: skip
    N, C, H, W = shape
    kernel = as_pair(kernel_size, "kernel_size", op)
    step = kernel if stride is None else as_pair(stride, "stride", op)
    spread = as_pair(dilation, "dilation", op)
    margins = as_padding(padding, (H, W), kernel, step, spread, op)
    problem = WindowProblem(
        op, dtype, N, C, H, W, kernel, stride=step, padding=margins, dilation=spread,
        rounding=rounding, count_include_pad=count_include_pad,
    )  # fmt: skip
    return fitted(problem, padding)


def _backward_problem(
    op: str, dout: Array, input_shape: Any, kernel_size: IntOrPair, stride: IntOrPair | None,
    padding: PaddingLike, dilation: IntOrPair, rounding: str, count_include_pad: bool = True,
) -> WindowProblem:  # fmt: skip
    dtype = dtype_name(op, dout=dout)
    expect_dims(op, "dout", dout, "(N, C, OH, OW)")
    shape = as_shape(op, input_shape)
    p = _problem(
        op, dtype, shape, kernel_size, stride, padding, dilation, "floor", count_include_pad
    )
    if dout.shape[:2] != (p.N, p.C):
        raise ShapeError(
            f"{op}: dout must have shape ({p.N}, {p.C}, OH, OW) for an input of shape {shape}, "
            f"got {dout.shape}"
        )
    found = rounding_of(
        op, "dout", dout.shape[2:], (p.H, p.W), p.kernel_size, p.stride, p.padding, p.dilation,
        rounding,
    )  # fmt: skip
    problem = WindowProblem(
        op, dtype, p.N, p.C, p.H, p.W, p.kernel_size, stride=p.stride, padding=p.padding,
        dilation=p.dilation, rounding=found, count_include_pad=count_include_pad,
    )  # fmt: skip
    if op == "max_pool2d_backward":
        _check_filled(problem)
    return problem


def _check_filled(p: WindowProblem) -> None:
    """Raise if a window lies in the padding alone: there is nothing to take of it."""
    (OH, OW), (top, _, left, _) = p.outputs, p.padding
    rows = window_counts(p.H, OH, p.kernel_size[0], p.stride[0], top, p.dilation[0])
    cols = window_counts(p.W, OW, p.kernel_size[1], p.stride[1], left, p.dilation[1])
    for axis, counts in (("height", rows), ("width", cols)):
        if not counts.all():
            raise ShapeError(
                f"{p.op}: along the {axis}, window {int(np.argmin(counts))} of kernel "
                f"{p.kernel_size}, stride {p.stride}, padding {p.padding}, dilation {p.dilation} "
                f"lies in the padding alone; pass less padding or a larger kernel"
            )
