"""Arguments that are numbers, checked: a string or an array is named, not compared."""

import numbers
from typing import Any

from fastscratch.errors import ArgumentError


def as_count(value: Any, name: str) -> int:
    """An argument as an int of 1 or more.

    Parameters
    ----------
    value : int
        What came: a NumPy integer is one, a bool is not.
    name : str
        What it is called.

    Returns
    -------
    int

    Raises
    ------
    ArgumentError
        If it is anything else.

    Examples
    --------
    >>> as_count(3, "Dense: out_features")
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ArgumentError(f"{name} must be a positive int, got {value!r}")
    return int(value)


def as_number(value: Any, name: str) -> Any:
    """An argument as it came, if it is a real number.

    Parameters
    ----------
    value : float
        What came: a NumPy number is one, a bool is not.
    name : str
        What it is called.

    Returns
    -------
    float

    Raises
    ------
    ArgumentError
        If it is anything else.

    Examples
    --------
    >>> as_number(0.5, "Dropout: ratio")
    0.5
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ArgumentError(f"{name} must be a number, got {value!r}")
    return value
