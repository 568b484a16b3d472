"""Windows of an image as the rows of a matrix, and their sum back into an image.

A job of im2col is one row of windows of one image; a job of col2im is one plane, which no other
job writes.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.string cimport memset

from geometry cimport Windows, end_inside, first_inside, make_windows, window_count
from tile cimport real

cnp.import_array()


cdef Windows windows_of(
    cnp.ndarray x, tuple kernel_size, tuple stride, tuple padding, tuple dilation
):
    cdef Windows w = make_windows(
        x.shape[0], x.shape[1], x.shape[2], x.shape[3], 0, 0, kernel_size, stride, padding, dilation
    )
    w.OH = window_count(w.H, w.KH, w.stride_h, w.top + w.bottom, w.dilation_h)
    w.OW = window_count(w.W, w.KW, w.stride_w, w.left + w.right, w.dilation_w)
    return w


cdef void gather(const Windows* w, Py_ssize_t job, const real* x, real* columns) noexcept nogil:
    """The windows (n, oh, :) of one job as rows."""
    cdef Py_ssize_t n = job // w.OH, oh = job % w.OH, c, kh, kw, ih, ow, first, end, start
    cdef Py_ssize_t width = w.C * w.KH * w.KW
    cdef const real* row
    cdef real* column
    columns += job * w.OW * width
    for c in range(w.C):
        for kh in range(w.KH):
            ih = oh * w.stride_h - w.top + kh * w.dilation_h
            row = x + ((n * w.C + c) * w.H + ih) * w.W
            for kw in range(w.KW):
                column = columns + (c * w.KH + kh) * w.KW + kw
                start = kw * w.dilation_w - w.left
                first = end = 0
                if 0 <= ih < w.H:
                    first = min(first_inside(start, w.stride_w), w.OW)
                    end = max(first, end_inside(start, w.stride_w, w.OW, w.W))
                for ow in range(first):
                    column[ow * width] = 0
                for ow in range(first, end):
                    column[ow * width] = row[start + ow * w.stride_w]
                for ow in range(end, w.OW):
                    column[ow * width] = 0


cdef void scatter(const Windows* w, Py_ssize_t job, const real* columns, real* x) noexcept nogil:
    """The plane (n, c) of one job: zero, then every column's share."""
    cdef Py_ssize_t n = job // w.C, c = job % w.C, oh, kh, kw, ih, ow, first, end, start
    cdef Py_ssize_t width = w.C * w.KH * w.KW
    cdef const real* column
    cdef real* row
    x += job * w.H * w.W
    memset(x, 0, w.H * w.W * sizeof(real))
    for oh in range(w.OH):
        for kh in range(w.KH):
            ih = oh * w.stride_h - w.top + kh * w.dilation_h
            if ih < 0 or ih >= w.H:
                continue
            row = x + ih * w.W
            for kw in range(w.KW):
                column = columns + (n * w.OH + oh) * w.OW * width + (c * w.KH + kh) * w.KW + kw
                start = kw * w.dilation_w - w.left
                first = first_inside(start, w.stride_w)
                end = end_inside(start, w.stride_w, w.OW, w.W)
                for ow in range(first, end):
                    row[start + ow * w.stride_w] += column[ow * width]


cdef void gather_all(
    const Windows* w, const real* x, real* columns, int num_threads
) noexcept nogil:
    cdef Py_ssize_t jobs = w.N * w.OH, job
    if num_threads <= 1:
        for job in range(jobs):
            gather(w, job, x, columns)
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            gather(w, job, x, columns)


cdef void scatter_all(
    const Windows* w, const real* columns, real* x, int num_threads
) noexcept nogil:
    cdef Py_ssize_t jobs = w.N * w.C, job
    if num_threads <= 1:
        for job in range(jobs):
            scatter(w, job, columns, x)
    else:
        for job in prange(jobs, schedule="static", num_threads=num_threads):
            scatter(w, job, columns, x)


def im2col(
    cnp.ndarray x, cnp.ndarray columns, tuple kernel_size, tuple stride, tuple padding,
    tuple dilation, int num_threads,
):
    """columns[(n, oh, ow), (c, kh, kw)] = x[n, c, oh*S - P + kh*D, ow*S - P + kw*D]."""
    cdef Windows w = windows_of(x, kernel_size, stride, padding, dilation)
    if x.descr.type_num == cnp.NPY_FLOAT32:
        with nogil:
            gather_all(&w, <float*> x.data, <float*> columns.data, num_threads)
    else:
        with nogil:
            gather_all(&w, <double*> x.data, <double*> columns.data, num_threads)


def col2im(
    cnp.ndarray columns, cnp.ndarray x, tuple kernel_size, tuple stride, tuple padding,
    tuple dilation, int num_threads,
):
    """x[n, c, ih, iw] = the sum of all columns that im2col copies from there."""
    cdef Windows w = windows_of(x, kernel_size, stride, padding, dilation)
    if x.descr.type_num == cnp.NPY_FLOAT32:
        with nogil:
            scatter_all(&w, <float*> columns.data, <float*> x.data, num_threads)
    else:
        with nogil:
            scatter_all(&w, <double*> columns.data, <double*> x.data, num_threads)
