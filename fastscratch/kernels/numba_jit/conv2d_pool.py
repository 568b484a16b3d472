"""Convolution, ReLU and max pooling, some images at a time, so that their map stays in a cache."""

from functools import lru_cache

import numpy as np

from fastscratch.kernels.numba_jit import pooled_weight
from fastscratch.kernels.numba_jit.compile import usable_workers
from fastscratch.kernels.numba_jit.conv2d import plan_forward, run
from fastscratch.kernels.numba_jit.pool2d import find_largest
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array, Padding, Pair

MAP_BYTES = 2 << 20
"""Of the map of some images: still in the caches, and few calls of parallel loops."""


def conv2d_relu_max_pool2d_forward(
    x: Array, weight: Array, bias: Array, y: Array, argmax: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, pool: Pair, num_threads: int,
) -> None:  # fmt: skip
    """y = max(0, the maximum of each window of conv2d(x)), argmax = which element it was."""
    N, OC, PH, PW = y.shape
    image = OC, PH * pool[0], PW * pool[1]
    size = OC * PH * PW * pool[0] * pool[1]
    images = max(1, min(N, MAP_BYTES // (y.itemsize * size)))
    # Evenly, so that all blocks but the last have one plan.
    images = -(-N // max(1, -(-N // images)))
    # Kept memory: pages that are new take half as long as the pooling.
    with Scratch(y.dtype, images * size) as (part, _):
        for start in range(0, N, max(images, 1)):
            some = slice(start, start + images)
            shape = min(images, N - start), *image
            convolution = x[some].shape, weight.shape, shape, stride, padding, dilation, groups
            run(plan_forward(*convolution, x.dtype), x[some], weight, bias, part, num_threads)
            find_largest(
                part, shape, y[some], argmax[some], pool, pool, (0, 0, 0, 0), (1, 1), num_threads,
                rectified=True,
            )  # fmt: skip


def conv2d_relu_max_pool2d_backward_weight(
    dout: Array, y: Array, argmax: Array, x: Array, dw: Array, db: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, pool: Pair, num_threads: int,
) -> None:  # fmt: skip
    """dw = the sum over windows where y > 0 of dout * (the part of x that its maximum saw); db."""
    problem = dout.shape, x.shape, dw.shape, stride, padding, dilation, groups, pool
    plan = _plan_backward_weight(*problem, x.dtype)
    workers = usable_workers(num_threads, plan.work)
    sums = np.empty(plan.sums_shape, x.dtype)
    with Scratch(
        x.dtype, workers * plan.local_size, workers * plan.list_size,
        offsets=workers * plan.list_size,
    ) as pieces:  # fmt: skip
        pooled_weight.add_windows(
            workers, dout, y, argmax, x, sums, *pieces, plan.adding, window=argmax.dtype.char
        )
    total = np.add.reduce(sums, axis=0)
    db[...] = total[:, -1]
    OC, C, KH, KW = dw.shape
    if dilation[1] == 1:
        dw[...] = total[:, :-1].reshape(OC, C, KH, -1)[..., :KW]
    else:
        dw[...] = total[:, :-1].reshape(OC, C, KH, KW, -1)[..., 0]


@lru_cache(maxsize=256)
def _plan_backward_weight(
    dout: tuple[int, ...], x: tuple[int, ...], dw: tuple[int, ...], stride: Pair,
    padding: Padding, dilation: Pair, groups: int, pool: Pair, dtype: np.dtype[np.floating],
) -> pooled_weight.Plan:  # fmt: skip
    return pooled_weight.plan(dout, x, dw, stride, padding, dilation, groups, pool, dtype)
