"""Dropout with a mask that is a function of a key and an element's place, so that none is stored.

An element's 32 random bits are mix(mix(place ^ key[0]) ^ key[1]), where mix is the 32-bit mixer
that C. Wellons found by search ("Hash function prospecting", 2018): three shifts, two products. A
place beyond 2**32 enters with its high word beside key[1].
"""

import numpy as np

from fastscratch.kernels.numpy_ref.masking import keep_where
from fastscratch.types import Array


def dropout_forward(x: Array, key: Array, ratio: Array, y: Array, num_threads: int) -> None:
    """y = x/(1 - ratio) where an element's bits are at least ratio*2**32, else 0."""
    threshold = round(ratio.item() * 2**32)
    kept = random_words(x.size, key) >= threshold
    np.multiply(keep_where(kept.reshape(x.shape), x), 1 / (1 - ratio.item()), out=y)


def dropout_backward(dout: Array, key: Array, ratio: Array, dx: Array, num_threads: int) -> None:
    """dx = dout/(1 - ratio) where the forward pass kept an element, else 0."""
    dropout_forward(dout, key, ratio, dx, num_threads)


def random_words(size: int, key: Array) -> Array:
    """32 random bits for each place, as uint32."""
    place = np.arange(size, dtype=np.uint64)
    first, second = key.astype(np.uint32)
    low, high = place.astype(np.uint32), (place >> np.uint64(32)).astype(np.uint32)
    return _mix(_mix(low ^ first) ^ second ^ high)


def _mix(word: Array) -> Array:
    word = (word ^ (word >> 16)) * np.uint32(0x21F0AAAD)
    word = (word ^ (word >> 15)) * np.uint32(0xD35A2D97)
    return np.asarray(word ^ (word >> 15))
