"""Dropout whose mask is a function of a key and an element's place, so that none is stored."""

from fastscratch.errors import ArgumentError, DtypeError, ShapeError
from fastscratch.kernels.arrays import LABELS
from fastscratch.kernels.problem import ElementsProblem
from fastscratch.ops.activations import elements_problem
from fastscratch.ops.plan import call
from fastscratch.types import Array


def dropout_forward(
    x: Array,
    key: Array,
    *,
    ratio: float = 0.5,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Zero a share of the elements, and divide the rest by the share kept.

    Which ones is a function of the key and each element's place in the flat array: the same in
    every version, and for any number of threads. An element's 32 random bits are
    ``mix(mix(place ^ key[0]) ^ key[1])``, where ``mix`` is a mixer of 32 bits; it is kept if they
    are at least ``ratio*2**32``.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
        One axis or more.
    key : ndarray of int64, shape (2,)
        Two words, each in 0..2**32 - 1.
    ratio : float
        The share that is zeroed, in [0, 1).
    backend : str, optional
        The implementation to run, instead of the one that dispatch would choose.
    out : ndarray, optional
        Where to write the result; C-contiguous, of x's shape and dtype, overlapping no input.

    Returns
    -------
    ndarray
        ``x/(1 - ratio)`` where an element is kept, else 0, whatever x is there.

    Raises
    ------
    ShapeError, DtypeError
        If `x` has no axis or is neither float32 nor float64, or `key` is not two int64.
    ArgumentError
        If `ratio` is not in [0, 1).
    BackendUnavailableError
        If the implementation that is named is not there.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout", 2014; the division while training is section 10's.
    .. [2] C. Wellons, "Prospecting for hash functions", 2018: the mixer.

    Examples
    --------
    >>> import numpy as np
    >>> dropout_forward(np.ones(8), np.array([1, 2]))
    array([0., 0., 2., 2., 2., 0., 2., 0.])
    """
    op = "dropout_forward"
    _check_ratio(op, ratio)
    (y,) = call(op, forward_problem, (x, key), (), backend, (out,), (ratio,))
    return y


def dropout_backward(
    dout: Array,
    key: Array,
    *,
    ratio: float = 0.5,
    backend: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of a loss with respect to the input of `dropout_forward`: the same mask again.

    Parameters
    ----------
    dout : ndarray of float32 or float64, any shape
        Gradient of the loss with respect to the output.
    key : ndarray of int64, shape (2,)
        That of the forward pass.
    ratio : float
        That of the forward pass.
    backend : str, optional
        As in `dropout_forward`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Of dout's shape.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError, BackendUnavailableError
        As `dropout_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> dropout_backward(np.ones(3), np.array([1, 2]))
    array([0., 0., 2.])
    """
    op = "dropout_backward"
    _check_ratio(op, ratio)
    (dx,) = call(op, backward_problem, (dout, key), (), backend, (out,), (ratio,))
    return dx


def forward_problem(x: Array, key: Array) -> ElementsProblem:
    """The problem that a call of `dropout_forward` poses, its arguments checked."""
    return _problem("dropout_forward", "x", x, key)


def backward_problem(dout: Array, key: Array) -> ElementsProblem:
    """The problem that a call of `dropout_backward` poses, its arguments checked."""
    return _problem("dropout_backward", "dout", dout, key)


def _problem(op: str, name: str, source: Array, key: Array) -> ElementsProblem:
    if key.dtype != LABELS:
        raise DtypeError(f"{op}: key must be int64, got {key.dtype}; convert it with astype")
    if key.shape != (2,):
        raise ShapeError(f"{op}: key must have shape (2,), got {key.shape}")
    return elements_problem(op, **{name: source})


def _check_ratio(op: str, ratio: float) -> None:
    if not 0 <= ratio < 1:
        raise ArgumentError(f"{op}: ratio must be in [0, 1), got {ratio!r}")
