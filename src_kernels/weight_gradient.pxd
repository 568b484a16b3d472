"""The gradient of a convolution's weights.

    dw[g, oc, c, kh, kw] = sum over n, oh, ow of dout[n, g, oc, oh, ow]
        * x[n, g, c, oh*stride_h - top + kh*dilation_h, ow*stride_w - left + kw*dilation_w]

The register tile, with the parts of its tables exchanged: its rows are the weights (c, kh, kw), its
k runs over pixels, and b is dout, transposed to [pixel][output channel]. A job is a few panels of
output channels, a block of input channels and a part of the images, or of the rows of few large
ones; it adds block after block of pixels to sums of its own. The parts, whose number the shape
decides, are added up at the end.

With very few output channels to a group most of a panel would be empty: there the vectors run along
the pixels of a row instead.
"""

from libc.string cimport memcpy, memset

from geometry cimport aligned, ceil_div, copy_window, part_start
from tile cimport (
    CHECK, CHECKED, ADDRESSED_ROWS, FASTSCRATCH_VECTOR_BYTES, TILE_ROWS, add_columns, copy_row,
    lanes_of, product_tile, real, sum_rows, tile, transpose, window_dots,
)

cdef enum:
    GRADIENT_PIXELS = 256  # of a block: their part of dout stays in L1
    GRADIENT_COLUMNS = 512
    GRADIENT_JOBS = 8
    GRADIENT_ROWS = 96  # weights in a block of channels, to be worth transposing dout for
    GRADIENT_COPY = 256 << 10  # bytes of a padded copy
    GRADIENT_SUMS = 4 << 20  # bytes that more parts may cost
    LEAST_PART = 1 << 17  # multiply-adds of a part of an image


cdef struct WeightGradient:
    # the problem
    Py_ssize_t N, G, C, H, W, OC, OH, OW, KH, KW
    Py_ssize_t stride_h, stride_w, dilation_h, dilation_w, top, left
    const void* x
    const void* dout
    # the plan: a pure function of the problem
    bint direct, by_row, pointwise
    Py_ssize_t taps, depth, panel, panels
    Py_ssize_t images, rows, cols, row_blocks, col_blocks
    Py_ssize_t channel_blocks, channels, groups  # of panels
    Py_ssize_t parts, row_parts  # in all, and of an image
    Py_ssize_t copy_row, copy_plane, copy_image, phase
    # memory
    Py_ssize_t sums_size, table_size, copy_size, dout_size, pixel_size, workspace_size
    void* sums  # [part][panel][k, and one more for db][panel's channels]
    Py_ssize_t* tap_offset
    char* workspace


cdef inline bint sums_by_row(Py_ssize_t OC, Py_ssize_t OW, Py_ssize_t lanes) noexcept nogil:
    """Vectors along the rows of dout where a tile's, of output channels, would be half empty.

    Long ones are part empty themselves in narrow maps: 6 channels of 7x6 took 0.4 of the time in
    tiles.
    """
    if FASTSCRATCH_VECTOR_BYTES == 64:
        return 3 * OC * ceil_div(OW, lanes) <= OW or OC == 1
    return 2 * OC < lanes


cdef inline void plan_gradient(WeightGradient* p, Py_ssize_t itemsize) noexcept nogil:
    """Choose the blocks; tell the memory that is needed."""
    cdef Py_ssize_t lanes = lanes_of(itemsize), jobs
    p.taps = p.KH * p.KW
    p.depth = p.C * p.taps
    p.by_row = sums_by_row(p.OC, p.OW, lanes)
    p.panel = p.OC if p.by_row else lanes if p.OC <= lanes else 2 * lanes
    p.panels = ceil_div(p.OC, p.panel)
    p.direct = not p.by_row and (
        p.top <= 0 and p.left <= 0
        and (p.OH - 1) * p.stride_h - p.top + (p.KH - 1) * p.dilation_h < p.H
        and (p.OW - 1) * p.stride_w - p.left + (p.KW - 1) * p.dilation_w < p.W
    )
    # Pixel i of dout meets pixel i of x alone: a matrix product.
    p.pointwise = p.direct and p.taps == 1 and p.OH * p.OW == p.H * p.W
    p.col_blocks = max(1, ceil_div(p.OW, GRADIENT_COLUMNS))
    p.cols = ceil_div(p.OW, p.col_blocks)
    p.row_blocks = ceil_div(p.OH * p.cols, 4 * GRADIENT_PIXELS if p.by_row else GRADIENT_PIXELS)
    p.row_blocks = max(1, min(p.OH, p.row_blocks))
    p.rows = ceil_div(p.OH, p.row_blocks)
    p.images = 1
    if p.row_blocks == 1 and p.col_blocks == 1:
        p.images = max(1, min(GRADIENT_PIXELS // max(1, p.OH * p.OW), p.N))
        p.images = max(1, ceil_div(p.N, max(1, ceil_div(p.N, p.images))))
    p.channel_blocks = 1
    plan_gradient_copy(p, lanes)
    if p.copy_plane * itemsize > GRADIENT_COPY and not p.direct and p.rows > 1:
        p.rows = 1
        p.row_blocks = p.OH
        plan_gradient_copy(p, lanes)
    if not p.direct:
        p.channel_blocks = ceil_div(p.C * p.copy_plane * p.images * itemsize, GRADIENT_COPY)
        p.channel_blocks = min(p.C, p.channel_blocks)
    # Jobs are parts of the images first, then shares of the panels, then of the channels: for each
    # share of the panels x is copied anew (3x3 of stride 2: 0.8 of the time of a job per panel).
    p.sums_size = p.G * p.panels * (p.depth + 1) * p.panel * itemsize
    jobs = p.G * p.channel_blocks
    p.parts = max(1, min(ceil_div(GRADIENT_JOBS, jobs), GRADIENT_SUMS // p.sums_size))
    p.row_parts = min(p.parts // max(1, p.N), p.OH * p.OW * p.OC * p.depth // LEAST_PART)
    p.row_parts = max(1, min(p.row_blocks, p.row_parts))
    p.parts = max(1, min(p.parts // p.row_parts, p.N // p.images)) * p.row_parts
    jobs *= p.parts
    p.groups = min(p.panels, ceil_div(GRADIENT_JOBS, jobs))
    jobs *= p.groups
    p.channel_blocks = max(p.channel_blocks, min(
        p.channel_blocks * ceil_div(GRADIENT_JOBS, jobs), min(p.C, p.depth // GRADIENT_ROWS)
    ))
    p.channels = ceil_div(p.C, p.channel_blocks)
    p.sums_size = aligned(p.sums_size * p.parts)
    p.table_size = aligned(p.channels * p.taps * sizeof(Py_ssize_t))
    p.copy_size = 0
    if not p.direct:
        p.copy_image = p.channels * p.copy_plane
        p.copy_size = aligned((p.images * p.copy_image + lanes) * itemsize)
    p.dout_size = aligned((p.images * p.rows * p.cols * p.panel + lanes) * itemsize)
    p.pixel_size = aligned(p.images * p.rows * p.cols * sizeof(Py_ssize_t))
    p.workspace_size = p.copy_size + p.dout_size + p.pixel_size


cdef inline void plan_gradient_copy(WeightGradient* p, Py_ssize_t lanes) noexcept nogil:
    """The layout of the padded copy, or of x itself."""
    p.phase = 0
    if p.direct:
        p.copy_row = p.W
        p.copy_plane = p.H * p.W
        p.copy_image = p.G * p.C * p.H * p.W
        return
    if p.by_row:
        # The columns of each phase of the stride lie together.
        p.phase = p.cols + (p.KW - 1) * p.dilation_w // p.stride_w
        p.copy_row = p.phase * p.stride_w
    else:
        p.copy_row = (p.cols - 1) * p.stride_w + (p.KW - 1) * p.dilation_w + 1
    p.copy_plane = ((p.rows - 1) * p.stride_h + (p.KH - 1) * p.dilation_h + 1) * p.copy_row


cdef inline void fill_gradient_tables(WeightGradient* p) noexcept nogil:
    """Where each weight of a block of channels starts in the image."""
    cdef Py_ssize_t c, kh, kw, col, i = 0
    for c in range(p.channels):
        for kh in range(p.KH):
            for kw in range(p.KW):
                col = kw * p.dilation_w
                if p.by_row:
                    col = col % p.stride_w * p.phase + col // p.stride_w
                p.tap_offset[i] = c * p.copy_plane + kh * p.dilation_h * p.copy_row + col
                i += 1


cdef inline void clear_gradient_tables(const WeightGradient* p, Py_ssize_t workers) noexcept nogil:
    """Leave no integers in the memory (scratch.pyx says why)."""
    cdef Py_ssize_t worker
    memset(p.tap_offset, 0, p.table_size)
    for worker in range(workers):
        memset(gradient_pixels_of(p, worker), 0, p.pixel_size)


cdef inline Py_ssize_t* gradient_pixels_of(
    const WeightGradient* p, Py_ssize_t worker
) noexcept nogil:
    cdef char* workspace = p.workspace + worker * p.workspace_size
    return <Py_ssize_t*> (workspace + p.copy_size + p.dout_size)


cdef inline void accumulate(
    const WeightGradient* p, Py_ssize_t job, Py_ssize_t worker, real* tag
) noexcept nogil:
    """One job; its sums start at zero."""
    cdef char* workspace = p.workspace + worker * p.workspace_size
    cdef real* copy = <real*> workspace
    cdef real* block = <real*> (workspace + p.copy_size)
    cdef Py_ssize_t* pixel = gradient_pixels_of(p, worker)
    cdef Py_ssize_t channel_block = job % p.channel_blocks
    cdef Py_ssize_t group = job // p.channel_blocks % p.groups
    cdef Py_ssize_t g = job // p.channel_blocks // p.groups % p.G
    cdef Py_ssize_t part = job // p.channel_blocks // p.groups // p.G
    cdef Py_ssize_t first = part_start(group, p.groups, p.panels)
    cdef Py_ssize_t last = part_start(group + 1, p.groups, p.panels)
    cdef Py_ssize_t c = part_start(channel_block, p.channel_blocks, p.C)
    cdef Py_ssize_t channels = part_start(channel_block + 1, p.channel_blocks, p.C) - c
    cdef Py_ssize_t row_part = part % p.row_parts, images_of = part // p.row_parts
    cdef Py_ssize_t n = part_start(images_of, p.parts // p.row_parts, p.N)
    cdef Py_ssize_t end = part_start(images_of + 1, p.parts // p.row_parts, p.N)
    cdef Py_ssize_t first_row = part_start(row_part, p.row_parts, p.row_blocks)
    cdef Py_ssize_t end_row = part_start(row_part + 1, p.row_parts, p.row_blocks)
    cdef Py_ssize_t images, i, r, q, row, rows, col, cols, panel, size = (p.depth + 1) * p.panel
    cdef real* sums = <real*> p.sums + (part * p.G + g) * p.panels * size
    while n < end:
        images = min(p.images, end - n)
        for r in range(first_row, end_row):
            row = part_start(r, p.row_blocks, p.OH)
            rows = part_start(r + 1, p.row_blocks, p.OH) - row
            for q in range(p.col_blocks):
                col = part_start(q, p.col_blocks, p.OW)
                cols = part_start(q + 1, p.col_blocks, p.OW) - col
                if not p.direct:
                    copy_block(p, copy, g, n, images, row, rows, col, c, channels)
                if p.by_row:
                    for i in range(images):
                        add_rows(p, copy + i * p.copy_image, block, g, n + i, row, rows, col, cols,
                                 c, channels, sums)
                else:
                    for panel in range(first, last):
                        add_tiles(p, copy, block, pixel, g, n, images, row, rows, col, cols,
                                  panel * p.panel, c, channels, sums + panel * size)
        n += images


cdef inline void copy_block(
    const WeightGradient* p, real* copy, Py_ssize_t g, Py_ssize_t n, Py_ssize_t images,
    Py_ssize_t row, Py_ssize_t rows, Py_ssize_t col, Py_ssize_t first, Py_ssize_t channels,
) noexcept nogil:
    """The padded copy of the channels of a job, for one block of pixels."""
    cdef Py_ssize_t needed = (rows - 1) * p.stride_h + (p.KH - 1) * p.dilation_h + 1
    cdef Py_ssize_t i, c, phase
    cdef const real* plane
    cdef real* target
    for i in range(images):
        for c in range(channels):
            plane = <const real*> p.x + (((n + i) * p.G + g) * p.C + first + c) * p.H * p.W
            target = copy + i * p.copy_image + c * p.copy_plane
            if p.phase == 0:
                copy_window(target, p.copy_row, plane, p.H, p.W,
                            row * p.stride_h - p.top, 1, needed,
                            col * p.stride_w - p.left, 1, p.copy_row)
                continue
            for phase in range(p.stride_w):
                copy_window(target + phase * p.phase, p.copy_row, plane, p.H, p.W,
                            row * p.stride_h - p.top, 1, needed,
                            col * p.stride_w - p.left + phase, p.stride_w, p.phase)


cdef inline void add_tiles(
    const WeightGradient* p, real* copy, real* block, Py_ssize_t* pixel, Py_ssize_t g, Py_ssize_t n,
    Py_ssize_t images, Py_ssize_t row, Py_ssize_t rows, Py_ssize_t col, Py_ssize_t cols,
    Py_ssize_t oc, Py_ssize_t c, Py_ssize_t channels, real* sums,
) noexcept nogil:
    """One block of pixels, with vectors of output channels."""
    cdef Py_ssize_t pixels = images * rows * cols, weights = channels * p.taps
    cdef Py_ssize_t tiles = ceil_div(weights, TILE_ROWS if p.pointwise else ADDRESSED_ROWS)
    cdef Py_ssize_t width = min(p.panel, p.OC - oc)
    cdef Py_ssize_t vectors = 1 if width <= lanes_of(sizeof(real)) else 2
    cdef Py_ssize_t i, t, u, start, count
    cdef const real* dout
    cdef const real* source = copy
    cdef real* target
    cdef real* sums_of_tile
    if width < p.panel:
        memset(block, 0, pixels * p.panel * sizeof(real))
    if p.direct:
        source = <const real*> p.x + ((n * p.G + g) * p.C + c) * p.H * p.W
        source += (row * p.stride_h - p.top) * p.W + col * p.stride_w - p.left
    for i in range(images):
        dout = <const real*> p.dout + (((n + i) * p.G + g) * p.OC + oc) * p.OH * p.OW
        dout += row * p.OW + col
        for t in range(rows):
            for u in range(cols):
                pixel[(i * rows + t) * cols + u] = (
                    i * p.copy_image + t * p.stride_h * p.copy_row + u * p.stride_w
                )
        if cols == p.OW:
            transpose(block + i * rows * cols * p.panel, p.panel, dout, p.OH * p.OW,
                      width, rows * cols)
        else:
            for t in range(rows):
                transpose(block + t * cols * p.panel, p.panel, dout + t * p.OW, p.OH * p.OW,
                          width, cols)
    target = sums + c * p.taps * p.panel
    for i in range(tiles):
        start = part_start(i, tiles, weights)
        count = part_start(i + 1, tiles, weights) - start
        check_tile(p, copy, source, p.tap_offset + start, count, pixel, pixels)
        sums_of_tile = target + start * p.panel
        if p.pointwise and images == 1 and cols == p.OW and vectors == 2:
            product_tile(count, 2, False, source + start * p.copy_plane, p.copy_plane, pixels,
                         block, sums_of_tile, p.panel, sums_of_tile, p.panel, p.panel)
            continue
        tile(count, vectors, source, p.tap_offset + start, pixel, pixels, block, p.panel,
             sums_of_tile, p.panel, sums_of_tile, p.panel)
    if c == 0:
        target = sums + p.depth * p.panel
        add_columns(<int> (p.panel // lanes_of(sizeof(real))), block, pixels, target)


cdef inline void check_tile(
    const WeightGradient* p, const real* copy, const real* source, const Py_ssize_t* tap,
    Py_ssize_t taps, const Py_ssize_t* pixel, Py_ssize_t pixels,
) noexcept nogil:
    """In a build with checks: that every read of a tile is inside x or the copy."""
    cdef const real* start = <const real*> p.x if p.direct else copy
    cdef Py_ssize_t size = p.copy_size // sizeof(real), i, k, at
    if not CHECKED:
        return
    if p.direct:
        size = p.N * p.G * p.C * p.H * p.W
    for i in range(taps):
        for k in range(pixels):
            at = (source - start) + tap[i] + pixel[k]
            CHECK(0 <= at and at < size)


cdef inline void add_rows(
    const WeightGradient* p, const real* copy, real* block, Py_ssize_t g, Py_ssize_t n,
    Py_ssize_t row, Py_ssize_t rows, Py_ssize_t col, Py_ssize_t cols,
    Py_ssize_t c, Py_ssize_t channels, real* sums,
) noexcept nogil:
    """One block of pixels of one image, with vectors of pixels."""
    cdef Py_ssize_t oc, t, dout_step, lanes = lanes_of(sizeof(real))
    cdef const real* dout
    cdef const real* end = <const real*> p.dout + p.N * p.G * p.OC * p.OH * p.OW
    cdef real* total = sums + p.depth * p.panel
    for oc in range(p.OC):
        dout = <const real*> p.dout + ((n * p.G + g) * p.OC + oc) * p.OH * p.OW + row * p.OW + col
        dout_step = p.OW
        if dout + (rows - 1) * p.OW + ceil_div(cols, lanes) * lanes > end:
            # The last vector of the last row would read on past the end of dout.
            for t in range(rows):
                copy_row(block + t * cols, dout + t * p.OW, cols)
            dout, dout_step = block, cols
        window_dots(channels * p.taps, dout, dout_step, copy, p.stride_h * p.copy_row,
                    p.tap_offset, rows, cols, sums + oc * p.depth + c * p.taps)
        if c == 0:
            total[oc] += sum_rows(dout, dout_step, rows, cols)


cdef inline void finish_panel(
    const WeightGradient* p, Py_ssize_t panel, real* dw, real* db
) noexcept nogil:
    """Add the parts up, in order, and lay them out as dw and db are."""
    cdef Py_ssize_t g = panel // p.panels, oc = panel % p.panels * p.panel, part, i
    cdef Py_ssize_t width = min(p.panel, p.OC - oc), size = (p.depth + 1) * p.panel
    cdef real* sums = <real*> p.sums + panel * size
    cdef const real* other
    for part in range(1, p.parts):
        other = sums + part * p.G * p.panels * size
        for i in range(size):
            sums[i] += other[i]
    dw += (g * p.OC + oc) * p.depth
    if p.by_row:
        memcpy(dw, sums, width * p.depth * sizeof(real))
    else:
        transpose(dw, p.depth, sums, p.panel, p.depth, width)
    memcpy(db + g * p.OC + oc, sums + p.depth * p.panel, width * sizeof(real))
