"""Memory for what operations return: fresh arrays, and those that a training loop uses again.

A fresh large array costs a page fault every 4 KiB when it is first written: 1 ms for the 7 MB map
of a small network's first layer, more than rectifying it. Who holds an array is read from the
reference count of its memory, which views and saved activations raise, so that nobody needs to give
one back.
"""

import math
import sys
from typing import Any

import numpy as np

from fastscratch.types import Array

_MOST_KEPT = 64
"""Arrays kept of one shape and dtype; more than that are in use at once in very deep networks."""
_LINE = 64
"""Bytes of a line of the cache, and of the longest vector."""
LARGE = 1 << 16
"""Bytes from which on an array starts at a line.

NumPy's own large arrays start 16 bytes behind one, so that each long vector that is stored touches
two: a 1x1 convolution took 1.07 times as long on one thread.
"""


def fresh_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array with anything in it, which starts at a line of the cache if it is large.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
        A large one is a view of memory that is a little larger.

    Examples
    --------
    >>> fresh_array((256, 256), np.dtype(np.float32)).ctypes.data % 64
    0
    """
    nbytes = math.prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if nbytes < LARGE else np.ndarray(shape, dtype, *_memory(nbytes))


def _memory(nbytes: int) -> tuple[Array, int]:
    """So many bytes and some more, and where in them a line starts."""
    memory = np.empty(nbytes + _LINE, np.uint8)
    return memory, -memory.ctypes.data % _LINE


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
    >>> del first, second
    >>> buffers.take((2, 3), np.dtype(np.float32)).ctypes.data == address
    True
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[tuple[int, ...], np.dtype[Any]], list[tuple[Array, int]]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array with anything in it, which nobody else holds."""
        kept = self._kept.get((shape, dtype))
        if kept is None:
            kept = self._kept[shape, dtype] = []
        for memory, start in kept:
            if sys.getrefcount(memory) <= _UNUSED:
                return np.ndarray(shape, dtype, memory, start)
        memory, start = _memory(math.prod(shape) * dtype.itemsize)
        if len(kept) < _MOST_KEPT:
            kept.append((memory, start))
        return np.ndarray(shape, dtype, memory, start)

    def clear(self) -> None:
        """Keep nothing any more."""
        self._kept.clear()


def _count_unused() -> int:
    """What the loop above reads for memory that only the store holds."""
    for memory, _ in [_memory(0)]:
        return sys.getrefcount(memory)
    return 0


_UNUSED = _count_unused()
