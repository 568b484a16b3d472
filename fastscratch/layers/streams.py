"""Random streams: one seed for a whole network, one independent stream for each dotted path."""

import hashlib

import numpy as np

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
