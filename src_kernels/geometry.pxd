"""Window arithmetic and the padded copy that all kernels share. All inline: no module is made."""

from tile cimport copy_padded, copy_phases, copy_second, real


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t aligned(Py_ssize_t size) noexcept nogil:
    """Bytes in whole cache lines."""
    return ceil_div(size, 64) * 64


cdef inline Py_ssize_t part_start(
    Py_ssize_t part, Py_ssize_t parts, Py_ssize_t extent
) noexcept nogil:
    """Where `part` of `parts` starts when `extent` is split evenly: 32 in 3 is 11 + 11 + 10."""
    return part * (extent // parts) + min(part, extent % parts)


cdef inline Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef inline Py_ssize_t first_inside(Py_ssize_t start, Py_ssize_t step) noexcept nogil:
    """The least i >= 0 with start + i*step >= 0."""
    if start >= 0:
        return 0
    # A division takes as long as a short row.
    return -start if step == 1 else ceil_div(-start, step)


cdef inline Py_ssize_t end_inside(
    Py_ssize_t start, Py_ssize_t step, Py_ssize_t count, Py_ssize_t extent
) noexcept nogil:
    """The end of the i < count with start + i*step < extent."""
    if start >= extent:
        return 0
    if step == 1:
        return min(count, extent - start)
    return min(count, (extent - 1 - start) // step + 1)


cdef struct Windows:
    # Over each of the N*C planes: ih = oh*stride_h - top + kh*dilation_h, and so along the width.
    Py_ssize_t N, C, H, W, OH, OW, KH, KW
    Py_ssize_t stride_h, stride_w, top, bottom, left, right, dilation_h, dilation_w
    Py_ssize_t inside, inside_end  # the windows of a row that overhang neither side
    Py_ssize_t above_end  # the end of the rows of windows that do not overhang the bottom
    Py_ssize_t parts  # of a plane, as jobs: runs of its rows of windows
    bint count_include_pad  # average pooling only


cdef inline Py_ssize_t window_count(
    Py_ssize_t extent, Py_ssize_t kernel, Py_ssize_t stride, Py_ssize_t padding, Py_ssize_t dilation
) noexcept nogil:
    """Rounded down."""
    return (extent + padding - dilation * (kernel - 1) - 1) // stride + 1


cdef inline Windows make_windows(
    Py_ssize_t N, Py_ssize_t C, Py_ssize_t H, Py_ssize_t W, Py_ssize_t OH, Py_ssize_t OW,
    tuple kernel_size, tuple stride, tuple padding, tuple dilation,
):
    cdef Windows w
    w.N, w.C, w.H, w.W, w.OH, w.OW = N, C, H, W, OH, OW
    w.KH, w.KW = kernel_size
    w.stride_h, w.stride_w = stride
    w.top, w.bottom, w.left, w.right = padding
    w.dilation_h, w.dilation_w = dilation
    w.inside = min(first_inside(-w.left, w.stride_w), OW)
    w.inside_end = end_inside((w.KW - 1) * w.dilation_w - w.left, w.stride_w, OW, W)
    w.inside_end = max(w.inside, w.inside_end)
    w.parts = 1
    w.above_end = end_inside((w.KH - 1) * w.dilation_h - w.top, w.stride_h, OH, H)
    w.count_include_pad = False
    return w


cdef inline bint windows_tile(const Windows* w) noexcept nogil:
    """Whether the windows lie side by side and cover the plane."""
    return (
        w.KH == w.stride_h and w.KW == w.stride_w and w.dilation_h == 1 and w.dilation_w == 1
        and w.top == 0 and w.left == 0 and w.OH * w.KH == w.H and w.OW * w.KW == w.W
    )


cdef inline void clear_rows(
    real* dst, Py_ssize_t dst_step, Py_ssize_t rows, Py_ssize_t cols
) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(cols):
            dst[i * dst_step + j] = 0


cdef inline void copy_window_phases(
    real* dst, Py_ssize_t dst_step, Py_ssize_t gap, Py_ssize_t phases, const real* plane,
    Py_ssize_t H, Py_ssize_t W, Py_ssize_t row, Py_ssize_t row_step, Py_ssize_t rows,
    Py_ssize_t col, Py_ssize_t col_step, Py_ssize_t cols,
) noexcept nogil:
    """dst[i, phase*gap + j] = plane[row + i*row_step, col + j*col_step + phase]."""
    cdef Py_ssize_t top = min(first_inside(row, row_step), rows)
    cdef Py_ssize_t bottom = max(end_inside(row, row_step, rows, H), top)
    cdef Py_ssize_t width = (phases - 1) * gap + cols
    clear_rows(dst, dst_step, top, width)
    clear_rows(dst + bottom * dst_step, dst_step, rows - bottom, width)
    copy_phases(col_step, dst + top * dst_step, dst_step, gap, phases,
                plane + (row + top * row_step) * W, row_step * W, bottom - top, -col, W, cols,
                H * W)


cdef inline void copy_window(
    real* dst, Py_ssize_t dst_step, const real* plane, Py_ssize_t H, Py_ssize_t W,
    Py_ssize_t row, Py_ssize_t row_step, Py_ssize_t rows,
    Py_ssize_t col, Py_ssize_t col_step, Py_ssize_t cols,
) noexcept nogil:
    """dst[i, j] = plane[row + i*row_step, col + j*col_step], zero outside the plane."""
    cdef Py_ssize_t i, j
    cdef Py_ssize_t first = min(first_inside(col, col_step), cols)
    cdef Py_ssize_t end = max(end_inside(col, col_step, cols, W), first)
    cdef Py_ssize_t top = min(first_inside(row, row_step), rows)
    cdef Py_ssize_t bottom = max(end_inside(row, row_step, rows, H), top)
    cdef const real* source = plane + (row + top * row_step) * W + col
    if first == end:
        bottom = top
    clear_rows(dst, dst_step, top, cols)
    clear_rows(dst + bottom * dst_step, dst_step, rows - bottom, cols)
    dst += top * dst_step
    if col_step == 1:
        copy_padded(dst, dst_step, source + first, row_step * W, bottom - top,
                    first, end - first, cols - end, H * W)
        return
    for i in range(top, bottom):
        source = plane + (row + i * row_step) * W + col
        for j in range(first):
            dst[j] = 0
        if col_step == 2:
            copy_second(dst + first, source + 2 * first, end - first)
        else:
            for j in range(first, end):
                dst[j] = source[j * col_step]
        for j in range(end, cols):
            dst[j] = 0
        dst += dst_step
