"""Memory that shows what a kernel does wrong: arrays at unreadable pages, between watched bytes.

An array is placed between two pages that may be neither read nor written. It begins right behind
the first (``"begin"``), ends right before the second (``"end"``), or begins one element behind a
boundary of 64 bytes (``"odd"``), where no vector is aligned. The bytes around it hold a pattern,
in which a stray write shows; a stray read or write that reaches a page ends the process.
"""

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

from fastscratch.types import Array

PLACEMENTS = ("begin", "end", "odd")
"""The ways to place an array."""

PATTERN = 0xA5
"""The byte around arrays."""

GARBAGE = 0xFF
"""The byte that outputs are filled with: every float of it is a NaN, every signed int -1."""

_PROTECT_NONE = 0


class Placed:
    """An array in hostile memory.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    placement : {"begin", "end", "odd"}
        Where it lies between its pages.

    Attributes
    ----------
    array : ndarray
        It holds the memory alive.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], placement: str) -> None:
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        page = mmap.PAGESIZE
        room = -(-(nbytes + 64 + dtype.itemsize) // page) * page
        memory = mmap.mmap(-1, room + 2 * page)
        everything = np.frombuffer(memory, np.uint8)
        inner = everything[page : page + room]
        inner[:] = PATTERN
        start = {"begin": 0, "end": room - nbytes, "odd": 64 + dtype.itemsize}[placement]
        if placement == "odd":
            start = min(start, room - nbytes)
        self._before = inner[:start]
        self._after = inner[start + nbytes :]
        body = inner[start : start + nbytes]
        body[:] = GARBAGE
        self.array: Array = body.view(dtype).reshape(shape)
        if guard_reason() == "":
            address = everything.ctypes.data
            _protect(address, page)
            _protect(address + page + room, page)

    def intact(self) -> bool:
        """Whether the bytes around the array are as they were."""
        return bool((self._before == PATTERN).all() and (self._after == PATTERN).all())


def place(array: Array, placement: str) -> Placed:
    """A read-only copy of an input in hostile memory."""
    placed = Placed(array.shape, array.dtype, placement)
    placed.array[...] = array
    placed.array.flags.writeable = False
    return placed


def guard_reason() -> str:
    """Why pages cannot be made unreadable here; empty if they can."""
    if sys.platform not in ("linux", "darwin"):
        return f"no mprotect on {sys.platform}"
    return ""


def _protect(address: int, nbytes: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(nbytes), _PROTECT_NONE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")
