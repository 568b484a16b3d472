"""Dropout with a mask that is a function of a key and an element's place; see the reference."""

from fastscratch.kernels.numba_jit.compile import (
    In,
    Labels,
    Numbers,
    Out,
    driver,
    inner,
    usable_workers,
)
from fastscratch.kernels.numba_jit.lines import get, put, share_start
from fastscratch.types import Array

_WORD = 0xFFFFFFFF


def dropout_forward(x: Array, key: Array, ratio: Array, y: Array, num_threads: int) -> None:
    """y = x/(1 - ratio) where an element's bits are at least ratio*2**32, else 0."""
    drop(usable_workers(num_threads, 4 * x.size), x, key, ratio, y, x.size)


def dropout_backward(dout: Array, key: Array, ratio: Array, dx: Array, num_threads: int) -> None:
    """dx = dout/(1 - ratio) where the forward pass kept an element, else 0."""
    drop(usable_workers(num_threads, 4 * dx.size), dout, key, ratio, dx, dx.size)


@inner
def mix(word: int) -> int:
    """Three shifts and two products of 32 bits, in integers that hold more."""
    word = ((word ^ (word >> 16)) * 0x21F0AAAD) & _WORD
    word = ((word ^ (word >> 15)) * 0xD35A2D97) & _WORD
    return word ^ (word >> 15)


@driver
def drop(
    worker: int, workers: int, source: In, key: Labels, ratio: Numbers, target: Out, size: int
) -> None:
    """A choice, not a product: a dropped infinity is 0."""
    first, second = int(get(key, 0)), int(get(key, 1))
    threshold = int(get(ratio, 0) * 4294967296.0 + 0.5)
    scale = source.dtype.type(1 / (1 - get(ratio, 0)))
    zero = source.dtype.type(0)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        bits = mix(mix((i & _WORD) ^ first) ^ second ^ (i >> 32))
        put(target, i, get(source, i) * scale if bits >= threshold else zero)
