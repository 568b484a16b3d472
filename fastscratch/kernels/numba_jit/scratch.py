"""Scratch memory: checked out per call, cut into pieces, kept for the next call.

Fresh memory costs more than it seems to: each of its pages is first touched in the kernel.
"""

from types import TracebackType
from typing import Any

import numpy as np

from fastscratch.kernels.numba_jit.compile import JIT

KEPT_BYTES = 32 * 1024 * 1024
"""The largest block that is kept; larger ones go back at once."""

KEPT_BLOCKS = 4
"""Blocks that are kept: as many as threads run kernels at once, where they are few."""

_ALIGNMENT = 64
_MOST_CUTS = 256


class Scratch:
    """Pieces of memory for the length of a ``with`` block; their contents are anything.

    A block is taken away while it is in use, so that whatever else runs meanwhile gets one of its
    own. A piece is an array as drivers take it: an address and a size.
    """

    __slots__ = ("_block", "_wanted")

    def __init__(self, dtype: np.dtype[Any], *sizes: int, offsets: int = 0):
        """Pieces of so many elements, and, last, one of so many offsets (intp)."""
        self._wanted = dtype, sizes, offsets

    def __enter__(self) -> list[Any]:
        if not JIT:
            dtype, sizes, offsets = self._wanted
            return [*(np.zeros(size, dtype) for size in sizes), np.zeros(offsets, np.intp)]
        try:
            block = _kept.pop()
        except IndexError:
            block = _Block(0)
        self._block = block
        # What is asked for once is asked for again: the same block has the same pieces.
        return block.pieces.get(self._wanted) or self._cut()

    def _cut(self) -> list[Any]:
        """Lay the pieces out in the block, or in a larger one."""
        dtype, sizes, offsets = self._wanted
        starts = [0]
        for size, bytes_each in [*((size, dtype.itemsize) for size in sizes), (offsets, 8)]:
            starts.append(starts[-1] + -(-size * bytes_each // _ALIGNMENT) * _ALIGNMENT)
        if starts[-1] > self._block.size:
            self._block = _Block(starts[-1])
        block = self._block
        if len(block.pieces) >= _MOST_CUTS:
            block.pieces.clear()
        places = zip(starts, (*sizes, offsets), strict=False)
        pieces = block.pieces[self._wanted] = [(block.start + at, size) for at, size in places]
        return pieces

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if JIT and self._block.size <= KEPT_BYTES and len(_kept) < KEPT_BLOCKS:
            _kept.append(self._block)


def release_kept() -> None:
    """Give back what is kept for the next call."""
    _kept.clear()


class _Block:
    """Aligned memory, and how it was cut before."""

    __slots__ = ("memory", "pieces", "size", "start")

    def __init__(self, size: int):
        self.memory = np.empty(size + _ALIGNMENT, np.uint8)
        self.start = -(-self.memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self.size = size
        self.pieces: dict[Any, list[Any]] = {}


# A list, whose ends are moved in one step: no lock is needed.
_kept: list[_Block] = []
