"""The dense layer's three products: blocked, or, for few examples, as they lie.

A convolution whose windows are as large as the images is a dense layer, too, with the weights of an
output in a row: forward there is backward input here, and the other way round.
"""

import math
from functools import lru_cache

import numpy as np

from fastscratch.kernels.numba_jit import matmul_few as few
from fastscratch.kernels.numba_jit.compile import usable_workers
from fastscratch.kernels.numba_jit.matmul import matmul
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array, Padding, Pair


def dense_forward(x: Array, weight: Array, bias: Array, y: Array, num_threads: int) -> None:
    """y = x @ weight + bias."""
    examples, inputs = x.shape
    if examples <= few.FEW_ROWS:
        workers = usable_workers(num_threads, weight.size * examples)
        few.multiply_lines(workers, x, weight, bias, y, examples, inputs, weight.shape[1])
    else:
        matmul(x, False, weight, False, bias, y, inputs, num_threads)


def dense_backward_input(dout: Array, weight: Array, dx: Array, num_threads: int) -> None:
    """dx = dout @ weight.T."""
    examples, outputs = dout.shape
    if examples <= few.FEW_ROWS:
        workers = usable_workers(num_threads, weight.size * examples)
        few.multiply_dots(workers, dout, weight, dx, examples, outputs, weight.shape[0])
    else:
        matmul(dout, False, weight, True, None, dx, outputs, num_threads)


def dense_backward_weight(dout: Array, x: Array, dw: Array, db: Array, num_threads: int) -> None:
    """dw = x.T @ dout, db = sum of dout over the batch."""
    _multiply_examples(dout, x, dw, num_threads)
    _add_examples(dout, db, num_threads)


def _multiply_examples(dout: Array, x: Array, dw: Array, num_threads: int) -> None:
    examples, outputs = dout.shape
    if examples <= few.FEW_ROWS:
        workers = usable_workers(num_threads, dw.size * examples)
        few.add_products(workers, x, dout, dw, x.shape[1], examples, outputs)
    else:
        matmul(x, True, dout, False, None, dw, examples, num_threads)


def _add_examples(dout: Array, db: Array, num_threads: int) -> None:
    workers = usable_workers(num_threads, dout.size)
    with Scratch(db.dtype, workers * few.ADDED_COLUMNS) as (sums, _):
        few.add_rows(workers, dout, db, sums, *dout.shape)


def whole_forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """y[n, oc] = bias[oc] + sum of x[n]*weight[oc]: each window is an image."""
    out = _rows(y)
    dense_backward_input(_rows(x), _rows(weight), out, num_threads)
    out += bias


def whole_backward_input(
    dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dx[n] = sum over oc of dout[n, oc]*weight[oc]."""
    rows = _rows(dx)
    dense_forward(_rows(dout), _rows(weight), no_bias(rows.shape[1], dx.dtype), rows, num_threads)


def whole_backward_weight(
    dout: Array, x: Array, dw: Array, db: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dw[oc] = sum over n of dout[n, oc]*x[n], and db = the sum of dout over the batch."""
    rows = _rows(dout)
    _multiply_examples(_rows(x), rows, _rows(dw), num_threads)
    _add_examples(rows, db, num_threads)


def _rows(array: Array) -> Array:
    """An image, or a filter, to a row."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


@lru_cache(maxsize=64)
def no_bias(channels: int, dtype: np.dtype[np.floating]) -> Array:
    """So many zeros, which are only read."""
    return np.zeros(channels, dtype)
