"""The dense layer's three products: blocked, or, for few examples, as they lie."""

from fastscratch.kernels.numba_jit import matmul_few as few
from fastscratch.kernels.numba_jit.compile import usable_workers
from fastscratch.kernels.numba_jit.matmul import matmul
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array


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
    examples, outputs = dout.shape
    if examples <= few.FEW_ROWS:
        workers = usable_workers(num_threads, dw.size * examples)
        few.add_products(workers, x, dout, dw, x.shape[1], examples, outputs)
    else:
        matmul(x, True, dout, False, None, dw, examples, num_threads)
    workers = usable_workers(num_threads, dout.size)
    with Scratch(db.dtype, workers * few.ADDED_COLUMNS) as (sums, _):
        few.add_rows(workers, dout, db, sums, examples, outputs)
