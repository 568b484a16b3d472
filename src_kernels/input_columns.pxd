"""The gradient of an input by way of columns: a product, and col2im.

    columns[n, c, kh, kw, oh, ow] = sum over oc of dout[n, oc, oh, ow] * weight[oc, c, kh, kw]
    dx[n, c, ih, iw] = the sum of the columns that lie there: ih + top = oh*stride_h + kh*dilation_h

A correlation over dout with zeros around it multiplies more zeros than numbers where 9x9 have
become 3x3, and its phases are small where strides are large. The columns are a 1x1 convolution of
dout (correlate_columns.pxd). A job makes those of some channels of an image, or of some small
images, and adds them up while they are in L2.
"""

from libc.string cimport memset

from geometry cimport ceil_div, end_inside, first_inside
from phases cimport Phase, phase_of
from tile cimport HAS_MASKS, TILE_ROWS, add_taps, lanes_of, real

cdef enum:
    COLUMNS_OF_JOB = 192 << 10  # bytes, about
    LARGEST_COLUMNS = 512 << 10  # bytes of a job, at most
    MOST_PARTS = 16  # that the channels of a group are cut into
    ENOUGH_COLUMNS = 8  # jobs
    LEAST_COLUMNS = 4 * TILE_ROWS  # of a pixel, that make it a product
    MOST_MEETINGS = 256  # of a row of taps with the vectors of a row of the image


cdef struct InputColumns:
    Py_ssize_t C, H, W, OH, OW, KH, KW  # C of a group
    Py_ssize_t stride_h, stride_w, dilation_h, dilation_w, top, left


cdef struct Axis:
    Py_ssize_t positions, products  # of a correlation along it: what taps reach, times the taps


cdef inline Axis axis_of(
    Py_ssize_t extent, Py_ssize_t kernel, Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t before
) noexcept nogil:
    cdef Axis axis
    cdef Phase phase
    cdef Py_ssize_t first
    axis.positions = axis.products = 0
    for first in range(min(stride, extent)):
        phase = phase_of(first, extent, kernel, stride, dilation, before)
        if phase.taps:
            axis.positions += phase.positions
            axis.products += phase.positions * phase.taps
    return axis


cdef inline Py_ssize_t parts_of(
    const InputColumns* p, Py_ssize_t images, Py_ssize_t itemsize
) noexcept nogil:
    """Parts of the channels, from the shape alone: a product each, so that all sum alike."""
    cdef Py_ssize_t taps = p.KH * p.KW
    cdef Py_ssize_t parts = ceil_div(p.C * taps * p.OH * p.OW * itemsize, COLUMNS_OF_JOB)
    parts = max(parts, ceil_div(ENOUGH_COLUMNS, images))
    return max(1, min(parts, min(p.C // ceil_div(LEAST_COLUMNS, taps), MOST_PARTS)))


cdef inline bint columns_pay(
    const InputColumns* p, Py_ssize_t OC, Py_ssize_t parts, Py_ssize_t itemsize, bint is_few
) noexcept nogil:
    """Whether this is the way, rather than input_gradient.pxd if `is_few`, or correlate.pxd.

    Times of all three, as multiply-adds: of each, and of each position that is stored or column
    that is added up, which count as so many vectors of them. The constants are for 580 random
    shapes on AVX2 and 420 on AVX-512, one thread. On 350 others (AVX-512, one thread and two) that
    takes 1.02 to 1.03 times as long as the best way, the other ways alone 1.4 to 1.6 times. Of
    `is_few` on AVX-512 they are for 500 shapes and memory of 20 GB/s a core, one thread and two:
    1.01 to 1.02 times there, where what had been fitted at 5 GB/s took 1.10 to 1.12 times as long.
    """
    cdef Py_ssize_t taps = p.KH * p.KW, windows = p.OH * p.OW, lanes = lanes_of(itemsize)
    cdef bint wide = HAS_MASKS
    cdef double other
    cdef Axis rows, cols
    if p.C * taps < LEAST_COLUMNS:
        return False
    if ceil_div(p.C, parts) * taps * windows * itemsize > LARGEST_COLUMNS:
        return False
    if taps == 1:
        return False  # the product is dx, but for its places
    rows = axis_of(p.H, p.KH, p.stride_h, p.dilation_h, p.top)
    if is_few:
        other = OC * rows.products + (22 if wide else 8) * lanes * rows.positions
        other *= p.C * p.KW * p.OW * (6 if wide else 1.8)
    else:
        cols = axis_of(p.W, p.KW, p.stride_w, p.dilation_w, p.left)
        other = OC * rows.products * cols.products
        other += (11 if wide else 16) * lanes * rows.positions * cols.positions
        other *= ceil_div(p.C, lanes) * lanes * (5.4 if wide else 1.2)
        if p.C <= lanes:  # one vector in a row of the tile
            other *= 1.25 if wide else 1.4
    return other > p.C * taps * windows * (OC + (45 if wide else 12) * lanes)


cdef struct Meetings:
    # Where a row of taps meets a row of dx, if its vectors are added up in lanes.
    Py_ssize_t count  # 0 if they are not
    unsigned int[MOST_MEETINGS] lanes  # [vector][tap]: which lanes of the vector
    Py_ssize_t[MOST_MEETINGS] first  # the window in the first of them, or that of lane 0


cdef inline Meetings meetings_of(const InputColumns* p, Py_ssize_t itemsize) noexcept nogil:
    cdef Meetings m
    cdef Py_ssize_t lanes = lanes_of(itemsize), kw, ow, col, iw, i
    cdef bint long_rows = p.stride_w == 1 and p.KW < 4 and p.OW >= 2 * lanes
    m.count = ceil_div(p.W, lanes) * p.KW
    if m.count > MOST_MEETINGS or long_rows or not HAS_MASKS:
        m.count = 0
        return m
    for i in range(m.count):
        m.lanes[i] = 0
        m.first[i] = 0
    for kw in range(p.KW):
        col = kw * p.dilation_w - p.left
        for ow in range(first_inside(col, p.stride_w), end_inside(col, p.stride_w, p.OW, p.W)):
            iw = col + ow * p.stride_w
            i = iw // lanes * p.KW + kw
            if m.lanes[i] == 0:
                m.first[i] = ow if p.stride_w > 1 else ow - iw % lanes
            m.lanes[i] |= 1u << (iw % lanes)
    return m


cdef inline void scatter_columns(
    const InputColumns* p, const Meetings* m, const real* columns, real* dx
) noexcept nogil:
    """One plane of dx: zero, then the columns of each tap in their places."""
    cdef Py_ssize_t kh, kw, row, col, oh, ow, first, end
    cdef real* to
    cdef const real* at
    memset(dx, 0, p.H * p.W * sizeof(real))
    if (
        p.KW > p.OW and p.top <= 0 and p.left <= 0
        and (p.OH - 1) * p.stride_h + (p.KH - 1) * p.dilation_h - p.top < p.H
        and (p.OW - 1) * p.stride_w + (p.KW - 1) * p.dilation_w - p.left < p.W
    ):
        # Few windows, none of which overhangs: along their rows.
        for oh in range(p.OH):
            for ow in range(p.OW):
                at = columns + oh * p.OW + ow
                for kh in range(p.KH):
                    to = dx + (oh * p.stride_h + kh * p.dilation_h - p.top) * p.W
                    to += ow * p.stride_w - p.left
                    for kw in range(p.KW):
                        to[kw * p.dilation_w] += at[kw * p.OH * p.OW]
                    at += p.KW * p.OH * p.OW
        return
    for kh in range(p.KH if m.count else 0):
        row = kh * p.dilation_h - p.top
        for oh in range(first_inside(row, p.stride_h), end_inside(row, p.stride_h, p.OH, p.H)):
            add_taps(
                dx + (row + oh * p.stride_h) * p.W, p.W, p.KW, p.stride_w > 1,
                columns + kh * p.KW * p.OH * p.OW + oh * p.OW, p.OH * p.OW, m.lanes, m.first,
            )
    for kh in range(0 if m.count else p.KH):
        row = kh * p.dilation_h - p.top
        for kw in range(p.KW):
            col = kw * p.dilation_w - p.left
            first = first_inside(col, p.stride_w)
            end = end_inside(col, p.stride_w, p.OW, p.W)
            for oh in range(first_inside(row, p.stride_h),
                            end_inside(row, p.stride_h, p.OH, p.H)):
                to = dx + (row + oh * p.stride_h) * p.W + col
                at = columns + oh * p.OW
                if p.stride_w == 1:
                    for ow in range(first, end):
                        to[ow] += at[ow]
                else:
                    for ow in range(first, end):
                        to[ow * p.stride_w] += at[ow]
            columns += p.OH * p.OW
