"""Activations and sums, element by element; gradients come from the activations' own outputs."""

import functools

from fastscratch.errors import ShapeError
from fastscratch.kernels.problem import ACTIVATION_OPS, SUM_OPS, ElementsProblem
from fastscratch.ops.plan import call, dtype_name
from fastscratch.types import Array


def relu_forward(x: Array, *, backend: str | None = None, out: Array | None = None) -> Array:
    """Rectify: ``y = max(x, 0)``, and NaN stays NaN.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
        One axis or more.
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : ndarray, optional
        Where to write the result; C-contiguous, of x's shape and dtype, overlapping no input.

    Returns
    -------
    ndarray
        Of x's shape. The sign of a zero is not settled.

    Raises
    ------
    ShapeError
        If `x` has no axis.
    DtypeError
        If it is neither float32 nor float64.
    BackendUnavailableError
        If the implementation that is named is not there.

    Examples
    --------
    >>> import numpy as np
    >>> relu_forward(np.array([1.0, -0.5, np.nan]))
    array([ 1.,  0., nan])
    """
    return _forward("relu_forward", x, backend, out)


def relu_backward(
    dout: Array, y: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Gradient of a loss with respect to the input of `relu_forward`: ``dout`` where ``y > 0``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, any shape
        Gradient of the loss with respect to the output.
    y : ndarray
        What `relu_forward` returned; its input serves as well.
    backend : str, optional
        As in `relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        0 where y is 0, negative or NaN, whatever dout is there.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `relu_forward`, and if the two differ in shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> relu_backward(np.array([5.0, 6.0]), np.array([0.0, 2.0]))
    array([0., 6.])
    """
    return _backward("relu_backward", dout, y, backend, out)


def add_forward(
    x: Array, other: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Add two arrays of one shape: ``y = x + other``. The gradient of both is ``dout`` itself.

    Parameters
    ----------
    x, other : ndarray of float32 or float64, any shape
        One axis or more; both of the same shape, which is not broadcast, and dtype.
    backend : str, optional
        As in `relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `relu_forward`; also if the shapes or dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> add_forward(np.array([1.0, 2.0]), np.array([3.0, -4.0]))
    array([ 4., -2.])
    """
    return _sum("add_forward", x, other, backend, out)


def add_relu_forward(
    x: Array, other: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Add, and rectify: ``y = max(x + other, 0)``, which is how a residual block ends.

    The gradient of both is ``relu_backward(dout, y)``.

    Parameters
    ----------
    x, other : ndarray of float32 or float64, any shape
        As in `add_forward`.
    backend : str, optional
        As in `relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `add_forward`.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", 2016, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> add_relu_forward(np.array([1.0, 2.0]), np.array([3.0, -4.0]))
    array([4., 0.])
    """
    return _sum("add_relu_forward", x, other, backend, out)


def sigmoid_forward(x: Array, *, backend: str | None = None, out: Array | None = None) -> Array:
    """The logistic function: ``y = 1/(1 + exp(-x))``, which overflows for no x.

    The error is below 4 units in the last place of y.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
        One axis or more.
    backend : str, optional
        As in `relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `relu_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid_forward(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return _forward("sigmoid_forward", x, backend, out)


def sigmoid_backward(
    dout: Array, y: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Gradient of a loss with respect to the input of `sigmoid_forward`: ``dout * y*(1 - y)``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, any shape
        Gradient of the loss with respect to the output.
    y : ndarray
        What `sigmoid_forward` returned.
    backend : str, optional
        As in `relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of dout's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `relu_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid_backward(np.array([4.0]), np.array([0.5]))
    array([1.])
    """
    return _backward("sigmoid_backward", dout, y, backend, out)


def tanh_forward(x: Array, *, backend: str | None = None, out: Array | None = None) -> Array:
    """The hyperbolic tangent: ``y = tanh(x)``.

    The error is below 4 units in the last place of y.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
        One axis or more.
    backend : str, optional
        As in `relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `relu_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> tanh_forward(np.array([0.0, 100.0]))
    array([0., 1.])
    """
    return _forward("tanh_forward", x, backend, out)


def tanh_backward(
    dout: Array, y: Array, *, backend: str | None = None, out: Array | None = None
) -> Array:
    """Gradient of a loss with respect to the input of `tanh_forward`: ``dout * (1 - y*y)``.

    Parameters
    ----------
    dout : ndarray of float32 or float64, any shape
        Gradient of the loss with respect to the output.
    y : ndarray
        What `tanh_forward` returned.
    backend : str, optional
        As in `relu_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of dout's shape.

    Raises
    ------
    ShapeError, DtypeError, BackendUnavailableError
        As `relu_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> tanh_backward(np.array([4.0]), np.array([0.5]))
    array([3.])
    """
    return _backward("tanh_backward", dout, y, backend, out)


def _forward(op: str, x: Array, backend: str | None, out: Array | None) -> Array:
    (y,) = call(op, PROBLEMS[op], (x,), (), backend, (out,))
    return y


def _backward(op: str, dout: Array, y: Array, backend: str | None, out: Array | None) -> Array:
    (dx,) = call(op, PROBLEMS[op], (dout, y), (), backend, (out,))
    return dx


def _sum(op: str, x: Array, other: Array, backend: str | None, out: Array | None) -> Array:
    (y,) = call(op, PROBLEMS[op], (x, other), (), backend, (out,))
    return y


def elements_problem(op: str, **arrays: Array) -> ElementsProblem:
    """The problem that a call on arrays of one shape poses, its arguments checked."""
    dtype = dtype_name(op, **arrays)
    (first_name, first), *others = arrays.items()
    if first.ndim < 1:
        raise ShapeError(f"{op}: {first_name} must have one axis or more; pass a row of one")
    for name, array in others:
        if array.shape != first.shape:
            raise ShapeError(
                f"{op}: {name} must have the shape of {first_name}, {first.shape}, got "
                f"{array.shape}"
            )
    return ElementsProblem(op, dtype, first.shape)


def _forward_problem(op: str, x: Array) -> ElementsProblem:
    """The problem that an activation poses."""
    return elements_problem(op, x=x)


def _backward_problem(op: str, dout: Array, y: Array) -> ElementsProblem:
    """The problem that an activation's gradient poses."""
    return elements_problem(op, dout=dout, y=y)


def _sum_problem(op: str, x: Array, other: Array) -> ElementsProblem:
    """The problem that a sum poses."""
    return elements_problem(op, x=x, other=other)


PROBLEMS = {
    op: functools.partial(_forward_problem if op.endswith("forward") else _backward_problem, op)
    for op in ACTIVATION_OPS
} | {op: functools.partial(_sum_problem, op) for op in SUM_OPS}
"""The problem that a call of each operation poses, its arguments checked."""
