"""winograd.h for Cython, and the tiles of images: which there are, how they get to the points."""

from libc.string cimport memcpy, memset

from geometry cimport aligned, ceil_div, end_inside, first_inside, part_start
from tile cimport lanes_of, real, transpose

cdef extern from "winograd.h" nogil:
    enum:
        SLICE_BYTES
        F2, F4, GAUSS  # numbers of points
        MOST_TAPS
    Py_ssize_t OUTPUTS_OF(Py_ssize_t points, Py_ssize_t taps)
    void tiles_at_points_f32(int, int, const float*, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t)
    void tiles_at_points_f64(int, int, const double*, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t)
    void gradients_at_points_f32(int, int, const float*, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t,
                                 Py_ssize_t, Py_ssize_t)
    void gradients_at_points_f64(int, int, const double*, Py_ssize_t, Py_ssize_t, double*,
                                 Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void tiles_of_points_f32(int, int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t,
                             const float*, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t)
    void tiles_of_points_f64(int, int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t,
                             const double*, double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t)
    void kernel_at_points_f32(int, int, Py_ssize_t, const float*, float*, Py_ssize_t)
    void kernel_at_points_f64(int, int, Py_ssize_t, const double*, double*, Py_ssize_t)
    void kernel_of_points_f32(int, int, Py_ssize_t, const float*, Py_ssize_t, float*)
    void kernel_of_points_f64(int, int, Py_ssize_t, const double*, Py_ssize_t, double*)

cdef enum:
    KERNELS = 8  # channels whose weights are transformed together


cdef inline Py_ssize_t odd_lines(Py_ssize_t count, Py_ssize_t slice) noexcept nogil:
    """At least `count` items, in an odd number of cache lines: streams so apart share no set."""
    count = ceil_div(count, slice)
    return (count + 1 - count % 2) * slice


cdef struct Tiles:
    # The tiles of m x m outputs of N images, in blocks of whole rows of them, or of parts of rows.
    # A dilated window sees every `dilation`-th row and column: an image is so many phases on either
    # axis, each with tiles of its own. Those of the columns follow each other in a row of tiles.
    # A strided or a large window is cut into pieces of `taps` taps on either axis: every n-th one,
    # or some that are side by side. All have the same tiles, and their sums are added up.
    Py_ssize_t points, window, stride, taps, m, OH, OW, dilation_h, dilation_w
    Py_ssize_t pieces, whole  # of an axis, and those with all taps: others lack the last one
    Py_ssize_t panel  # output channels that are computed together: two vectors of them, or one
    Py_ssize_t TH, TW  # rows and columns of tiles of a phase
    Py_ssize_t all_rows, all_tiles
    Py_ssize_t rows, cols, row_blocks, col_blocks  # of a block, and of a phase in it, at most
    Py_ssize_t most  # tiles of a block, at most


cdef struct Block:
    # Some rows of tiles, counted through all images, and some of their columns.
    Py_ssize_t first, end, col, cols
    Py_ssize_t tiles  # of all its rows


cdef inline Py_ssize_t panel_of(Py_ssize_t channels, Py_ssize_t itemsize) noexcept nogil:
    """Two vectors of output channels, or one where they are no more."""
    return lanes_of(itemsize) if channels <= lanes_of(itemsize) else 2 * lanes_of(itemsize)


cdef inline void count_tiles(
    Tiles* p, Py_ssize_t points, Py_ssize_t window, Py_ssize_t stride, Py_ssize_t N, Py_ssize_t OH,
    Py_ssize_t OW, Py_ssize_t dilation_h, Py_ssize_t dilation_w,
) noexcept nogil:
    p.points, p.window, p.stride, p.taps = points, window, stride, ceil_div(window, stride)
    if p.taps > MOST_TAPS:
        p.taps = 3 if window <= 6 or window == 9 else 4
    p.m = OUTPUTS_OF(points, p.taps)
    p.pieces = stride if stride > 1 else ceil_div(window, p.taps)
    p.whole = window - p.pieces * (p.taps - 1)
    p.OH, p.OW = OH, OW
    p.dilation_h, p.dilation_w = dilation_h, dilation_w
    p.TH, p.TW = ceil_div(OH, dilation_h * p.m), ceil_div(OW, dilation_w * p.m)
    p.all_rows = N * dilation_h * p.TH
    p.all_tiles = p.all_rows * dilation_w * p.TW


cdef inline void cut_tiles(Tiles* p, Py_ssize_t at_most, Py_ssize_t unit) noexcept nogil:
    """Blocks of `at_most` tiles, or of a single row of them.

    They are computed `unit` tiles at a time: the number of rows is the one that wastes the least.
    """
    cdef Py_ssize_t rows, row_tiles, cost, least = 0
    p.col_blocks = min(p.TW, ceil_div(p.dilation_w * p.TW, at_most))
    p.cols = ceil_div(p.TW, p.col_blocks)
    row_tiles = p.dilation_w * p.cols
    p.rows = 1
    for rows in range(1, min(p.all_rows, at_most // row_tiles) + 1):
        # Each block has a cost of its own, which is about that of half a unit.
        cost = p.all_rows // rows * (2 * ceil_div(rows * row_tiles, unit) + 1)
        if p.all_rows % rows:
            cost += 2 * ceil_div(p.all_rows % rows * row_tiles, unit) + 1
        if rows == 1 or cost <= least:
            least = cost
            p.rows = rows
    p.row_blocks = ceil_div(p.all_rows, p.rows)
    if unit == 1:  # nothing is computed in vain, so blocks may be even
        p.rows = ceil_div(p.all_rows, p.row_blocks)
    p.most = p.rows * row_tiles


cdef inline void tiles_of_points(
    const Tiles* p, const real* products, Py_ssize_t point, Py_ssize_t tile_step, const real* bias,
    real* out, Py_ssize_t out_row, Py_ssize_t out_col, Py_ssize_t count, Py_ssize_t rows,
    Py_ssize_t cols,
) noexcept nogil:
    """out[pixel][panel] of a row of tiles, from products [point][tile], plus bias"""
    cdef int points = <int> p.points, taps = <int> p.taps
    if real is float:
        tiles_of_points_f32(points, taps, p.panel, products, point, tile_step, bias, out, out_row,
                            out_col, count, rows, cols)
    else:
        tiles_of_points_f64(points, taps, p.panel, products, point, tile_step, bias, out, out_row,
                            out_col, count, rows, cols)


cdef inline void kernel_at_points(
    const Tiles* p, const real* weights, real* kernel, Py_ssize_t point
) noexcept nogil:
    """kernel[point] of a panel's weights [tap][panel]"""
    cdef int points = <int> p.points, taps = <int> p.taps
    if real is float:
        kernel_at_points_f32(points, taps, p.panel, weights, kernel, point)
    else:
        kernel_at_points_f64(points, taps, p.panel, weights, kernel, point)


cdef inline void kernel_of_points(
    const Tiles* p, const real* sums, Py_ssize_t point, real* weights
) noexcept nogil:
    """weights[tap][panel] of the sums at the points"""
    cdef int points = <int> p.points, taps = <int> p.taps
    if real is float:
        kernel_of_points_f32(points, taps, p.panel, sums, point, weights)
    else:
        kernel_of_points_f64(points, taps, p.panel, sums, point, weights)


cdef inline Py_ssize_t phase_outputs(
    Py_ssize_t extent, Py_ssize_t dilation, Py_ssize_t phase
) noexcept nogil:
    """The outputs of a phase: none where there are more phases than outputs."""
    return max(0, ceil_div(extent - phase, dilation))


cdef inline Block block_of(const Tiles* p, Py_ssize_t index) noexcept nogil:
    cdef Block block
    cdef Py_ssize_t row_block = index // p.col_blocks, col_block = index % p.col_blocks
    block.first = row_block * p.rows
    block.end = min(block.first + p.rows, p.all_rows)
    block.col = part_start(col_block, p.col_blocks, p.TW)
    block.cols = part_start(col_block + 1, p.col_blocks, p.TW) - block.col
    block.tiles = (block.end - block.first) * p.dilation_w * block.cols
    return block


cdef inline void piece_at(
    const Tiles* p, Py_ssize_t place, Py_ssize_t* row, Py_ssize_t* col
) noexcept nogil:
    """Which piece of a window is at a place.

    First those whose rows, but not columns, have all taps, then those with all taps on both axes,
    on the columns alone, and on neither: what a sum is over is always some that are side by side.
    """
    cdef Py_ssize_t some = p.pieces - p.whole
    row[0] = col[0] = 0
    if place >= p.whole * p.pieces:
        place -= p.whole * p.pieces
        row[0] = p.whole
        if place < some * p.whole:
            row[0] += place // p.whole
            col[0] = place % p.whole
            return
        place -= some * p.whole
    elif place >= p.whole * some:
        place -= p.whole * some
        row[0] = place // p.whole
        col[0] = place % p.whole
        return
    row[0] += place // some
    col[0] = p.whole + place % some


cdef inline Py_ssize_t piece_start(const Tiles* p, Py_ssize_t piece) noexcept nogil:
    """The first tap of a piece, and so the first row or column of the image that it sees."""
    return piece if p.stride > 1 else piece * p.taps - max(0, piece - p.whole)


cdef inline void values_of(
    const Tiles* p, Py_ssize_t point, Py_ssize_t* row, Py_ssize_t* col
) noexcept nogil:
    """Which values of the axes a point is of: that of infinity counts as the fourth."""
    if p.points != GAUSS:  # windows are never cut for F4
        row[0], col[0] = point // 4, point % 4
    elif point < 28:
        row[0], col[0] = point // 7, min(point % 7, 4)
    elif point < 40:
        row[0], col[0] = 4, (point - 28) // 3
    else:
        row[0] = col[0] = 4


cdef inline void places_at(
    const Tiles* p, Py_ssize_t point, Py_ssize_t* first, Py_ssize_t* end
) noexcept nogil:
    """The pieces with a part in the sum at a point: at infinity stands the last tap alone."""
    cdef Py_ssize_t row, col
    values_of(p, point, &row, &col)
    first[0] = p.whole * (p.pieces - p.whole) if col == 3 else 0
    end[0] = p.whole * p.pieces if row == 3 else p.pieces * p.pieces
    if col == 3 and row != 3:
        end[0] = first[0] + p.pieces * p.whole


cdef inline Py_ssize_t piece_channels(
    const Tiles* p, Py_ssize_t channels, Py_ssize_t slice
) noexcept nogil:
    """Channels from a piece to the next: whole slices of them, if they are more than one."""
    return channels if p.pieces == 1 or channels <= slice else ceil_div(channels, slice) * slice


cdef inline void take_piece(
    const Tiles* p, const real* weights, Py_ssize_t row, Py_ssize_t col, bint turned, real* taps
) noexcept nogil:
    """taps[tap][panel] of a piece of weights [tap][panel].

    Where they are turned around, but the piece is not, it lacks its first tap in place of the last.
    """
    cdef Py_ssize_t some_h = row >= p.whole, some_w = col >= p.whole, i, j, h, w
    h = p.whole - 1 - row if turned else piece_start(p, row)
    w = p.whole - 1 - col if turned else piece_start(p, col)
    memset(taps, 0, p.taps * p.taps * p.panel * sizeof(real))
    for i in range(turned * some_h, p.taps - (not turned) * some_h):
        for j in range(turned * some_w, p.taps - (not turned) * some_w):
            memcpy(
                taps + (i * p.taps + j) * p.panel,
                weights + ((h + i * p.stride) * p.window + w + j * p.stride) * p.panel,
                p.panel * sizeof(real),
            )


cdef inline void put_piece(
    const Tiles* p, const real* taps, Py_ssize_t row, Py_ssize_t col, real* weights
) noexcept nogil:
    """The way back."""
    cdef Py_ssize_t h = piece_start(p, row), w = piece_start(p, col), i, j
    for i in range(p.taps - (row >= p.whole)):
        for j in range(p.taps - (col >= p.whole)):
            memcpy(
                weights + ((h + i * p.stride) * p.window + w + j * p.stride) * p.panel,
                taps + (i * p.taps + j) * p.panel,
                p.panel * sizeof(real),
            )


cdef struct Source:
    # What is transformed: of images (N, C, H, W) a group of channels, at `data`. Row 0 of an image
    # is row `top` of the tiles' own rows.
    const void* data
    Py_ssize_t C, H, W, top, left
    Py_ssize_t overlap  # columns that neighbouring tiles of a phase share: 0 for gradients
    # Of the windows that see it: each of their pieces has channels of its own.
    Py_ssize_t stride, pieces
    # Where it goes: [point][part][tile][channel], with `width` channels to a part: the steps.
    Py_ssize_t width, point, part, tile
    Py_ssize_t raw_size, image_size, points_size  # bytes: pixels as they are, padded, transformed


cdef inline Py_ssize_t seen(const Source* s, const Tiles* p, Py_ssize_t tiles) noexcept nogil:
    """Pixels that tiles side by side see, dilation aside."""
    cdef Py_ssize_t reach = piece_start(p, s.pieces - 1) if s.pieces > 1 else 0
    return (p.m * tiles + s.overlap - 1) * s.stride + 1 + reach


cdef inline void plan_source(
    Source* s, const Tiles* p, Py_ssize_t channels, Py_ssize_t width, Py_ssize_t itemsize
) noexcept nogil:
    """Steps and sizes for a block of tiles of some of the channels, in parts of about `width`.

    The pieces of a window are a single part, one behind the other.
    """
    cdef Py_ssize_t slice = SLICE_BYTES // itemsize
    cdef Py_ssize_t points = p.points + (s.overlap == 0)  # the sum of gradients
    cdef Py_ssize_t images = min(p.rows, ceil_div(p.rows - 1, p.TH) + 1)
    cdef Py_ssize_t rows = s.stride * p.m * p.rows + images * seen(s, p, 0)
    cdef Py_ssize_t cols = p.dilation_w * seen(s, p, p.cols)
    if s.pieces > 1:  # a slice of the last piece may overhang
        channels = ceil_div(channels, slice) * slice
        channels += (s.pieces * s.pieces - 1) * piece_channels(p, width, slice)
        width = channels
    s.width = s.tile = ceil_div(width, slice) * slice
    if s.tile * itemsize % 1024 == 0:
        s.tile += slice  # rows a power of two apart fall into one set of the cache
    s.part = p.most * s.tile
    s.point = odd_lines(ceil_div(channels, s.width) * s.part, slice)
    s.raw_size = aligned(seen(s, p, p.rows) * min(s.W, cols) * SLICE_BYTES)
    s.image_size = aligned(rows * cols * SLICE_BYTES)
    s.points_size = aligned(points * s.point * itemsize)


cdef inline void transform_block(
    const Source* s, const Tiles* p, const Block* block, Py_ssize_t first, Py_ssize_t channels,
    char* workspace, real* points,
) noexcept nogil:
    """The tiles of a block at the points, for some channels, which are moved beside each other."""
    cdef Py_ssize_t slice = SLICE_BYTES // sizeof(real)
    cdef real* raw = <real*> workspace
    cdef real* image = <real*> (workspace + s.raw_size)
    cdef Py_ssize_t cols = p.dilation_w * seen(s, p, block.cols)
    cdef Py_ssize_t image_row = cols * slice
    cdef Py_ssize_t start_col = block.col * p.m * s.stride * p.dilation_w - s.left
    cdef Py_ssize_t left = max(0, start_col), right = min(s.W, start_col + cols)
    cdef Py_ssize_t c, k, r, n, t, rows, needed, start_row, top, bottom, i, phase, width
    cdef Py_ssize_t place, row = 0, col = 0, step_c = piece_channels(p, channels, slice)
    cdef Py_ssize_t count = right - left, step = p.dilation_h * s.W
    cdef const real* plane
    cdef real* part
    cdef real* inside
    cdef real* target
    # What lies outside of the images is zero, and stays so from slice to slice.
    memset(workspace, 0, s.raw_size + s.image_size)
    for k in range(ceil_div(channels, slice)):
        c = k * slice
        width = min(slice, channels - c)
        part = image
        target = points + c // s.width * s.part + c % s.width
        r = block.first
        while r < block.end:
            n, t = r // p.TH // p.dilation_h, r % p.TH
            rows = min(block.end - r, p.TH - t)
            needed = seen(s, p, rows)
            start_row = t * p.m * s.stride * p.dilation_h + r // p.TH % p.dilation_h - s.top
            top = first_inside(start_row, p.dilation_h)
            bottom = end_inside(start_row, p.dilation_h, needed, s.H)
            if top < bottom and count > 0:
                plane = <const real*> s.data + (n * s.C + first + c) * s.H * s.W
                plane += (start_row + top * p.dilation_h) * s.W + left
                inside = part + top * image_row + (left - start_col) * slice
                if count == step and count % slice:
                    transpose(raw, slice, plane, s.H * s.W, width, (bottom - top) * count)
                    for i in range(bottom - top):
                        memcpy(inside + i * image_row, raw + i * count * slice, count * SLICE_BYTES)
                else:
                    for i in range(bottom - top):
                        transpose(inside + i * image_row, slice, plane + i * step, s.H * s.W,
                                  width, count)
            for i in range(rows):
                inside = part + i * s.stride * p.m * image_row
                for phase in range(p.dilation_w):
                    for place in range(s.pieces * s.pieces):
                        if s.pieces > 1:
                            piece_at(p, place, &row, &col)
                            row, col = piece_start(p, row), piece_start(p, col) * p.dilation_w
                        transform_row(s, p, inside + row * image_row + (phase + col) * slice,
                                      image_row, target + place * step_c, block.cols)
                    target += block.cols * s.tile
            part += needed * image_row
            r += rows


cdef inline void transform_row(
    const Source* s, const Tiles* p, const real* image, Py_ssize_t image_row, real* target,
    Py_ssize_t count,
) noexcept nogil:
    cdef Py_ssize_t image_col = s.stride * p.dilation_w * (SLICE_BYTES // sizeof(real))
    cdef int points = <int> p.points, taps = <int> p.taps
    image_row *= s.stride
    if s.overlap:
        if real is float:
            tiles_at_points_f32(points, taps, image, image_row, image_col, target, s.point,
                                s.tile, count)
        else:
            tiles_at_points_f64(points, taps, image, image_row, image_col, target, s.point,
                                s.tile, count)
    else:
        if real is float:
            gradients_at_points_f32(points, taps, image, image_row, image_col, target, s.point,
                                    s.tile, count)
        else:
            gradients_at_points_f64(points, taps, image, image_row, image_col, target, s.point,
                                    s.tile, count)
