"""Windows of images as the rows of a matrix, and the sum of such rows back into images."""

from typing import Any

from fastscratch.errors import ShapeError
from fastscratch.kernels.geometry import as_padding, as_pair
from fastscratch.kernels.problem import WindowProblem
from fastscratch.ops.plan import as_shape, call, dtype_name, expect_dims, fitted
from fastscratch.types import Array, IntOrPair, PaddingLike


def im2col(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair = 1,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Copy each window of each image into a row of a matrix.

    ``columns[(n, oh, ow), (c, kh, kw)] = x[n, c, ih, iw]`` with
    ``ih = oh*stride - top + kh*dilation``, and 0 outside the image. A convolution is then the
    product ``columns @ weight.reshape(OC, -1).T``.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, H, W)
        Images.
    kernel_size : int or (int, int)
        Extents of the window, ``(KH, KW)``.
    stride, padding, dilation, backend
        As in `conv2d_forward`; windows may leave no remainder.
    out : ndarray, shape (N*OH*OW, C*KH*KW), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N*OH*OW, C*KH*KW)

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `conv2d_forward`.

    References
    ----------
    .. [1] K. Saitoh, "Deep Learning from Scratch", 2016, section 7.4.3.

    Examples
    --------
    >>> import numpy as np
    >>> im2col(np.zeros((10, 3, 7, 7)), 5).shape
    (90, 75)
    """
    (columns,) = call(
        "im2col", im2col_problem, (x,), (kernel_size, stride, padding, dilation), backend, (out,)
    )
    return columns


def col2im(
    columns: Array,
    input_shape: tuple[int, ...],
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair = 1,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Add up the rows of `im2col` where they came from: its transpose, not its inverse.

    Parameters
    ----------
    columns : ndarray of float32 or float64, shape (N*OH*OW, C*KH*KW)
        One window a row.
    input_shape : (int, int, int, int)
        ``(N, C, H, W)``.
    kernel_size, stride, padding, dilation, backend
        As in `im2col`.
    out : ndarray, shape (N, C, H, W), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, C, H, W)
        An element that lies in several windows is the sum of them.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `im2col`; also if the matrix is not that of such images.

    Examples
    --------
    >>> import numpy as np
    >>> col2im(np.ones((4, 4)), (1, 1, 3, 3), 2)[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    (x,) = call(
        "col2im", col2im_problem, (columns,),
        (input_shape, kernel_size, stride, padding, dilation), backend, (out,),
    )  # fmt: skip
    return x


def im2col_problem(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair, padding: PaddingLike, dilation: IntOrPair
) -> WindowProblem:
    """The problem that a call of `im2col` poses, its arguments checked."""
    dtype = dtype_name("im2col", x=x)
    expect_dims("im2col", "x", x, "(N, C, H, W)")
    return _problem("im2col", dtype, x.shape, kernel_size, stride, padding, dilation)


def col2im_problem(
    columns: Array, input_shape: Any, kernel_size: IntOrPair, stride: IntOrPair,
    padding: PaddingLike, dilation: IntOrPair,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `col2im` poses, its arguments checked."""
    dtype = dtype_name("col2im", columns=columns)
    expect_dims("col2im", "columns", columns, "(N*OH*OW, C*KH*KW)")
    shape = as_shape("col2im", input_shape)
    p = _problem("col2im", dtype, shape, kernel_size, stride, padding, dilation)
    (OH, OW), (KH, KW) = p.outputs, p.kernel_size
    if columns.shape != (p.N * OH * OW, p.C * KH * KW):
        raise ShapeError(
            f"col2im: an input of shape {shape} has columns of shape "
            f"({p.N * OH * OW}, {p.C * KH * KW}), got {columns.shape}"
        )
    return p


def _problem(
    op: str, dtype: str, shape: tuple[int, ...], kernel_size: IntOrPair, stride: IntOrPair,
    padding: PaddingLike, dilation: IntOrPair,
) -> WindowProblem:  # fmt: skip
    N, C, H, W = shape
    kernel = as_pair(kernel_size, "kernel_size", op)
    step = as_pair(stride, "stride", op)
    spread = as_pair(dilation, "dilation", op)
    margins = as_padding(padding, (H, W), kernel, step, spread, op)
    problem = WindowProblem(
        op, dtype, N, C, H, W, kernel, stride=step, padding=margins, dilation=spread
    )
    return fitted(problem, padding)
