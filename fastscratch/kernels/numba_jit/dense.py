"""The dense layer's three products, all on the package's own matrix product."""

import numpy as np

from fastscratch.kernels.numba_jit.matmul import matmul, sum_rows
from fastscratch.types import Array


def dense_forward(x: Array, weight: Array, bias: Array, y: Array, num_threads: int) -> None:
    """y = x @ weight + bias."""
    inputs, outputs = weight.shape
    matmul(x, inputs, 1, weight, outputs, 1, bias, y, inputs, num_threads)


def dense_backward_input(dout: Array, weight: Array, dx: Array, num_threads: int) -> None:
    """dx = dout @ weight.T."""
    inputs, outputs = weight.shape
    zero = np.zeros(inputs, dx.dtype)
    matmul(dout, outputs, 1, weight, 1, outputs, zero, dx, outputs, num_threads)


def dense_backward_weight(dout: Array, x: Array, dw: Array, db: Array, num_threads: int) -> None:
    """dw = x.T @ dout, db = sum of dout over the batch."""
    inputs, outputs = dw.shape
    zero = np.zeros(outputs, dw.dtype)
    matmul(x, 1, inputs, dout, outputs, 1, zero, dw, dout.shape[0], num_threads)
    sum_rows(dout, db, num_threads)
