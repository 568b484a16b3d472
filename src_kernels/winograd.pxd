"""winograd.h for Cython, and the tiles of images: which there are, how they get to the points."""

from libc.string cimport memcpy, memset

from geometry cimport aligned, ceil_div, end_inside, first_inside, part_start
from tile cimport lanes_of, real, transpose

cdef extern from "winograd.h" nogil:
    enum:
        SLICE_BYTES
        F2, F4, GAUSS, F2_LINE, GAUSS_LINE  # numbers of points
        MOST_TAPS
    Py_ssize_t OUTPUTS_OF(Py_ssize_t points, Py_ssize_t taps)
    bint IS_LINE(Py_ssize_t points)
    bint IS_GAUSS(Py_ssize_t points)
    void tiles_at_points_f32(int, int, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*,
                             Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void tiles_at_points_f64(int, int, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*,
                             Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void gradients_at_points_f32(int, int, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*,
                                 Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void gradients_at_points_f64(int, int, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                 double*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void tiles_of_points_f32(int, int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t,
                             const float*, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void tiles_of_points_f64(int, int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t,
                             const double*, double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t, Py_ssize_t)
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


cdef struct Axis:
    # How a window is cut along an axis, and how many outputs a tile has there: 1 across a line.
    Py_ssize_t window, taps, m
    Py_ssize_t pieces, whole  # and those of them with all taps: others lack the last one


cdef struct Tiles:
    # The tiles of N images, in blocks of whole rows of them, or of parts of rows.
    # A dilated window sees every `dilation`-th row and column: an image is so many phases on either
    # axis, each with tiles of its own. Those of the columns follow each other in a row of tiles.
    # A strided or a large window is cut into pieces of some taps on either axis: every n-th one, or
    # some that are side by side. All have the same tiles, and their sums are added up.
    Py_ssize_t points, stride, OH, OW, dilation_h, dilation_w
    Axis h, w
    Py_ssize_t taps, window, pieces  # along the axes that are transformed; of both axes together
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


cdef inline Axis cut_axis(
    Py_ssize_t points, Py_ssize_t window, Py_ssize_t stride
) noexcept nogil:
    cdef Axis axis
    axis.window, axis.taps = window, ceil_div(window, stride)
    if axis.taps > MOST_TAPS:
        axis.taps = 3 if window <= 6 or window == 9 else 4
    axis.m = OUTPUTS_OF(points, axis.taps) if window > 1 else 1
    axis.pieces = stride if stride > 1 else ceil_div(window, axis.taps)
    axis.whole = window - axis.pieces * (axis.taps - 1)
    return axis


cdef inline void count_tiles(
    Tiles* p, Py_ssize_t points, Py_ssize_t window_h, Py_ssize_t window_w, Py_ssize_t stride,
    Py_ssize_t N, Py_ssize_t OH, Py_ssize_t OW, Py_ssize_t dilation_h, Py_ssize_t dilation_w,
) noexcept nogil:
    if window_h == 1 or window_w == 1:
        points = GAUSS_LINE if IS_GAUSS(points) else F2_LINE
    p.points, p.stride, p.OH, p.OW = points, stride, OH, OW
    p.h, p.w = cut_axis(points, window_h, stride), cut_axis(points, window_w, stride)
    p.taps, p.window = max(p.h.taps, p.w.taps), window_h * window_w
    p.pieces = p.h.pieces * p.w.pieces
    p.dilation_h = dilation_h if window_h > 1 else 1
    p.dilation_w = dilation_w if window_w > 1 else 1
    p.TH, p.TW = ceil_div(OH, p.dilation_h * p.h.m), ceil_div(OW, p.dilation_w * p.w.m)
    p.all_rows = N * p.dilation_h * p.TH
    p.all_tiles = p.all_rows * p.dilation_w * p.TW


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
    cdef Py_ssize_t next_tile = p.w.m * out_col, rows_step = 0
    if IS_LINE(points) and p.w.taps > 1:  # along the columns
        if rows < 1:
            return
        out_row, rows, rows_step = out_col, cols, p.w.m
    elif IS_LINE(points):  # a column each
        count = min(count, cols)
    if real is float:
        tiles_of_points_f32(points, taps, p.panel, products, point, tile_step, bias, out, out_row,
                            out_col, next_tile, count, rows, rows_step, cols)
    else:
        tiles_of_points_f64(points, taps, p.panel, products, point, tile_step, bias, out, out_row,
                            out_col, next_tile, count, rows, rows_step, cols)


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
    cdef Py_ssize_t some_h = p.h.pieces - p.h.whole, some_w = p.w.pieces - p.w.whole
    row[0] = col[0] = 0
    if place >= p.h.whole * p.w.pieces:
        place -= p.h.whole * p.w.pieces
        row[0] = p.h.whole
        if place < some_h * p.w.whole:
            row[0] += place // p.w.whole
            col[0] = place % p.w.whole
            return
        place -= some_h * p.w.whole
    elif place >= p.h.whole * some_w:
        place -= p.h.whole * some_w
        row[0] = place // p.w.whole
        col[0] = place % p.w.whole
        return
    row[0] += place // some_w
    col[0] = p.w.whole + place % some_w


cdef inline Py_ssize_t piece_start(
    const Axis* axis, Py_ssize_t stride, Py_ssize_t piece
) noexcept nogil:
    """The first tap of a piece, and so the first row or column of the image that it sees."""
    return piece if stride > 1 else piece * axis.taps - max(0, piece - axis.whole)


cdef inline void values_of(
    const Tiles* p, Py_ssize_t point, Py_ssize_t* row, Py_ssize_t* col
) noexcept nogil:
    """Which values of the axes a point is of: that of infinity counts as the fourth."""
    if IS_LINE(p.points):  # and the other axis has but one
        row[0] = min(point, 4) if p.h.taps > 1 else 1
        col[0] = min(point, 4) if p.w.taps > 1 else 1
    elif p.points != GAUSS:  # windows are never cut for F4
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
    first[0] = p.h.whole * (p.w.pieces - p.w.whole) if col == 3 else 0
    end[0] = p.h.whole * p.w.pieces if row == 3 else p.pieces
    if col == 3 and row != 3:
        end[0] = first[0] + p.h.pieces * p.w.whole


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
    cdef Py_ssize_t some_h = row >= p.h.whole, some_w = col >= p.w.whole, i, j, h, w
    h = p.h.whole - 1 - row if turned else piece_start(&p.h, p.stride, row)
    w = p.w.whole - 1 - col if turned else piece_start(&p.w, p.stride, col)
    memset(taps, 0, p.h.taps * p.w.taps * p.panel * sizeof(real))
    for i in range(turned * some_h, p.h.taps - (not turned) * some_h):
        for j in range(turned * some_w, p.w.taps - (not turned) * some_w):
            memcpy(
                taps + (i * p.w.taps + j) * p.panel,
                weights + ((h + i * p.stride) * p.w.window + w + j * p.stride) * p.panel,
                p.panel * sizeof(real),
            )


cdef inline void put_piece(
    const Tiles* p, const real* taps, Py_ssize_t row, Py_ssize_t col, real* weights
) noexcept nogil:
    """The way back."""
    cdef Py_ssize_t h = piece_start(&p.h, p.stride, row), w = piece_start(&p.w, p.stride, col), i, j
    for i in range(p.h.taps - (row >= p.h.whole)):
        for j in range(p.w.taps - (col >= p.w.whole)):
            memcpy(
                weights + ((h + i * p.stride) * p.w.window + w + j * p.stride) * p.panel,
                taps + (i * p.w.taps + j) * p.panel,
                p.panel * sizeof(real),
            )


cdef struct Source:
    # What is transformed: of images (N, C, H, W) a group of channels, at `data`. Row 0 of an image
    # is row `top` of the tiles' own rows.
    const void* data
    Py_ssize_t C, H, W, top, left
    bint gradients  # of the tiles, in place of what their windows see
    # Of the windows that see it: each of their pieces, on both axes, has channels of its own.
    Py_ssize_t stride, pieces
    # Where it goes: [point][part][tile][channel], with `width` channels to a part: the steps.
    Py_ssize_t width, point, part, tile
    Py_ssize_t raw_size, image_size, points_size  # bytes: pixels as they are, padded, transformed


cdef inline Py_ssize_t seen(
    const Source* s, const Axis* axis, Py_ssize_t tiles
) noexcept nogil:
    """Pixels that tiles side by side along an axis see, dilation aside."""
    cdef Py_ssize_t reach = 0, overlap = 0 if s.gradients else axis.taps - 1
    if s.pieces > 1:
        reach = piece_start(axis, s.stride, axis.pieces - 1)
    return (axis.m * tiles + overlap - 1) * s.stride + 1 + reach


cdef inline void plan_source(
    Source* s, const Tiles* p, Py_ssize_t channels, Py_ssize_t width, Py_ssize_t itemsize
) noexcept nogil:
    """Steps and sizes for a block of tiles of some of the channels, in parts of about `width`.

    The pieces of a window are a single part, one behind the other.
    """
    cdef Py_ssize_t slice = SLICE_BYTES // itemsize
    cdef Py_ssize_t points = p.points + s.gradients  # their sum
    cdef Py_ssize_t images = min(p.rows, ceil_div(p.rows - 1, p.TH) + 1)
    cdef Py_ssize_t rows = s.stride * p.h.m * p.rows + images * seen(s, &p.h, 0)
    cdef Py_ssize_t cols = p.dilation_w * seen(s, &p.w, p.cols)
    if s.pieces > 1:  # a slice of the last piece may overhang
        channels = ceil_div(channels, slice) * slice
        channels += (s.pieces - 1) * piece_channels(p, width, slice)
        width = channels
    s.width = s.tile = ceil_div(width, slice) * slice
    if s.tile * itemsize % 1024 == 0:
        s.tile += slice  # rows a power of two apart fall into one set of the cache
    s.part = p.most * s.tile
    s.point = odd_lines(ceil_div(channels, s.width) * s.part, slice)
    s.raw_size = aligned(seen(s, &p.h, p.rows) * min(s.W, cols) * SLICE_BYTES)
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
    cdef Py_ssize_t cols = p.dilation_w * seen(s, &p.w, block.cols)
    cdef Py_ssize_t image_row = cols * slice
    cdef Py_ssize_t start_col = block.col * p.w.m * s.stride * p.dilation_w - s.left
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
            needed = seen(s, &p.h, rows)
            start_row = t * p.h.m * s.stride * p.dilation_h + r // p.TH % p.dilation_h - s.top
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
                inside = part + i * s.stride * p.h.m * image_row
                for phase in range(p.dilation_w):
                    for place in range(s.pieces):
                        if s.pieces > 1:
                            piece_at(p, place, &row, &col)
                            row = piece_start(&p.h, s.stride, row)
                            col = piece_start(&p.w, s.stride, col) * p.dilation_w
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
    cdef Py_ssize_t next_tile = p.w.m * image_col
    cdef int points = <int> p.points, taps = <int> p.taps
    image_row *= s.stride
    if p.h.taps == 1:  # the axis of a line lies along the columns
        image_row = image_col
    if not s.gradients:
        if real is float:
            tiles_at_points_f32(points, taps, image, image_row, image_col, next_tile, target,
                                s.point, s.tile, count)
        else:
            tiles_at_points_f64(points, taps, image, image_row, image_col, next_tile, target,
                                s.point, s.tile, count)
    else:
        if real is float:
            gradients_at_points_f32(points, taps, image, image_row, image_col, next_tile, target,
                                    s.point, s.tile, count)
        else:
            gradients_at_points_f64(points, taps, image, image_row, image_col, next_tile, target,
                                    s.point, s.tile, count)
