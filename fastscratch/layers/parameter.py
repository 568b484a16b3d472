"""Named arrays of a layer: Parameters, which optimizers update, and Buffers, which they do not."""

from typing import Any

import numpy as np

from fastscratch.errors import DtypeError, ShapeError
from fastscratch.types import Array


class NamedArray:
    """An array with a dotted name; assigning to ``value`` writes into the array that is there.

    Parameters
    ----------
    name : str
        Dotted path, such as ``conv1.weight``.
    value : ndarray
        Held, not copied.

    Examples
    --------
    >>> held = NamedArray("scale", np.ones(2))
    >>> array = held.value
    >>> held.value = np.array([3.0, 4.0])
    >>> array
    array([3., 4.])
    """

    def __init__(self, name: str, value: Array) -> None:
        self.name = name
        self._value = value

    @property
    def value(self) -> Array:
        """The array itself; assigning copies into it, so that every view of it stays right."""
        return self._value

    @value.setter
    def value(self, new: Any) -> None:
        if new is not self._value:
            _write(self._value, new, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        shape: tuple[int, ...] = self._value.shape
        return shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._value.size

    def convert(self, dtype: Any) -> None:
        """Hold the same numbers in another dtype, in a new array.

        Parameters
        ----------
        dtype : dtype
            Of the new array.
        """
        self._value = self._value.astype(dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.shape}, {self._value.dtype})"


class Parameter(NamedArray):
    """An array that training changes, with its gradient.

    Parameters
    ----------
    name : str
        Dotted path, such as ``conv1.weight``.
    value : ndarray of float32 or float64
        Held, not copied.
    decay : bool
        Whether weight decay applies to it (to weights yes; to biases and scales no).

    Attributes
    ----------
    value, grad : ndarray
        Of one shape and dtype. Assigning to either copies into the array that is there. A backward
        pass overwrites ``grad``.

    Examples
    --------
    >>> weight = Parameter("dense.weight", np.zeros((3, 2)))
    >>> weight.value += 1.0
    >>> weight
    Parameter('dense.weight', (3, 2), float64)
    """

    def __init__(self, name: str, value: Array, decay: bool = True) -> None:
        super().__init__(name, value)
        self._grad: Array = np.zeros(value.shape, value.dtype)
        self.decay = decay

    @property
    def grad(self) -> Array:
        """The gradient array itself; assigning copies into it."""
        return self._grad

    @grad.setter
    def grad(self, new: Any) -> None:
        if new is not self._grad:
            _write(self._grad, new, f"gradient of {self.name}")

    def convert(self, dtype: Any) -> None:
        """Hold value and gradient in another dtype, in new arrays.

        Parameters
        ----------
        dtype : dtype
            Of the new arrays.
        """
        super().convert(dtype)
        self._grad = self._grad.astype(dtype)

    def move_to(self, value: Array, grad: Array) -> None:
        """Live in other arrays from now on; the present content moves along.

        Parameters
        ----------
        value, grad : ndarray
            Writeable, of this parameter's shape and dtype.

        Examples
        --------
        >>> room = np.empty((2, 3))
        >>> bias = Parameter("bias", np.ones(3))
        >>> bias.move_to(room[0], room[1])
        >>> room.tolist()
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
        """
        value[...] = self._value
        grad[...] = self._grad
        self._value = value
        self._grad = grad

    def lives_in(self, value: Array, grad: Array) -> bool:
        """Whether these are its arrays, and not others of the same content.

        Parameters
        ----------
        value, grad : ndarray

        Returns
        -------
        bool
        """
        return self._value is value and self._grad is grad


class Buffer(NamedArray):
    """An array that belongs to the state of a layer but is not trained, such as a running mean.

    Parameters
    ----------
    name : str
        Dotted path, such as ``norm.running_mean``.
    value : ndarray
        Held, not copied.

    Examples
    --------
    >>> Buffer("norm.running_mean", np.zeros(4))
    Buffer('norm.running_mean', (4,), float64)
    """


def _write(target: Array, new: Any, name: str) -> None:
    source = np.asarray(new)
    if source.shape != target.shape:
        raise ShapeError(f"{name} has shape {target.shape}, cannot hold {source.shape}")
    if not np.can_cast(source.dtype, target.dtype, "same_kind"):
        raise DtypeError(f"{name} is {target.dtype}, cannot hold {source.dtype}")
    target[...] = source
