"""The state of a tree of layers: its parameters and buffers by dotted name, copied and loaded."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from fastscratch.errors import (
    ArgumentError,
    DtypeError,
    FastscratchError,
    ShapeError,
    TrainingError,
)
from fastscratch.layers.parameter import Buffer, NamedArray, Parameter
from fastscratch.types import Array

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Node:
    """A layer as a place in a tree that holds named arrays; `Layer` adds what it computes.

    Attributes
    ----------
    path : str
        Dotted place in the network; empty for the outermost layer.
    dtype : numpy.dtype or None
        float32 or float64; None until built.
    """

    # On the class, so that subclasses need not call super().__init__().
    path: str = ""
    dtype: np.dtype[Any] | None = None
    built: bool = False
    _own: dict[str, NamedArray]

    def children(self) -> list[tuple[str, Any]]:
        """The layers inside this one, by name."""
        return []

    def walk(self) -> Iterator[Any]:
        """This layer and all layers inside it, outermost first.

        Examples
        --------
        >>> from fastscratch.layers import ReLU, Sequential
        >>> [type(layer).__name__ for layer in Sequential(ReLU(), ReLU()).walk()]
        ['Sequential', 'ReLU', 'ReLU']
        """
        yield self
        for _, child in self.children():
            yield from child.walk()

    def parameters(self) -> list[Parameter]:
        """All parameters, those of the layers inside included, in the order of the network.

        Returns
        -------
        list of Parameter

        Raises
        ------
        TrainingError
            If the layer is not built yet.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((3,))
        (2,)
        >>> dense.parameters()
        [Parameter('weight', (3, 2), float32), Parameter('bias', (2,), float32)]
        """
        return [array for array in self._arrays() if isinstance(array, Parameter)]

    def buffers(self) -> list[Buffer]:
        """All buffers, those of the layers inside included.

        Returns
        -------
        list of Buffer

        Examples
        --------
        >>> from fastscratch.layers import BatchNorm
        >>> norm = BatchNorm()
        >>> norm.build((3,))
        (3,)
        >>> norm.buffers()
        [Buffer('running_mean', (3,), float32), Buffer('running_var', (3,), float32)]
        """
        return [array for array in self._arrays() if isinstance(array, Buffer)]

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by dotted name.

        Returns
        -------
        dict of str to ndarray

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((3,))
        (2,)
        >>> list(dense.state_dict())
        ['weight', 'bias']
        """
        return {array.name: array.value.copy() for array in self._arrays()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Write a state into the arrays that are there; all of it, or nothing if it does not fit.

        Parameters
        ----------
        state : mapping of str to ndarray
            As from `state_dict`; float64 values are rounded into a float32 network.

        Raises
        ------
        ArgumentError
            If names are missing or unexpected; the message lists them.
        ShapeError, DtypeError
            If an array does not fit.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((3,))
        (2,)
        >>> dense.load_state_dict({"weight": np.ones((3, 2))})
        Traceback (most recent call last):
        fastscratch.errors.ArgumentError: the state does not fit this network; missing: bias
        """
        own = {array.name: array for array in self._arrays()}
        missing = sorted(own.keys() - state.keys())
        unexpected = sorted(state.keys() - own.keys())
        if missing or unexpected:
            parts = [
                f"{word}: {', '.join(names)}"
                for word, names in (("missing", missing), ("unexpected", unexpected))
                if names
            ]
            raise ArgumentError(f"the state does not fit this network; {'; '.join(parts)}")
        for name, array in own.items():
            new = np.asarray(state[name])
            if new.shape != array.shape:
                raise ShapeError(f"{name} has shape {array.shape}, the state gives {new.shape}")
            if not np.can_cast(new.dtype, array.value.dtype, "same_kind"):
                raise DtypeError(f"{name} is {array.value.dtype}, the state gives {new.dtype}")
        for name, array in own.items():
            array.value[...] = state[name]

    def astype(self, dtype: Any) -> Self:
        """A copy that computes in another dtype, with the same state.

        Parameters
        ----------
        dtype : {float32, float64}
            Of the copy.

        Returns
        -------
        Layer
            Of the same kind; nothing is shared.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((3,))
        (2,)
        >>> dense.astype(np.float64).weight
        Parameter('weight', (3, 2), float64)
        """
        wanted = self._float_dtype(dtype)
        self._arrays()
        twin = copy.deepcopy(self)
        for layer in twin.walk():
            layer.dtype = wanted
            for array in layer._own.values():
                if array.value.dtype in FLOATS:
                    array.convert(wanted)
        return twin

    def _arrays(self) -> list[NamedArray]:
        if not self.built:
            raise self._error(
                TrainingError, "no parameters yet: call build(input_shape), or forward once"
            )
        arrays = list(self._own.values())
        for _, child in self.children():
            arrays += child._arrays()
        return arrays

    def _float_dtype(self, dtype: Any) -> np.dtype[Any]:
        wanted: np.dtype[Any] = np.dtype(dtype)
        if wanted not in FLOATS:
            raise self._error(
                DtypeError,
                f"computes in float32 or float64, not {wanted}; convert the input, for example "
                "x.astype(np.float32)",
            )
        return wanted

    def _dotted(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _error(self, kind: type[FastscratchError], message: str) -> FastscratchError:
        """An error that names the layer, marked so that no outer layer adds its own name."""
        name = type(self).__name__
        title = f"layer {self.path!r} ({name})" if self.path else name
        error = kind(f"{title}: {message}")
        error.layer = self.path  # type: ignore[attr-defined]
        return error

    def _named(self, error: FastscratchError) -> FastscratchError:
        return error if hasattr(error, "layer") else self._error(type(error), str(error))
