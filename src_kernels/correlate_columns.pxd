"""A correlation as a product of the weights with columns of windows.

    out[oc, pixel] = bias[oc] + sum over k of weight[oc, k] * columns[k, pixel]

Some pairs of vectors of pixels at a time: their columns, packed, stay in L2 for all tiles of output
channels. A tile's weights stay in L1 for all the pairs, whose results follow each other: rows of
the output are written in runs, which memory is faster at (56x56 pixels, 64 channels to 256: 1.7 to
2.5 times as fast). A pair may lie in several rows, or images. The results go straight to the output
where that is one run of pixels. Fetching columns pays for 1x1 windows, which the other tiles read
from as many pages as there are channels (1.1 to 2.5 times as fast). On small planes it takes four
tiles of output channels. Larger windows share what they read, and are left to `tile` (0.95 times,
with the whole core at hand).
"""

from correlation_plan cimport Correlation
from correlation_source cimport check_reads, copy_channels
from geometry cimport ceil_div, part_start
from tile cimport copy_row, gather_columns, lanes_of, pack_rows, product_tile, real

cdef enum:
    MOST_COLUMNS = 64  # of a tile: two vectors, whatever their width and dtype


cdef inline void correlate_columns(
    const Correlation* p, real* copy, real* columns, real* result, const Py_ssize_t* place,
    const Py_ssize_t* target, Py_ssize_t g, Py_ssize_t n, Py_ssize_t images, Py_ssize_t row,
    Py_ssize_t rows, Py_ssize_t col, Py_ssize_t cols, Py_ssize_t first_panel, Py_ssize_t end_panel,
    real* out,
) noexcept nogil:
    """A product with columns of windows: those of some pairs of vectors of pixels at a time."""
    cdef Py_ssize_t pixels = images * rows * cols, step = p.step
    cdef Py_ssize_t begin = part_start(first_panel, p.panels, p.OC)
    cdef Py_ssize_t end = part_start(end_panel, p.panels, p.OC)
    cdef Py_ssize_t shorter = p.OC // p.panels, longer = p.OC % p.panels
    cdef Py_ssize_t i, q, c, chunk, channels, depth, start, count, vectors, oc, width, to_step
    cdef Py_ssize_t block, first, whole, last, a_step = p.panel
    cdef bint side_by_side = not p.unpacked or p.weight.out == 1
    if p.unpacked:
        a_step = p.weight.channel if side_by_side else p.weight.out
    cdef const real* at = copy
    cdef const real* source
    cdef const real* packed
    cdef const real* bias = <const real*> p.padded_bias + g * p.OC * step
    cdef real* to
    if p.direct:
        at = <const real*> p.x + (n * p.G + g) * p.C * p.H * p.W
        at += (row * p.stride_h - p.top) * p.W + col - p.left
    for chunk in range(p.chunks):
        c = part_start(chunk, p.chunks, p.C)
        channels = part_start(chunk + 1, p.chunks, p.C) - c
        depth = channels * p.taps
        source = at
        if p.direct:
            source += c * p.copy_plane
        else:
            copy_channels(p, copy, g, n, images, row, rows, col, c, channels)
        for block in range(ceil_div(pixels, step * p.steps)):
            first = block * p.steps
            last = min(first + p.steps, ceil_div(pixels, step))
            whole = first
            if p.direct and p.taps == 1 and place[pixels - 1] == place[0] + pixels - 1:
                # Rows of x in runs: from memory they take half the time.
                whole = min(last, pixels // step)
                check_reads(p, copy, source, place + first * step, (whole - first) * step, depth, 1)
                pack_rows(columns, p.columns_step, source + place[first * step], p.copy_plane,
                          depth, whole - first)
            for i in range(whole, last):
                start = i * step
                count = min(step, pixels - start)
                vectors = 1 if 2 * count <= step else 2
                check_reads(p, copy, source, place + start, count, depth, 1)
                fetch_columns(p, columns + (i - first) * p.columns_step, step * vectors // 2,
                              source, place + start, count, depth)
            if p.unpacked:
                packed = <const real*> p.weight.data + g * p.weight.group + begin * p.weight.out
                packed += c * p.weight.channel
            else:
                packed = <const real*> p.packed + (g * p.panels + first_panel) * p.packed_panel
                packed += c * p.taps * p.panel
            oc = begin
            for q in range(first_panel, end_panel):
                width = shorter + 1 if q < longer else shorter
                for i in range(first, last):
                    start = i * step
                    count = min(step, pixels - start)
                    to = result + (i * (end - begin) + oc - begin) * step
                    to_step = step
                    if is_run(p, target + start, count):
                        to = out + oc * p.out_plane + target[start]
                        to_step = p.out_plane
                    product_tile(
                        width, 1 if 2 * count <= step else 2, side_by_side, packed, a_step, depth,
                        columns + (i - first) * p.columns_step,
                        bias + oc * step if chunk == 0 else to, step if chunk == 0 else to_step,
                        to, to_step, count,
                    )
                packed += width * p.weight.out if p.unpacked else p.packed_panel
                oc += width
            for i in range(first, last):
                start = i * step
                count = min(step, pixels - start)
                if chunk == p.chunks - 1 and not is_run(p, target + start, count):
                    store_columns(p, out + begin * p.out_plane, result + i * (end - begin) * step,
                                  target + start, count, end - begin)


cdef inline bint is_run(
    const Correlation* p, const Py_ssize_t* target, Py_ssize_t count
) noexcept nogil:
    """Whether some pixels go to the output as they are, side by side."""
    return p.out_col == 1 and target[count - 1] == target[0] + count - 1


cdef inline void fetch_columns(
    const Correlation* p, real* columns, Py_ssize_t step, const real* source,
    const Py_ssize_t* place, Py_ssize_t count, Py_ssize_t depth,
) noexcept nogil:
    """columns[k][j] = source[place[j] + k_offset[k]], in vectors where they lie together."""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), pieces = 0, start = 0, run, k, j
    cdef Py_ssize_t[MOST_COLUMNS] piece
    cdef Py_ssize_t[MOST_COLUMNS] at
    cdef const real* x_end = <const real*> p.x + p.N * p.G * p.C * p.H * p.W
    while start < count:
        run = 1
        while start + run < count and place[start + run] == place[start] + run:
            run += 1
        for j in range(ceil_div(run, lanes)):
            at[pieces] = start + j * lanes
            piece[pieces] = place[start + j * lanes]
            pieces += 1
        start += run
    if p.direct and source + piece[pieces - 1] + p.k_offset[depth - 1] + lanes > x_end:
        # The last pixels of the last image.
        for k in range(depth):
            for j in range(step):
                columns[k * step + j] = source[place[j] + p.k_offset[k]] if j < count else 0
        return
    gather_columns(pieces, count == step, columns, step, source, p.k_offset, depth, piece, at)


cdef inline void store_columns(
    const Correlation* p, real* out, const real* result, const Py_ssize_t* target,
    Py_ssize_t count, Py_ssize_t channels,
) noexcept nogil:
    """out[oc, target[j]] = result[oc, j]"""
    cdef Py_ssize_t start = 0, run, oc, j
    cdef real* to
    while start < count:
        run = 1
        while start + run < count and target[start + run] == target[start] + run * p.out_col:
            run += 1
        for oc in range(channels):
            to = out + oc * p.out_plane + target[start]
            if p.out_col == 1:
                copy_row(to, result + oc * p.step + start, run)
            else:
                for j in range(run):
                    to[j * p.out_col] = result[oc * p.step + start + j]
        start += run
