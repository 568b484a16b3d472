"""Maximum over the windows of a plane, and the way back.

The windows of a row that do not overhang the image go a vector at a time, the others one by one.
"""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from geometry cimport Windows
from pool_rows cimport Part, Run, Strips, clear_part, groups_end, part_of, run_from, strips_of
from pool_tile cimport collect_largest, largest_of_windows, strip_row
from tile cimport real

ctypedef fused index:
    uint8_t
    int

cdef enum:
    # Elements of the largest windows whose gradient is collected. With 16 to 36 of them that took
    # 0.7 to 5 times as long as the way from each window to its maximum.
    COLLECTED = 9


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


cdef inline void largest_of_part(
    const Windows* w, Py_ssize_t job, const real* x, real* y, index* argmax
) noexcept nogil:
    cdef Part part = part_of(w, job)
    cdef Py_ssize_t oh = part.first, ow, end, done, first
    cdef Run run
    x += part.plane * w.H * w.W
    y += part.plane * w.OH * w.OW
    argmax += part.plane * w.OH * w.OW
    while oh < part.end:
        run = run_from(w, &part, oh)
        done = oh
        if run.by_blocks:
            first = oh * w.OW + w.inside
            done += largest_of_windows(
                x + run.first, run.there, w.stride_h * w.W, run.rows, w.inside_end - w.inside,
                w.stride_w, <int> (run.end_kh - run.first_kh), <int> w.KW, w.dilation_h * w.W,
                w.dilation_w, <int> (run.first_kh * w.KW), y + first,
                <uint8_t*> argmax + first if index is uint8_t else NULL,
                NULL if index is uint8_t else <int*> argmax + first, w.OW,
            )
        end = oh + run.rows
        if w.inside == 0 and w.inside_end == w.OW:
            oh = done
        for oh in range(oh, end):
            ow = 0
            while ow < w.OW:
                if ow == w.inside and oh < done:
                    ow = w.inside_end
                    continue
                largest_of_one(w, x, oh * w.stride_h - w.top, ow * w.stride_w - w.left,
                               run.first_kh, run.end_kh,
                               y + oh * w.OW + ow, argmax + oh * w.OW + ow)
                ow += 1
        oh = end


cdef inline Strips max_strips(const Windows* w, Py_ssize_t itemsize) noexcept nogil:
    return strips_of(w, COLLECTED, itemsize)


cdef inline void spread_part(
    const Windows* w, const Strips* s, Py_ssize_t job, const real* dout, const index* argmax,
    real* dx, void* scratch,
) noexcept nogil:
    """dx[the element that argmax names] += dout"""
    cdef Part part = part_of(w, job)
    dout += part.plane * w.OH * w.OW
    argmax += part.plane * w.OH * w.OW
    dx += part.plane * w.H * w.W
    if index is uint8_t:
        if s.groups > 0:
            collect_part(w, s, &part, dout, argmax, dx, <real*> scratch)
            return
    scatter_part(w, &part, dout, argmax, dx)


cdef inline void collect_part(
    const Windows* w, const Strips* s, const Part* part, const real* dout, const uint8_t* argmax,
    real* dx, real* strip,
) noexcept nogil:
    """Each element of dx from the windows that cover it."""
    cdef int stride = <int> w.stride_h, KH = <int> w.KH, KW = <int> w.KW
    cdef int top = <int> w.top, left = <int> w.left
    cdef Py_ssize_t start = part.first, end = groups_end(w, part), groups, rows, row, oh
    cdef Py_ssize_t corner = s.before_h * s.step + s.before_w
    cdef uint8_t* numbers = <uint8_t*> (strip + s.size)
    if s.size == 0:
        collect_largest(stride, KH, KW, top, left, dout + start * w.OW, argmax + start * w.OW,
                        w.OW, dx + start * stride * w.W, (end - start) * stride, w.W)
        return
    while start < end:
        groups = min(s.groups, end - start)
        rows = min(groups * stride, w.H - start * stride)
        # Where there is no window, dout is zero, and its argmax is read but never mind.
        for row in range(s.before_h + groups + s.after_h):
            oh = start - s.before_h + row
            if 0 <= oh < w.OH:
                strip_row(strip + row * s.step, s.step, s.before_w, dout + oh * w.OW, w.OW,
                          <const real*> NULL, 0)
                memcpy(numbers + row * s.step + s.before_w, argmax + oh * w.OW, w.OW)
            else:
                strip_row(strip + row * s.step, s.step, 0, dout, 0, <const real*> NULL, 0)
        collect_largest(stride, KH, KW, top, left, strip + corner, numbers + corner, s.step,
                        dx + start * stride * w.W, rows, w.W)
        start += groups


cdef inline void scatter_part(
    const Windows* w, const Part* part, const real* dout, const index* argmax, real* dx
) noexcept nogil:
    """Each window's share to the element of dx that its argmax names."""
    cdef Py_ssize_t oh, ow, ih, iw
    # A division by 32 bits takes a third of the time of one by 64.
    cdef unsigned int k, kh, KW = <unsigned int> w.KW, elements = <unsigned int> (w.KH * w.KW)
    clear_part(w, part, dx)
    dout += part.first * w.OW
    argmax += part.first * w.OW
    for oh in range(part.first, part.end):
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
