"""Dense (affine, fully connected) layer: y = x @ weight + bias."""

import numpy as np

from fastscratch.types import Array


def dense_forward(x: Array, weight: Array, bias: Array, y: Array, num_threads: int) -> None:
    """y = x @ weight + bias."""
    np.matmul(x, weight, out=y)
    y += bias


def dense_backward_input(dout: Array, weight: Array, dx: Array, num_threads: int) -> None:
    """dx = dout @ weight.T."""
    np.matmul(dout, weight.T, out=dx)


def dense_backward_weight(dout: Array, x: Array, dw: Array, db: Array, num_threads: int) -> None:
    """dw = x.T @ dout and db = the sum of dout over the batch."""
    np.matmul(x.T, dout, out=dw)
    np.sum(dout, axis=0, out=db)
