"""Average over the windows of a plane, and the way back.

Both treat rows and columns apart, through `sums`: some rows of the plane, as wide as the windows
reach. Where the windows of a row lie side by side, all these rows are one long row.
"""

from libc.string cimport memcpy, memset

from geometry cimport Windows, ceil_div, copy_window, end_inside, first_inside, windows_tile
from pool_rows cimport Run, Strips, can_collect, run_from, strip_size, strips_of
from pool_tile cimport collect_shares, means_of_windows, pool_lanes
from tile cimport real

cdef enum:
    AVERAGE_ELEMENTS = 2048
    BLOCK_ELEMENTS = 16  # of the largest windows that are added up, or collected, as a whole


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


cdef inline void divide_row(const Windows* w, real* y, Py_ssize_t oh) noexcept nogil:
    """Each element of a row of windows over the number of elements that its window counts."""
    cdef Py_ssize_t ow, cols
    cdef Py_ssize_t rows = counted(
        oh * w.stride_h - w.top, w.KH, w.H, w.top, w.bottom, w.count_include_pad
    )
    cdef real divisor = <real> (rows * w.KW)
    for ow in range(w.inside, w.inside_end):
        y[ow] /= divisor
    ow = 0
    while ow < w.OW:
        if ow == w.inside and ow < w.inside_end:
            ow = w.inside_end
            continue
        cols = counted(
            ow * w.stride_w - w.left, w.KW, w.W, w.left, w.right, w.count_include_pad
        )
        y[ow] /= <real> (rows * cols)
        ow += 1


cdef inline bint by_blocks(const Windows* w) noexcept nogil:
    """Whether each block of windows adds up its elements itself: few, or seen by few windows."""
    return w.stride_w <= 2 and w.KH * w.KW <= BLOCK_ELEMENTS and w.inside_end - w.inside >= 2


cdef inline real sum_of_column(
    const real* x, Py_ssize_t step, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    cdef real total = 0
    cdef Py_ssize_t i
    for i in range(first, end):
        total += x[i * step]
    return total


cdef inline real mean_of_one(
    const Windows* w, const real* x, Py_ssize_t oh, Py_ssize_t ow, const Run* run
) noexcept nogil:
    """One window, wherever it lies, in the order of the blocks: columns first, and by pairs."""
    cdef Py_ssize_t iw, last, top = oh * w.stride_h - w.top, left = ow * w.stride_w - w.left
    cdef Py_ssize_t rows = counted(top, w.KH, w.H, w.top, w.bottom, w.count_include_pad)
    cdef Py_ssize_t cols = counted(left, w.KW, w.W, w.left, w.right, w.count_include_pad)
    cdef Py_ssize_t first_row = top + run.first_kh, end_row = top + run.end_kh
    cdef real total = 0, columns
    iw, last = max(left, 0), min(left + w.KW, w.W)
    while iw < last:
        columns = sum_of_column(x + iw, w.W, first_row, end_row)
        iw += 1
        if w.stride_w == 2 and iw < last:
            columns += sum_of_column(x + iw, w.W, first_row, end_row)
            iw += 1
        total += columns
    return total / <real> (rows * cols)


cdef inline void average_blocks(
    const Windows* w, Py_ssize_t job, const real* x, real* y
) noexcept nogil:
    """Average pooling of a plane whose windows add up their elements themselves."""
    cdef Py_ssize_t oh = 0, ow, end, ih, rows
    cdef Run run
    while oh < w.OH:
        run = run_from(w, job, oh, sizeof(real))
        ih = oh * w.stride_h - w.top
        if run.by_vectors > 0:
            rows = counted(ih, w.KH, w.H, w.top, w.bottom, w.count_include_pad)
            means_of_windows(
                x + (ih + run.first_kh) * w.W + w.inside * w.stride_w - w.left, w.stride_h * w.W,
                run.by_vectors, w.inside_end - w.inside, <int> w.stride_w,
                <int> (run.end_kh - run.first_kh), <int> w.KW, w.W, <real> (rows * w.KW),
                y + oh * w.OW + w.inside, w.OW,
            )
        end = oh + run.rows
        run.by_vectors += oh
        for oh in range(oh, end):
            ow = 0
            while ow < w.OW:
                if ow == w.inside and oh < run.by_vectors:
                    ow = w.inside_end
                    continue
                y[oh * w.OW + ow] = mean_of_one(w, x, oh, ow, &run)
                ow += 1
        oh = end


cdef inline void average_plane(
    const Windows* w, Py_ssize_t job, const real* x, real* y, real* sums
) noexcept nogil:
    cdef Py_ssize_t oh, kh, ih, iw, first_kh, end_kh, start, end
    cdef Py_ssize_t reach = reach_of(w), width = min(w.W, reach - w.left), step = rows_at_once(w)
    cdef real* middle
    cdef const real* row
    x += job * w.H * w.W
    y += job * w.OH * w.OW
    if by_blocks(w):
        average_blocks(w, job, x, y)
        return
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
        for oh in range(start, end):
            divide_row(w, y, oh)
            y += w.OW
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


cdef inline void collect_average(
    const Windows* w, const real* dout, real* dx, real* strip
) noexcept nogil:
    """Each element of dx from the windows that cover it."""
    cdef int stride = <int> w.stride_h, KH = <int> w.KH, KW = <int> w.KW
    cdef int top = <int> w.top, left = <int> w.left
    cdef Py_ssize_t start, end, oh
    cdef Strips s
    if windows_tile(w) and w.OW >= pool_lanes(sizeof(real)):
        collect_shares(stride, KH, KW, top, left, dout, w.OW, <real> (KH * KW), dx, w.H, w.W)
        return
    s = strips_of(w, sizeof(real))
    start = 0
    while start * stride < w.H:
        end = min(w.H, (start + s.groups) * stride)
        copy_window(strip, s.step, dout, w.OH, w.OW, start - s.before_h, 1,
                    s.before_h + s.groups + s.after_h, -s.before_w, 1, s.step)
        for oh in range(max(start - s.before_h, 0), min(start + s.groups + s.after_h, w.OH)):
            divide_row(w, strip + (oh - start + s.before_h) * s.step + s.before_w, oh)
        collect_shares(stride, KH, KW, top, left, strip + s.before_h * s.step + s.before_w,
                       s.step, 1, dx + start * stride * w.W, end - start * stride, w.W)
        start += s.groups


cdef inline Py_ssize_t average_scratch(
    const Windows* w, bint forward, Py_ssize_t itemsize
) noexcept nogil:
    """Elements that a plane needs: rows of sums and of windows, or a strip of windows."""
    cdef Strips s
    if forward and by_blocks(w):
        return 0
    if not forward and can_collect(w, BLOCK_ELEMENTS):
        s = strips_of(w, itemsize)
        return strip_size(&s)
    return ceil_div(rows_at_once(w) * (reach_of(w) + w.OW), 16) * 16


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
    if can_collect(w, BLOCK_ELEMENTS):
        collect_average(w, dout, dx, sums)
        return
    if not tiling:
        memset(dx, 0, w.H * w.W * sizeof(real))
    start = 0
    while start < w.OH:
        end = min(start + step, w.OH)
        memcpy(share, dout + start * w.OW, (end - start) * w.OW * sizeof(real))
        for oh in range(start, end):
            divide_row(w, share + (oh - start) * w.OW, oh)
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
