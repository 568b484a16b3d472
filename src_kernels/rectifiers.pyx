"""Rectifiers that are not flat below zero. A job is a chunk of elements, a sample, or channels.

A sum over a channel is in float64, with a fixed number of lanes, and features that lie side by side
(S = 1) have one each: threads change no bit.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.string cimport memset

from channel_sums cimport Rows, sum_leaks
from elementary cimport hyperbolic_tangent
from geometry cimport ceil_div
from tile cimport real

cnp.import_array()

cdef enum:
    CHUNK = 8192  # elements; fixed, so that threads change nothing
    GROUP = 64  # features of a job

ctypedef enum Kind:
    LEAK
    ELU
    ELU_SLOPE


cdef struct Extents:
    Py_ssize_t N, C, S


cdef inline void rectify(
    Kind kind, const real* source, const real* x, double alpha, real* target, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real slope = <real> alpha, half = 0.5, one = 1, two = 2
    cdef real t
    if kind == LEAK:
        for i in range(count):
            target[i] = source[i] if x[i] > 0 else slope * source[i]
    elif kind == ELU:
        # With t = tanh(x/2), exp(x) - 1 is 2*t/(1 - t): exact in the relative sense near 0, too.
        for i in range(count):
            t = hyperbolic_tangent(half * (-x[i] if x[i] > 0 else x[i]))
            target[i] = x[i] if x[i] > 0 else slope * (two * t / (one - t))
    else:
        for i in range(count):
            target[i] = source[i] if x[i] > 0 else source[i] * (x[i] + slope)


cdef void rectify_all(
    Kind kind, const real* source, const real* x, double alpha, real* target, Py_ssize_t size,
    int num_threads,
) noexcept nogil:
    cdef Py_ssize_t at, job, jobs = ceil_div(size, CHUNK)
    if num_threads <= 1:
        for job in range(jobs):
            at = job * CHUNK
            rectify(kind, source + at, x + at, alpha, target + at, min(CHUNK, size - at))
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            at = job * CHUNK
            rectify(kind, source + at, x + at, alpha, target + at, min(CHUNK, size - at))


cdef void run(
    Kind kind, cnp.ndarray source, cnp.ndarray x, cnp.ndarray alpha, cnp.ndarray target,
    int num_threads,
):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(source)
    cdef double number = (<double*> alpha.data)[0]
    cdef bint is_float = source.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            rectify_all(
                kind, <float*> source.data, <float*> x.data, number, <float*> target.data, size,
                num_threads,
            )
        else:
            rectify_all(
                kind, <double*> source.data, <double*> x.data, number, <double*> target.data,
                size, num_threads,
            )


def leaky_relu_forward(cnp.ndarray x, cnp.ndarray alpha, cnp.ndarray y, int num_threads):
    """y = x where x > 0, else alpha*x."""
    run(LEAK, x, x, alpha, y, num_threads)


def leaky_relu_backward(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray alpha, cnp.ndarray dx, int num_threads
):
    """dx = dout where x > 0, else alpha*dout."""
    run(LEAK, dout, x, alpha, dx, num_threads)


def elu_forward(cnp.ndarray x, cnp.ndarray alpha, cnp.ndarray y, int num_threads):
    """y = x where x > 0, else alpha*(exp(x) - 1), which overflows for no x."""
    run(ELU, x, x, alpha, y, num_threads)


def elu_backward(
    cnp.ndarray dout, cnp.ndarray y, cnp.ndarray alpha, cnp.ndarray dx, int num_threads
):
    """dx = dout where y > 0, else dout*(y + alpha)."""
    run(ELU_SLOPE, dout, y, alpha, dx, num_threads)


cdef inline void leak_sample(
    const Extents* e, const real* x, const real* slopes, real* y
) noexcept nogil:
    cdef Py_ssize_t c, i
    cdef real value, slope
    if e.S == 1:
        for c in range(e.C):
            # Both are loaded for all: loads where x is not above 0 only took 2.5 times as long.
            value, slope = x[c], slopes[c]
            y[c] = value if value > 0 else slope * value
        return
    for c in range(e.C):
        slope = slopes[c]
        for i in range(e.S):
            y[i] = x[i] if x[i] > 0 else slope * x[i]
        x += e.S
        y += e.S


cdef void leak_samples(
    const Extents* e, const real* x, const real* slopes, real* y, int num_threads
) noexcept nogil:
    cdef Py_ssize_t n, size = e.C * e.S
    if num_threads <= 1:
        for n in range(e.N):
            leak_sample(e, x + n * size, slopes, y + n * size)
    else:
        for n in prange(e.N, schedule="static", num_threads=num_threads):
            leak_sample(e, x + n * size, slopes, y + n * size)


cdef inline void differentiate_channel(
    const Extents* e, Py_ssize_t c, const real* dout, const real* x, const real* slopes, real* dx,
    real* dslopes,
) noexcept nogil:
    cdef Py_ssize_t n, i, at
    cdef Rows row
    cdef real slope = slopes[c]
    cdef double total = 0
    row.rows, row.step, row.count = 1, 0, e.S
    for n in range(e.N):
        at = (n * e.C + c) * e.S
        total += sum_leaks(&row, dout + at, x + at)
        for i in range(at, at + e.S):
            dx[i] = dout[i] if x[i] > 0 else slope * dout[i]
    dslopes[c] = <real> total


cdef inline void differentiate_group(
    const Extents* e, Py_ssize_t first, const real* dout, const real* x, const real* slopes,
    real* dx, real* dslopes,
) noexcept nogil:
    cdef Py_ssize_t n, c, at, width = min(GROUP, e.C - first)
    cdef double[GROUP] sums
    cdef real value, slope, factor
    memset(sums, 0, sizeof(sums))
    for n in range(e.N):
        at = n * e.C + first
        for c in range(width):
            value, slope, factor = x[at + c], dout[at + c], slopes[first + c]
            dx[at + c] = slope if value > 0 else factor * slope
            sums[c] += 0 if value > 0 else slope * value
    for c in range(width):
        dslopes[first + c] = <real> sums[c]


cdef inline void differentiate_job(
    const Extents* e, Py_ssize_t job, const real* dout, const real* x, const real* slopes,
    real* dx, real* dslopes,
) noexcept nogil:
    if e.S == 1:
        differentiate_group(e, job * GROUP, dout, x, slopes, dx, dslopes)
    else:
        differentiate_channel(e, job, dout, x, slopes, dx, dslopes)


cdef void differentiate(
    const Extents* e, const real* dout, const real* x, const real* slopes, real* dx,
    real* dslopes, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t job, jobs = ceil_div(e.C, GROUP) if e.S == 1 else e.C
    if num_threads <= 1:
        for job in range(jobs):
            differentiate_job(e, job, dout, x, slopes, dx, dslopes)
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            differentiate_job(e, job, dout, x, slopes, dx, dslopes)


cdef Extents extents_of(cnp.ndarray x):
    cdef Extents e
    e.N, e.C, e.S = x.shape[0], x.shape[1], x.shape[2]
    return e


def prelu_forward(cnp.ndarray x, cnp.ndarray slopes, cnp.ndarray y, int num_threads):
    """y = x where x > 0, else slopes[c]*x."""
    cdef Extents e = extents_of(x)
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            leak_samples(
                &e, <float*> x.data, <float*> slopes.data, <float*> y.data, num_threads
            )
        else:
            leak_samples(
                &e, <double*> x.data, <double*> slopes.data, <double*> y.data, num_threads
            )


def prelu_backward(
    cnp.ndarray dout, cnp.ndarray x, cnp.ndarray slopes, cnp.ndarray dx, cnp.ndarray dslopes,
    int num_threads,
):
    """dx = dout where x > 0, else slopes[c]*dout; dslopes[c] = the sum of dout*x elsewhere."""
    cdef Extents e = extents_of(x)
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            differentiate(
                &e, <float*> dout.data, <float*> x.data, <float*> slopes.data, <float*> dx.data,
                <float*> dslopes.data, num_threads,
            )
        else:
            differentiate(
                &e, <double*> dout.data, <double*> x.data, <double*> slopes.data,
                <double*> dx.data, <double*> dslopes.data, num_threads,
            )
