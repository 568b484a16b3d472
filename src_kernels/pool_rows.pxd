"""How both kinds of pooling cut a plane: runs of rows forward, strips of padded windows back."""

from libc.string cimport memset

from geometry cimport Windows, ceil_div, end_inside, first_inside, part_start, windows_tile
from pool_tile cimport pool_lanes
from tile cimport real

cdef enum:
    STRIP_ELEMENTS = 2048  # of dout, which with argmax should stay in L1
    PART_ELEMENTS = 2048  # of x, at least
    BEHIND = 64  # elements of a vector, and more, that are written behind a row


cdef inline void join_planes(Windows* w) noexcept nogil:
    """Make all planes one, in parts, where their rows of windows follow each other evenly.

    A plane costs as much as some rows, beside its rows: apart, planes of 6x6 with windows of 2x2
    took 2.3 (maximum) and 3.7 times as long forward, and 1.6 times back.
    """
    if (
        w.OH == 1 and (w.OW == 1 or w.stride_h > 2)  # rows nearer than 3 are collected by strips_of
        and w.top == 0 and (w.KH - 1) * w.dilation_h < w.H
    ):
        w.stride_h = w.H  # of a single row of windows it says nothing
    if w.top > 0 or w.OH * w.stride_h != w.H or (w.KH - 1) * w.dilation_h >= w.stride_h:
        return
    w.H *= w.N * w.C
    w.OH *= w.N * w.C
    w.above_end = w.OH
    w.N = w.C = 1
    w.parts = max(1, min(w.OH, w.H * w.W // PART_ELEMENTS))


cdef struct Part:
    # A job: rows of windows of a plane.
    Py_ssize_t plane, first, end


cdef inline Part part_of(const Windows* w, Py_ssize_t job) noexcept nogil:
    cdef Part part
    if w.parts == 1:
        part.plane, part.first, part.end = job, 0, w.OH
    else:  # of a single plane
        part.plane = 0
        part.first = part_start(job, w.parts, w.OH)
        part.end = part_start(job + 1, w.parts, w.OH)
    return part


cdef struct Run:
    # Rows of windows that see the image with the same rows of their elements. The windows between
    # Windows.inside and inside_end may be read by blocks, if there are some.
    Py_ssize_t rows, first_kh, end_kh
    bint by_blocks
    Py_ssize_t first  # where the first element of the first of these windows is
    Py_ssize_t there  # elements of x from there on


cdef inline Run run_from(const Windows* w, const Part* part, Py_ssize_t oh) noexcept nogil:
    """The run of a part's rows that begins with row oh."""
    cdef Py_ssize_t ih = oh * w.stride_h - w.top
    cdef Run run
    run.first_kh = min(first_inside(ih, w.dilation_h), w.KH)
    run.end_kh = max(run.first_kh, end_inside(ih, w.dilation_h, w.KH, w.H))
    run.rows = 1
    if run.end_kh - run.first_kh == w.KH:
        run.rows = min(w.above_end, part.end) - oh
    run.by_blocks = w.inside_end - w.inside >= 2 and run.first_kh < run.end_kh
    run.first = (ih + run.first_kh * w.dilation_h) * w.W + w.inside * w.stride_w - w.left
    run.there = (w.N * w.C - part.plane) * w.H * w.W - run.first
    return run


cdef struct Strips:
    # Rows of dx are made in groups of `stride` rows, for which strips of dout are copied:
    # `groups` of them at a time, in rows `step` apart, with zeros where there are no windows.
    # No groups: dx is not made so. No size: dout is read where it is.
    Py_ssize_t groups, before_h, after_h, before_w, step
    Py_ssize_t size  # elements of a strip, in whole cache lines


cdef inline Strips strips_of(
    const Windows* w, Py_ssize_t most, Py_ssize_t itemsize
) noexcept nogil:
    """How the way back goes from each element of dx to the windows that cover it, if it does.

    That takes time in proportion to a window's elements, of which there may be so many; from each
    window to its elements does not for the maximum, and takes a sum a row for the average.
    """
    cdef Strips s
    cdef Py_ssize_t stride = w.stride_h, cols = ceil_div(w.W, stride)
    cdef Py_ssize_t lanes = pool_lanes(cols, itemsize)
    s.groups = s.size = 0
    if not (
        stride == w.stride_w and stride <= 2 and w.dilation_h == 1 and w.dilation_w == 1
        and w.top < w.KH and w.left < w.KW and w.KH * w.KW <= most
    ):
        return s
    s.before_h = (w.KH - 1 - w.top) // stride
    s.after_h = (stride - 1 + w.top) // stride
    s.before_w = (w.KW - 1 - w.left) // stride
    s.step = ceil_div(cols, lanes) * lanes + (stride - 1 + w.left) // stride
    s.step = s.before_w + max(s.step, w.OW)
    s.groups = max(1, min(ceil_div(w.H, stride), STRIP_ELEMENTS // s.step))
    if not windows_tile(w) or w.OW < lanes:
        s.size = ceil_div((s.before_h + s.groups + s.after_h) * s.step + BEHIND, 64) * 64
    return s


cdef inline Py_ssize_t groups_end(const Windows* w, const Part* part) noexcept nogil:
    """The end of the groups of rows of dx that belong to a part; they begin with its windows."""
    return part.end if w.parts > 1 else ceil_div(w.H, w.stride_h)


cdef inline void clear_part(const Windows* w, const Part* part, real* dx) noexcept nogil:
    """The rows of dx that belong to a part."""
    cdef Py_ssize_t first = part.first * w.stride_h
    cdef Py_ssize_t end = part.end * w.stride_h if w.parts > 1 else w.H
    memset(dx + first * w.W, 0, (end - first) * w.W * sizeof(real))
