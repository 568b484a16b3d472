"""Activations and sums, element by element. A job is a chunk of them, whatever their axes."""

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
    ADD
    ADD_RELU


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


cdef inline void combine(
    Kind kind, const real* first, const real* second, real* result, Py_ssize_t count
) noexcept nogil:
    """A sum of x and another, or a gradient from dout and y."""
    cdef Py_ssize_t i
    cdef real value, one = 1
    if kind == ADD:
        for i in range(count):
            result[i] = first[i] + second[i]
    elif kind == ADD_RELU:
        for i in range(count):
            value = first[i] + second[i]
            result[i] = 0 if value <= 0 else value
    elif kind == RELU:
        for i in range(count):
            result[i] = first[i] if second[i] > 0 else 0
    elif kind == SIGMOID:
        for i in range(count):
            result[i] = first[i] * (second[i] * (one - second[i]))
    else:
        for i in range(count):
            result[i] = first[i] * (one - second[i] * second[i])


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


cdef void combine_all(
    Kind kind, const real* first, const real* second, real* result, Py_ssize_t size,
    int num_threads,
) noexcept nogil:
    cdef Py_ssize_t at, job, jobs = ceil_div(size, CHUNK)
    if num_threads <= 1:
        for job in range(jobs):
            at = job * CHUNK
            combine(kind, first + at, second + at, result + at, min(CHUNK, size - at))
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            at = job * CHUNK
            combine(kind, first + at, second + at, result + at, min(CHUNK, size - at))


cdef void run_forward(Kind kind, cnp.ndarray x, cnp.ndarray y, int num_threads):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            forward(kind, <float*> x.data, <float*> y.data, size, num_threads)
        else:
            forward(kind, <double*> x.data, <double*> y.data, size, num_threads)


cdef void run_combine(
    Kind kind, cnp.ndarray first, cnp.ndarray second, cnp.ndarray result, int num_threads
):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(result)
    cdef bint is_float = result.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            combine_all(
                kind, <float*> first.data, <float*> second.data, <float*> result.data, size,
                num_threads,
            )
        else:
            combine_all(
                kind, <double*> first.data, <double*> second.data, <double*> result.data, size,
                num_threads,
            )


def relu_forward(cnp.ndarray x, cnp.ndarray y, int num_threads):
    """y = max(x, 0); NaN stays NaN."""
    run_forward(RELU, x, y, num_threads)


def relu_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads):
    """dx = dout where y > 0, else 0, whatever dout is there."""
    run_combine(RELU, dout, y, dx, num_threads)


def add_forward(cnp.ndarray x, cnp.ndarray other, cnp.ndarray y, int num_threads):
    """y = x + other."""
    run_combine(ADD, x, other, y, num_threads)


def add_relu_forward(cnp.ndarray x, cnp.ndarray other, cnp.ndarray y, int num_threads):
    """y = max(x + other, 0); NaN stays NaN."""
    run_combine(ADD_RELU, x, other, y, num_threads)


def sigmoid_forward(cnp.ndarray x, cnp.ndarray y, int num_threads):
    """y = 1/(1 + exp(-x)), which overflows for no x."""
    run_forward(SIGMOID, x, y, num_threads)


def sigmoid_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads):
    """dx = dout * y*(1 - y)."""
    run_combine(SIGMOID, dout, y, dx, num_threads)


def tanh_forward(cnp.ndarray x, cnp.ndarray y, int num_threads):
    """y = tanh(x)."""
    run_forward(TANH, x, y, num_threads)


def tanh_backward(cnp.ndarray dout, cnp.ndarray y, cnp.ndarray dx, int num_threads):
    """dx = dout * (1 - y*y)."""
    run_combine(TANH, dout, y, dx, num_threads)
