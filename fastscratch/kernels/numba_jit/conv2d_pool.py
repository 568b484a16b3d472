"""Convolution, ReLU and max pooling, some images at a time, so that their map stays in a cache."""

from collections.abc import Iterator

import numpy as np

from fastscratch.kernels.numba_jit.activations import relu_backward, relu_forward
from fastscratch.kernels.numba_jit.conv2d import conv2d_backward_weight, conv2d_forward
from fastscratch.kernels.numba_jit.pool2d import max_pool2d_backward, max_pool2d_forward
from fastscratch.types import Array, Padding, Pair

MAP_BYTES = 2 << 20
"""Of the map of some images: more of them than threads, and still in the caches."""


def conv2d_relu_max_pool2d_forward(
    x: Array, weight: Array, bias: Array, y: Array, argmax: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, pool: Pair, num_threads: int,
) -> None:  # fmt: skip
    """y = max(0, the maximum of each window of conv2d(x)), argmax = which element it was."""
    for some, part in _blocks(y, pool):
        conv2d_forward(x[some], weight, bias, part, stride, padding, dilation, groups, num_threads)
        max_pool2d_forward(
            part, y[some], argmax[some], pool, pool, (0, 0, 0, 0), (1, 1), num_threads
        )
    relu_forward(y, y, num_threads)


def conv2d_relu_max_pool2d_backward_weight(
    dout: Array, y: Array, argmax: Array, x: Array, dw: Array, db: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, pool: Pair, num_threads: int,
) -> None:  # fmt: skip
    """dw = the sum over windows where y > 0 of dout * (the part of x that its maximum saw); db."""
    rectified = np.empty_like(dout)
    relu_backward(dout, y, rectified, num_threads)
    dw_part, db_part = np.empty_like(dw), np.empty_like(db)
    dw[...] = 0
    db[...] = 0
    for some, part in _blocks(dout, pool):
        max_pool2d_backward(
            rectified[some], argmax[some], part, pool, pool, (0, 0, 0, 0), (1, 1), num_threads
        )
        conv2d_backward_weight(
            part, x[some], dw_part, db_part, stride, padding, dilation, groups, num_threads
        )
        dw += dw_part
        db += db_part


def _blocks(y: Array, pool: Pair) -> Iterator[tuple[slice, Array]]:
    """Some images, and room for their map, as many as the shape allows."""
    N, OC, PH, PW = y.shape
    shape = OC, PH * pool[0], PW * pool[1]
    images = max(1, min(N, MAP_BYTES // (y.itemsize * OC * PH * PW * pool[0] * pool[1])))
    # Evenly, so that all blocks but the last have one plan.
    images = -(-N // max(1, -(-N // images)))
    part = np.empty((images, *shape), y.dtype)
    for start in range(0, N, max(images, 1)):
        yield slice(start, start + images), part[: N - start]
