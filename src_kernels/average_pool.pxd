"""Average over the windows of a plane, and the way back.

Both treat rows and columns apart, through `sums`: some rows of the plane, as wide as the windows
reach. Where the windows of a row lie side by side, all these rows are one long row.
"""

from libc.string cimport memset

from geometry cimport Windows, ceil_div, end_inside, first_inside, windows_tile
from pool_rows cimport (
    BEHIND, Part, Run, Strips, clear_part, groups_end, part_of, run_from, strips_of,
)
from pool_tile cimport collect_shares, means_of_windows, strip_row
from tile cimport real, sum_rows

cdef enum:
    AVERAGE_ELEMENTS = 2048
    COLUMNS_BEHIND = 16  # elements of a vector, at most
    BLOCK_ELEMENTS = 16  # of the largest windows that are added up as a whole
    COLLECTED_BYTES = 72  # of the largest windows whose gradient is collected: 16 floats, 9 doubles


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


cdef inline void fill_columns(const Windows* w, real* columns) noexcept nogil:
    """columns[ow] = the columns that the windows at ow count, and ones behind the last"""
    cdef Py_ssize_t ow
    for ow in range(w.OW, w.OW + COLUMNS_BEHIND):
        columns[ow] = 1
    for ow in range(w.OW):
        columns[ow] = <real> counted(
            ow * w.stride_w - w.left, w.KW, w.W, w.left, w.right, w.count_include_pad
        )


cdef inline Py_ssize_t rows_counted(const Windows* w, Py_ssize_t oh) noexcept nogil:
    """The rows that the windows at oh count."""
    return counted(oh * w.stride_h - w.top, w.KH, w.H, w.top, w.bottom, w.count_include_pad)


cdef inline void divide_row(
    const Windows* w, const real* columns, real* y, Py_ssize_t oh
) noexcept nogil:
    """Each element of a row of windows over the number of elements that its window counts."""
    cdef Py_ssize_t ow
    cdef real rows = <real> rows_counted(w, oh)
    for ow in range(w.OW):
        y[ow] /= rows * columns[ow]


cdef inline bint is_single(const Windows* w) noexcept nogil:
    """Whether a row has a single window, and that lies inside."""
    return w.OW == 1 and w.inside == 0 and w.inside_end == 1


cdef inline bint by_blocks(const Windows* w) noexcept nogil:
    """Whether each block of windows adds up its elements itself: few, or seen by few windows."""
    return w.stride_w <= 3 and w.KH * w.KW <= BLOCK_ELEMENTS and w.inside_end - w.inside >= 2


cdef inline real sum_of_column(
    const real* x, Py_ssize_t step, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    cdef real total = 0
    cdef Py_ssize_t i
    for i in range(first, end):
        total += x[i * step]
    return total


cdef inline real sum_of_one(
    const Windows* w, const real* x, Py_ssize_t oh, Py_ssize_t ow, const Run* run
) noexcept nogil:
    """One window, wherever it lies, in the order of the blocks: columns first, and by pairs."""
    cdef Py_ssize_t iw, last, top = oh * w.stride_h - w.top, left = ow * w.stride_w - w.left
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
    return total


cdef inline void average_blocks(
    const Windows* w, const Part* part, const real* columns, const real* x, real* y
) noexcept nogil:
    """Average pooling of a part whose windows add up their elements themselves."""
    cdef Py_ssize_t oh = part.first, ow, end, done
    cdef real rows
    cdef Run run
    while oh < part.end:
        run = run_from(w, part, oh)
        done = oh
        if run.by_blocks:
            done += means_of_windows(
                x + run.first, run.there, w.stride_h * w.W, run.rows, w.inside_end - w.inside,
                <int> w.stride_w, <int> (run.end_kh - run.first_kh), <int> w.KW, w.W,
                <real> rows_counted(w, oh) * columns[w.inside], y + oh * w.OW + w.inside, w.OW,
            )
        end = oh + run.rows
        if w.inside == 0 and w.inside_end == w.OW:
            oh = done
        for oh in range(oh, end):
            rows = <real> rows_counted(w, oh)
            ow = 0
            while ow < w.OW:
                if ow == w.inside and oh < done:
                    ow = w.inside_end
                    continue
                y[oh * w.OW + ow] = sum_of_one(w, x, oh, ow, &run) / (rows * columns[ow])
                ow += 1
        oh = end


cdef inline void average_single(
    const Windows* w, const Part* part, const real* columns, const real* x, real* y
) noexcept nogil:
    """Average pooling of a part with one window in a row: by sums of columns, 4 times as long."""
    cdef Py_ssize_t oh, ih, first_kh, end_kh
    cdef real total
    for oh in range(part.first, part.end):
        ih = oh * w.stride_h - w.top
        first_kh = min(first_inside(ih, 1), w.KH)
        end_kh = max(first_kh, end_inside(ih, 1, w.KH, w.H))
        if w.KW == w.W:
            total = sum_rows(x + (ih + first_kh) * w.W, 0, 1, (end_kh - first_kh) * w.W)
        else:
            total = sum_rows(x + (ih + first_kh) * w.W, w.W, end_kh - first_kh, w.KW)
        y[oh] = total / (<real> rows_counted(w, oh) * columns[0])


cdef inline void average_part(
    const Windows* w, Py_ssize_t job, const real* columns, const real* x, real* y, real* sums
) noexcept nogil:
    cdef Part part = part_of(w, job)
    x += part.plane * w.H * w.W
    y += part.plane * w.OH * w.OW
    if by_blocks(w):
        average_blocks(w, &part, columns, x, y)
    elif is_single(w):
        average_single(w, &part, columns, x, y)
    else:
        average_rows(w, &part, columns, x, y, sums)


cdef inline void average_rows(
    const Windows* w, const Part* part, const real* columns, const real* x, real* y, real* sums
) noexcept nogil:
    """Average pooling of a part whose windows share the sums of their columns."""
    cdef Py_ssize_t oh, kh, ih, iw, first_kh, end_kh, start, end
    cdef Py_ssize_t reach = reach_of(w), width = min(w.W, reach - w.left), step = rows_at_once(w)
    cdef real* middle
    cdef const real* row
    if width < reach:
        memset(sums, 0, step * reach * sizeof(real))
    start = part.first
    y += start * w.OW
    while start < part.end:
        end = min(start + step, part.end)
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
            divide_row(w, columns, y, oh)
            y += w.OW
        start = end


cdef inline Strips average_strips(
    const Windows* w, bint forward, Py_ssize_t itemsize
) noexcept nogil:
    return strips_of(w, 0 if forward else COLLECTED_BYTES // itemsize, itemsize)


cdef inline Py_ssize_t average_scratch(
    const Windows* w, const Strips* s, bint forward, Py_ssize_t itemsize
) noexcept nogil:
    """Elements that a worker needs: rows of sums and of windows, or a strip of windows."""
    if s.groups > 0 or (forward and by_blocks(w)):
        return s.size
    return ceil_div(rows_at_once(w) * (reach_of(w) + w.OW) + BEHIND, 16) * 16


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
    const Windows* w, const Strips* s, const Part* part, const real* columns, const real* dout,
    real* dx, real* strip,
) noexcept nogil:
    """Each element of dx from the windows that cover it."""
    cdef int stride = <int> w.stride_h, KH = <int> w.KH, KW = <int> w.KW
    cdef int top = <int> w.top, left = <int> w.left
    cdef Py_ssize_t start = part.first, end = groups_end(w, part), groups, rows, row, oh
    if s.size == 0:
        collect_shares(stride, KH, KW, top, left, dout + start * w.OW, w.OW, <real> (KH * KW),
                       dx + start * stride * w.W, (end - start) * stride, w.W)
        return
    while start < end:
        groups = min(s.groups, end - start)
        rows = min(groups * stride, w.H - start * stride)
        for row in range(s.before_h + groups + s.after_h):
            oh = start - s.before_h + row
            if 0 <= oh < w.OH:
                strip_row(strip + row * s.step, s.step, s.before_w, dout + oh * w.OW, w.OW,
                          columns, <real> rows_counted(w, oh))
            else:
                strip_row(strip + row * s.step, s.step, 0, dout, 0, columns, 1)
        collect_shares(stride, KH, KW, top, left, strip + s.before_h * s.step + s.before_w,
                       s.step, 1, dx + start * stride * w.W, rows, w.W)
        start += groups


cdef inline void spread_average_part(
    const Windows* w, const Strips* s, Py_ssize_t job, const real* columns, const real* dout,
    real* dx, real* sums,
) noexcept nogil:
    cdef Part part = part_of(w, job)
    cdef Py_ssize_t oh, kh, ih, iw, start, end
    cdef Py_ssize_t reach = reach_of(w), width = min(w.W, reach - w.left), step = rows_at_once(w)
    cdef real* share = sums + step * reach
    cdef real* row
    cdef const real* middle
    cdef bint tiling = windows_tile(w)
    dout += part.plane * w.OH * w.OW
    dx += part.plane * w.H * w.W
    if s.groups > 0:
        collect_average(w, s, &part, columns, dout, dx, sums)
        return
    if not tiling:
        clear_part(w, &part, dx)
    start = part.first
    while start < part.end:
        end = min(start + step, part.end)
        for oh in range(start, end):
            strip_row(share + (oh - start) * w.OW, w.OW, 0, dout + oh * w.OW, w.OW, columns,
                      <real> rows_counted(w, oh))
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
