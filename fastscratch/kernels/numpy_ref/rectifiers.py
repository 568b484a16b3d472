"""Rectifiers that are not flat below zero: with a fixed slope, a learned one, an exponential."""

import numpy as np

from fastscratch.types import Array


def leaky_relu_forward(x: Array, alpha: Array, y: Array, num_threads: int) -> None:
    """y = x where x > 0, else alpha*x."""
    y[...] = np.where(x > 0, x, alpha.item() * x)


def leaky_relu_backward(dout: Array, x: Array, alpha: Array, dx: Array, num_threads: int) -> None:
    """dx = dout where x > 0, else alpha*dout."""
    dx[...] = np.where(x > 0, dout, alpha.item() * dout)


def elu_forward(x: Array, alpha: Array, y: Array, num_threads: int) -> None:
    """y = x where x > 0, else alpha*(exp(x) - 1), which overflows for no x."""
    y[...] = np.where(x > 0, x, alpha.item() * np.expm1(np.minimum(x, 0)))


def elu_backward(dout: Array, y: Array, alpha: Array, dx: Array, num_threads: int) -> None:
    """dx = dout where y > 0, else dout*(y + alpha)."""
    dx[...] = np.where(y > 0, dout, dout * (y + alpha.item()))


def prelu_forward(x: Array, slopes: Array, y: Array, num_threads: int) -> None:
    """y = x where x > 0, else slopes[c]*x."""
    y[...] = np.where(x > 0, x, slopes[:, None] * x)


def prelu_backward(
    dout: Array, x: Array, slopes: Array, dx: Array, dslopes: Array, num_threads: int
) -> None:
    """dx = dout where x > 0, else slopes[c]*dout; dslopes[c] = the sum of dout*x elsewhere."""
    above = x > 0
    dx[...] = np.where(above, dout, slopes[:, None] * dout)
    np.sum(np.where(above, 0, dout * x), axis=(0, 2), out=dslopes)
