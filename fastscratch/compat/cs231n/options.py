"""The dictionaries of options that the course's functions take, and a word on what is missing."""

from collections.abc import Mapping
from typing import Any

from fastscratch.errors import ArgumentError

Options = dict[str, Any]
"""``conv_param``, ``pool_param``, ``bn_param`` or ``dropout_param``."""

_EXAMPLES: dict[str, Options] = {
    "conv_param": {"stride": 1, "pad": 0},
    "pool_param": {"pool_height": 2, "pool_width": 2, "stride": 2},
    "bn_param": {"mode": "train"},
    "dropout_param": {"mode": "train", "p": 0.5},
}


def read_options(name: str, options: Options, *keys: str) -> list[Any]:
    """What must be there, in the order of the keys.

    Parameters
    ----------
    name : str
        Of the dictionary, as the function that takes it calls it.
    options : dict
        What came.
    *keys : str
        Each must be in it.

    Returns
    -------
    list

    Raises
    ------
    ArgumentError
        If one is missing, or it is no dictionary; the message shows one that would do.

    Examples
    --------
    >>> read_options("conv_param", {"stride": 2, "pad": 1}, "stride", "pad")
    [2, 1]
    >>> read_options("conv_param", {"stride": 2, "padding": 1}, "stride", "pad")
    Traceback (most recent call last):
    fastscratch.errors.ArgumentError: conv_param lacks 'pad': expected a dict such as ...
    """
    if not isinstance(options, Mapping):
        fault = "is no dict"
    elif missing := [repr(key) for key in keys if key not in options]:
        fault = f"lacks {' and '.join(missing)}"
    else:
        return [options[key] for key in keys]
    raise ArgumentError(
        f"{name} {fault}: expected a dict such as {_EXAMPLES[name]}, got {options!r}"
    )
