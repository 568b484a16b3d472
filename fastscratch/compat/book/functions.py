"""Stands in for ``common.functions``: activations and losses of whatever NumPy takes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.compat.promotion import demote, promote
from fastscratch.errors import ArgumentError, DtypeError, ShapeError
from fastscratch.types import Array

__all__ = [
    "cross_entropy_error",
    "identity_function",
    "mean_squared_error",
    "np",  # scripts count on "from common.functions import *" to bring it
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
]

DELTA = 1e-7
"""What the book adds within logarithms."""


def identity_function(x: Any) -> Any:
    """``x`` itself: the output of a regression."""
    return x


def step_function(x: Any) -> Array:
    """1 where ``x > 0``, else 0.

    Examples
    --------
    >>> step_function(np.array([-1.0, 0.0, 2.0]))
    array([0, 0, 1])
    """
    return np.array(np.asarray(x) > 0, dtype=int)


def sigmoid(x: Any) -> Any:
    """``1/(1 + exp(-x))``, which overflows for no x.

    Examples
    --------
    >>> sigmoid(np.array([-1000, 0, 1000]))
    array([0. , 0.5, 1. ])
    """
    return _element_by_element(ops.sigmoid_forward, x, floating=True)


def sigmoid_grad(x: Any) -> Any:
    """The derivative of `sigmoid` at x: ``(1 - sigmoid(x))*sigmoid(x)``."""
    y = sigmoid(x)
    return (1 - y) * y


def relu(x: Any) -> Any:
    """``max(x, 0)``."""
    return _element_by_element(ops.relu_forward, x)


def relu_grad(x: Any) -> Array:
    """1 where ``x > 0``, else 0: at 0 itself it is 0, as in the layer.

    Examples
    --------
    >>> relu_grad(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    x = np.asarray(x)
    grad: Array = np.zeros_like(x)
    grad[x > 0] = 1
    return grad


def softmax(x: Any) -> Any:
    """``exp(x)/sum(exp(x))`` over the last axis: of a batch, row by row.

    Examples
    --------
    >>> softmax(np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]]))
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    dtype, (scores,) = promote(x, floating=True)
    if scores.ndim == 0 or not scores.size:
        return demote(np.ones_like(scores), dtype)
    rows = scores.reshape(-1, scores.shape[-1])
    probabilities, _ = ops.softmax_cross_entropy_forward(rows, np.zeros(len(rows), np.int64))
    return demote(probabilities.reshape(scores.shape), dtype)


def sum_squared_error(y: Any, t: Any) -> Any:
    """``0.5 * sum((y - t)**2)``.

    Examples
    --------
    >>> sum_squared_error(np.array([0.1, 0.6]), np.array([0, 1])).round(6)
    np.float64(0.085)
    """
    difference = np.subtract(y, t)
    return 0.5 * np.sum(difference * difference)


mean_squared_error = sum_squared_error
"""What earlier printings call the same function."""


def cross_entropy_error(y: Any, t: Any) -> Any:
    """The mean over the batch of ``-sum(t*log(y + 1e-7))``.

    Parameters
    ----------
    y : array_like, shape (N, C) or (C,)
        Probabilities.
    t : array_like
        Rows of y's shape (one-hot ones, or other distributions), or class numbers, (N,) or (N, 1).

    Returns
    -------
    float

    Examples
    --------
    >>> y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
    >>> float(cross_entropy_error(y, 2))
    0.510825457099338
    """
    _, (y,) = promote(y, floating=True)
    y = np.atleast_2d(y)
    labels, rows = targets_of(t, y.shape)
    if rows is None:
        return -np.sum(np.log(y[np.arange(len(y)), labels] + DELTA)) / len(y)
    return -np.sum((rows * np.log(y + DELTA)).sum(axis=-1)) / len(y)


def softmax_loss(x: Any, t: Any) -> Any:
    """The cross-entropy of ``softmax(x)``, computed by log-softmax: nothing is added to y."""
    return softmax_and_loss(x, t)[1]


def softmax_and_loss(x: Any, t: Any) -> tuple[Array, Any]:
    """Probabilities, and the mean loss."""
    dtype, (scores,) = promote(x, floating=True)
    shape = scores.shape
    scores = np.atleast_2d(scores)
    labels, rows = targets_of(t, scores.shape)
    if labels is None:
        labels = np.zeros(len(scores), np.int64)
    y, losses = ops.softmax_cross_entropy_forward(scores, labels)
    if rows is not None:
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_y = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        losses = -(rows * log_y).sum(axis=1)
    return demote(y.reshape(shape), dtype), losses.mean(dtype=np.float64)


def targets_of(t: Any, shape: tuple[int, int]) -> tuple[Array | None, Array | None]:
    """Targets for scores of a shape: class numbers (N,), or else rows (N, C).

    One-hot rows become class numbers. The axes tell which of both targets are, not the number of
    elements, which is the same for both where there is one class.

    Examples
    --------
    >>> targets_of(np.array([[0, 1, 0]]), (1, 3))[0]
    array([1])
    >>> targets_of(np.array([0.5, 0.5]), (1, 2))[1]
    array([[0.5, 0.5]])
    """
    t = np.asarray(t)
    N, C = shape
    if t.shape == shape or (N == 1 and C > 1 and t.shape == (C,)):
        rows = t.reshape(shape)
        ones = rows == 1
        if np.count_nonzero(ones) == np.count_nonzero(rows) == N and ones.any(axis=1).all():
            return ones.argmax(axis=1), None
        return None, rows
    if t.size != N:
        raise ShapeError(
            f"t must hold a class number for each of {N} rows, or have shape {shape}, got {t.shape}"
        )
    if t.dtype.kind not in _WHOLE:
        raise DtypeError(f"t of shape {t.shape} holds class numbers, which must be integers, got "
                         f"{t.dtype}; convert it with t.astype(int)")  # fmt: skip
    labels = t.reshape(N).astype(np.int64, copy=False)
    if N and not 0 <= labels.min() <= labels.max() < C:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ArgumentError(f"t: class numbers must be in 0..{C - 1}, got {wrong}")
    return labels, None


_WHOLE = "biu"


def _element_by_element(op: Callable[[Array], Array], x: Any, *, floating: bool = False) -> Any:
    """The operation on an array of any shape, or on a single number."""
    dtype, (array,) = promote(x, floating=floating)
    if array.ndim == 0:
        return demote(op(array.reshape(1)), dtype)[0]
    return demote(op(array), dtype)
