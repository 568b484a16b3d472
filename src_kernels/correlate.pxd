"""The correlation that the forward pass and the backward pass to the input have in common.

    out[n, g, oc, t, u] = bias[g, oc] + sum over c, kh, kw of
        x[n, g, c, t*stride_h - top + kh*dilation_h, u*stride_w - left + kw*dilation_w]
        * weight(g, oc, c, kh, kw)

with zeros outside x. A job is a block of pixels (of several images, where they are small). It takes
its windows straight from x where none overhangs, else from a padded copy of its part of x.

Three register tiles can do the work; which one is a function of the shape. `tile` has vectors of
output channels and takes its pixels from anywhere, so it serves any stride and dilation, but its
results must be transposed. `wide_tile` has vectors of pixels of a row and stores them where they
belong: it suits few channels, and rows of whole vectors (first layers: 1.5 to 1.9 times as fast as
by way of a buffer). 1x1 windows are a matrix product: correlate_columns.pxd. The sum is over one
chunk of channels after the other: a running sum over all of C*KH*KW loses digits. Each chunk is
copied once and stays in L2 for all output channels (256 channels, stride 2, AVX2: 1.2 to 2.9 times
as fast as a copy for each panel of them).
"""

from correlate_columns cimport correlate_columns
from correlation_plan cimport TILE, WIDE, Correlation, pixels_of
from correlation_source cimport check_reads, copy_channels
from geometry cimport ceil_div, part_start
from tile cimport (
    ADDRESSED_ROWS, TILE_ROWS, copy_row, lanes_of, real, store_second, tile, transpose, wide_tile,
)


cdef inline void correlate(
    const Correlation* p, Py_ssize_t job, Py_ssize_t worker, real* tag
) noexcept nogil:
    """One job: a block of pixels of some groups, for a share of the panels of output channels."""
    cdef char* workspace = p.workspace + worker * p.workspace_size
    cdef real* copy = <real*> workspace
    cdef real* result = <real*> (workspace + p.copy_size)
    cdef real* columns = <real*> (workspace + p.copy_size + p.result_size)
    cdef Py_ssize_t* pixel = pixels_of(p, worker)
    cdef Py_ssize_t* target = pixel + p.pixel_size // (2 * sizeof(Py_ssize_t))
    cdef Py_ssize_t panel_group, col_block, row_block, image_block, group_block, g, straight = 0
    cdef Py_ssize_t n, images, row, rows, col, cols, first_panel, end_panel
    if job >= p.jobs:
        return
    # The panels go last: jobs that follow each other share their part of x.
    panel_group = job % p.panel_groups
    job //= p.panel_groups
    col_block = job % p.col_blocks
    job //= p.col_blocks
    row_block = job % p.row_blocks
    job //= p.row_blocks
    image_block = job % p.image_blocks
    group_block = job // p.image_blocks
    n = image_block * p.images
    images = min(p.images, p.N - n)
    row = part_start(row_block, p.row_blocks, p.OH)
    rows = part_start(row_block + 1, p.row_blocks, p.OH) - row
    col = col_block * p.cols
    cols = min(p.cols, p.OW - col)
    first_panel = part_start(panel_group, p.panel_groups, p.panels)
    end_panel = part_start(panel_group + 1, p.panel_groups, p.panels)
    cdef real* out = <real*> p.out + n * p.out_image + row * p.out_row + col * p.out_col
    if p.way == WIDE:
        straight = place_vectors(p, pixel, target, images, rows, cols, lanes_of(sizeof(real)))
    else:
        place_pixels(p, pixel, target, images, rows, cols)
    for g in range(part_start(group_block, p.group_blocks, p.G),
                   part_start(group_block + 1, p.group_blocks, p.G)):
        if p.way == WIDE:
            correlate_wide(p, copy, result, pixel, target, straight, g, n, images, row, rows,
                           col, cols, first_panel, end_panel, out + g * p.OC * p.out_plane)
        elif p.way == TILE:
            correlate_tiles(p, copy, result, columns, pixel, g, n, images, row, rows, col, cols,
                            first_panel, end_panel, out + g * p.OC * p.out_plane)
        else:
            correlate_columns(p, copy, columns, result, pixel, target, g, n, images, row, rows,
                              col, cols, first_panel, end_panel, out + g * p.OC * p.out_plane)


cdef inline void place_pixels(
    const Correlation* p, Py_ssize_t* place, Py_ssize_t* target,
    Py_ssize_t images, Py_ssize_t rows, Py_ssize_t cols,
) noexcept nogil:
    """Where each pixel of a block lies in x or the copy, and where its sum goes."""
    cdef Py_ssize_t row_step = p.stride_h // p.row_gap * p.copy_row, i, t, u, pixel = 0
    cdef Py_ssize_t col_step = 1 if p.phase else p.stride_w // p.col_gap
    for i in range(images):
        for t in range(rows):
            for u in range(cols):
                place[pixel] = i * p.copy_image + t * row_step + u * col_step
                target[pixel] = i * p.out_image + t * p.out_row + u * p.out_col
                pixel += 1


cdef inline Py_ssize_t place_vectors(
    const Correlation* p, Py_ssize_t* place, Py_ssize_t* target,
    Py_ssize_t images, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t lanes,
) noexcept nogil:
    """Where each vector of pixels lies in x or the copy, and where its sums go.

    Returns how many, the first ones, may be stored straight to the output. The last vector of a row
    overlaps the one before it. A row shorter than a vector is written on into the rows below it,
    which are written later; but not past the block's end, which is another job's.
    """
    cdef Py_ssize_t row_step = p.stride_h // p.row_gap * p.copy_row
    cdef Py_ssize_t i, j, t, u, by_way, row, count = 0, straight = 0
    cdef bint past_end
    for by_way in range(2):
        for i in range(images):
            for t in range(rows):
                row = i * p.out_image + t * p.out_row
                past_end = cols < lanes and t * cols + lanes > rows * cols
                if (past_end or not p.straight) != by_way:
                    continue
                for j in range(ceil_div(cols, lanes)):
                    u = max(0, min(j * lanes, cols - lanes))
                    place[count] = i * p.copy_image + t * row_step + u
                    target[count] = row + u * p.out_col
                    count += 1
        if by_way == 0:
            straight = count
    return straight


cdef inline void correlate_tiles(
    const Correlation* p, real* copy, real* result, real* edge, const Py_ssize_t* pixel,
    Py_ssize_t g, Py_ssize_t n, Py_ssize_t images, Py_ssize_t row, Py_ssize_t rows,
    Py_ssize_t col, Py_ssize_t cols, Py_ssize_t first_panel, Py_ssize_t end_panel, real* out,
) noexcept nogil:
    """Vectors of output channels: result[panel][pixel][channel], transposed into out."""
    cdef Py_ssize_t pixels = images * rows * cols, panel = p.panel
    cdef Py_ssize_t run = cols if p.by_row else pixels
    cdef Py_ssize_t tiles = ceil_div(run, TILE_ROWS if p.by_row else ADDRESSED_ROWS)
    cdef Py_ssize_t i, q, c, chunk, channels, width, vectors, start, count, at
    cdef const real* first
    cdef const real* source
    cdef const real* packed
    cdef real* sums
    cdef real* target
    cdef const real* bias
    if p.direct:
        first = <const real*> p.x + (n * p.G + g) * p.C * p.H * p.W
        first += (row * p.stride_h - p.top) * p.W + col * p.stride_w - p.left
    else:
        first = copy
    for chunk in range(p.chunks):
        c = part_start(chunk, p.chunks, p.C)
        channels = part_start(chunk + 1, p.chunks, p.C) - c
        source = first
        if p.direct:
            source += c * p.copy_plane
        else:
            copy_channels(p, copy, g, n, images, row, rows, col, c, channels)
        for q in range(first_panel, end_panel):
            width = min(panel, p.OC - q * panel)
            vectors = 1 if 2 * width <= panel else 2
            bias = <const real*> p.padded_bias + (g * p.panels + q) * panel
            packed = <const real*> p.packed + (g * p.panels + q) * p.packed_panel
            packed += c * p.taps * panel
            sums = result if p.chunks == 1 else result + (q - first_panel) * pixels * panel
            for i in range(pixels // run * tiles):
                at = part_start(i % tiles, tiles, run)
                count = part_start(i % tiles + 1, tiles, run) - at
                start = i // tiles * run + at
                target = sums + start * panel
                check_reads(p, copy, source, pixel + start, count, channels * p.taps, 1)
                if chunk == 0:
                    tile(count, vectors, source, pixel + start, p.k_offset, channels * p.taps,
                         packed, panel, bias, 0, target, panel)
                else:
                    tile(count, vectors, source, pixel + start, p.k_offset, channels * p.taps,
                         packed, panel, target, panel, target, panel)
            if chunk < p.chunks - 1:
                continue
            for i in range(images):
                store_panel(p, out + i * p.out_image + q * panel * p.out_plane,
                            sums + i * rows * cols * panel, edge, rows, cols, width)


cdef inline void store_panel(
    const Correlation* p, real* out, const real* result, real* edge,
    Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t width,
) noexcept nogil:
    """out[oc, t, u] = result[t, u, oc]"""
    cdef Py_ssize_t t, oc, panel = p.panel
    if p.out_col == 1 and p.out_row == cols:
        transpose(out, p.out_plane, result, panel, rows * cols, width)
        return
    for t in range(rows):
        if p.out_col == 1:
            transpose(out + t * p.out_row, p.out_plane, result + t * cols * panel, panel,
                      cols, width)
            continue
        transpose(edge, cols, result + t * cols * panel, panel, cols, width)
        for oc in range(width):
            store_row(p, out + oc * p.out_plane + t * p.out_row, edge + oc * cols, cols)


cdef inline void correlate_wide(
    const Correlation* p, real* copy, real* result, const Py_ssize_t* place,
    const Py_ssize_t* target, Py_ssize_t straight,
    Py_ssize_t g, Py_ssize_t n, Py_ssize_t images, Py_ssize_t row, Py_ssize_t rows,
    Py_ssize_t col, Py_ssize_t cols, Py_ssize_t first_panel, Py_ssize_t end_panel, real* out,
) noexcept nogil:
    """Vectors of pixels, to the output or, by way of result[panel][channel][vector], its ends."""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), i, q, c, oc, chunk, channels, first, width
    cdef Py_ssize_t vectors = images * rows * ceil_div(cols, lanes), depth
    cdef Py_ssize_t[8] side_by_side
    cdef const real* at
    cdef const real* source
    cdef const real* packed
    cdef real* sums
    cdef const real* bias
    for i in range(8):
        side_by_side[i] = i * lanes
    if p.direct:
        at = <const real*> p.x + (n * p.G + g) * p.C * p.H * p.W
        at += (row * p.stride_h - p.top) * p.W + col - p.left
    else:
        at = copy
    for chunk in range(p.chunks):
        c = part_start(chunk, p.chunks, p.C)
        channels = part_start(chunk + 1, p.chunks, p.C) - c
        depth = channels * p.taps
        source = at
        if p.direct:
            source += c * p.copy_plane
        else:
            copy_channels(p, copy, g, n, images, row, rows, col, c, channels)
        check_reads(p, copy, source, place, vectors, depth, lanes)
        for q in range(first_panel, end_panel):
            first = part_start(q, p.panels, p.OC)
            width = part_start(q + 1, p.panels, p.OC) - first
            packed = <const real*> p.packed + (g * p.panels + q) * p.packed_panel
            packed += c * p.taps * width
            bias = NULL
            if chunk == 0:
                bias = <const real*> p.padded_bias + g * p.panels * p.panel + first
            sums = result
            if p.chunks > 1:
                sums += (q - first_panel) * p.panel * p.span
            run_wide(p, width, packed, source, place, straight, depth, bias,
                     out + first * p.out_plane, p.out_plane, target, <real*> NULL)
            run_wide(p, width, packed, source, place + straight, vectors - straight, depth, bias,
                     sums, p.span, side_by_side, sums)
            if chunk < p.chunks - 1:
                continue
            for oc in range(width):
                for i in range(vectors - straight):
                    store_row(p, out + (first + oc) * p.out_plane + target[straight + i],
                              sums + oc * p.span + i * lanes, min(lanes, cols))


cdef inline void run_wide(
    const Correlation* p, Py_ssize_t width, const real* packed, const real* source,
    const Py_ssize_t* place, Py_ssize_t count, Py_ssize_t depth, const real* bias,
    real* out, Py_ssize_t out_step, const Py_ssize_t* target, real* dense,
) noexcept nogil:
    """Tile after tile over some vectors of pixels; to `dense`, side by side, if it is given."""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), tiles = ceil_div(count, p.vectors), i, start
    for i in range(tiles):
        start = part_start(i, tiles, count)
        wide_tile(width, part_start(i + 1, tiles, count) - start, packed, source, place + start,
                  p.k_offset, depth, bias, out if dense == NULL else dense + start * lanes,
                  out_step, target + start if dense == NULL else target)


cdef inline void store_row(
    const Correlation* p, real* out, const real* source, Py_ssize_t count
) noexcept nogil:
    """Where the elements of a row belong, every out_col-th column."""
    cdef Py_ssize_t i
    if p.out_col == 1:
        copy_row(out, source, count)
    elif p.out_col == 2:
        store_second(out, source, count)
    else:
        for i in range(count):
            out[i * p.out_col] = source[i]
