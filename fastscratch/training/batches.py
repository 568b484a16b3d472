"""Shuffled mini-batches: every sample once an epoch, in an order that a resumed run repeats."""

import numpy as np

from fastscratch.data.arrays import shuffled_indices
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.types import Array


class Batches:
    """The mini-batches of a training set, epoch by epoch.

    The arrays that `take` returns are overwritten by the next call: one set of buffers serves the
    whole run.

    Parameters
    ----------
    x, t : ndarray
        Samples and targets, first axis in common.
    batch_size : int
        Samples in a batch; the last one of an epoch may hold fewer.
    seed : int
        The order of an epoch is a function of the seed, the epoch and the number of samples alone.
    drop_last : bool
        Leave out a last batch that is not full (other samples each epoch).

    Attributes
    ----------
    count : int
        Batches in an epoch.

    Examples
    --------
    >>> batches = Batches(np.arange(5), np.arange(5), batch_size=2, seed=0)
    >>> batches.begin(epoch=0)
    >>> [len(batches.take(number)[0]) for number in range(batches.count)]
    [2, 2, 1]
    """

    def __init__(
        self, x: Array, t: Array, batch_size: int, *, seed: int = 0, drop_last: bool = False
    ) -> None:
        if len(x) != len(t):
            raise ShapeError(f"x has {len(x)} samples but t has {len(t)}")
        if len(x) == 0:
            raise ArgumentError("the training set is empty")
        if drop_last and len(x) < batch_size:
            raise ArgumentError(
                f"drop_last with batch_size {batch_size} leaves no batch of {len(x)} samples"
            )
        self.samples = len(x) // batch_size * batch_size if drop_last else len(x)
        self.count = -(-self.samples // batch_size)
        self.batch_size = batch_size
        self._sources = (x, t)
        self._seed = seed
        self._order: Array = np.arange(0)
        rows = min(batch_size, len(x))
        self._buffers = tuple(np.empty((rows, *a.shape[1:]), a.dtype) for a in (x, t))

    def begin(self, epoch: int) -> None:
        """Shuffle for an epoch, counted from 0."""
        self._order = shuffled_indices(len(self._sources[0]), self._seed, epoch)

    def take(self, number: int) -> tuple[Array, Array]:
        """Samples and targets of a batch of the epoch begun, counted from 0."""
        start = number * self.batch_size
        chosen = self._order[start : min(start + self.batch_size, self.samples)]
        x, t = (
            # mode="clip" is what lets take write into out without a copy; no index is out of range.
            np.take(source, chosen, axis=0, out=buffer[: len(chosen)], mode="clip")
            for source, buffer in zip(self._sources, self._buffers, strict=True)
        )
        return x, t
