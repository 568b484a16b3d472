"""All parameters of a network in one buffer, and their gradients in another."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastscratch.errors import ArgumentError, TrainingError
from fastscratch.layers.parameter import Parameter
from fastscratch.types import Array

_ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""

BLOCK = 131_072
"""Elements that an update works on at a time, so that a large network's arrays stay in the cache.

Adam over 4 million parameters takes 13 ms with it and 27 ms without; smaller blocks cost more in
calls than they save: 1.2 instead of 0.9 ms over 436,000 parameters at a quarter of this.
"""


class Segment(NamedTuple):
    """Where a parameter lies in the flat buffers: ``flat.value[start:stop]``."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


class _HasParameters(Protocol):
    def parameters(self) -> list[Parameter]: ...


class FlatParameters:
    """Moves all parameters of a network into one buffer, and their gradients into another.

    ``Parameter.value`` and ``.grad`` become views of them, so that layers, optimizers and loading
    all see the same numbers. Parameters with weight decay come first; each begins at a multiple of
    64 bytes, and the few elements between them are and stay 0.

    Parameters
    ----------
    model : Layer
        Built.

    Attributes
    ----------
    value, grad : ndarray, one axis
        All values, and all gradients.
    segments : tuple of Segment
        Which part is whose.
    decay_stop : int
        Weight decay applies to ``value[:decay_stop]``.

    Raises
    ------
    TrainingError
        If the model is not built.
    ArgumentError
        If two parameters have one name, or different dtypes.

    Examples
    --------
    >>> from fastscratch.layers import Dense
    >>> dense = Dense(2)
    >>> dense.build((3,))
    (2,)
    >>> flat = FlatParameters(dense)
    >>> flat.value[:] = 7.0
    >>> dense.bias.value
    array([7., 7.], dtype=float32)
    """

    def __init__(self, model: _HasParameters) -> None:
        parameters = sorted(model.parameters(), key=lambda parameter: not parameter.decay)
        dtypes = {parameter.value.dtype for parameter in parameters} or {np.dtype(np.float32)}
        if len(dtypes) != 1:
            raise ArgumentError(f"parameters of different dtypes: {sorted(map(str, dtypes))}")
        if len({parameter.name for parameter in parameters}) != len(parameters):
            raise ArgumentError(
                f"two parameters have one name: {sorted(p.name for p in parameters)}"
            )
        self.dtype = dtypes.pop()
        step = _ALIGNMENT // self.dtype.itemsize
        segments = []
        start = 0
        self.decay_stop = 0
        for parameter in parameters:
            segments.append(Segment(parameter.name, start, start + parameter.size, parameter.shape))
            start += -(-parameter.size // step) * step
            if parameter.decay:
                self.decay_stop = start
        self.segments = tuple(segments)
        self.value = aligned_zeros(start, self.dtype)
        self.grad = aligned_zeros(start, self.dtype)
        self._parameters = parameters
        self._views = []
        for parameter, segment in zip(parameters, segments, strict=True):
            value, grad = self.view(self.value, segment), self.view(self.grad, segment)
            parameter.move_to(value, grad)
            self._views.append((value, grad))

    @staticmethod
    def view(buffer: Array, segment: Segment) -> Array:
        """A parameter's part of a flat buffer, in the parameter's shape.

        Parameters
        ----------
        buffer : ndarray
            ``value``, ``grad``, or one of the same size.
        segment : Segment
            One of ``segments``.

        Returns
        -------
        ndarray
            A view.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((3,))
        (2,)
        >>> flat = FlatParameters(dense)
        >>> flat.view(flat.grad, flat.segments[0]).shape
        (3, 2)
        """
        return buffer[segment.start : segment.stop].reshape(segment.shape)

    def check_current(self) -> None:
        """Raise a TrainingError if the parameters have moved elsewhere since.

        That happens when a second FlatParameters is made of the same network: the first one would
        then be trained without anyone noticing.
        """
        for parameter, (value, grad) in zip(self._parameters, self._views, strict=True):
            if not parameter.lives_in(value, grad):
                raise TrainingError(
                    f"{parameter.name} has moved into another FlatParameters; use the newest one"
                )

    def blocks(self) -> Iterator[tuple[slice, bool]]:
        """Pieces of the buffers that fit the cache, each with whether weight decay applies.

        Yields
        ------
        slice, bool

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((3,))
        (2,)
        >>> list(FlatParameters(dense).blocks())
        [(slice(0, 16, None), True), (slice(16, 32, None), False)]
        """
        for first, last, decay in (
            (0, self.decay_stop, True),
            (self.decay_stop, self.value.size, False),
        ):
            for start in range(first, last, BLOCK):
                yield slice(start, min(start + BLOCK, last)), decay


def aligned_zeros(size: int, dtype: Any) -> Array:
    """A row of zeros that begins at a multiple of 64 bytes.

    Parameters
    ----------
    size : int
        Number of elements.
    dtype : dtype
        Theirs.

    Returns
    -------
    ndarray, shape (size,)

    Examples
    --------
    >>> aligned_zeros(3, np.float32).ctypes.data % 64
    0
    """
    wanted = np.dtype(dtype)
    raw = np.zeros(size * wanted.itemsize + _ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % _ALIGNMENT
    return raw[offset : offset + size * wanted.itemsize].view(wanted)
