"""Maximum and average over the windows of an image: the kernels, and what their drivers share."""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastscratch.kernels.numba_jit import pool2d_avg, pool2d_max
from fastscratch.kernels.numba_jit.compile import usable_workers
from fastscratch.kernels.numba_jit.pool_collect import strips_of
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array, Padding, Pair


def max_pool2d_forward(
    x: Array, y: Array, argmax: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """y = the maximum of each window, argmax = kh*KW + kw of the first element that is it."""
    find_largest(x, x.shape, y, argmax, kernel_size, stride, padding, dilation, num_threads)


def find_largest(
    x: Any, shape: tuple[int, ...], y: Array, argmax: Array, kernel_size: Pair, stride: Pair,
    padding: Padding, dilation: Pair, num_threads: int, *, rectified: bool = False,
) -> None:  # fmt: skip
    """`max_pool2d_forward` of elements that have a shape, and, if wanted, max(y, 0)."""
    problem = shape, y.shape, kernel_size, stride, padding, dilation
    extents = pool2d_max.extents_of(*problem, rectified)
    workers = usable_workers(num_threads, prod(shape))
    offsets = pool2d_max.tap_offsets(extents)
    pool2d_max.find(workers, y, argmax, x, offsets, extents, window=argmax.dtype.char)


def max_pool2d_backward(
    dout: Array, argmax: Array, dx: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, num_threads: int,
) -> None:  # fmt: skip
    """dx[the element that argmax names] += dout."""
    extents = pool2d_max.extents_of(dx.shape, dout.shape, kernel_size, stride, padding, dilation)
    workers = usable_workers(num_threads, dx.size)
    strips = _strips(dx.shape, dout.shape, kernel_size, stride, padding, dilation, dx.itemsize)
    if not strips.shape:
        pool2d_max.scatter(workers, dout, argmax, dx, extents, window=argmax.dtype.char)
        return
    size = workers * strips.size
    with Scratch(dx.dtype, size, size) as (dout_strips, argmax_strips, _):
        pool2d_max.collect(
            workers, dout, argmax, dx, dout_strips, argmax_strips, extents, strips,
            window=argmax.dtype.char,
        )  # fmt: skip


def avg_pool2d_forward(
    x: Array, y: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    count_include_pad: bool, num_threads: int,
) -> None:  # fmt: skip
    """y = the sum of each window over the number of its elements."""
    extents = pool2d_avg.extents_of(x.shape, y.shape, kernel_size, stride, padding)
    offsets = pool2d_avg.tap_offsets(extents)
    rows, cols = _counts(x.shape, y.shape, kernel_size, stride, padding, count_include_pad, x.dtype)
    pool2d_avg.average(usable_workers(num_threads, x.size), x, y, rows, cols, offsets, extents)


def avg_pool2d_backward(
    dout: Array, dx: Array, kernel_size: Pair, stride: Pair, padding: Padding,
    count_include_pad: bool, num_threads: int,
) -> None:  # fmt: skip
    """dx = dout over the number of elements, added to every element of its window."""
    extents = pool2d_avg.extents_of(dx.shape, dout.shape, kernel_size, stride, padding)
    rows, cols = _counts(
        dx.shape, dout.shape, kernel_size, stride, padding, count_include_pad, dx.dtype
    )
    workers = usable_workers(num_threads, dx.size)
    strips = _strips(dx.shape, dout.shape, kernel_size, stride, padding, (1, 1), dx.itemsize)
    if strips.shape:
        with Scratch(dx.dtype, workers * strips.size) as (shares, _):
            pool2d_avg.collect(workers, dout, dx, rows, cols, shares, extents, strips)
        return
    with Scratch(dx.dtype, workers * extents.line) as (lines, _):
        pool2d_avg.spread(workers, dout, dx, rows, cols, lines, extents)


_strips = lru_cache(maxsize=256)(strips_of)


@lru_cache(maxsize=256)
def _counts(
    x: tuple[int, ...], y: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Padding,
    count_include_pad: bool, dtype: np.dtype[np.floating],
) -> tuple[Array, Array]:  # fmt: skip
    """Rows and columns that each window counts; their product is what it is divided by."""
    counts = []
    for axis in range(2):
        before, after = padding[2 * axis : 2 * axis + 2] if count_include_pad else (0, 0)
        start = np.arange(y[2 + axis]) * stride[axis] - padding[2 * axis]
        first = np.maximum(start, -before)
        last = np.minimum(start + kernel_size[axis], x[2 + axis] + after)
        counts.append((last - first).astype(dtype))
    return counts[0], counts[1]
