"""Activations, element by element: each worker its share of the elements, whatever their axes."""

from fastscratch.kernels.numba_jit.compile import In, Out, driver, usable_workers
from fastscratch.kernels.numba_jit.elementary import falling_exp, hyperbolic_tangent
from fastscratch.kernels.numba_jit.lines import get, put, share_start
from fastscratch.types import Array


def relu_forward(x: Array, y: Array, num_threads: int) -> None:
    """y = max(x, 0); NaN stays NaN."""
    relu(usable_workers(num_threads, x.size), x, y, x.size)


def relu_backward(dout: Array, y: Array, dx: Array, num_threads: int) -> None:
    """dx = dout where y > 0, else 0, whatever dout is there."""
    relu_slope(usable_workers(num_threads, dx.size), dout, y, dx, dx.size)


def add_forward(x: Array, other: Array, y: Array, num_threads: int) -> None:
    """y = x + other."""
    add(usable_workers(num_threads, x.size), x, other, y, x.size)


def add_relu_forward(x: Array, other: Array, y: Array, num_threads: int) -> None:
    """y = max(x + other, 0); NaN stays NaN."""
    add_relu(usable_workers(num_threads, x.size), x, other, y, x.size)


def sigmoid_forward(x: Array, y: Array, num_threads: int) -> None:
    """y = 1/(1 + exp(-x)), which overflows for no x."""
    sigmoid(usable_workers(num_threads, 8 * x.size), x, y, x.size)


def sigmoid_backward(dout: Array, y: Array, dx: Array, num_threads: int) -> None:
    """dx = dout * y*(1 - y)."""
    sigmoid_slope(usable_workers(num_threads, dx.size), dout, y, dx, dx.size)


def tanh_forward(x: Array, y: Array, num_threads: int) -> None:
    """y = tanh(x)."""
    tanh(usable_workers(num_threads, 8 * x.size), x, y, x.size)


def tanh_backward(dout: Array, y: Array, dx: Array, num_threads: int) -> None:
    """dx = dout * (1 - y*y)."""
    tanh_slope(usable_workers(num_threads, dx.size), dout, y, dx, dx.size)


@driver
def relu(worker: int, workers: int, x: In, y: Out, size: int) -> None:
    """Zero wins ties and loses to NaN."""
    zero = x.dtype.type(0)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value = get(x, i)
        put(y, i, zero if value <= 0 else value)


@driver
def relu_slope(worker: int, workers: int, dout: In, y: In, dx: Out, size: int) -> None:
    """A choice, not a product: 0 times infinity is no 0."""
    zero = dout.dtype.type(0)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        slope = get(dout, i)
        put(dx, i, slope if get(y, i) > 0 else zero)


@driver
def add(worker: int, workers: int, x: In, other: In, y: Out, size: int) -> None:
    """Element by element."""
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        put(y, i, get(x, i) + get(other, i))


@driver
def add_relu(worker: int, workers: int, x: In, other: In, y: Out, size: int) -> None:
    """The sum is rectified while it is in a register."""
    zero = x.dtype.type(0)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value = get(x, i) + get(other, i)
        put(y, i, zero if value <= 0 else value)


@driver
def sigmoid(worker: int, workers: int, x: In, y: Out, size: int) -> None:
    """exp(-|x|) is never above 1."""
    one = x.dtype.type(1)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value = get(x, i)
        small = falling_exp(-abs(value))
        put(y, i, (one if value >= 0 else small) / (one + small))


@driver
def sigmoid_slope(worker: int, workers: int, dout: In, y: In, dx: Out, size: int) -> None:
    """y*(1 - y), times dout."""
    one = dout.dtype.type(1)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value = get(y, i)
        put(dx, i, get(dout, i) * (value * (one - value)))


@driver
def tanh(worker: int, workers: int, x: In, y: Out, size: int) -> None:
    """Element by element."""
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        put(y, i, hyperbolic_tangent(get(x, i)))


@driver
def tanh_slope(worker: int, workers: int, dout: In, y: In, dx: Out, size: int) -> None:
    """1 - y*y, times dout."""
    one = dout.dtype.type(1)
    for i in range(share_start(worker, workers, size), share_start(worker + 1, workers, size)):
        value = get(y, i)
        put(dx, i, get(dout, i) * (one - value * value))
