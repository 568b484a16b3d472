"""Maximum over the windows of a plane, and the way back.

The windows of a row that do not overhang the image go a vector at a time, the others one by one.
"""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t
from libc.string cimport memset

from geometry cimport Windows, end_inside, first_inside, windows_tile
from tile cimport POOL_BYTES, largest_of_windows, real, spread_pairs

ctypedef fused index:
    uint8_t
    int


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
    cdef Py_ssize_t oh, ow, ih, iw, first_kh, end_kh, count = w.inside_end - w.inside
    cdef bint in_vectors = count >= <Py_ssize_t> (POOL_BYTES // sizeof(real))
    cdef const real* start
    x += job * w.H * w.W
    y += job * w.OH * w.OW
    argmax += job * w.OH * w.OW
    for oh in range(w.OH):
        ih = oh * w.stride_h - w.top
        first_kh = min(first_inside(ih, w.dilation_h), w.KH)
        end_kh = max(first_kh, end_inside(ih, w.dilation_h, w.KH, w.H))
        ow = 0
        while ow < w.OW:
            if ow == w.inside and in_vectors and first_kh < end_kh:
                ow = w.inside_end
                continue
            iw = ow * w.stride_w - w.left
            largest_of_one(w, x, ih, iw, first_kh, end_kh, y + ow, argmax + ow)
            ow += 1
        if in_vectors and first_kh < end_kh:
            start = x + (ih + first_kh * w.dilation_h) * w.W + w.inside * w.stride_w - w.left
            if index is uint8_t:
                largest_of_windows(
                    start, w.stride_w, count, <int> (end_kh - first_kh), <int> w.KW,
                    w.dilation_h * w.W, w.dilation_w, <int> (first_kh * w.KW),
                    y + w.inside, argmax + w.inside, NULL,
                )
            else:
                largest_of_windows(
                    start, w.stride_w, count, <int> (end_kh - first_kh), <int> w.KW,
                    w.dilation_h * w.W, w.dilation_w, <int> (first_kh * w.KW),
                    y + w.inside, NULL, argmax + w.inside,
                )
        y += w.OW
        argmax += w.OW


cdef inline void spread_plane(
    const Windows* w, Py_ssize_t job, const real* dout, const index* argmax, real* dx
) noexcept nogil:
    """dx[the element that argmax names] += dout"""
    cdef Py_ssize_t oh, ow, kh, kw, k, ih, iw
    dout += job * w.OH * w.OW
    argmax += job * w.OH * w.OW
    dx += job * w.H * w.W
    if index is uint8_t:
        if w.KW == 2 and windows_tile(w):
            for ih in range(w.H):
                ow = ih // w.KH * w.OW
                spread_pairs(dout + ow, argmax + ow, dx + ih * w.W, w.OW, <int> (ih % w.KH) * 2)
            return
    memset(dx, 0, w.H * w.W * sizeof(real))
    for oh in range(w.OH):
        for ow in range(w.OW):
            k = argmax[ow]
            kh = k // w.KW
            kw = k - kh * w.KW
            ih = oh * w.stride_h - w.top + kh * w.dilation_h
            iw = ow * w.stride_w - w.left + kw * w.dilation_w
            # An index that no forward pass wrote must not touch foreign memory.
            if 0 <= k and kh < w.KH and 0 <= ih < w.H and 0 <= iw < w.W:
                dx[ih * w.W + iw] += dout[ow]
        dout += w.OW
        argmax += w.OW
