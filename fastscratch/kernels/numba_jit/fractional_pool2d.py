"""Maximum over windows of any extent, as tables of firsts and stops give them."""

from typing import NamedTuple

from fastscratch.kernels.numba_jit.compile import (
    In,
    Labels,
    Out,
    WindowIn,
    WindowOut,
    driver,
    usable_workers,
)
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.types import Array


class Extents(NamedTuple):
    """Extents of one problem, all of them ints."""

    planes: int
    H: int
    W: int
    OH: int
    OW: int


def fractional_max_pool2d_forward(
    x: Array, rows: Array, cols: Array, y: Array, argmax: Array, num_threads: int
) -> None:
    """y = max of x[rows[oh, 0]:rows[oh, 1], cols[ow, 0]:cols[ow, 1]], argmax = ih*W + iw of it."""
    workers = usable_workers(num_threads, 2 * x.size)
    find(workers, x, rows, cols, y, argmax, _extents(x, y), window=argmax.dtype.char)


def fractional_max_pool2d_backward(dout: Array, argmax: Array, dx: Array, num_threads: int) -> None:
    """dx[the element that argmax names] += dout."""
    workers = usable_workers(num_threads, dx.size)
    scatter(workers, dout, argmax, dx, _extents(dx, dout), window=argmax.dtype.char)


def _extents(x: Array, y: Array) -> Extents:
    return Extents(x.shape[0] * x.shape[1], x.shape[2], x.shape[3], y.shape[2], y.shape[3])


@driver
def find(
    worker: int, workers: int, x: In, rows: Labels, cols: Labels, y: Out, argmax: WindowOut,
    e: Extents,
) -> None:  # fmt: skip
    """A task is a plane. The first wins among equals, and the first NaN over everything."""
    for plane in range(worker, e.planes, workers):
        start = plane * e.H * e.W
        for oh in range(e.OH):
            for ow in range(e.OW):
                first_row, first_col = int(get(rows, 2 * oh)), int(get(cols, 2 * ow))
                best = first_row * e.W + first_col
                largest = get(x, start + best)
                for ih in range(first_row, int(get(rows, 2 * oh + 1))):
                    for iw in range(first_col, int(get(cols, 2 * ow + 1))):
                        value = get(x, start + ih * e.W + iw)
                        if not value <= largest and largest == largest:
                            largest, best = value, ih * e.W + iw
                at = (plane * e.OH + oh) * e.OW + ow
                put(y, at, largest)
                put(argmax, at, best)


@driver
def scatter(worker: int, workers: int, dout: In, argmax: WindowIn, dx: Out, e: Extents) -> None:
    """A task is a plane. An index outside of it names no element."""
    zero, size, windows = dx.dtype.type(0), e.H * e.W, e.OH * e.OW
    for plane in range(worker, e.planes, workers):
        start = plane * size
        for i in range(start, start + size):
            put(dx, i, zero)
        for at in range(plane * windows, (plane + 1) * windows):
            best = int(get(argmax, at))
            if 0 <= best < size:
                put(dx, start + best, get(dx, start + best) + get(dout, at))
