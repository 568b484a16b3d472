"""Updates of parameters by their gradients, in place; `rates` are the numbers of a formula."""

import numpy as np

from fastscratch.kernels.arrays import SUMMED
from fastscratch.types import Array


def drop_denormals(state: Array) -> None:
    """Set to 0 what is smaller than any normal number.

    What fades by a factor a step never gets to 0, and arithmetic on such numbers is slow.
    """
    state[np.abs(state) < np.finfo(state.dtype).tiny] = 0


def sgd_update(value: Array, grad: Array, rates: Array, num_threads: int) -> None:
    """With rates lr, decay: value -= lr*(grad + decay*value)."""
    lr, decay = rates.tolist()
    value -= lr * (grad + decay * value)


def momentum_update(
    value: Array, velocity: Array, grad: Array, rates: Array, num_threads: int
) -> None:
    """With rates momentum, gain, step, decay.

    velocity = momentum*velocity + gain*(grad + decay*value); value += step*velocity.
    """
    momentum, gain, step, decay = rates.tolist()
    velocity *= momentum
    velocity += gain * (grad + decay * value)
    drop_denormals(velocity)
    value += step * velocity


def nesterov_update(
    value: Array, velocity: Array, grad: Array, rates: Array, num_threads: int
) -> None:
    """With rates momentum, gain, step, decay, and g = gain*(grad + decay*value).

    velocity = momentum*velocity + g; value += step*(momentum*velocity + g).
    """
    momentum, gain, step, decay = rates.tolist()
    g = gain * (grad + decay * value)
    velocity *= momentum
    velocity += g
    drop_denormals(velocity)
    value += step * (momentum * velocity + g)


def adagrad_update(value: Array, total: Array, grad: Array, rates: Array, num_threads: int) -> None:
    """With rates lr, eps, decay, and g = grad + decay*value.

    total += g*g; value -= lr*g/(sqrt(total) + eps).
    """
    lr, eps, decay = rates.tolist()
    g = grad + decay * value
    total += g * g
    value -= lr * g / (np.sqrt(total) + eps)


def rmsprop_update(value: Array, v: Array, grad: Array, rates: Array, num_threads: int) -> None:
    """With rates lr, rho, eps, decay, and g = grad + decay*value.

    v = rho*v + (1 - rho)*g*g; value -= lr*g/(sqrt(v) + eps).
    """
    lr, rho, eps, decay = rates.tolist()
    g = grad + decay * value
    v *= rho
    v += (1 - rho) * g * g
    value -= lr * g / (np.sqrt(v) + eps)


def adam_update(
    value: Array, m: Array, v: Array, grad: Array, rates: Array, num_threads: int
) -> None:
    """With rates beta1, beta2, rate, scale, eps, decay, and g = grad + decay*value.

    m = beta1*m + (1 - beta1)*g; v = beta2*v + (1 - beta2)*g*g;
    value -= rate*m/(sqrt(scale*v) + eps).
    """
    beta1, beta2, rate, scale, eps, decay = rates.tolist()
    g = grad + decay * value
    m *= beta1
    m += (1 - beta1) * g
    drop_denormals(m)
    v *= beta2
    v += (1 - beta2) * g * g
    value -= rate * m / (np.sqrt(scale * v) + eps)


def squared_norm(x: Array, sums: Array, num_threads: int) -> None:
    """sums = the sums of x*x over runs of SUMMED elements."""
    if x.size:
        squares = np.square(x.reshape(-1), dtype=np.float64)
        np.add.reduceat(squares, np.arange(0, x.size, SUMMED), out=sums)
