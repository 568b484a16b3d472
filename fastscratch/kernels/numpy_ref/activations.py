"""Activations, element by element; the backward passes take what the forward pass returned."""

import numpy as np

from fastscratch.kernels.numpy_ref.masking import keep_where
from fastscratch.types import Array


def relu_forward(x: Array, y: Array, num_threads: int) -> None:
    """y = max(x, 0); NaN stays NaN."""
    np.maximum(x, 0, out=y)


def relu_backward(dout: Array, y: Array, dx: Array, num_threads: int) -> None:
    """dx = dout where y > 0, else 0, whatever dout is there."""
    dx[...] = keep_where(y > 0, dout)


def add_forward(x: Array, other: Array, y: Array, num_threads: int) -> None:
    """y = x + other."""
    np.add(x, other, out=y)


def add_relu_forward(x: Array, other: Array, y: Array, num_threads: int) -> None:
    """y = max(x + other, 0); NaN stays NaN."""
    relu_forward(x + other, y, num_threads)


def sigmoid_forward(x: Array, y: Array, num_threads: int) -> None:
    """y = 1/(1 + exp(-x)), which overflows for no x."""
    small = np.exp(-np.abs(x))  # never above 1
    np.divide(np.maximum(small, x >= 0), 1 + small, out=y)  # exp(x) or 1, over that


def sigmoid_backward(dout: Array, y: Array, dx: Array, num_threads: int) -> None:
    """dx = dout * y*(1 - y)."""
    np.multiply(dout, y * (1 - y), out=dx)


def tanh_forward(x: Array, y: Array, num_threads: int) -> None:
    """y = tanh(x)."""
    np.tanh(x, out=y)


def tanh_backward(dout: Array, y: Array, dx: Array, num_threads: int) -> None:
    """dx = dout * (1 - y*y)."""
    np.multiply(dout, 1 - y * y, out=dx)
