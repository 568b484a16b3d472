"""Dropout with a mask that is a function of a key and an element's place.

An element's 32 random bits are mix(mix(place ^ key[0]) ^ key[1]): see the reference.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint32_t

from geometry cimport ceil_div
from tile cimport real

cnp.import_array()

cdef enum:
    CHUNK = 8192  # elements; a divisor of 2**32, so that a chunk has one high word


cdef inline uint32_t mix(uint32_t word) noexcept nogil:
    word = (word ^ (word >> 16)) * <uint32_t> 0x21F0AAAD
    word = (word ^ (word >> 15)) * <uint32_t> 0xD35A2D97
    return word ^ (word >> 15)


cdef inline void drop_chunk(
    const real* source, const int64_t* key, double ratio, real* target, Py_ssize_t at,
    Py_ssize_t size,
) noexcept nogil:
    cdef Py_ssize_t i, count = min(CHUNK, size - at)
    cdef uint32_t low = <uint32_t> at, first = <uint32_t> key[0]
    cdef uint32_t second = <uint32_t> key[1] ^ <uint32_t> (at >> 32)
    cdef uint32_t threshold = <uint32_t> <int64_t> (ratio * 4294967296.0 + 0.5)
    cdef real scale = <real> (1 / (1 - ratio))
    source += at
    target += at
    for i in range(count):
        target[i] = (
            source[i] * scale if mix(mix((low + <uint32_t> i) ^ first) ^ second) >= threshold else 0
        )


cdef void drop(
    const real* source, const int64_t* key, double ratio, real* target, Py_ssize_t size,
    int num_threads,
) noexcept nogil:
    cdef Py_ssize_t job, jobs = ceil_div(size, CHUNK)
    if num_threads <= 1:
        for job in range(jobs):
            drop_chunk(source, key, ratio, target, job * CHUNK, size)
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            drop_chunk(source, key, ratio, target, job * CHUNK, size)


cdef void run(
    cnp.ndarray source, cnp.ndarray key, cnp.ndarray ratio, cnp.ndarray target, int num_threads
):
    cdef Py_ssize_t size = cnp.PyArray_SIZE(source)
    cdef double share = (<double*> ratio.data)[0]
    cdef const int64_t* words = <int64_t*> key.data
    cdef bint is_float = source.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float:
            drop(<float*> source.data, words, share, <float*> target.data, size, num_threads)
        else:
            drop(<double*> source.data, words, share, <double*> target.data, size, num_threads)


def dropout_forward(
    cnp.ndarray x, cnp.ndarray key, cnp.ndarray ratio, cnp.ndarray y, int num_threads
):
    """y = x/(1 - ratio) where an element's bits are at least ratio*2**32, else 0."""
    run(x, key, ratio, y, num_threads)


def dropout_backward(
    cnp.ndarray dout, cnp.ndarray key, cnp.ndarray ratio, cnp.ndarray dx, int num_threads
):
    """dx = dout/(1 - ratio) where the forward pass kept an element, else 0."""
    run(dout, key, ratio, dx, num_threads)
