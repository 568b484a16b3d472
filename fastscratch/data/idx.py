"""The IDX file format of MNIST: a big-endian header with the shape, then the values."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np

from fastscratch.errors import DataError
from fastscratch.types import Array

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, gzipped or not (the content tells, not the name).

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    ndarray
        Its array, in the machine's byte order.

    Raises
    ------
    DataError
        If the file is missing, truncated, damaged, longer than its header says, or no IDX file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels-idx1-ubyte"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(2) != _GZIP_MAGIC:
                file.seek(0)
                return _parse(file, str(path))
            file.seek(0)
            with gzip.open(file) as unpacked:
                return _parse(unpacked, str(path))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or truncated (gzip: {error}); get it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def unpack(content: bytes) -> bytes:
    """The bytes themselves, or what they hold if they are gzipped; raises as gzip does."""
    return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content


def _parse(file: _Readable, name: str) -> Array:
    """Header, then exactly as many values as it promises, then the end of the file."""
    magic = file.read(4)
    if magic.lstrip()[:1] == b"<":
        raise DataError(f"{name} is a web page, not an IDX file; download the file itself")
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise DataError(
            f"{name} is no IDX file: it begins with {magic.hex(' ') or 'nothing'}, "
            f"not with 00 00, a type and a number of dimensions"
        )
    dtype, ndim = np.dtype(_DTYPES[magic[2]]), magic[3]
    extents = file.read(4 * ndim)
    if len(extents) < 4 * ndim:
        raise DataError(f"{name} is truncated: it ends within its header; get it again")
    shape = tuple(int(extent) for extent in np.frombuffer(extents, ">u4"))
    expected = math.prod(shape) * dtype.itemsize
    # In pieces that exist: a damaged header may promise terabytes.
    content = bytearray()
    while piece := file.read(min(1 << 24, expected + 1 - len(content))):
        content += piece
    if len(content) < expected:
        raise DataError(
            f"{name} is truncated: its header promises {expected} bytes of shape {shape}, "
            f"but {len(content)} follow; get it again"
        )
    if len(content) > expected:
        raise DataError(
            f"{name} is damaged: more than the {expected} bytes that its header promises "
            f"for shape {shape} follow; get it again"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
