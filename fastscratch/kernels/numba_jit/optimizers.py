"""Updates of parameters by their gradients: each worker its share of the elements."""

import math

import numpy as np

from fastscratch.kernels.arrays import SUMMED
from fastscratch.kernels.numba_jit.compile import In, Numbers, Out, driver, inner, usable_workers
from fastscratch.kernels.numba_jit.lines import get, put, share_start
from fastscratch.types import Array


def sgd_update(value: Array, grad: Array, rates: Array, num_threads: int) -> None:
    """With rates lr, decay: value -= lr*(grad + decay*value)."""
    descend(usable_workers(num_threads, 4 * value.size), value, grad, rates, value.size)


def momentum_update(
    value: Array, velocity: Array, grad: Array, rates: Array, num_threads: int
) -> None:
    """velocity = momentum*velocity + gain*(grad + decay*value); value += step*velocity."""
    workers = usable_workers(num_threads, 6 * value.size)
    roll(workers, value, velocity, grad, rates, value.size)


def nesterov_update(
    value: Array, velocity: Array, grad: Array, rates: Array, num_threads: int
) -> None:
    """With g = gain*(grad + decay*value): velocity = momentum*velocity + g, and

    value += step*(momentum*velocity + g).
    """
    workers = usable_workers(num_threads, 6 * value.size)
    look_ahead(workers, value, velocity, grad, rates, value.size)


def adagrad_update(value: Array, total: Array, grad: Array, rates: Array, num_threads: int) -> None:
    """With g = grad + decay*value: total += g*g; value -= lr*g/(sqrt(total) + eps)."""
    gather(usable_workers(num_threads, 16 * value.size), value, total, grad, rates, value.size)


def rmsprop_update(value: Array, v: Array, grad: Array, rates: Array, num_threads: int) -> None:
    """With g = grad + decay*value: v = rho*v + (1 - rho)*g*g; value -= lr*g/(sqrt(v) + eps)."""
    average(usable_workers(num_threads, 16 * value.size), value, v, grad, rates, value.size)


def adam_update(
    value: Array, m: Array, v: Array, grad: Array, rates: Array, num_threads: int
) -> None:
    """value -= rate*m/(sqrt(scale*v) + eps), m and v being running means of g and g*g."""
    adapt(usable_workers(num_threads, 16 * value.size), value, m, v, grad, rates, value.size)


def squared_norm(x: Array, sums: Array, num_threads: int) -> None:
    """sums = the sums of x*x over runs of SUMMED elements."""
    add_squares(usable_workers(num_threads, x.size), x, sums, x.size)


@inner
def rounded(like: Array, numbers: Array, index: int) -> float:
    """A number in the dtype that is computed in."""
    return like.dtype.type(get(numbers, index))  # type: ignore[no-any-return]


_TINY_F32, _TINY_F64 = float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny)


@inner
def normal(like: Array, x: float) -> float:
    """x, or 0 if it is smaller than any normal number: what fades step by step never gets there.

    NaN stays. Arithmetic on such numbers takes hundreds of cycles.
    """
    least = like.dtype.type(_TINY_F32 if like.itemsize == 4 else _TINY_F64)
    return like.dtype.type(0) if (x > -least) & (x < least) else x


@driver
def descend(worker: int, workers: int, value: Out, grad: In, rates: Numbers, size: int) -> None:
    """The gradient, and the weights' share."""
    lr, decay = rounded(value, rates, 0), rounded(value, rates, 1)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        w = get(value, i)
        put(value, i, w - lr * (get(grad, i) + decay * w))


@driver
def roll(
    worker: int, workers: int, value: Out, velocity: Out, grad: In, rates: Numbers, size: int
) -> None:
    """The velocity first."""
    momentum, gain = rounded(value, rates, 0), rounded(value, rates, 1)
    step, decay = rounded(value, rates, 2), rounded(value, rates, 3)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        w = get(value, i)
        v = normal(value, momentum * get(velocity, i) + gain * (get(grad, i) + decay * w))
        put(velocity, i, v)
        put(value, i, w + step * v)


@driver
def look_ahead(
    worker: int, workers: int, value: Out, velocity: Out, grad: In, rates: Numbers, size: int
) -> None:
    """The velocity first, and from where it leads to the gradient once more."""
    momentum, gain = rounded(value, rates, 0), rounded(value, rates, 1)
    step, decay = rounded(value, rates, 2), rounded(value, rates, 3)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        w = get(value, i)
        g = gain * (get(grad, i) + decay * w)
        v = normal(value, momentum * get(velocity, i) + g)
        put(velocity, i, v)
        put(value, i, w + step * (momentum * v + g))


@driver
def gather(
    worker: int, workers: int, value: Out, total: Out, grad: In, rates: Numbers, size: int
) -> None:
    """The sum of squares first."""
    lr, eps, decay = rounded(value, rates, 0), rounded(value, rates, 1), rounded(value, rates, 2)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        w = get(value, i)
        g = get(grad, i) + decay * w
        square = get(total, i) + g * g
        put(total, i, square)
        put(value, i, w - lr * g / (value.dtype.type(math.sqrt(square)) + eps))


@driver
def average(
    worker: int, workers: int, value: Out, v: Out, grad: In, rates: Numbers, size: int
) -> None:
    """The mean of squares first."""
    lr, rho = rounded(value, rates, 0), rounded(value, rates, 1)
    share = value.dtype.type(1 - get(rates, 1))
    eps, decay = rounded(value, rates, 2), rounded(value, rates, 3)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        w = get(value, i)
        g = get(grad, i) + decay * w
        square = rho * get(v, i) + share * g * g
        put(v, i, square)
        put(value, i, w - lr * g / (value.dtype.type(math.sqrt(square)) + eps))


@driver
def adapt(
    worker: int, workers: int, value: Out, m: Out, v: Out, grad: In, rates: Numbers, size: int
) -> None:
    """The running means first."""
    beta1, beta2 = rounded(value, rates, 0), rounded(value, rates, 1)
    share1 = value.dtype.type(1 - get(rates, 0))
    share2 = value.dtype.type(1 - get(rates, 1))
    rate, scale = rounded(value, rates, 2), rounded(value, rates, 3)
    eps, decay = rounded(value, rates, 4), rounded(value, rates, 5)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        w = get(value, i)
        g = get(grad, i) + decay * w
        mean = normal(value, beta1 * get(m, i) + share1 * g)
        square = beta2 * get(v, i) + share2 * g * g
        put(m, i, mean)
        put(v, i, square)
        put(value, i, w - rate * mean / (value.dtype.type(math.sqrt(scale * square)) + eps))


@driver
def add_squares(worker: int, workers: int, x: In, sums: Numbers, size: int) -> None:
    """A task is a run."""
    for task in range(worker, (size + SUMMED - 1) // SUMMED, workers):
        total = 0.0
        for i in range(task * SUMMED, min((task + 1) * SUMMED, size)):
            element = np.float64(get(x, i))
            total += element * element
        put(sums, task, total)
