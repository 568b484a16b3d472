"""Elements or zero, by a mask: what ReLU's backward pass and dropout have in common."""

import numpy as np

from fastscratch.types import Array


def keep_where(mask: Array, x: Array) -> Array:
    """``x`` where the mask is true, else 0, whatever ``x`` is there.

    Done on the bits: all ones or all zeros, and. ``np.where`` says the same and takes ten times as
    long where the mask is random, because the processor guesses each branch; a product would make
    NaN of an infinite element times 0.

    Parameters
    ----------
    mask : ndarray of bool
    x : ndarray of float32 or float64
        Of the mask's shape.

    Returns
    -------
    ndarray
        A new array of x's dtype.

    Examples
    --------
    >>> keep_where(np.array([True, False, False]), np.array([-2.0, np.inf, np.nan]))
    array([-2.,  0.,  0.])
    """
    word = np.dtype(f"i{x.dtype.itemsize}")
    bits = np.negative(mask.view(np.int8)).astype(word)  # true: -1, all bits set
    bits &= x.view(word)
    return bits.view(x.dtype)
