"""Dense (affine, fully connected) products: forward, and backward to input, weights and bias."""

import numpy as np

from fastscratch.errors import ShapeError
from fastscratch.kernels.problem import DenseProblem
from fastscratch.ops.conv2d import check_bias
from fastscratch.ops.plan import as_input, call, dtype_name, expect_dims
from fastscratch.types import Array


def dense_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Multiply rows by a weight matrix and add a bias: ``y = x @ weight + bias``.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, in)
        One example a row.
    weight : ndarray, shape (in, out)
        Weights, of x's dtype.
    bias : ndarray, shape (out,), optional
        Added to each row.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : ndarray, shape (N, out), optional
        Where to write the result; C-contiguous, of x's dtype, overlapping no input.

    Returns
    -------
    ndarray, shape (N, out)

    Raises
    ------
    ShapeError
        If extents do not fit each other.
    DtypeError
        If an array is neither float32 nor float64, or the dtypes differ.
    BackendUnavailableError
        If the implementation that is named is not there.

    References
    ----------
    .. [1] K. Saitoh, "Deep Learning from Scratch", 2016, section 5.6.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.array([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])
    >>> dense_forward(np.array([[1.0, 2.0]]), weight)
    array([[ 5., 11., 17.]])
    """
    (y,) = call("dense_forward", forward_problem, (x, weight, bias), (), backend, (out,))
    return y


def dense_backward_input(
    dout: Array, weight: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Gradient of a loss with respect to the rows of `dense_forward`: ``dx = dout @ weight.T``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, out)
        Gradient of the loss with respect to the output.
    weight : ndarray, shape (in, out)
        Weights.
    backend : str, optional
        As in `dense_forward`.
    out : ndarray, shape (N, in), optional
        Where to write the result.

    Returns
    -------
    ndarray, shape (N, in)

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `dense_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> dense_backward_input(np.array([[1.0, 1.0]]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3., 7.]])
    """
    (dx,) = call(
        "dense_backward_input", backward_input_problem, (dout, weight), (), backend, (out,)
    )
    return dx


def dense_backward_weight(
    dout: Array,
    x: Array,
    *,
    backend: str | None = None,
    out: Array | None = None,
    bias_out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the weights of `dense_forward`: ``dw = x.T @ dout``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, out)
        Gradient of the loss with respect to the output.
    x : ndarray, shape (N, in)
        The rows of the forward pass.
    backend : str, optional
        As in `dense_forward`.
    out : ndarray, shape (in, out), optional
        Where to write the result.
    bias_out : ndarray, shape (out,), optional
        Where to write the gradient with respect to the bias, which the kernels find on the way.

    Returns
    -------
    ndarray, shape (in, out)

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `dense_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> dense_backward_weight(np.array([[1.0, 2.0]]), np.array([[3.0], ]))
    array([[3., 6.]])
    """
    dw, _ = call(
        "dense_backward_weight", backward_weight_problem, (dout, x), (), backend, (out, bias_out)
    )
    return dw


def dense_backward_bias(dout: Array) -> Array:
    """Gradient of a loss with respect to the bias of `dense_forward`: the sum over the rows.

    Where the weights' gradient is wanted too, ``dense_backward_weight(..., bias_out=db)`` finds
    both in one pass.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, out)
        Gradient of the loss with respect to the output.

    Returns
    -------
    ndarray, shape (out,)

    Raises
    ------
    ShapeError, DtypeError
        If dout has other axes or another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> dense_backward_bias(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    dout = as_input(dout, "dout", "dense_backward_bias")
    dtype_name("dense_backward_bias", dout=dout)
    expect_dims("dense_backward_bias", "dout", dout, "(N, out)")
    return np.asarray(dout.sum(axis=0))


def forward_problem(x: Array, weight: Array, bias: Array | None) -> DenseProblem:
    """The problem that a call of `dense_forward` poses, its arguments checked."""
    op = "dense_forward"
    dtype = dtype_name(op, x=x, weight=weight)
    expect_dims(op, "x", x, "(N, in)")
    expect_dims(op, "weight", weight, "(in, out)")
    if x.shape[1] != weight.shape[0]:
        raise ShapeError(
            f"{op}: x has {x.shape[1]} features, so weight must have shape ({x.shape[1]}, out), "
            f"got {weight.shape}"
        )
    if bias is not None:
        check_bias(op, bias, x, weight.shape[1])
    return _problem(op, dtype, x.shape[0], *weight.shape)


def backward_input_problem(dout: Array, weight: Array) -> DenseProblem:
    """The problem that a call of `dense_backward_input` poses, its arguments checked."""
    op = "dense_backward_input"
    dtype = dtype_name(op, dout=dout, weight=weight)
    expect_dims(op, "dout", dout, "(N, out)")
    expect_dims(op, "weight", weight, "(in, out)")
    if dout.shape[1] != weight.shape[1]:
        raise ShapeError(
            f"{op}: weight has {weight.shape[1]} outputs, so dout must have shape "
            f"(N, {weight.shape[1]}), got {dout.shape}"
        )
    return _problem(op, dtype, dout.shape[0], *weight.shape)


def backward_weight_problem(dout: Array, x: Array) -> DenseProblem:
    """The problem that a call of `dense_backward_weight` poses, its arguments checked."""
    op = "dense_backward_weight"
    dtype = dtype_name(op, dout=dout, x=x)
    expect_dims(op, "dout", dout, "(N, out)")
    expect_dims(op, "x", x, "(N, in)")
    if dout.shape[0] != x.shape[0]:
        raise ShapeError(
            f"{op}: x has {x.shape[0]} rows, so dout must have shape ({x.shape[0]}, out), got "
            f"{dout.shape}"
        )
    return _problem(op, dtype, x.shape[0], x.shape[1], dout.shape[1])


def _problem(op: str, dtype: str, N: int, in_features: int, out_features: int) -> DenseProblem:
    if in_features < 1 or out_features < 1:
        raise ShapeError(
            f"{op}: there must be one feature or more on both sides, got {in_features} in and "
            f"{out_features} out"
        )
    return DenseProblem(op, dtype, N, in_features, out_features)
