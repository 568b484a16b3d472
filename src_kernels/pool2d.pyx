"""Maximum and average over the windows of an image. A job is a plane, or a part of all of them."""

cimport numpy as cnp
from cython.parallel cimport prange, threadid
from libc.stdint cimport uint8_t, uintptr_t
from libc.string cimport memset

from average_pool cimport (
    COLUMNS_BEHIND, average_part, average_scratch, average_strips, fill_columns,
    spread_average_part,
)
from geometry cimport Windows, make_windows
from max_pool cimport index, largest_of_part, max_strips, spread_part
from pool_rows cimport Strips, join_planes
from tile cimport real

from fastscratch.kernels.cython_ext.scratch import Scratch

cnp.import_array()


cdef Windows windows_of(
    cnp.ndarray x, cnp.ndarray y, tuple kernel_size, tuple stride, tuple padding, tuple dilation
):
    cdef Windows w = make_windows(
        x.shape[0], x.shape[1], x.shape[2], x.shape[3], y.shape[2], y.shape[3],
        kernel_size, stride, padding, dilation,
    )
    join_planes(&w)
    return w


cdef void max_forward(
    const Windows* w, const real* x, real* y, index* argmax, int num_threads
) noexcept nogil:
    cdef Py_ssize_t job, jobs = w.N * w.C * w.parts
    if num_threads <= 1:
        for job in range(jobs):
            largest_of_part(w, job, x, y, argmax)
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            largest_of_part(w, job, x, y, argmax)


cdef void max_backward(
    const Windows* w, const real* dout, const index* argmax, real* dx, int num_threads
):
    """Each worker has a strip of dout and of argmax."""
    cdef Py_ssize_t job, size, jobs = w.N * w.C * w.parts
    cdef int workers = <int> max(1, min(num_threads, jobs))
    cdef Strips s = max_strips(w, sizeof(real))
    size = s.size * (sizeof(real) + 1)
    memory = Scratch(workers * size)
    cdef char* strips = <char*> <uintptr_t> memory.address
    with nogil:
        if workers == 1:
            for job in range(jobs):
                spread_part(w, &s, job, dout, argmax, dx, strips)
        else:
            for job in prange(jobs, schedule="static", num_threads=workers):
                spread_part(w, &s, job, dout, argmax, dx, strips + threadid() * size)
        memset(strips, 0, workers * size)  # leave no integers in the memory (scratch.pyx says why)


cdef void average(
    const Windows* w, const real* source, real* target, bint forward, int num_threads
):
    """Both passes of average pooling; each worker has scratch of its own."""
    cdef Py_ssize_t job, size, jobs = w.N * w.C * w.parts
    cdef int workers = <int> max(1, min(num_threads, jobs))
    cdef Strips s = average_strips(w, forward, sizeof(real))
    if jobs * w.OH * w.OW == 0:
        return
    size = average_scratch(w, &s, forward, sizeof(real))
    memory = Scratch((workers * size + w.OW + COLUMNS_BEHIND) * sizeof(real))
    cdef real* sums = <real*> <uintptr_t> memory.address
    cdef real* columns = sums + workers * size
    with nogil:
        fill_columns(w, columns)
        if workers == 1:
            for job in range(jobs):
                if forward:
                    average_part(w, job, columns, source, target, sums)
                else:
                    spread_average_part(w, &s, job, columns, source, target, sums)
        else:
            for job in prange(jobs, schedule="static", num_threads=workers):
                if forward:
                    average_part(w, job, columns, source, target, sums + threadid() * size)
                else:
                    spread_average_part(
                        w, &s, job, columns, source, target, sums + threadid() * size
                    )


def max_pool2d_forward(
    cnp.ndarray x, cnp.ndarray y, cnp.ndarray argmax, tuple kernel_size, tuple stride,
    tuple padding, tuple dilation, int num_threads,
):
    """y = the maximum of each window, argmax = kh*KW + kw of the first element that is it."""
    cdef Windows w = windows_of(x, y, kernel_size, stride, padding, dilation)
    cdef bint is_small = argmax.descr.type_num == cnp.NPY_UINT8
    cdef bint is_float = x.descr.type_num == cnp.NPY_FLOAT32
    with nogil:
        if is_float and is_small:
            max_forward(
                &w, <float*> x.data, <float*> y.data, <uint8_t*> argmax.data, num_threads
            )
        elif is_float:
            max_forward(
                &w, <float*> x.data, <float*> y.data, <int*> argmax.data, num_threads
            )
        elif is_small:
            max_forward(
                &w, <double*> x.data, <double*> y.data, <uint8_t*> argmax.data, num_threads
            )
        else:
            max_forward(
                &w, <double*> x.data, <double*> y.data, <int*> argmax.data, num_threads
            )


def max_pool2d_backward(
    cnp.ndarray dout, cnp.ndarray argmax, cnp.ndarray dx, tuple kernel_size, tuple stride,
    tuple padding, tuple dilation, int num_threads,
):
    """dx[the element that argmax names] += dout."""
    cdef Windows w = windows_of(dx, dout, kernel_size, stride, padding, dilation)
    cdef bint is_small = argmax.descr.type_num == cnp.NPY_UINT8
    cdef bint is_float = dx.descr.type_num == cnp.NPY_FLOAT32
    if is_float and is_small:
        max_backward(
            &w, <float*> dout.data, <uint8_t*> argmax.data, <float*> dx.data, num_threads
        )
    elif is_float:
        max_backward(&w, <float*> dout.data, <int*> argmax.data, <float*> dx.data, num_threads)
    elif is_small:
        max_backward(
            &w, <double*> dout.data, <uint8_t*> argmax.data, <double*> dx.data, num_threads
        )
    else:
        max_backward(&w, <double*> dout.data, <int*> argmax.data, <double*> dx.data, num_threads)


def avg_pool2d_forward(
    cnp.ndarray x, cnp.ndarray y, tuple kernel_size, tuple stride, tuple padding,
    bint count_include_pad, int num_threads,
):
    """y = the sum of each window over the number of its elements."""
    cdef Windows w = windows_of(x, y, kernel_size, stride, padding, (1, 1))
    w.count_include_pad = count_include_pad
    if x.descr.type_num == cnp.NPY_FLOAT32:
        average(&w, <float*> x.data, <float*> y.data, True, num_threads)
    else:
        average(&w, <double*> x.data, <double*> y.data, True, num_threads)


def avg_pool2d_backward(
    cnp.ndarray dout, cnp.ndarray dx, tuple kernel_size, tuple stride, tuple padding,
    bint count_include_pad, int num_threads,
):
    """dx = dout over the number of elements, added to every element of its window."""
    cdef Windows w = windows_of(dx, dout, kernel_size, stride, padding, (1, 1))
    w.count_include_pad = count_include_pad
    if dx.descr.type_num == cnp.NPY_FLOAT32:
        average(&w, <float*> dout.data, <float*> dx.data, False, num_threads)
    else:
        average(&w, <double*> dout.data, <double*> dx.data, False, num_threads)
