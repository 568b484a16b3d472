"""Rectifiers that are not flat below zero: each worker its share of elements, rows or channels."""

from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import In, Numbers, Out, driver, usable_workers
from fastscratch.kernels.numba_jit.elementary import add_up, hyperbolic_tangent
from fastscratch.kernels.numba_jit.lines import get, put, share_start
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array

GROUP = 64
"""Features of a task."""
_DOUBLE = np.dtype(np.float64)


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    C: int
    S: int


def leaky_relu_forward(x: Array, alpha: Array, y: Array, num_threads: int) -> None:
    """y = x where x > 0, else alpha*x."""
    leak(usable_workers(num_threads, x.size), x, x, alpha, y, x.size)


def leaky_relu_backward(dout: Array, x: Array, alpha: Array, dx: Array, num_threads: int) -> None:
    """dx = dout where x > 0, else alpha*dout."""
    leak(usable_workers(num_threads, dx.size), dout, x, alpha, dx, dx.size)


def elu_forward(x: Array, alpha: Array, y: Array, num_threads: int) -> None:
    """y = x where x > 0, else alpha*(exp(x) - 1), which overflows for no x."""
    elu(usable_workers(num_threads, 8 * x.size), x, alpha, y, x.size)


def elu_backward(dout: Array, y: Array, alpha: Array, dx: Array, num_threads: int) -> None:
    """dx = dout where y > 0, else dout*(y + alpha)."""
    elu_slope(usable_workers(num_threads, dx.size), dout, y, alpha, dx, dx.size)


def prelu_forward(x: Array, slopes: Array, y: Array, num_threads: int) -> None:
    """y = x where x > 0, else slopes[c]*x."""
    extents = Extents(x.shape[0], x.shape[1], x.shape[2])
    leak_channels(usable_workers(num_threads, 4 * x.size), x, slopes, y, extents)


def prelu_backward(
    dout: Array, x: Array, slopes: Array, dx: Array, dslopes: Array, num_threads: int
) -> None:
    """dx = dout where x > 0, else slopes[c]*dout; dslopes[c] = the sum of dout*x elsewhere."""
    extents = Extents(x.shape[0], x.shape[1], x.shape[2])
    workers = usable_workers(num_threads, 12 * x.size)
    with Scratch(_DOUBLE, extents.C) as (sums, _):
        differentiate_channels(workers, dout, x, slopes, dx, dslopes, sums, extents)


@driver
def leak(
    worker: int, workers: int, source: In, x: In, alpha: Numbers, target: Out, size: int
) -> None:
    """Forward, the source is x itself."""
    slope = source.dtype.type(get(alpha, 0))
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value = get(source, i)
        put(target, i, value if get(x, i) > 0 else slope * value)


@driver
def elu(worker: int, workers: int, x: In, alpha: Numbers, y: Out, size: int) -> None:
    """With t = tanh(x/2), exp(x) - 1 is 2*t/(1 - t): exact in the relative sense near 0, too."""
    scale = x.dtype.type(get(alpha, 0))
    half, one, two = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(2)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value = get(x, i)
        t = hyperbolic_tangent(-abs(value) * half)
        put(y, i, value if value > 0 else scale * (two * t / (one - t)))


@driver
def elu_slope(
    worker: int, workers: int, dout: In, y: In, alpha: Numbers, dx: Out, size: int
) -> None:
    """1, or y + alpha, times dout."""
    shift = dout.dtype.type(get(alpha, 0))
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value, slope = get(y, i), get(dout, i)
        put(dx, i, slope if value > 0 else slope * (value + shift))


@driver
def leak_channels(worker: int, workers: int, x: In, slopes: In, y: Out, e: Extents) -> None:
    """A task is a sample."""
    for n in range(e.N * worker // workers, e.N * (worker + 1) // workers):
        if e.S == 1:
            row = n * e.C
            for c in range(e.C):
                value = get(x, row + c)
                put(y, row + c, value if value > 0 else get(slopes, c) * value)
            continue
        for c in range(e.C):
            slope, start = get(slopes, c), (n * e.C + c) * e.S
            for i in range(start, start + e.S):
                value = get(x, i)
                put(y, i, value if value > 0 else slope * value)


@driver
def differentiate_channels(
    worker: int, workers: int, dout: In, x: In, slopes: In, dx: Out, dslopes: Out, sums: Numbers,
    e: Extents,
) -> None:  # fmt: skip
    """A task is a channel, or a group of features: its sum has one order, whoever does it."""
    zero = dout.dtype.type(0)
    width = GROUP if e.S == 1 else 1
    tasks = (e.C + width - 1) // width
    for task in range(tasks * worker // workers, tasks * (worker + 1) // workers):
        first, last = task * width, min((task + 1) * width, e.C)
        for c in range(first, last):
            put(sums, c, 0.0)
        for n in range(e.N):
            if e.S == 1:
                row = n * e.C
                for c in range(first, last):
                    value, slope = get(x, row + c), get(dout, row + c)
                    put(dx, row + c, slope if value > 0 else get(slopes, c) * slope)
                    put(sums, c, get(sums, c) + (zero if value > 0 else slope * value))
                continue
            own, start, total = get(slopes, first), (n * e.C + first) * e.S, 0.0
            for i in range(start, start + e.S):
                value, slope = get(x, i), get(dout, i)
                put(dx, i, slope if value > 0 else own * slope)
                total = add_up(total, zero if value > 0 else slope * value)
            put(sums, first, get(sums, first) + total)
        for c in range(first, last):
            put(dslopes, c, get(sums, c))
