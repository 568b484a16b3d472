"""Rectifiers that are not flat below zero, and their gradients."""

from fastscratch.kernels.problem import ChannelsProblem, ElementsProblem
from fastscratch.ops.activations import elements_problem
from fastscratch.ops.batch_norm import channels_problem
from fastscratch.ops.plan import call
from fastscratch.types import Array


def leaky_relu_forward(
    x: Array, *, alpha: float = 0.01, backend: str | None = None, out: Array | None = None
) -> Array:
    """Rectify with a leak: ``y = x`` where ``x > 0``, else ``alpha*x``, whatever alpha is.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
        One axis or more.
    alpha : float
        The slope below zero.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : ndarray, optional
        Where to write the result; C-contiguous, of x's shape and dtype, overlapping no input.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ShapeError
        If `x` has no axis.
    DtypeError
        If it is neither float32 nor float64.
    BackendUnavailableError
        If the implementation that is named is not there.

    References
    ----------
    .. [1] A. Maas et al., "Rectifier nonlinearities improve neural network acoustic models", 2013.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu_forward(np.array([2.0, -2.0]), alpha=0.1)
    array([ 2. , -0.2])
    """
    (y,) = call("leaky_relu_forward", leaky_problem, (x,), (), backend, (out,), (alpha,))
    return y


def leaky_relu_backward(
    dout: Array,
    x: Array,
    *,
    alpha: float = 0.01,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the input of `leaky_relu_forward`.

    Parameters
    ----------
    dout : ndarray of float32 or float64, any shape
        Gradient of the loss with respect to the output.
    x : ndarray
        The input of the forward pass: with a negative alpha the output does not tell its sign.
    alpha : float
        That of the forward pass.
    backend : str, optional
        As in `leaky_relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        ``dout`` where ``x > 0``, else ``alpha*dout``; so it is ``alpha*dout`` at 0.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `leaky_relu_forward`, and if the two differ in shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu_backward(np.array([5.0, 5.0]), np.array([2.0, 0.0]), alpha=0.1)
    array([5. , 0.5])
    """
    (dx,) = call(
        "leaky_relu_backward", leaky_backward_problem, (dout, x), (), backend, (out,), (alpha,)
    )
    return dx


def elu_forward(
    x: Array, *, alpha: float = 1.0, backend: str | None = None, out: Array | None = None
) -> Array:
    """Rectify with an exponential: ``y = x`` where ``x > 0``, else ``alpha*(exp(x) - 1)``.

    No x overflows, and small ones lose no digits.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
        One axis or more.
    alpha : float
        What ``-y`` approaches far below zero.
    backend : str, optional
        As in `leaky_relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `leaky_relu_forward`.

    References
    ----------
    .. [1] D. Clevert et al., "Fast and accurate deep network learning by exponential linear
       units", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> elu_forward(np.array([1000.0, -1000.0, -1e-20]))
    array([ 1.e+03, -1.e+00, -1.e-20])
    """
    (y,) = call("elu_forward", elu_problem, (x,), (), backend, (out,), (alpha,))
    return y


def elu_backward(
    dout: Array,
    y: Array,
    *,
    alpha: float = 1.0,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the input of `elu_forward`.

    Parameters
    ----------
    dout : ndarray of float32 or float64, any shape
        Gradient of the loss with respect to the output.
    y : ndarray
        What `elu_forward` returned.
    alpha : float
        That of the forward pass, 0 or more.
    backend : str, optional
        As in `leaky_relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        ``dout`` where ``y > 0``, else ``dout*(y + alpha)``.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `leaky_relu_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> elu_backward(np.array([5.0, 5.0]), np.array([2.0, -0.5]))
    array([5. , 2.5])
    """
    (dx,) = call("elu_backward", elu_backward_problem, (dout, y), (), backend, (out,), (alpha,))
    return dx


def prelu_forward(
    x: Array, slopes: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Rectify with a slope for each channel: ``y = x`` where ``x > 0``, else ``slopes[c]*x``.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (N, C, ...)
        Features (N, C), or images (N, C, H, W).
    slopes : ndarray, shape (C,)
        Of x's dtype.
    backend : str, optional
        As in `leaky_relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `leaky_relu_forward`, and if the two do not fit.

    References
    ----------
    .. [1] K. He et al., "Delving deep into rectifiers", 2015, section 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> prelu_forward(np.array([[-2.0, -2.0]]), np.array([0.5, 0.25]))
    array([[-1. , -0.5]])
    """
    (y,) = call("prelu_forward", prelu_problem, (x, slopes), (), backend, (out,))
    return y


def prelu_backward(
    dout: Array,
    x: Array,
    slopes: Array,
    *,
    backend: str | None = None,
    out: Array | None = None,
    slopes_out: Array | None = None,
) -> tuple[Array, Array]:
    """Gradients of a loss with respect to the input and the slopes of `prelu_forward`.

    Parameters
    ----------
    dout : ndarray of float32 or float64, shape (N, C, ...)
        Gradient of the loss with respect to the output.
    x, slopes : ndarray
        Those of the forward pass.
    backend : str, optional
        As in `leaky_relu_forward`.
    out, slopes_out : ndarray, optional
        Where to write the results.

    Returns
    -------
    dx : ndarray
        ``dout`` where ``x > 0``, else ``slopes[c]*dout``; of x's shape.
    dslopes : ndarray, shape (C,)
        The sum of ``dout*x`` over a channel's elements that are not above 0.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `prelu_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> prelu_backward(np.array([[4.0], [4.0]]), np.array([[-2.0], [1.0]]), np.array([0.5]))
    (array([[2.], [4.]]), array([-8.]))
    """
    dx, dslopes = call(
        "prelu_backward", prelu_backward_problem, (dout, x, slopes), (), backend,
        (out, slopes_out),
    )  # fmt: skip
    return dx, dslopes


def leaky_problem(x: Array) -> ElementsProblem:
    """The problem that a call of `leaky_relu_forward` poses, its arguments checked."""
    return elements_problem("leaky_relu_forward", x=x)


def leaky_backward_problem(dout: Array, x: Array) -> ElementsProblem:
    """The problem that a call of `leaky_relu_backward` poses, its arguments checked."""
    return elements_problem("leaky_relu_backward", dout=dout, x=x)


def elu_problem(x: Array) -> ElementsProblem:
    """The problem that a call of `elu_forward` poses, its arguments checked."""
    return elements_problem("elu_forward", x=x)


def elu_backward_problem(dout: Array, y: Array) -> ElementsProblem:
    """The problem that a call of `elu_backward` poses, its arguments checked."""
    return elements_problem("elu_backward", dout=dout, y=y)


def prelu_problem(x: Array, slopes: Array) -> ChannelsProblem:
    """The problem that a call of `prelu_forward` poses, its arguments checked."""
    return channels_problem("prelu_forward", {"x": x}, {"slopes": slopes})


def prelu_backward_problem(dout: Array, x: Array, slopes: Array) -> ChannelsProblem:
    """The problem that a call of `prelu_backward` poses, its arguments checked."""
    return channels_problem("prelu_backward", {"dout": dout, "x": x}, {"slopes": slopes})
