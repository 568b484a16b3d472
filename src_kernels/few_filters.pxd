"""The gradient of the weights of few filters, or of groups that have few.

    dw[oc, kh, (kw, c)] = sum over n, oh, ow of dout[n, oc, oh, ow]
        * x[n, oh*stride_h - top + kh*dilation_h, (ow*stride_w - left + kw, c)]

With fewer output channels than a vector has lanes, vectors of them are part empty. Here x is moved
to [row][pixel][channel]: what a row of a window sees is then one stretch, all taps and channels of
it, and the vectors run along that. The register tile's rows are the filters, its k is the pixels
of a row, and b moves on by a pixel a step.

A job is a block of channels of a group and a part of the rows of all images; the parts, whose
number the shape decides, are added up at the end.
"""

from libc.string cimport memset

from geometry cimport aligned, ceil_div, part_start
from tile cimport ADDRESSED_ROWS, CHECK, lanes_of, real, tile, transpose
from weight_gradient cimport sums_by_row

cdef enum:
    COPY_BYTES = 128 << 10  # of the rows that a block of rows sees, about
    MOST_COPY = 4 << 20
    MOST_CHANNELS = 64  # of a block
    ENOUGH_JOBS = 8
    MOST_SUMS = 4 << 20  # bytes that more parts may cost
    LEAST_COLUMNS = 8  # the depth of a tile
    LEAST_SUMS = 4  # of a tile, in vectors
    PAGE = 4096


cdef struct FewFilters:
    # the problem
    Py_ssize_t N, G, C, H, W, OC, OH, OW, KH, KW
    Py_ssize_t stride_h, stride_w, dilation_h, top, left
    const void* x
    const void* dout
    # the plan: a pure function of the problem
    Py_ssize_t channel_blocks, channels, parts
    Py_ssize_t rows, row_blocks, columns  # of a block of dout; pixels of a row of the copy
    Py_ssize_t span  # elements of a filter's sums of a row of taps: whole vectors
    Py_ssize_t line, step  # elements from a filter's sums to the next's, and from a job's
    # memory
    Py_ssize_t sums_size, table_size, copy_size, workspace_size
    # [part][group][channel block][filter], each [row of taps][tap and channel] and a vector for db
    void* sums
    Py_ssize_t* offset  # of filters in dout, then of pixels
    char* workspace


cdef inline bint plan_few_filters(
    FewFilters* p, Py_ssize_t dilation_w, Py_ssize_t itemsize
) noexcept nogil:
    """Choose the blocks; False if the gradient does not go this way, a function of the problem.

    3x3 windows in groups of 4 and 8 channels took 0.7 to 0.8 of the time on AVX-512, 5x5 and 3x3
    with 3 to 64 channels and 6 or 8 filters 0.5 to 0.7 of it.
    """
    cdef Py_ssize_t lanes = lanes_of(itemsize), row, seen, vectors
    cdef double here, moved, there
    if p.OC >= lanes or p.OW < LEAST_COLUMNS or (dilation_w > 1 and p.KW > 1):
        return False
    p.channel_blocks = ceil_div(p.C, MOST_CHANNELS)
    p.channels = ceil_div(p.C, p.channel_blocks)
    p.span = ceil_div(p.KW * p.channels, lanes) * lanes
    p.columns = (p.OW - 1) * p.stride_w + p.KW
    row = p.columns * p.channels * itemsize
    p.rows = (COPY_BYTES // row - (p.KH - 1) * p.dilation_h - 1) // p.stride_h + 1
    p.rows = max(1, min(p.OH, p.rows))
    seen = (p.rows - 1) * p.stride_h + (p.KH - 1) * p.dilation_h + 1
    # Multiply-adds of vectors for a pixel: here, where few sums do not hide their latency, x is
    # moved and each row's sums are fetched; and with vectors of filters or of a row's pixels.
    vectors = p.span // lanes
    here = p.channel_blocks * p.KH * vectors * p.OC
    here *= max(1.0, LEAST_SUMS / <double> (p.OC * min(2, vectors)))
    moved = p.C * p.stride_w * seen / (4.0 * p.rows)
    # Planes that are pages apart fall into one set of the cache.
    here += moved if p.H * p.W * itemsize % PAGE else 4 * moved
    here *= 1 + 4.0 / p.OW
    there = p.C * p.KH * p.KW
    if sums_by_row(p.OC, p.OW, lanes):
        there *= 2.0 * p.OC * ceil_div(p.OW, lanes) / p.OW
    if here > 0.9 * there or seen * row > MOST_COPY:
        return False
    p.row_blocks = ceil_div(p.OH, p.rows)
    p.line = p.KH * p.span + lanes
    p.step = p.OC * p.line
    p.sums_size = p.G * p.channel_blocks * p.step * itemsize
    p.parts = min(ceil_div(ENOUGH_JOBS, p.G * p.channel_blocks), MOST_SUMS // p.sums_size)
    p.parts = max(1, min(p.parts, p.N * p.row_blocks))
    p.sums_size = aligned(p.sums_size * p.parts)
    p.table_size = aligned((p.OC + p.OW) * sizeof(Py_ssize_t))
    p.copy_size = aligned(seen * row + p.span * itemsize)
    p.workspace_size = p.copy_size
    return True


cdef inline void fill_few_filters(FewFilters* p) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(p.OC):
        p.offset[i] = i * p.OH * p.OW
    for i in range(p.OW):
        p.offset[p.OC + i] = i


cdef inline void sum_few_filters(
    const FewFilters* p, Py_ssize_t job, Py_ssize_t worker, real* tag
) noexcept nogil:
    """One job; its sums start at zero."""
    cdef real* copy = <real*> (p.workspace + worker * p.workspace_size)
    cdef real* sums = <real*> p.sums + job * p.step
    cdef Py_ssize_t channel_block = job % p.channel_blocks, group = job // p.channel_blocks
    cdef Py_ssize_t g = group % p.G, part = group // p.G, all_rows = p.N * p.row_blocks
    cdef Py_ssize_t c = part_start(channel_block, p.channel_blocks, p.C)
    cdef Py_ssize_t channels = part_start(channel_block + 1, p.channel_blocks, p.C) - c
    cdef Py_ssize_t unit, n, row, rows, i
    cdef const real* x
    cdef const real* dout
    memset(copy, 0, p.copy_size)  # what lies beside the image stays zero
    for unit in range(part_start(part, p.parts, all_rows), part_start(part + 1, p.parts, all_rows)):
        n = unit // p.row_blocks
        row = part_start(unit % p.row_blocks, p.row_blocks, p.OH)
        rows = part_start(unit % p.row_blocks + 1, p.row_blocks, p.OH) - row
        x = <const real*> p.x + ((n * p.G + g) * p.C + c) * p.H * p.W
        dout = <const real*> p.dout + (n * p.G + g) * p.OC * p.OH * p.OW + row * p.OW
        move_rows(p, x, row * p.stride_h - p.top, rows, channels, copy)
        add_windows(p, copy, dout, rows, channels, sums)
        if channel_block == 0:
            for i in range(p.OC):
                add_pixels(dout + i * p.OH * p.OW, rows * p.OW, sums + i * p.line + p.KH * p.span)


cdef inline void move_rows(
    const FewFilters* p, const real* x, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t channels,
    real* copy,
) noexcept nogil:
    """copy[row][pixel][channel] of the rows that a block sees, which begin at `first`."""
    cdef Py_ssize_t step = p.columns * channels, count = min(p.W, p.columns - p.left), i
    for i in range((rows - 1) * p.stride_h + (p.KH - 1) * p.dilation_h + 1):
        if first + i < 0 or first + i >= p.H:
            memset(copy + i * step, 0, step * sizeof(real))
        elif count > 0:
            transpose(copy + i * step + p.left * channels, channels, x + (first + i) * p.W,
                      p.H * p.W, channels, count)


cdef inline void add_windows(
    const FewFilters* p, const real* copy, const real* dout, Py_ssize_t rows, Py_ssize_t channels,
    real* sums,
) noexcept nogil:
    """sums[oc][kh][:] += sum over some rows of dout[oc][row][:] * copy[row][:][kw and c]"""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), step = p.columns * channels
    cdef Py_ssize_t vectors = ceil_div(p.KW * channels, lanes), t, kh, v
    cdef const real* source
    for t in range(rows):
        for kh in range(p.KH):
            for v in range(0, vectors, 2):
                source = copy + (t * p.stride_h + kh * p.dilation_h) * step + v * lanes
                CHECK(
                    source + (p.OW - 1) * p.stride_w * channels + min(2, vectors - v) * lanes
                    <= copy + p.copy_size // sizeof(real)
                )
                add_row(p, min(2, vectors - v), dout + t * p.OW, source, p.stride_w * channels,
                        sums + kh * p.span + v * lanes)


cdef inline void add_row(
    const FewFilters* p, Py_ssize_t vectors, const real* dout, const real* source,
    Py_ssize_t step, real* sums,
) noexcept nogil:
    """sums[oc][:] += sum over a row of dout[oc][pixel] * source[pixel][:]"""
    cdef Py_ssize_t i, oc
    cdef real* target
    for i in range(ceil_div(p.OC, ADDRESSED_ROWS)):
        oc = i * ADDRESSED_ROWS
        target = sums + oc * p.line
        tile(min(ADDRESSED_ROWS, p.OC - oc), vectors, dout, p.offset + oc, p.offset + p.OC, p.OW,
             source, step, target, p.line, target, p.line)


cdef inline void add_pixels(const real* dout, Py_ssize_t count, real* total) noexcept nogil:
    """total[i] += the sum of every lanes-th pixel, from the i-th on"""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), i, k
    for k in range(count // lanes):
        for i in range(lanes):
            total[i] += dout[k * lanes + i]
    for i in range(count % lanes):
        total[i] += dout[count // lanes * lanes + i]


cdef inline void finish_few_filters(
    const FewFilters* p, Py_ssize_t group, real* dw, real* db
) noexcept nogil:
    """Add up the parts of a group, in order, and lay them out as dw and db are."""
    cdef Py_ssize_t jobs = p.G * p.channel_blocks, b, part, i, c, channels, oc, kh, kw
    cdef real* sums
    cdef const real* other
    cdef real* target
    for b in range(p.channel_blocks):
        sums = <real*> p.sums + (group * p.channel_blocks + b) * p.step
        for part in range(1, p.parts):
            other = sums + part * jobs * p.step
            for i in range(p.step):
                sums[i] += other[i]
        c = part_start(b, p.channel_blocks, p.C)
        channels = part_start(b + 1, p.channel_blocks, p.C) - c
        for oc in range(p.OC):
            target = dw + ((group * p.OC + oc) * p.C + c) * p.KH * p.KW
            for kh in range(p.KH):
                for kw in range(p.KW):
                    for i in range(channels):
                        target[i * p.KH * p.KW + kh * p.KW + kw] = (
                            sums[oc * p.line + kh * p.span + kw * channels + i]
                        )
            if b == 0:
                db[group * p.OC + oc] = 0
                for i in range(lanes_of(sizeof(real))):
                    db[group * p.OC + oc] += sums[oc * p.line + p.KH * p.span + i]
