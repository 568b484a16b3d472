"""Batch normalisation of features (N, F) and of images (N, C, H, W), channel by channel."""

import math

from fastscratch.errors import ShapeError
from fastscratch.kernels.problem import ChannelsProblem
from fastscratch.ops.plan import call, dtype_name
from fastscratch.types import Array


def batch_norm_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Normalise by the batch's own mean and variance.

    ``y = gamma*(x - mean)/sqrt(var + eps) + beta``. Mean and variance (divided by the number of
    elements) are over every axis but the second.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, ...)
        Features (N, C), or images (N, C, H, W).
    gamma, beta : ndarray, shape (C,)
        Scale and shift, of x's dtype.
    eps : float
        Added to the variance.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : ndarray, optional
        Where to write y; C-contiguous, of x's shape and dtype, overlapping no input.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        y of x's shape, and mean and variance (C,).

    Raises
    ------
    ShapeError
        If x has fewer than two axes or no channel, or the vectors do not fit it.
    DtypeError
        If an array is neither float32 nor float64, or the dtypes differ.
    BackendUnavailableError
        If the implementation that is named is not there.

    References
    ----------
    .. [1] S. Ioffe and C. Szegedy, "Batch normalization", 2015, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> y, mean, var = batch_norm_forward(x, np.ones(2), np.zeros(2))
    >>> y.round(3), mean, var
    (array([[-1., -1.], [ 1.,  1.]]), array([ 2., 20.]), array([  1., 100.]))
    """
    y, mean, var = call(
        "batch_norm_forward", forward_problem, (x, gamma, beta), (), backend, (out,), (eps,)
    )
    return y, mean, var


def batch_norm_relu_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Normalise by the batch's own mean and variance, and rectify, in one pass.

    ``y = max(gamma*(x - mean)/sqrt(var + eps) + beta, 0)``: `batch_norm_forward` and
    `relu_forward`.

    Parameters
    ----------
    x, gamma, beta : ndarray
        As in `batch_norm_forward`.
    eps : float
        Added to the variance.
    backend : str, optional
        As in `batch_norm_forward`.
    out : ndarray, optional
        Where to write y.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        y of x's shape, and mean and variance (C,).

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `batch_norm_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> y, mean, var = batch_norm_relu_forward(x, np.ones(2), np.zeros(2))
    >>> y.round(3)
    array([[0., 0.], [1., 1.]])
    """
    y, mean, var = call(
        "batch_norm_relu_forward", relu_forward_problem, (x, gamma, beta), (), backend, (out,),
        (eps,),
    )  # fmt: skip
    return y, mean, var


def batch_norm_inference(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Normalise by a mean and a variance that are given, such as running ones.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, ...)
        Features (N, C), or images (N, C, H, W).
    gamma, beta, mean, var : ndarray, shape (C,)
        Scale, shift, and the two statistics, of x's dtype.
    eps : float
        Added to the variance.
    backend : str, optional
        As in `batch_norm_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        ``gamma*(x - mean)/sqrt(var + eps) + beta``, of x's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `batch_norm_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> batch_norm_inference(np.array([[5.0]]), 2 * one, one, 3 * one, 4 * one).round(3)
    array([[3.]])
    """
    (y,) = call(
        "batch_norm_inference", inference_problem, (x, gamma, beta, mean, var), (), backend,
        (out,), (eps,),
    )  # fmt: skip
    return y


def batch_norm_backward(
    dout: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
    out: Array | None = None,
    gamma_out: Array | None = None,
    beta_out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of a loss with respect to the input, scale and shift of `batch_norm_forward`.

    With ``n = (x - mean)/sqrt(var + eps)``: ``dgamma = sum(dout*n)``, ``dbeta = sum(dout)``, and
    ``dx = gamma/sqrt(var + eps) * (dout - dbeta/count - n*dgamma/count)``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, C, ...)
        Gradient of the loss with respect to the output.
    x : ndarray
        The input of the forward pass.
    gamma, mean, var : ndarray, shape (C,)
        Its scale, and the mean and variance that it returned.
    eps : float
        As in the forward pass.
    backend : str, optional
        As in `batch_norm_forward`.
    out, gamma_out, beta_out : ndarray, optional
        Where to write the results.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        dx of x's shape, dgamma and dbeta (C,).

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `batch_norm_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> x, one = np.array([[1.0], [3.0]]), np.ones(1)
    >>> dx, dgamma, dbeta = batch_norm_backward(np.array([[1.0], [2.0]]), x, one, 2 * one, one)
    >>> np.abs(dx).round(3), dgamma.round(3), dbeta
    (array([[0.], [0.]]), array([1.]), array([3.]))
    """
    dx, dgamma, dbeta = call(
        "batch_norm_backward", backward_problem, (dout, x, gamma, mean, var), (), backend,
        (out, gamma_out, beta_out), (eps,),
    )  # fmt: skip
    return dx, dgamma, dbeta


def batch_norm_relu_backward(
    dout: Array,
    y: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
    out: Array | None = None,
    gamma_out: Array | None = None,
    beta_out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of a loss with respect to input, scale and shift of `batch_norm_relu_forward`.

    Those of `batch_norm_backward`, for ``dout`` where ``y > 0`` and 0 elsewhere.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, C, ...)
        Gradient of the loss with respect to the output.
    y, x : ndarray
        Output and input of the forward pass.
    gamma, mean, var : ndarray, shape (C,)
        Its scale, and the mean and variance that it returned.
    eps : float
        As in the forward pass.
    backend : str, optional
        As in `batch_norm_forward`.
    out, gamma_out, beta_out : ndarray, optional
        Where to write the results.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        dx of x's shape, dgamma and dbeta (C,).

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `batch_norm_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> x, one = np.array([[1.0], [3.0]]), np.ones(1)
    >>> y, mean, var = batch_norm_relu_forward(x, one, 0 * one)
    >>> dx, dgamma, dbeta = batch_norm_relu_backward(np.ones((2, 1)), y, x, one, mean, var)
    >>> dgamma.round(3), dbeta
    (array([1.]), array([1.]))
    """
    dx, dgamma, dbeta = call(
        "batch_norm_relu_backward", relu_backward_problem, (dout, y, x, gamma, mean, var), (),
        backend, (out, gamma_out, beta_out), (eps,),
    )  # fmt: skip
    return dx, dgamma, dbeta


def forward_problem(x: Array, gamma: Array, beta: Array) -> ChannelsProblem:
    """The problem that a call of `batch_norm_forward` poses, its arguments checked."""
    return channels_problem("batch_norm_forward", {"x": x}, {"gamma": gamma, "beta": beta})


def relu_forward_problem(x: Array, gamma: Array, beta: Array) -> ChannelsProblem:
    """The problem that a call of `batch_norm_relu_forward` poses, its arguments checked."""
    return channels_problem("batch_norm_relu_forward", {"x": x}, {"gamma": gamma, "beta": beta})


def inference_problem(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array
) -> ChannelsProblem:
    """The problem that a call of `batch_norm_inference` poses, its arguments checked."""
    vectors = {"gamma": gamma, "beta": beta, "mean": mean, "var": var}
    return channels_problem("batch_norm_inference", {"x": x}, vectors)


def backward_problem(
    dout: Array, x: Array, gamma: Array, mean: Array, var: Array
) -> ChannelsProblem:
    """The problem that a call of `batch_norm_backward` poses, its arguments checked."""
    vectors = {"gamma": gamma, "mean": mean, "var": var}
    return channels_problem("batch_norm_backward", {"dout": dout, "x": x}, vectors)


def relu_backward_problem(
    dout: Array, y: Array, x: Array, gamma: Array, mean: Array, var: Array
) -> ChannelsProblem:
    """The problem that a call of `batch_norm_relu_backward` poses, its arguments checked."""
    vectors = {"gamma": gamma, "mean": mean, "var": var}
    return channels_problem("batch_norm_relu_backward", {"dout": dout, "y": y, "x": x}, vectors)


def channels_problem(
    op: str, batches: dict[str, Array], vectors: dict[str, Array]
) -> ChannelsProblem:
    """The problem of batches (N, C, ...) of one shape and vectors (C,), its arguments checked."""
    dtype = dtype_name(op, **batches, **vectors)
    (first_name, first), *others = batches.items()
    if first.ndim < 2 or not first.shape[1]:
        raise ShapeError(
            f"{op}: {first_name} must have axes (N, C, ...) with a channel or more, got shape "
            f"{first.shape}"
        )
    for name, array in others:
        if array.shape != first.shape:
            raise ShapeError(
                f"{op}: {name} must have the shape of {first_name}, {first.shape}, got "
                f"{array.shape}"
            )
    N, C = first.shape[:2]
    for name, vector in vectors.items():
        if vector.shape != (C,):
            raise ShapeError(
                f"{op}: {first_name} has {C} channels, so {name} must have shape ({C},), got "
                f"{vector.shape}"
            )
    return ChannelsProblem(op, dtype, N, C, math.prod(first.shape[2:]))
