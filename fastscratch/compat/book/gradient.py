"""Stands in for ``common.gradient``: gradients by central differences."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastscratch import gradient_check
from fastscratch.errors import DtypeError
from fastscratch.types import Array

__all__ = ["np", "numerical_gradient", "numerical_gradient_2d"]

STEP = 1e-4
"""The book's h, for float64."""


def numerical_gradient(f: Callable[[Array], Any], x: Array) -> Array:
    """``(f(x + h) - f(x - h))/(2*h)`` for each element of an array of any shape.

    An array of floats is changed in place and put back, element by element: a network's loss that
    looks at its parameters rather than at its argument sees the change. Of integers, which cannot
    change by so little, a float64 copy is handed to ``f``.

    Examples
    --------
    >>> numerical_gradient(lambda x: np.sum(x**2), np.array([3.0, 4.0])).round(8)
    array([6., 8.])
    >>> numerical_gradient(lambda x: np.sum(x**2), np.array([3, 4])).round(8)
    array([6., 8.])
    """
    array = np.asarray(x)
    if array.dtype.kind == "f" and array.dtype != np.float64:
        return _in_short_floats(f, array)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"numerical_gradient: x must hold real numbers, got {array.dtype}")
    return gradient_check.numerical_gradient(lambda at: _value(f(at)), array, STEP)


def _in_short_floats(f: Callable[[Array], Any], x: Array) -> Array:
    """A distance of 1e-4 drowns in the rounding of float32: the cube root of eps is best."""
    gradient = np.zeros(x.shape, x.dtype)
    step = float(np.cbrt(np.finfo(x.dtype).eps))
    for index in np.ndindex(x.shape):
        here = x[index].copy()
        h = step * max(1.0, abs(float(here)))
        try:
            x[index] = float(here) + h
            high, above = float(x[index]), _value(f(x))
            x[index] = float(here) - h
            low, below = float(x[index]), _value(f(x))
        finally:
            x[index] = here
        gradient[index] = (above - below) / (high - low)
    return gradient


def numerical_gradient_2d(f: Callable[[Array], Any], X: Array) -> Array:
    """The gradient at each point of a list of points: ``f`` is called with one row at a time.

    A single point, of one axis, is taken as such.

    Examples
    --------
    >>> points = np.array([[3.0, 4.0], [0.0, 2.0]])
    >>> numerical_gradient_2d(lambda x: np.sum(x**2), points).round(8)
    array([[6., 8.],
           [0., 4.]])
    """
    X = np.asarray(X)
    if X.ndim == 1:
        return numerical_gradient(f, X)
    return np.array([numerical_gradient(f, point) for point in X]).reshape(X.shape)


def _numerical_gradient_1d(f: Callable[[Array], Any], x: Array) -> Array:
    """What some scripts of the book import from here by its private name."""
    return numerical_gradient(f, x)


def _value(result: Any) -> float:
    return float(np.asarray(result).reshape(()))
