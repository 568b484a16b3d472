"""Batch normalisation of channels (N, C, S): a task is one channel, or a group of features.

Neighbours go to one worker: taken by turns, their planes lie between those that the other core
reads ahead, and two threads took 1.5 times as long.

Sums are in float64. Those along a plane are left to the compiler to spread over lanes; features
(S = 1) lie side by side, and each has a sum of its own in scratch memory. With ReLU behind it,
results and gradients are rectified on the way.
"""

import math
from typing import NamedTuple

import numpy as np

from fastscratch.kernels.numba_jit.compile import In, Numbers, Out, driver, inner, usable_workers
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array

GROUP = 64
"""Features of a task."""


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    N: int
    C: int
    S: int
    training: int
    """Whether mean and variance are to be found."""
    relu: int
    """Whether ReLU is behind it."""


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: Array, y: Array, mean: Array, var: Array,
    num_threads: int,
) -> None:  # fmt: skip
    """y = gamma*(x - mean)/sqrt(var + eps) + beta, mean and var being those of x over N and S."""
    _forward(x, gamma, beta, eps, mean, var, y, num_threads, training=1, relu=0)


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: Array, y: Array,
    num_threads: int,
) -> None:  # fmt: skip
    """y = gamma*(x - mean)/sqrt(var + eps) + beta."""
    _forward(x, gamma, beta, eps, mean, var, y, num_threads, training=0, relu=0)


def batch_norm_backward(
    dout: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: Array,
    dx: Array, dgamma: Array, dbeta: Array, num_threads: int,
) -> None:  # fmt: skip
    """dx = gamma/sqrt(var + eps) * (dout - dbeta/count - n*dgamma/count); dgamma; dbeta."""
    # Without ReLU nobody looks at y.
    _backward(dout, dout, x, gamma, mean, var, eps, dx, dgamma, dbeta, num_threads, relu=0)


def batch_norm_relu_forward(
    x: Array, gamma: Array, beta: Array, eps: Array, y: Array, mean: Array, var: Array,
    num_threads: int,
) -> None:  # fmt: skip
    """y = relu(batch_norm(x)), mean and var being those of x over N and S."""
    _forward(x, gamma, beta, eps, mean, var, y, num_threads, training=1, relu=1)


def batch_norm_relu_backward(
    dout: Array, y: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: Array,
    dx: Array, dgamma: Array, dbeta: Array, num_threads: int,
) -> None:  # fmt: skip
    """The gradients of batch_norm at x, of dout where y > 0, else 0."""
    _backward(dout, y, x, gamma, mean, var, eps, dx, dgamma, dbeta, num_threads, relu=1)


def _forward(
    x: Array, gamma: Array, beta: Array, eps: Array, mean: Array, var: Array, y: Array,
    num_threads: int, training: int, relu: int,
) -> None:  # fmt: skip
    extents = Extents(x.shape[0], x.shape[1], x.shape[2], training, relu)
    workers = usable_workers(num_threads, (16 if training else 8) * x.size)
    with Scratch(_DOUBLE, 2 * extents.C) as (sums, _):
        normalise(workers, x, gamma, beta, eps, mean, var, y, sums, extents)


def _backward(
    dout: Array, y: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: Array,
    dx: Array, dgamma: Array, dbeta: Array, num_threads: int, relu: int,
) -> None:  # fmt: skip
    extents = Extents(x.shape[0], x.shape[1], x.shape[2], 1, relu)
    workers = usable_workers(num_threads, 24 * x.size)
    with Scratch(_DOUBLE, 3 * extents.C) as (sums, _):
        differentiate(workers, dout, y, x, gamma, mean, var, eps, dx, dgamma, dbeta, sums, extents)


_DOUBLE = np.dtype(np.float64)


@driver
def normalise(
    worker: int, workers: int, x: In, gamma: In, beta: In, eps: Numbers, mean: Out, var: Out,
    y: Out, sums: Numbers, e: Extents,
) -> None:  # fmt: skip
    """Mean, variance, result: three passes over what stays in the cache."""
    zero = x.dtype.type(0)
    width = GROUP if e.S == 1 else 1
    tasks = (e.C + width - 1) // width
    for task in range(tasks * worker // workers, tasks * (worker + 1) // workers):
        first, last = task * width, min((task + 1) * width, e.C)
        if e.training:
            if e.S == 1:
                _measure_features(x, mean, var, sums, first, last, e)
            else:
                _measure_channel(x, mean, var, first, e)
        for c in range(first, last):
            put(sums, c, get(gamma, c) / math.sqrt(get(var, c) + get(eps, 0)))
        if e.S == 1:
            _normalise_features(x, beta, mean, y, sums, first, last, e)
            continue
        for n in range(e.N):
            for c in range(first, last):
                middle, shift = get(mean, c), get(beta, c)
                scale = x.dtype.type(get(sums, c))
                start = (n * e.C + c) * e.S
                for i in range(start, start + e.S):
                    value = (get(x, i) - middle) * scale + shift
                    put(y, i, zero if e.relu and value <= 0 else value)


@inner
def _normalise_features(
    x: Array, beta: Array, mean: Array, y: Array, sums: Array, first: int, last: int, e: Extents
) -> None:
    """Along a row: a loop over one pixel for each of its features takes ten times as long."""
    zero = x.dtype.type(0)
    for n in range(e.N):
        row = n * e.C
        for c in range(first, last):
            scale = x.dtype.type(get(sums, c))
            value = (get(x, row + c) - get(mean, c)) * scale + get(beta, c)
            put(y, row + c, zero if e.relu and value <= 0 else value)


@inner
def _measure_channel(x: Array, mean: Array, var: Array, c: int, e: Extents) -> None:
    count = max(e.N * e.S, 1)
    total = 0.0
    for n in range(e.N):
        start = (n * e.C + c) * e.S
        for i in range(start, start + e.S):
            total += get(x, i)
    put(mean, c, total / count)
    middle = get(mean, c)
    total = 0.0
    for n in range(e.N):
        start = (n * e.C + c) * e.S
        for i in range(start, start + e.S):
            difference = get(x, i) - middle
            total += difference * difference
    put(var, c, total / count)


@inner
def _measure_features(
    x: Array, mean: Array, var: Array, sums: Array, first: int, last: int, e: Extents
) -> None:
    count = max(e.N, 1)
    for c in range(first, last):
        put(sums, c, 0.0)
    for n in range(e.N):
        for c in range(first, last):
            put(sums, c, get(sums, c) + get(x, n * e.C + c))
    for c in range(first, last):
        put(mean, c, get(sums, c) / count)
        put(sums, c, 0.0)
    for n in range(e.N):
        for c in range(first, last):
            difference = get(x, n * e.C + c) - get(mean, c)
            put(sums, c, get(sums, c) + difference * difference)
    for c in range(first, last):
        put(var, c, get(sums, c) / count)


@driver
def differentiate(
    worker: int, workers: int, dout: In, y: In, x: In, gamma: In, mean: In, var: In,
    eps: Numbers, dx: Out, dgamma: Out, dbeta: Out, sums: Numbers, e: Extents,
) -> None:  # fmt: skip
    """Two sums, and the result; nothing comes through a ReLU whose y is 0."""
    zero = dout.dtype.type(0)
    width = GROUP if e.S == 1 else 1
    count = max(e.N * e.S, 1)
    tasks = (e.C + width - 1) // width
    for task in range(tasks * worker // workers, tasks * (worker + 1) // workers):
        first, last = task * width, min((task + 1) * width, e.C)
        for c in range(first, last):
            put(sums, c, 0.0)
            put(sums, e.C + c, 0.0)
        if e.S == 1:
            _add_features(dout, y, x, mean, sums, first, last, e)
        for n in range(e.N if e.S != 1 else 0):
            for c in range(first, last):
                start = (n * e.C + c) * e.S
                middle = get(mean, c)
                total, product = 0.0, 0.0
                for i in range(start, start + e.S):
                    slope = zero if e.relu and not get(y, i) > 0 else get(dout, i)
                    total += slope
                    product += slope * (get(x, i) - middle)
                put(sums, c, get(sums, c) + total)
                put(sums, e.C + c, get(sums, e.C + c) + product)
        for c in range(first, last):
            inverse_std = 1 / math.sqrt(get(var, c) + get(eps, 0))
            put(dbeta, c, get(sums, c))
            put(dgamma, c, get(sums, e.C + c) * inverse_std)
            put(sums, c, inverse_std)
        if e.S == 1:
            _differentiate_features(
                dout, y, x, gamma, mean, dx, dgamma, dbeta, sums, first, last, e
            )
            continue
        for n in range(e.N):
            for c in range(first, last):
                start = (n * e.C + c) * e.S
                middle = get(mean, c)
                scale = dout.dtype.type(get(gamma, c) * get(sums, c))
                shift = dout.dtype.type(get(dbeta, c) / count)
                spread = dout.dtype.type(get(sums, c) * get(dgamma, c) / count)
                for i in range(start, start + e.S):
                    slope = zero if e.relu and not get(y, i) > 0 else get(dout, i)
                    put(dx, i, (slope - shift - (get(x, i) - middle) * spread) * scale)


@inner
def _add_features(
    dout: Array, y: Array, x: Array, mean: Array, sums: Array, first: int, last: int, e: Extents
) -> None:
    zero = dout.dtype.type(0)
    for n in range(e.N):
        row = n * e.C
        for c in range(first, last):
            slope = zero if e.relu and not get(y, row + c) > 0 else get(dout, row + c)
            put(sums, c, get(sums, c) + slope)
        # A loop of its own: of more arrays LLVM does not find out that they do not overlap, and
        # makes no vectors.
        for c in range(first, last):
            slope = zero if e.relu and not get(y, row + c) > 0 else get(dout, row + c)
            product = slope * (get(x, row + c) - get(mean, c))
            put(sums, e.C + c, get(sums, e.C + c) + product)


@inner
def _differentiate_features(
    dout: Array, y: Array, x: Array, gamma: Array, mean: Array, dx: Array, dgamma: Array,
    dbeta: Array, sums: Array, first: int, last: int, e: Extents,
) -> None:  # fmt: skip
    zero = dout.dtype.type(0)
    count = max(e.N, 1)
    for c in range(first, last):
        inverse_std = get(sums, c)
        put(sums, c, get(gamma, c) * inverse_std)
        put(sums, e.C + c, get(dbeta, c) / count)
        put(sums, 2 * e.C + c, inverse_std * get(dgamma, c) / count)
    for n in range(e.N):
        row = n * e.C
        for c in range(first, last):
            scale = dout.dtype.type(get(sums, c))
            shift = dout.dtype.type(get(sums, e.C + c))
            spread = dout.dtype.type(get(sums, 2 * e.C + c))
            slope = zero if e.relu and not get(y, row + c) > 0 else get(dout, row + c)
            put(dx, row + c, (slope - shift - (get(x, row + c) - get(mean, c)) * spread) * scale)
