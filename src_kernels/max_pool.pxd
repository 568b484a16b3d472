"""Maximum over the windows of a plane, and the way back.

The windows of a row that do not overhang the image go a vector at a time, the others one by one.
"""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from geometry cimport Windows, copy_window, windows_tile
from pool_rows cimport Run, Strips, can_collect, run_from, strip_size, strips_of
from pool_tile cimport collect_largest, largest_of_windows, pool_lanes
from tile cimport real

ctypedef fused index:
    uint8_t
    int

cdef enum:
    COLLECTED = 36  # elements of the largest windows whose gradient is collected


cdef inline void largest_of_one(
    const Windows* w, const real* x, Py_ssize_t ih, Py_ssize_t iw,
    Py_ssize_t first_kh, Py_ssize_t end_kh, real* y, index* argmax,
) noexcept nogil:
    """One window, wherever it lies."""
    cdef Py_ssize_t kh, kw, at, which = -1
    cdef real value, best = -INFINITY
    for kh in range(first_kh, end_kh):
        for kw in range(w.KW):
            at = iw + kw * w.dilation_w
            if at < 0 or at >= w.W:
                continue
            value = x[(ih + kh * w.dilation_h) * w.W + at]
            if which < 0 or (not (value <= best) and best == best):
                best = value
                which = kh * w.KW + kw
    y[0] = best
    argmax[0] = <index> max(which, 0)


cdef inline void largest_of_plane(
    const Windows* w, Py_ssize_t job, const real* x, real* y, index* argmax
) noexcept nogil:
    cdef Py_ssize_t oh = 0, row, ow, ih
    cdef Run run
    cdef const real* start
    x += job * w.H * w.W
    y += job * w.OH * w.OW
    argmax += job * w.OH * w.OW
    while oh < w.OH:
        run = run_from(w, job, oh, sizeof(real))
        ih = oh * w.stride_h - w.top
        if run.by_vectors > 0:
            start = x + (ih + run.first_kh * w.dilation_h) * w.W + w.inside * w.stride_w - w.left
            largest_of_windows(
                start, w.stride_h * w.W, run.by_vectors, w.inside_end - w.inside, w.stride_w,
                <int> (run.end_kh - run.first_kh), <int> w.KW, w.dilation_h * w.W, w.dilation_w,
                <int> (run.first_kh * w.KW), y + w.inside,
                <uint8_t*> argmax + w.inside if index is uint8_t else NULL,
                NULL if index is uint8_t else <int*> argmax + w.inside, w.OW,
            )
        for row in range(run.rows):
            ow = 0
            while ow < w.OW:
                if ow == w.inside and row < run.by_vectors:
                    ow = w.inside_end
                    continue
                largest_of_one(w, x, ih, ow * w.stride_w - w.left, run.first_kh, run.end_kh,
                               y + ow, argmax + ow)
                ow += 1
            ih += w.stride_h
            y += w.OW
            argmax += w.OW
        oh += run.rows


cdef inline Py_ssize_t spread_scratch(const Windows* w, Py_ssize_t itemsize) noexcept nogil:
    """Bytes that spread_plane needs for a strip of dout and one of argmax."""
    cdef Strips s
    if not can_collect(w, COLLECTED):
        return 0
    s = strips_of(w, itemsize)
    return strip_size(&s) * (itemsize + 1)


cdef inline void spread_plane(
    const Windows* w, Py_ssize_t job, const real* dout, const index* argmax, real* dx,
    void* scratch,
) noexcept nogil:
    """dx[the element that argmax names] += dout"""
    dout += job * w.OH * w.OW
    argmax += job * w.OH * w.OW
    dx += job * w.H * w.W
    if index is uint8_t:
        if can_collect(w, COLLECTED):
            collect_plane(w, dout, argmax, dx, <real*> scratch)
            return
    memset(dx, 0, w.H * w.W * sizeof(real))
    scatter_plane(w, dout, argmax, dx)


cdef inline void collect_plane(
    const Windows* w, const real* dout, const uint8_t* argmax, real* dx, real* strip
) noexcept nogil:
    """Each element of dx from the windows that cover it."""
    cdef int stride = <int> w.stride_h, KH = <int> w.KH, KW = <int> w.KW
    cdef int top = <int> w.top, left = <int> w.left
    cdef Py_ssize_t start, end, row, oh, corner
    cdef Strips s
    cdef uint8_t* numbers
    if windows_tile(w) and w.OW >= pool_lanes(sizeof(real)):
        collect_largest(stride, KH, KW, top, left, dout, argmax, w.OW, dx, w.H, w.W)
        return
    s = strips_of(w, sizeof(real))
    corner = s.before_h * s.step + s.before_w
    numbers = <uint8_t*> (strip + strip_size(&s))
    start = 0
    while start * stride < w.H:
        end = min(w.H, (start + s.groups) * stride)
        copy_window(strip, s.step, dout, w.OH, w.OW, start - s.before_h, 1,
                    s.before_h + s.groups + s.after_h, -s.before_w, 1, s.step)
        # Where there is no window, dout is zero, and its argmax is read but never mind.
        for row in range(s.before_h + s.groups + s.after_h):
            oh = start - s.before_h + row
            if 0 <= oh < w.OH:
                memcpy(numbers + row * s.step + s.before_w, argmax + oh * w.OW, w.OW)
        collect_largest(stride, KH, KW, top, left, strip + corner, numbers + corner, s.step,
                        dx + start * stride * w.W, end - start * stride, w.W)
        start += s.groups


cdef inline void scatter_plane(
    const Windows* w, const real* dout, const index* argmax, real* dx
) noexcept nogil:
    """Each window's share to the element of dx that its argmax names."""
    cdef Py_ssize_t oh, ow, ih, iw
    # A division by 32 bits takes a third of the time of one by 64.
    cdef unsigned int k, kh, KW = <unsigned int> w.KW, elements = <unsigned int> (w.KH * w.KW)
    for oh in range(w.OH):
        for ow in range(w.OW):
            k = <unsigned int> argmax[ow]
            kh = k // KW
            ih = oh * w.stride_h - w.top + <Py_ssize_t> kh * w.dilation_h
            iw = ow * w.stride_w - w.left + <Py_ssize_t> (k - kh * KW) * w.dilation_w
            # An index that no forward pass wrote must not touch foreign memory.
            if k < elements and 0 <= ih < w.H and 0 <= iw < w.W:
                dx[ih * w.W + iw] += dout[ow]
        dout += w.OW
        argmax += w.OW
