"""Updates of parameters by their gradients: one pass over memory. A job is a run of elements."""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.float cimport DBL_MIN, FLT_MIN
from libc.math cimport sqrt, sqrtf

from geometry cimport ceil_div
from tile cimport dot, real

cnp.import_array()

cdef enum:
    CHUNK = 8192  # elements; fixed, so that threads change nothing. SUMMED in kernels/arrays.py

ctypedef enum Rule:
    SGD
    MOMENTUM
    NESTEROV
    ADAGRAD
    RMSPROP
    ADAM


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline real normal(real x) noexcept nogil:
    """x, or 0 if it is smaller than any normal number (and NaN if it is that).

    What fades by a factor a step never gets to 0: it stays at a few of the smallest numbers there
    are, with which a processor takes hundreds of cycles. A network with one weight in twelve
    that had no gradient any more took 1.4 times as long a step.
    """
    cdef real least
    if real is float:
        least = FLT_MIN
    else:
        least = DBL_MIN
    return 0 if (x > -least) & (x < least) else x


cdef inline void descend(
    real* value, const real* grad, const double* rates, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real lr = <real> rates[0], decay = <real> rates[1]
    for i in range(count):
        value[i] -= lr * (grad[i] + decay * value[i])


cdef inline void roll(
    real* value, real* velocity, const real* grad, const double* rates, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real momentum = <real> rates[0], gain = <real> rates[1]
    cdef real step = <real> rates[2], decay = <real> rates[3]
    for i in range(count):
        velocity[i] = normal(momentum * velocity[i] + gain * (grad[i] + decay * value[i]))
        value[i] += step * velocity[i]


cdef inline void look_ahead(
    real* value, real* velocity, const real* grad, const double* rates, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real momentum = <real> rates[0], gain = <real> rates[1]
    cdef real step = <real> rates[2], decay = <real> rates[3]
    cdef real g
    for i in range(count):
        g = gain * (grad[i] + decay * value[i])
        velocity[i] = normal(momentum * velocity[i] + g)
        value[i] += step * (momentum * velocity[i] + g)


cdef inline void gather(
    real* value, real* total, const real* grad, const double* rates, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real lr = <real> rates[0], eps = <real> rates[1], decay = <real> rates[2]
    cdef real g
    for i in range(count):
        g = grad[i] + decay * value[i]
        total[i] += g * g
        value[i] -= lr * g / (root(total[i]) + eps)


cdef inline void average(
    real* value, real* v, const real* grad, const double* rates, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real lr = <real> rates[0], rho = <real> rates[1], share = <real> (1 - rates[1])
    cdef real eps = <real> rates[2], decay = <real> rates[3]
    cdef real g
    for i in range(count):
        g = grad[i] + decay * value[i]
        v[i] = rho * v[i] + share * g * g
        value[i] -= lr * g / (root(v[i]) + eps)


cdef inline void adapt(
    real* value, real* m, real* v, const real* grad, const double* rates, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real beta1 = <real> rates[0], beta2 = <real> rates[1]
    cdef real share1 = <real> (1 - rates[0]), share2 = <real> (1 - rates[1])
    cdef real rate = <real> rates[2], scale = <real> rates[3]
    cdef real eps = <real> rates[4], decay = <real> rates[5]
    cdef real g
    for i in range(count):
        g = grad[i] + decay * value[i]
        m[i] = normal(beta1 * m[i] + share1 * g)
        v[i] = beta2 * v[i] + share2 * g * g
        value[i] -= rate * m[i] / (root(scale * v[i]) + eps)


cdef inline void update_chunk(
    Rule rule, real* value, real* m, real* v, const real* grad, const double* rates,
    Py_ssize_t at, Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t count = min(CHUNK, size - at)
    if rule == SGD:
        descend(value + at, grad + at, rates, count)
    elif rule == MOMENTUM:
        roll(value + at, v + at, grad + at, rates, count)
    elif rule == NESTEROV:
        look_ahead(value + at, v + at, grad + at, rates, count)
    elif rule == ADAGRAD:
        gather(value + at, v + at, grad + at, rates, count)
    elif rule == RMSPROP:
        average(value + at, v + at, grad + at, rates, count)
    else:
        adapt(value + at, m + at, v + at, grad + at, rates, count)


cdef void update(
    Rule rule, real* value, real* m, real* v, const real* grad, const double* rates,
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t job, jobs = ceil_div(size, CHUNK)
    if num_threads <= 1:
        for job in range(jobs):
            update_chunk(rule, value, m, v, grad, rates, job * CHUNK, size)
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            update_chunk(rule, value, m, v, grad, rates, job * CHUNK, size)


cdef void run(
    Rule rule, cnp.ndarray value, cnp.ndarray m, cnp.ndarray v, cnp.ndarray grad,
    cnp.ndarray rates, int num_threads,
):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(value)
    cdef const double* numbers = <double*> rates.data
    cdef bint is_float = value.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            update(
                rule, <float*> value.data, <float*> m.data, <float*> v.data, <float*> grad.data,
                numbers, size, num_threads,
            )
        else:
            update(
                rule, <double*> value.data, <double*> m.data, <double*> v.data,
                <double*> grad.data, numbers, size, num_threads,
            )


def sgd_update(cnp.ndarray value, cnp.ndarray grad, cnp.ndarray rates, int num_threads):
    """With rates lr, decay: value -= lr*(grad + decay*value)."""
    run(SGD, value, value, value, grad, rates, num_threads)


def momentum_update(
    cnp.ndarray value, cnp.ndarray velocity, cnp.ndarray grad, cnp.ndarray rates, int num_threads
):
    """velocity = momentum*velocity + gain*(grad + decay*value); value += step*velocity."""
    run(MOMENTUM, value, velocity, velocity, grad, rates, num_threads)


def nesterov_update(
    cnp.ndarray value, cnp.ndarray velocity, cnp.ndarray grad, cnp.ndarray rates, int num_threads
):
    """With g = gain*(grad + decay*value): velocity = momentum*velocity + g, and

    value += step*(momentum*velocity + g).
    """
    run(NESTEROV, value, velocity, velocity, grad, rates, num_threads)


def adagrad_update(
    cnp.ndarray value, cnp.ndarray total, cnp.ndarray grad, cnp.ndarray rates, int num_threads
):
    """With g = grad + decay*value: total += g*g; value -= lr*g/(sqrt(total) + eps)."""
    run(ADAGRAD, value, total, total, grad, rates, num_threads)


def rmsprop_update(
    cnp.ndarray value, cnp.ndarray v, cnp.ndarray grad, cnp.ndarray rates, int num_threads
):
    """With g = grad + decay*value: v = rho*v + (1 - rho)*g*g; value -= lr*g/(sqrt(v) + eps)."""
    run(RMSPROP, value, v, v, grad, rates, num_threads)


def adam_update(
    cnp.ndarray value, cnp.ndarray m, cnp.ndarray v, cnp.ndarray grad, cnp.ndarray rates,
    int num_threads,
):
    """value -= rate*m/(sqrt(scale*v) + eps), m and v being running means of g and g*g."""
    run(ADAM, value, m, v, grad, rates, num_threads)


cdef void add_squares(
    const real* x, double* sums, Py_ssize_t size, int num_threads
) noexcept nogil:
    cdef Py_ssize_t job, jobs = ceil_div(size, CHUNK)
    if num_threads <= 1:
        for job in range(jobs):
            sums[job] = dot(x + job * CHUNK, x + job * CHUNK, min(CHUNK, size - job * CHUNK))
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            sums[job] = dot(x + job * CHUNK, x + job * CHUNK, min(CHUNK, size - job * CHUNK))


def squared_norm(cnp.ndarray x, cnp.ndarray sums, int num_threads):
    """sums = the sums of x*x over runs of SUMMED elements."""
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            add_squares(<float*> x.data, <double*> sums.data, size, num_threads)
        else:
            add_squares(<double*> x.data, <double*> sums.data, size, num_threads)
