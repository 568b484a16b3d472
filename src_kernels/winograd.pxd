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
    Py_ssize_t points, taps, m, OH, OW, dilation_h, dilation_w
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
    Tiles* p, Py_ssize_t points, Py_ssize_t taps, Py_ssize_t N, Py_ssize_t OH, Py_ssize_t OW,
    Py_ssize_t dilation_h, Py_ssize_t dilation_w,
) noexcept nogil:
    p.points, p.taps, p.m = points, taps, OUTPUTS_OF(points, taps)
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


cdef struct Source:
    # What is transformed: of images (N, C, H, W) a group of channels, at `data`. Row 0 of an image
    # is row `top` of the tiles' own rows.
    const void* data
    Py_ssize_t C, H, W, top, left
    Py_ssize_t overlap  # columns that neighbouring tiles of a phase share: 0 for gradients
    # Where it goes: [point][part][tile][channel], with `width` channels to a part: the steps.
    Py_ssize_t width, point, part, tile
    Py_ssize_t raw_size, image_size, points_size  # bytes: pixels as they are, padded, transformed


cdef inline void plan_source(
    Source* s, const Tiles* p, Py_ssize_t channels, Py_ssize_t width, Py_ssize_t itemsize
) noexcept nogil:
    """Steps and sizes for a block of tiles of some of the channels, in parts of about `width`."""
    cdef Py_ssize_t slice = SLICE_BYTES // itemsize
    cdef Py_ssize_t points = p.points + (s.overlap == 0)  # the sum of gradients
    cdef Py_ssize_t images = min(p.rows, ceil_div(p.rows - 1, p.TH) + 1)
    cdef Py_ssize_t rows = p.m * p.rows + s.overlap * images
    cdef Py_ssize_t cols = p.dilation_w * (p.m * p.cols + s.overlap)
    s.width = s.tile = ceil_div(width, slice) * slice
    if s.tile * itemsize % 1024 == 0:
        s.tile += slice  # rows a power of two apart fall into one set of the cache
    s.part = p.most * s.tile
    s.point = odd_lines(ceil_div(channels, s.width) * s.part, slice)
    s.raw_size = aligned((p.m * p.rows + s.overlap) * min(s.W, cols) * SLICE_BYTES)
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
    cdef Py_ssize_t cols = p.dilation_w * (p.m * block.cols + s.overlap), image_row = cols * slice
    cdef Py_ssize_t start_col = block.col * p.m * p.dilation_w - s.left
    cdef Py_ssize_t left = max(0, start_col), right = min(s.W, start_col + cols)
    cdef Py_ssize_t c, k, r, n, t, rows, needed, start_row, top, bottom, i, phase, width
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
            needed = rows * p.m + s.overlap
            start_row = t * p.m * p.dilation_h + r // p.TH % p.dilation_h - s.top
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
                for phase in range(p.dilation_w):
                    transform_row(s, p, part + i * p.m * image_row + phase * slice, image_row,
                                  target, block.cols)
                    target += block.cols * s.tile
            part += needed * image_row
            r += rows


cdef inline void transform_row(
    const Source* s, const Tiles* p, const real* image, Py_ssize_t image_row, real* target,
    Py_ssize_t count,
) noexcept nogil:
    cdef Py_ssize_t image_col = p.dilation_w * (SLICE_BYTES // sizeof(real))
    cdef int points = <int> p.points, taps = <int> p.taps
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
