"""How both kinds of pooling cut a plane: runs of rows forward, strips of padded windows back."""

from geometry cimport Windows, ceil_div, end_inside, first_inside
from pool_tile cimport pool_lanes

cdef enum:
    STRIP_ELEMENTS = 2048  # of dout, which with argmax should stay in L1


cdef struct Run:
    # Rows of windows that see the image with the same rows of their elements; of those the first
    # `by_vectors` may be read by blocks of windows, between Windows.inside and inside_end.
    Py_ssize_t rows, by_vectors, first_kh, end_kh


cdef inline Run run_from(
    const Windows* w, Py_ssize_t plane, Py_ssize_t oh, Py_ssize_t itemsize
) noexcept nogil:
    """The run that begins with row oh."""
    cdef Py_ssize_t ih = oh * w.stride_h - w.top, lanes = pool_lanes(itemsize), last, room
    cdef Py_ssize_t count = w.inside_end - w.inside
    cdef Run run
    run.first_kh = min(first_inside(ih, w.dilation_h), w.KH)
    run.end_kh = max(run.first_kh, end_inside(ih, w.dilation_h, w.KH, w.H))
    run.rows = 1
    if run.end_kh - run.first_kh == w.KH:
        run.rows = end_inside((w.KH - 1) * w.dilation_h - w.top, w.stride_h, w.OH, w.H) - oh
    run.by_vectors = run.rows if count >= 2 and run.first_kh < run.end_kh else 0
    if run.by_vectors and count < lanes:
        # The block reads on behind its row: it must not read behind the last image.
        last = w.inside * w.stride_w - w.left + (lanes - 1) * w.stride_w + (w.KW - 1) * w.dilation_w
        last += (ih + (run.end_kh - 1) * w.dilation_h) * w.W
        room = (w.N * w.C - plane) * w.H * w.W - 1 - last
        if room < 0:
            run.by_vectors = 0
        else:
            run.by_vectors = min(run.by_vectors, room // (w.stride_h * w.W) + 1)
    return run


cdef struct Strips:
    # Rows of dx are made in groups of `stride` rows, for which strips of dout are copied:
    # `groups` of them at a time, in rows `step` apart, with zeros where there are no windows.
    Py_ssize_t groups, before_h, after_h, before_w, step


cdef inline bint can_collect(const Windows* w, Py_ssize_t most) noexcept nogil:
    """Whether the way back goes from each element of dx to the windows that cover it.

    That takes time in proportion to a window's elements; from each window to its elements does not
    for the maximum, and takes a sum a row for the average.
    """
    return (
        w.stride_h == w.stride_w and w.stride_h <= 2 and w.dilation_h == 1 and w.dilation_w == 1
        and w.top < w.KH and w.left < w.KW and w.KH * w.KW <= most
    )


cdef inline Strips strips_of(const Windows* w, Py_ssize_t itemsize) noexcept nogil:
    cdef Strips s
    cdef Py_ssize_t stride = w.stride_h, lanes = pool_lanes(itemsize)
    s.before_h = (w.KH - 1 - w.top) // stride
    s.after_h = (stride - 1 + w.top) // stride
    s.before_w = (w.KW - 1 - w.left) // stride
    s.step = ceil_div(ceil_div(w.W, stride), lanes) * lanes + (stride - 1 + w.left) // stride
    s.step = s.before_w + max(s.step, w.OW)
    s.groups = max(1, min(ceil_div(w.H, stride), STRIP_ELEMENTS // s.step))
    return s


cdef inline Py_ssize_t strip_size(const Strips* s) noexcept nogil:
    """Elements of a strip, in whole cache lines."""
    return ceil_div((s.before_h + s.groups + s.after_h) * s.step, 64) * 64
