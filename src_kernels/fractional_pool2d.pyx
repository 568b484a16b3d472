"""Maximum over windows of any extent, as tables of firsts and stops give them. A job is a plane."""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t

from tile cimport real

cnp.import_array()


cdef struct Extents:
    Py_ssize_t planes, H, W, OH, OW


cdef inline void find(
    const Extents* e, const real* x, const int64_t* rows, const int64_t* cols, real* y,
    int32_t* argmax,
) noexcept nogil:
    """The first wins among equals, and the first NaN over everything.

    Arithmetic in place of branches, which chance decides: they took twice as long.
    """
    cdef Py_ssize_t oh, ow, ih, iw, at, best
    cdef Py_ssize_t take
    cdef real largest, value
    for oh in range(e.OH):
        for ow in range(e.OW):
            best = rows[2 * oh] * e.W + cols[2 * ow]
            largest = x[best]
            for ih in range(rows[2 * oh], rows[2 * oh + 1]):
                for iw in range(cols[2 * ow], cols[2 * ow + 1]):
                    at = ih * e.W + iw
                    value = x[at]
                    take = <Py_ssize_t> (not value <= largest) & <Py_ssize_t> (largest == largest)
                    best ^= (best ^ at) & -take
                    largest = x[best]
            y[oh * e.OW + ow] = largest
            argmax[oh * e.OW + ow] = <int32_t> best


cdef inline void scatter(
    const Extents* e, const real* dout, const int32_t* argmax, real* dx
) noexcept nogil:
    """An index outside of the plane names no element."""
    cdef Py_ssize_t i, size = e.H * e.W
    for i in range(size):
        dx[i] = 0
    for i in range(e.OH * e.OW):
        if 0 <= argmax[i] < size:
            dx[argmax[i]] += dout[i]


cdef void forward(
    const Extents* e, const real* x, const int64_t* rows, const int64_t* cols, real* y,
    int32_t* argmax, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t plane, size = e.H * e.W, windows = e.OH * e.OW
    if num_threads <= 1:
        for plane in range(e.planes):
            find(e, x + plane * size, rows, cols, y + plane * windows, argmax + plane * windows)
    else:
        for plane in prange(e.planes, schedule="static", num_threads=num_threads):
            find(e, x + plane * size, rows, cols, y + plane * windows, argmax + plane * windows)


cdef void backward(
    const Extents* e, const real* dout, const int32_t* argmax, real* dx, int num_threads
) noexcept nogil:
    cdef Py_ssize_t plane, size = e.H * e.W, windows = e.OH * e.OW
    if num_threads <= 1:
        for plane in range(e.planes):
            scatter(e, dout + plane * windows, argmax + plane * windows, dx + plane * size)
    else:
        for plane in prange(e.planes, schedule="static", num_threads=num_threads):
            scatter(e, dout + plane * windows, argmax + plane * windows, dx + plane * size)


cdef Extents extents_of(cnp.ndarray x, cnp.ndarray y):
    cdef Extents e
    e.planes = x.shape[0] * x.shape[1]
    e.H, e.W, e.OH, e.OW = x.shape[2], x.shape[3], y.shape[2], y.shape[3]
    return e


def fractional_max_pool2d_forward(
    cnp.ndarray x, cnp.ndarray rows, cnp.ndarray cols, cnp.ndarray y, cnp.ndarray argmax,
    int num_threads,
):
    """y = max of x[rows[oh, 0]:rows[oh, 1], cols[ow, 0]:cols[ow, 1]], argmax = ih*W + iw of it."""
    cdef Extents e = extents_of(x, y)
    cdef const int64_t* row_table = <int64_t*> rows.data
    cdef const int64_t* col_table = <int64_t*> cols.data
    cdef int32_t* offsets = <int32_t*> argmax.data
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            forward(
                &e, <float*> x.data, row_table, col_table, <float*> y.data, offsets, num_threads
            )
        else:
            forward(
                &e, <double*> x.data, row_table, col_table, <double*> y.data, offsets,
                num_threads,
            )


def fractional_max_pool2d_backward(
    cnp.ndarray dout, cnp.ndarray argmax, cnp.ndarray dx, int num_threads
):
    """dx[the element that argmax names] += dout."""
    cdef Extents e = extents_of(dx, dout)
    cdef const int32_t* offsets = <int32_t*> argmax.data
    cdef bint is_float = dout.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            backward(&e, <float*> dout.data, offsets, <float*> dx.data, num_threads)
        else:
            backward(&e, <double*> dout.data, offsets, <double*> dx.data, num_threads)
