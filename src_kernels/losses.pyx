"""Cross-entropy between class numbers and the softmax of scores. A job is a row."""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.math cimport NAN, log
from libc.stdint cimport int64_t

from elementary cimport falling_exp
from tile cimport real

cnp.import_array()


cdef enum:
    SIDE_BY_SIDE = 32  # maxima and sums: one of them would wait for itself at each element


cdef inline real largest_of(const real* scores, Py_ssize_t C) noexcept nogil:
    """A NaN among them is found or passed over: it makes the sum one either way."""
    cdef Py_ssize_t i, c = 0, blocks = C // SIDE_BY_SIDE, block
    cdef real[SIDE_BY_SIDE] best
    cdef real largest = scores[0]
    if blocks > 1:
        for i in range(SIDE_BY_SIDE):
            best[i] = scores[i]
        for block in range(1, blocks):
            c = block * SIDE_BY_SIDE
            for i in range(SIDE_BY_SIDE):
                best[i] = scores[c + i] if scores[c + i] > best[i] else best[i]
        for i in range(SIDE_BY_SIDE):
            largest = best[i] if best[i] > largest else largest
        c = blocks * SIDE_BY_SIDE
    for i in range(c, C):
        largest = scores[i] if scores[i] > largest else largest
    return largest


cdef inline double sum_of(const real* probabilities, Py_ssize_t C) noexcept nogil:
    cdef Py_ssize_t i, c = 0, blocks = C // SIDE_BY_SIDE, block
    cdef double[SIDE_BY_SIDE] sums
    cdef double total = 0
    if blocks > 1:
        for i in range(SIDE_BY_SIDE):
            sums[i] = 0
        for block in range(blocks):
            c = block * SIDE_BY_SIDE
            for i in range(SIDE_BY_SIDE):
                sums[i] += probabilities[c + i]
        for i in range(SIDE_BY_SIDE):
            total += sums[i]
        c = blocks * SIDE_BY_SIDE
    for i in range(c, C):
        total += probabilities[i]
    return total


cdef inline void softmax_row(
    const real* scores, int64_t label, real* probabilities, real* loss, Py_ssize_t C
) noexcept nogil:
    cdef Py_ssize_t c
    cdef real largest = largest_of(scores, C)
    cdef double total
    for c in range(C):
        probabilities[c] = falling_exp(scores[c] - largest)
    total = sum_of(probabilities, C)
    if 0 <= label < C:
        loss[0] = <real> (log(total) - (scores[label] - largest))
    else:
        loss[0] = <real> NAN
    for c in range(C):
        probabilities[c] = probabilities[c] / <real> total


cdef void forward(
    const real* scores, const int64_t* labels, real* probabilities, real* losses,
    Py_ssize_t N, Py_ssize_t C, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t n
    if num_threads <= 1:
        for n in range(N):
            softmax_row(scores + n * C, labels[n], probabilities + n * C, losses + n, C)
    else:
        for n in prange(N, schedule="static", num_threads=num_threads):
            softmax_row(scores + n * C, labels[n], probabilities + n * C, losses + n, C)


cdef inline void slope_row(
    const real* probabilities, int64_t label, real* dscores, Py_ssize_t N, Py_ssize_t C
) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(C):
        dscores[c] = probabilities[c] / <real> N
    if 0 <= label < C:
        dscores[label] = (probabilities[label] - 1) / <real> N


cdef void backward(
    const real* probabilities, const int64_t* labels, real* dscores,
    Py_ssize_t N, Py_ssize_t C, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t n
    if num_threads <= 1:
        for n in range(N):
            slope_row(probabilities + n * C, labels[n], dscores + n * C, N, C)
    else:
        for n in prange(N, schedule="static", num_threads=num_threads):
            slope_row(probabilities + n * C, labels[n], dscores + n * C, N, C)


def softmax_cross_entropy_forward(
    cnp.ndarray scores, cnp.ndarray labels, cnp.ndarray probabilities, cnp.ndarray losses,
    int num_threads,
):
    """probabilities = softmax(scores), losses[n] = -log(probabilities[n, labels[n]])."""
    cdef Py_ssize_t N = scores.shape[0], C = scores.shape[1]
    cdef const int64_t* own = <int64_t*> labels.data
    cdef bint is_float = scores.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            forward(
                <float*> scores.data, own, <float*> probabilities.data, <float*> losses.data,
                N, C, num_threads,
            )
        else:
            forward(
                <double*> scores.data, own, <double*> probabilities.data, <double*> losses.data,
                N, C, num_threads,
            )


def softmax_cross_entropy_backward(
    cnp.ndarray probabilities, cnp.ndarray labels, cnp.ndarray dscores, int num_threads
):
    """dscores = (probabilities - 1 at the label)/N: the gradient of the mean loss."""
    cdef Py_ssize_t N = dscores.shape[0], C = dscores.shape[1]
    cdef const int64_t* own = <int64_t*> labels.data
    cdef bint is_float = dscores.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            backward(
                <float*> probabilities.data, own, <float*> dscores.data, N, C, num_threads
            )
        else:
            backward(
                <double*> probabilities.data, own, <double*> dscores.data, N, C, num_threads
            )
