"""Scratch memory: checked out per call and thread, cut into pieces, kept for the next call.

Fresh memory costs more than it seems to: each of its pages is first touched in the kernel.
"""

import threading
from functools import lru_cache
from types import TracebackType
from typing import Any

import numpy as np

from fastscratch.kernels.numba_jit.compile import JIT
from fastscratch.types import Array

KEPT_BYTES = 32 * 1024 * 1024
"""What a thread keeps at most; larger blocks go back at once."""

_ALIGNMENT = 64
_kept = threading.local()


class Scratch:
    """Pieces of memory for the length of a ``with`` block; their contents are anything.

    The thread's block is taken away while it is in use, so that whatever else runs on this thread
    meanwhile gets one of its own. A piece is an array as drivers take it: an address and a size.
    """

    __slots__ = ("_address", "_block", "_dtype", "_layout")

    def __init__(self, dtype: np.dtype[Any], *sizes: int, offsets: int = 0):
        """Pieces of so many elements, and, last, one of so many offsets (intp)."""
        self._dtype = dtype
        self._layout = _layout(dtype.itemsize, sizes, offsets)

    def __enter__(self) -> list[Any]:
        pieces, total = self._layout
        if not JIT:
            kinds = [self._dtype] * (len(pieces) - 1) + [np.dtype(np.intp)]
            return [np.zeros(size, kind) for (_, size), kind in zip(pieces, kinds, strict=True)]
        block, address = _kept.__dict__.pop("block", _NOTHING)
        if block.size < total:
            block = np.empty(total, np.uint8)
            address = -(-block.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self._block, self._address = block, address
        return [(address + start, size) for start, size in pieces]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if JIT and self._block.size <= KEPT_BYTES:
            _kept.block = self._block, self._address


_NOTHING: tuple[Array, int] = np.empty(0, np.uint8), 0


@lru_cache(maxsize=1024)
def _layout(
    itemsize: int, sizes: tuple[int, ...], offsets: int
) -> tuple[tuple[tuple[int, int], ...], int]:
    """Where each piece starts, and its size; bytes in all."""
    pieces = []
    end = 0
    for size, bytes_each in [*((size, itemsize) for size in sizes), (offsets, 8)]:
        pieces.append((end, size))
        end += -(-size * bytes_each // _ALIGNMENT) * _ALIGNMENT
    return tuple(pieces), end + _ALIGNMENT
