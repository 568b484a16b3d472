"""Ensembles: networks trained apart, whose predictions are averaged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastscratch.errors import ArgumentError
from fastscratch.layers.activations import Softmax
from fastscratch.types import Array


class Ensemble:
    """Networks whose probabilities are averaged.

    Parameters
    ----------
    members : sequence of Sequential
        They return scores of the same classes; their seeds, and so their first weights, differ.

    Raises
    ------
    ArgumentError
        If there is none, or their outputs differ in shape.

    Examples
    --------
    >>> from fastscratch.models import MLP
    >>> ensemble = Ensemble([MLP((4,), classes=3, seed=seed) for seed in range(5)])
    >>> ensemble.predict(np.ones((2, 4), np.float32)).sum(axis=1).round(6)
    array([1., 1.], dtype=float32)
    """

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = list(members)
        if len({member.output_shape for member in self.members}) != 1:
            raise ArgumentError(
                "Ensemble takes one network or more of one output shape, got "
                f"{[member.output_shape for member in self.members]}"
            )

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """The mean of the members' probabilities.

        Parameters
        ----------
        x : ndarray, shape ``(N, *input_shape)``
            All samples.
        batch_size : int
            How many go through a network at once.

        Returns
        -------
        ndarray, shape (N, classes)

        Examples
        --------
        >>> from fastscratch.models import MLP
        >>> model = MLP((4,), classes=3)
        >>> Ensemble([model]).predict(np.ones((2, 4), np.float32)).shape
        (2, 3)
        """
        softmax = Softmax()
        total = softmax.forward(self.members[0].predict(x, batch_size))
        for member in self.members[1:]:
            total = total + softmax.forward(member.predict(x, batch_size))
        return np.asarray(total / total.dtype.type(len(self.members)))

    def __len__(self) -> int:
        return len(self.members)
