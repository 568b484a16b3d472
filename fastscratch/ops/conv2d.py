"""Convolution of images: forward, and backward to the input, the weights and the bias."""

from typing import Any

import numpy as np

from fastscratch.errors import ShapeError
from fastscratch.kernels.geometry import as_padding, as_pair
from fastscratch.kernels.problem import WindowProblem
from fastscratch.ops.plan import (
    as_input,
    as_shape,
    call,
    dtype_name,
    expect_dims,
    fitted,
    rounding_of,
)
from fastscratch.types import Array, IntOrPair, PaddingLike, Rounding


def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    rounding: Rounding = "exact",
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve images with filters (cross-correlation: the filters are not flipped).

    ``y[n, oc, oh, ow] = bias[oc] + sum over c, kh, kw of x[n, c, ih, iw]*weight[oc, c, kh, kw]``
    with ``ih = oh*stride - top + kh*dilation`` and ``iw`` likewise; outside the image x is 0.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, H, W)
        Images.
    weight : ndarray, shape (OC, C/groups, KH, KW)
        Filters, of x's dtype.
    bias : ndarray, shape (OC,), optional
        Added to every element of an output channel.
    stride, dilation : int or (int, int)
        Distance between windows, and between the elements of one.
    padding : int, (int, int), (int, int, int, int), "same" or "valid"
        Zeros around the image: on all sides, (height, width), or (top, bottom, left, right).
        "same" gives ceil(H/stride) rows, the odd row of zeros at the end; "valid" pads nothing.
    groups : int
        Channels and filters fall into so many groups that do not see each other; with
        ``groups == C`` the convolution is depthwise.
    rounding : {"exact", "floor", "ceil"}
        What to do when windows leave a remainder: an error, leave it out, or overhang.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : ndarray, shape (N, OC, OH, OW), optional
        Where to write the result; C-contiguous, of x's dtype, overlapping no input.

    Returns
    -------
    ndarray, shape (N, OC, OH, OW)
        ``OH = (H + top + bottom - dilation*(KH - 1) - 1)/stride + 1``.

    Raises
    ------
    ShapeError
        If extents do not fit each other, or windows leave a remainder under ``"exact"``.
    DtypeError
        If an array is neither float32 nor float64, or the dtypes differ.
    ArgumentError
        If an option has no such value.
    BackendUnavailableError
        If the implementation that is named is not there.

    References
    ----------
    .. [1] V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
       section 2.
    .. [2] K. Saitoh, "Deep Learning from Scratch", 2016, section 7.2.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> weight = np.ones((1, 1, 3, 3))
    >>> conv2d_forward(x, weight)[0, 0]
    array([[45., 54.],
           [81., 90.]])
    >>> conv2d_forward(x, weight, padding="same").shape
    (1, 1, 4, 4)
    """
    (y,) = call(
        "conv2d_forward", forward_problem, (x, weight, bias),
        (stride, padding, dilation, groups, rounding), backend, (out,),
    )  # fmt: skip
    return y


def conv2d_backward_input(
    dout: Array,
    weight: Array,
    input_shape: tuple[int, ...],
    *,
    stride: IntOrPair = 1,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    rounding: Rounding = "exact",
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the images of `conv2d_forward`.

    ``dx[n, c, ih, iw]`` is the sum of ``dout[n, oc, oh, ow]*weight[oc, c, kh, kw]`` over all
    windows that hold the element, with ``ih = oh*stride - top + kh*dilation``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, OC, OH, OW)
        Gradient of the loss with respect to the output. Its extents say how many windows there
        are, whatever ``rounding`` is.
    weight : ndarray, shape (OC, C/groups, KH, KW)
        Filters.
    input_shape : (int, int, int, int)
        ``(N, C, H, W)``.
    stride, padding, dilation, groups, rounding, backend
        As in `conv2d_forward`.
    out : ndarray, shape (N, C, H, W), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, C, H, W)

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `conv2d_forward`; also if dout does not have the windows of such an input.

    Examples
    --------
    >>> import numpy as np
    >>> conv2d_backward_input(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), (1, 1, 3, 3))[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    (dx,) = call(
        "conv2d_backward_input", backward_input_problem, (dout, weight),
        (input_shape, stride, padding, dilation, groups, rounding), backend, (out,),
    )  # fmt: skip
    return dx


def conv2d_backward_weight(
    dout: Array,
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair = 1,
    padding: PaddingLike = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    rounding: Rounding = "exact",
    backend: str | None = None,
    out: Array | None = None,
    bias_out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the filters of `conv2d_forward`.

    ``dw[oc, c, kh, kw] = sum over n, oh, ow of dout[n, oc, oh, ow]*x[n, c, ih, iw]`` with
    ``ih = oh*stride - top + kh*dilation``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, OC, OH, OW)
        Gradient of the loss with respect to the output. Its extents say how many windows there
        are, whatever ``rounding`` is.
    x : ndarray, shape (N, C, H, W)
        Images.
    kernel_size : int or (int, int)
        ``(KH, KW)``.
    stride, padding, dilation, groups, rounding, backend
        As in `conv2d_forward`.
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
        As `conv2d_forward`; also if dout does not have the windows of such an input.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d_backward_weight(np.ones((1, 1, 2, 2)), x, 2)[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    dw, _ = call(
        "conv2d_backward_weight", backward_weight_problem, (dout, x),
        (kernel_size, stride, padding, dilation, groups, rounding), backend, (out, bias_out),
    )  # fmt: skip
    return dw


def conv2d_backward_bias(dout: Array) -> Array:
    """Gradient of a loss with respect to the bias of `conv2d_forward`.

    ``db[oc] = sum over n, oh, ow of dout[n, oc, oh, ow]``. Where the filters' gradient is wanted
    too, ``conv2d_backward_weight(..., bias_out=db)`` finds both in one pass.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, OC, OH, OW)
        Gradient of the loss with respect to the output.

    Returns
    -------
    ndarray, shape (OC,)

    Raises
    ------
    ShapeError, DtypeError
        If dout has other axes or another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> conv2d_backward_bias(np.ones((2, 3, 4, 4)))
    array([32., 32., 32.])
    """
    dout = as_input(dout, "dout", "conv2d_backward_bias")
    dtype_name("conv2d_backward_bias", dout=dout)
    expect_dims("conv2d_backward_bias", "dout", dout, "(N, OC, OH, OW)")
    return np.asarray(dout.sum(axis=(0, 2, 3)))


def forward_problem(
    x: Array, weight: Array, bias: Array | None, stride: IntOrPair, padding: PaddingLike,
    dilation: IntOrPair, groups: int, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `conv2d_forward` poses, its arguments checked."""
    op = "conv2d_forward"
    dtype = dtype_name(op, x=x, weight=weight)
    expect_dims(op, "x", x, "(N, C, H, W)")
    expect_dims(op, "weight", weight, "(OC, C/groups, KH, KW)")
    N, C, H, W = x.shape
    problem = conv_problem(
        op, dtype, (N, C, H, W), weight.shape, stride, padding, dilation, groups, rounding
    )
    if bias is not None:
        check_bias(op, bias, x, problem.OC)
    return fitted(problem, padding)


def backward_input_problem(
    dout: Array, weight: Array, input_shape: Any, stride: IntOrPair, padding: PaddingLike,
    dilation: IntOrPair, groups: int, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `conv2d_backward_input` poses, its arguments checked."""
    op = "conv2d_backward_input"
    dtype = dtype_name(op, dout=dout, weight=weight)
    expect_dims(op, "dout", dout, "(N, OC, OH, OW)")
    expect_dims(op, "weight", weight, "(OC, C/groups, KH, KW)")
    shape = as_shape(op, input_shape)
    return _backward_problem(
        op, dtype, dout, shape, weight.shape, stride, padding, dilation, groups, rounding
    )


def backward_weight_problem(
    dout: Array, x: Array, kernel_size: IntOrPair, stride: IntOrPair, padding: PaddingLike,
    dilation: IntOrPair, groups: int, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem that a call of `conv2d_backward_weight` poses, its arguments checked."""
    op = "conv2d_backward_weight"
    dtype = dtype_name(op, dout=dout, x=x)
    expect_dims(op, "dout", dout, "(N, OC, OH, OW)")
    expect_dims(op, "x", x, "(N, C, H, W)")
    N, C, H, W = x.shape
    check_groups(op, C, dout.shape[1], groups)
    weight_shape = (dout.shape[1], C // groups, *as_pair(kernel_size, "kernel_size", op))
    return _backward_problem(
        op, dtype, dout, (N, C, H, W), weight_shape, stride, padding, dilation, groups, rounding
    )


def check_bias(op: str, bias: Array, x: Array, outputs: int) -> None:
    """Raise unless bias has one element an output, of x's dtype."""
    dtype_name(op, x=x, bias=bias)
    if bias.shape != (outputs,):
        raise ShapeError(f"{op}: bias must have shape ({outputs},), got {bias.shape}")


def conv_problem(
    op: str, dtype: str, shape: tuple[int, int, int, int], weight_shape: tuple[int, ...],
    stride: IntOrPair, padding: PaddingLike, dilation: IntOrPair, groups: int, rounding: str,
) -> WindowProblem:  # fmt: skip
    """The problem of a convolution of images of a shape, its options checked."""
    N, C, H, W = shape
    OC, channels, KH, KW = weight_shape
    check_groups(op, C, OC, groups)
    if channels != C // groups:
        raise ShapeError(
            f"{op}: x has {C} channels in {groups} group{'s' * (groups > 1)}, so weight must have "
            f"shape (OC, {C // groups}, KH, KW), got {weight_shape}"
        )
    if min(KH, KW) < 1:
        raise ShapeError(f"{op}: weight must hold one filter element or more, got {weight_shape}")
    step = as_pair(stride, "stride", op)
    spread = as_pair(dilation, "dilation", op)
    margins = as_padding(padding, (H, W), (KH, KW), step, spread, op)
    return WindowProblem(
        op, dtype, N, C, H, W, (KH, KW), OC, step, margins, spread, int(groups), rounding
    )


def _backward_problem(
    op: str, dtype: str, dout: Array, shape: tuple[int, int, int, int],
    weight_shape: tuple[int, ...], stride: IntOrPair, padding: PaddingLike, dilation: IntOrPair,
    groups: int, rounding: str,
) -> WindowProblem:  # fmt: skip
    p = conv_problem(op, dtype, shape, weight_shape, stride, padding, dilation, groups, "exact")
    if dout.shape[:2] != (p.N, p.OC):
        raise ShapeError(
            f"{op}: dout must have shape ({p.N}, {p.OC}, OH, OW) for {p.N} images and {p.OC} "
            f"filters, got {dout.shape}"
        )
    found = rounding_of(
        op, "dout", dout.shape[2:], (p.H, p.W), p.kernel_size, p.stride, p.padding, p.dilation,
        rounding,
    )  # fmt: skip
    return WindowProblem(
        op, dtype, p.N, p.C, p.H, p.W, p.kernel_size, p.OC, p.stride, p.padding, p.dilation,
        p.groups, found,
    )  # fmt: skip


def check_groups(op: str, C: int, OC: int, groups: int) -> None:
    """Raise unless both numbers of channels fall into so many groups."""
    if isinstance(groups, bool) or not isinstance(groups, int | np.integer) or groups < 1:
        raise ShapeError(f"{op}: groups must be a positive int, got {groups!r}")
    if C < 1 or OC < 1 or C % groups or OC % groups:
        raise ShapeError(
            f"{op}: {C} input and {OC} output channels do not fall into {groups} "
            f"group{'s' * (groups > 1)}; both must be positive multiples of groups"
        )
