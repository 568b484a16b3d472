"""Random streams: one seed for a whole network, one independent stream for each dotted path."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from fastscratch.errors import ArgumentError


def stream_key(seed: int, path: str) -> int:
    """The 128-bit Philox key of a seed and a path.

    Parameters
    ----------
    seed : int
        The network's seed, zero or more.
    path : str
        Who draws: the dotted name of a parameter or a layer.

    Returns
    -------
    int

    Examples
    --------
    >>> stream_key(0, "conv1.weight") == stream_key(0, "conv2.weight")
    False
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be an integer of 0 or more, got {seed!r}")
    digest = hashlib.sha256(f"{int(seed)}:{path}".encode()).digest()
    return int.from_bytes(digest[:16], "little")


def stream(seed: int, path: str) -> np.random.Generator:
    """A generator whose numbers depend on the seed and the path alone.

    Who else drew before, in what order layers were made, and how many threads run changes nothing.

    Parameters
    ----------
    seed : int
        The network's seed, zero or more.
    path : str
        Who draws: the dotted name of a parameter or a layer.

    Returns
    -------
    numpy.random.Generator
        Counter-based (Philox).

    Examples
    --------
    >>> a, b = stream(0, "dense.weight"), stream(0, "dense.weight")
    >>> bool(a.random() == b.random())
    True
    """
    return np.random.Generator(np.random.Philox(key=stream_key(seed, path)))


def step_key(seed: int, path: str, step: int) -> NDArray[np.int64]:
    """Two words of 32 bits for what a layer draws at a training step: another pair at each.

    Parameters
    ----------
    seed : int
        The network's seed, zero or more.
    path : str
        Who draws, and what.
    step : int
        Training steps so far.

    Returns
    -------
    ndarray of int64, shape (2,)

    Examples
    --------
    >>> bool((step_key(0, "dropout.mask", 0) == step_key(0, "dropout.mask", 1)).any())
    False
    """
    words = stream_key(seed, f"{path}:{step}")
    return np.array([words & 0xFFFFFFFF, words >> 32 & 0xFFFFFFFF], np.int64)
