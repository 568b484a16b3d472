"""Windows of an image as the rows of a matrix, and their sum back into an image.

A job of im2col is one row of windows of one image; a job of col2im is one plane, which no other
job writes.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from geometry cimport Windows, end_inside, first_inside, make_windows, window_count
from tile cimport real

cnp.import_array()

cdef enum:
    TOGETHER = 8  # windows that are copied side by side: as many cache lines are written by turns


cdef Windows windows_of(
    cnp.ndarray x, tuple kernel_size, tuple stride, tuple padding, tuple dilation
):
    cdef Windows w = make_windows(
        x.shape[0], x.shape[1], x.shape[2], x.shape[3], 0, 0, kernel_size, stride, padding, dilation
    )
    w.OH = window_count(w.H, w.KH, w.stride_h, w.top + w.bottom, w.dilation_h)
    w.OW = window_count(w.W, w.KW, w.stride_w, w.left + w.right, w.dilation_w)
    return w


cdef inline void copy_rows(
    const Windows* w, const real* plane, Py_ssize_t first_kh, Py_ssize_t end_kh, Py_ssize_t count,
    real* columns, Py_ssize_t chunk,
) noexcept nogil:
    """Some windows, whose rows lie within the width, row by row in chunks of so many bytes.

    A chunk may be more than a row: what it writes too much, the next one overwrites. Row by row
    in elements took 4 times as long at 3 x 3.
    """
    cdef Py_ssize_t c, kh, kw, i, at = 0, width = w.C * w.KH * w.KW
    cdef const real* row
    for c in range(w.C):
        for kh in range(w.KH):
            row = plane + (c * w.H + kh * w.dilation_h) * w.W
            if at + chunk // <Py_ssize_t> sizeof(real) > width:
                # It would write to the next window.
                for i in range(count):
                    for kw in range(w.KW):
                        columns[i * width + at + kw] = (
                            row[i * w.stride_w + kw] if first_kh <= kh < end_kh else 0
                        )
            elif first_kh <= kh < end_kh:
                for i in range(count):
                    memcpy(columns + i * width + at, row + i * w.stride_w, chunk)
            else:
                for i in range(count):
                    memset(columns + i * width + at, 0, chunk)
            at += w.KW


cdef inline void copy_elements(
    const Windows* w, const real* plane, Py_ssize_t first_kh, Py_ssize_t end_kh, Py_ssize_t left,
    real* column,
) noexcept nogil:
    """One window, wherever it lies."""
    cdef Py_ssize_t _c, kh, kw, at
    for _c in range(w.C):
        for kh in range(w.KH):
            for kw in range(w.KW):
                at = kw * w.dilation_w
                if first_kh <= kh < end_kh and 0 <= left + at < w.W:
                    column[kw] = plane[kh * w.dilation_h * w.W + at]
                else:
                    column[kw] = 0
            column += w.KW
        plane += w.H * w.W


cdef void gather(const Windows* w, Py_ssize_t job, const real* x, real* columns) noexcept nogil:
    """The windows (n, oh, :) of one job as rows."""
    cdef Py_ssize_t n = job // w.OH, oh = job % w.OH, ow, begin, end, room, count
    cdef Py_ssize_t ih = oh * w.stride_h - w.top, width = w.C * w.KH * w.KW
    cdef Py_ssize_t first_kh = min(first_inside(ih, w.dilation_h), w.KH)
    cdef Py_ssize_t end_kh = max(first_kh, end_inside(ih, w.dilation_h, w.KH, w.H))
    cdef Py_ssize_t bytes = w.KW * sizeof(real), chunk = 16 if bytes <= 16 else max(bytes, 32)
    cdef const real* plane = x + (n * w.C * w.H + ih) * w.W - w.left
    # Windows between these may be copied in chunks: they lie within the width, and what is read
    # too much is within x. Elements from here to the end of x, at the window's last row:
    room = (((w.N - n - 1) * w.C + 1) * w.H - ih - (end_kh - 1) * w.dilation_h) * w.W + w.left
    room -= chunk // sizeof(real)
    begin = first_inside(-w.left, w.stride_w)
    end = end_inside(w.KW - 1 - w.left, w.stride_w, w.OW, w.W)
    end = min(end, room // w.stride_w + 1 if room >= 0 else 0)
    if w.dilation_w > 1:
        end = begin
    columns += job * w.OW * width
    ow = 0
    while ow < w.OW:
        count = 1
        if ow < begin or ow >= end:
            copy_elements(w, plane, first_kh, end_kh, ow * w.stride_w - w.left, columns)
        else:
            count = min(TOGETHER, end - ow)
            if chunk == 16:
                copy_rows(w, plane, first_kh, end_kh, count, columns, 16)
            elif chunk == 32:
                copy_rows(w, plane, first_kh, end_kh, count, columns, 32)
            else:
                copy_rows(w, plane, first_kh, end_kh, count, columns, chunk)
        columns += count * width
        plane += count * w.stride_w
        ow += count


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
