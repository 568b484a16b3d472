"""Average over the windows of a plane, and the way back.

Both treat rows and columns apart, through `sums`: some rows of the plane, as wide as the windows
reach. Where the windows of a row lie side by side, all these rows are one long row.
"""

from libc.string cimport memcpy, memset

from geometry cimport Windows, end_inside, first_inside, windows_tile
from tile cimport real

cdef enum:
    AVERAGE_ELEMENTS = 2048


cdef inline Py_ssize_t counted(
    Py_ssize_t start, Py_ssize_t kernel, Py_ssize_t extent, Py_ssize_t before, Py_ssize_t after,
    bint with_pad,
) noexcept nogil:
    """How many of a window's positions along one axis count; those beyond the padding never do."""
    if not with_pad:
        before = after = 0
    return min(start + kernel, extent + after) - max(start, -before)


cdef inline Py_ssize_t reach_of(const Windows* w) noexcept nogil:
    """The width from the first to the last element of the windows of a row."""
    return (w.OW - 1) * w.stride_w + w.KW


cdef inline Py_ssize_t rows_at_once(const Windows* w) noexcept nogil:
    """Rows of windows whose sums stay in L1."""
    return max(1, min(w.OH, AVERAGE_ELEMENTS // reach_of(w)))


cdef inline void add_windows_of_row(
    const real* sums, real* y, Py_ssize_t OW, Py_ssize_t KW, Py_ssize_t stride
) noexcept nogil:
    """y[ow] = the sum of KW elements of sums from ow*stride on"""
    cdef Py_ssize_t ow, kw
    for ow in range(OW):
        y[ow] = sums[ow * stride] + sums[ow * stride + 1] if KW > 1 else sums[ow * stride]
    for kw in range(2, KW):
        for ow in range(OW):
            y[ow] += sums[ow * stride + kw]


cdef inline void add_windows(
    const real* sums, real* y, Py_ssize_t OW, Py_ssize_t KW, Py_ssize_t stride
) noexcept nogil:
    # Strides that the compiler knows become vectors.
    if stride == 1:
        add_windows_of_row(sums, y, OW, KW, 1)
    elif stride == 2 and KW == 2:
        add_windows_of_row(sums, y, OW, 2, 2)
    elif stride == 2:
        add_windows_of_row(sums, y, OW, KW, 2)
    else:
        add_windows_of_row(sums, y, OW, KW, stride)


cdef inline void divide_rows(
    const Windows* w, real* y, Py_ssize_t oh, Py_ssize_t end
) noexcept nogil:
    """Each element of some rows of windows over the number of elements that its window counts."""
    cdef Py_ssize_t i, ow, rows, cols, start
    cdef real divisor = <real> (w.KH * w.KW)
    if w.inside == 0 and w.inside_end == w.OW and oh * w.stride_h >= w.top and (
        (end - 1) * w.stride_h - w.top + w.KH <= w.H
    ):
        for i in range((end - oh) * w.OW):
            y[i] /= divisor
        return
    for oh in range(oh, end):
        start = oh * w.stride_h - w.top
        rows = counted(start, w.KH, w.H, w.top, w.bottom, w.count_include_pad)
        divisor = <real> (rows * w.KW)
        for ow in range(w.inside, w.inside_end):
            y[ow] /= divisor
        for ow in range(w.OW):
            if w.inside <= ow < w.inside_end:
                continue
            start = ow * w.stride_w - w.left
            cols = counted(start, w.KW, w.W, w.left, w.right, w.count_include_pad)
            y[ow] /= <real> (rows * cols)
        y += w.OW


cdef inline void average_plane(
    const Windows* w, Py_ssize_t job, const real* x, real* y, real* sums
) noexcept nogil:
    cdef Py_ssize_t oh, kh, ih, iw, first_kh, end_kh, start, end
    cdef Py_ssize_t reach = reach_of(w), width = min(w.W, reach - w.left), step = rows_at_once(w)
    cdef real* middle
    cdef const real* row
    x += job * w.H * w.W
    y += job * w.OH * w.OW
    if width < reach:
        memset(sums, 0, step * reach * sizeof(real))
    start = 0
    while start < w.OH:
        end = min(start + step, w.OH)
        for oh in range(start, end):
            ih = oh * w.stride_h - w.top
            first_kh = min(first_inside(ih, 1), w.KH)
            end_kh = max(first_kh, end_inside(ih, 1, w.KH, w.H))
            row = x + (ih + first_kh) * w.W
            middle = sums + (oh - start) * reach + w.left
            if end_kh - first_kh >= 2:
                for iw in range(width):
                    middle[iw] = row[iw] + row[w.W + iw]
            else:
                for iw in range(width):
                    middle[iw] = row[iw] if first_kh < end_kh else 0
            for kh in range(first_kh + 2, end_kh):
                row = x + (ih + kh) * w.W
                for iw in range(width):
                    middle[iw] += row[iw]
        if w.KW == w.stride_w:
            add_windows(sums, y, (end - start) * w.OW, w.KW, w.stride_w)
        else:
            for oh in range(end - start):
                add_windows(sums + oh * reach, y + oh * w.OW, w.OW, w.KW, w.stride_w)
        divide_rows(w, y, start, end)
        y += (end - start) * w.OW
        start = end


cdef inline void spread_windows(
    const real* share, real* sums, Py_ssize_t OW, Py_ssize_t KW, Py_ssize_t stride
) noexcept nogil:
    """sums[ow*stride + kw] += share[ow]"""
    cdef Py_ssize_t ow, kw
    if KW == 2 and stride == 2:
        for ow in range(OW):
            sums[2 * ow] = share[ow]
            sums[2 * ow + 1] = share[ow]
        return
    for ow in range((OW - 1) * stride + KW):
        sums[ow] = 0
    for kw in range(KW):
        for ow in range(OW):
            sums[ow * stride + kw] += share[ow]


cdef inline void spread_average_plane(
    const Windows* w, Py_ssize_t job, const real* dout, real* dx, real* sums
) noexcept nogil:
    cdef Py_ssize_t oh, kh, ih, iw, start, end
    cdef Py_ssize_t reach = reach_of(w), width = min(w.W, reach - w.left), step = rows_at_once(w)
    cdef real* share = sums + step * reach
    cdef real* row
    cdef const real* middle
    cdef bint tiling = windows_tile(w)
    dout += job * w.OH * w.OW
    dx += job * w.H * w.W
    if not tiling:
        memset(dx, 0, w.H * w.W * sizeof(real))
    start = 0
    while start < w.OH:
        end = min(start + step, w.OH)
        memcpy(share, dout + start * w.OW, (end - start) * w.OW * sizeof(real))
        divide_rows(w, share, start, end)
        if w.KW == w.stride_w:
            spread_windows(share, sums, (end - start) * w.OW, w.KW, w.stride_w)
        else:
            for oh in range(end - start):
                spread_windows(share + oh * w.OW, sums + oh * reach, w.OW, w.KW, w.stride_w)
        for oh in range(start, end):
            ih = oh * w.stride_h - w.top
            middle = sums + (oh - start) * reach + w.left
            for kh in range(first_inside(ih, 1), end_inside(ih, 1, w.KH, w.H)):
                row = dx + (ih + kh) * w.W
                if tiling:
                    for iw in range(width):
                        row[iw] = middle[iw]
                else:
                    for iw in range(width):
                        row[iw] += middle[iw]
        start = end
