"""Arrays that are handed out again once nobody holds them: what a training loop computes into.

A fresh large array costs a page fault every 4 KiB when it is first written: 1 ms for the 7 MB map
of a small network's first layer, more than rectifying it. Who holds an array is read from its
reference count, which views and saved activations raise, so that nobody needs to give one back.
"""

import sys
from typing import Any

import numpy as np

from fastscratch.types import Array

_MOST_KEPT = 64
"""Arrays kept of one shape and dtype; more than that are in use at once in very deep networks."""


class Buffers:
    """A store of arrays by shape and dtype.

    Examples
    --------
    >>> buffers = Buffers()
    >>> first = buffers.take((2, 3), np.dtype(np.float32))
    >>> address = first.ctypes.data
    >>> second = buffers.take((2, 3), np.dtype(np.float32))
    >>> second.ctypes.data == address
    False
    >>> del first
    >>> buffers.take((2, 3), np.dtype(np.float32)).ctypes.data == address
    True
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[tuple[int, ...], np.dtype[Any]], list[Array]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array with anything in it, which nobody else holds."""
        kept = self._kept.get((shape, dtype))
        if kept is None:
            kept = self._kept[shape, dtype] = []
        for array in kept:
            if sys.getrefcount(array) <= _UNUSED:
                return array
        array = np.empty(shape, dtype)
        if len(kept) < _MOST_KEPT:
            kept.append(array)
        return array

    def clear(self) -> None:
        """Keep nothing any more."""
        self._kept.clear()


def _count_unused() -> int:
    """What the loop above reads for an array that only the store holds."""
    for array in [np.empty(0)]:
        return sys.getrefcount(array)
    return 0


_UNUSED = _count_unused()
