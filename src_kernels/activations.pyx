"""Activations, element by element. A job is a chunk of the elements, whatever their axes."""

cimport numpy as cnp
from cython.parallel cimport prange

from elementary cimport falling_exp, hyperbolic_tangent
from geometry cimport ceil_div
from tile cimport real

cnp.import_array()

cdef enum:
    CHUNK = 8192  # elements; fixed, so that threads change nothing

ctypedef enum Kind:
    RELU
    SIGMOID
    TANH


# A literal 1 is a double in C, and makes doubles of what it meets: two thirds of the speed. So is
# fabs.


cdef inline void activate(Kind kind, const real* x, real* y, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    cdef real value, small, top, one = 1
    if kind == RELU:
        for i in range(count):
            y[i] = 0 if x[i] <= 0 else x[i]
    elif kind == SIGMOID:
        for i in range(count):
            value = x[i]
            small = falling_exp(value if value < 0 else -value)
            top = small if value < 0 else one
            y[i] = top / (one + small)
    else:
        for i in range(count):
            y[i] = hyperbolic_tangent(x[i])


cdef inline void differentiate(
    Kind kind, const real* dout, const real* y, real* dx, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real one = 1
    if kind == RELU:
        for i in range(count):
            dx[i] = dout[i] if y[i] > 0 else 0
    elif kind == SIGMOID:
        for i in range(count):
            dx[i] = dout[i] * (y[i] * (one - y[i]))
    else:
        for i in range(count):
            dx[i] = dout[i] * (one - y[i] * y[i])


cdef void forward(
    Kind kind, const real* x, real* y, Py_ssize_t size, int num_threads
) noexcept nogil:
    cdef Py_ssize_t job, jobs = ceil_div(size, CHUNK)
    if num_threads <= 1:
        for job in range(jobs):
            activate(kind, x + job * CHUNK, y + job * CHUNK, min(CHUNK, size - job * CHUNK))
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            activate(kind, x + job * CHUNK, y + job * CHUNK, min(CHUNK, size - job * CHUNK))


cdef void backward(
    Kind kind, const real* dout, const real* y, real* dx, Py_ssize_t size, int num_threads
) noexcept nogil:
    cdef Py_ssize_t at, job, jobs = ceil_div(size, CHUNK)
    if num_threads <= 1:
        for job in range(jobs):
            at = job * CHUNK
            differentiate(kind, dout + at, y + at, dx + at, min(CHUNK, size - at))
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            at = job * CHUNK
            differentiate(kind, dout + at, y + at, dx + at, min(CHUNK, size - at))


cdef void run_forward(Kind kind, cnp.ndarray x, cnp.ndarray y, int num_threads):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            forward(kind, <float*> x.data, <float*> y.data, size, num_threads)
        else:
            forward(kind, <double*> x.data, <double*> y.data, size, num_threads)


cdef void run_backward(
    Kind kind, cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads
):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(dout)
    cdef bint is_float = dout.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            backward(
                kind, <float*> dout.data, <float*> y.data, <float*> dx.data, size, num_threads
            )
        else:
            backward(
                kind, <double*> dout.data, <double*> y.data, <double*> dx.data, size, num_threads
            )


def relu_forward(cnp.ndarray x, cnp.ndarray y, int num_threads):
    """y = max(x, 0); NaN stays NaN."""
    run_forward(RELU, x, y, num_threads)


def relu_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads):
    """dx = dout where y > 0, else 0, whatever dout is there."""
    run_backward(RELU, dout, y, dx, num_threads)


def sigmoid_forward(cnp.ndarray x, cnp.ndarray y, int num_threads):
    """y = 1/(1 + exp(-x)), which overflows for no x."""
    run_forward(SIGMOID, x, y, num_threads)


def sigmoid_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads):
    """dx = dout * y*(1 - y)."""
    run_backward(SIGMOID, dout, y, dx, num_threads)


def tanh_forward(cnp.ndarray x, cnp.ndarray y, int num_threads):
    """y = tanh(x)."""
    run_forward(TANH, x, y, num_threads)


def tanh_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads):
    """dx = dout * (1 - y*y)."""
    run_backward(TANH, dout, y, dx, num_threads)
