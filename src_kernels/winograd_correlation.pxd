"""The correlation that the forward pass and that to the input have in common, at points.

The weights are transformed first, all of them or, where they are many, some panels of output
channels in a round. A job is a block of tiles for a group of panels: it takes its tiles to the
points, multiplies there, point by point, and comes back to its part of the output while that is in
the cache. No sum depends on the number of threads.
"""

from libc.string cimport memset

from geometry cimport aligned, ceil_div, part_start
from tile cimport CHECK, TILE_ROWS, lanes_of, product_tile, real, tile, transpose
from winograd cimport (
    KERNELS, SLICE_BYTES, Block, Source, Tiles, block_of, cut_tiles, kernel_at_points, odd_lines,
    panel_of, piece_at, piece_channels, phase_outputs, places_at, plan_source, take_piece,
    tiles_of_points, transform_block, values_of,
)

cdef enum:
    # Channels in one chunk of a sum: a running sum over more loses digits. Of 256 channels the
    # error is 1.5 times PyTorch's in place of 2.6, for 1 to 3 % of the time.
    CHUNK = 160
    # Of windows with few taps, the sums of which have little else: 2x2 have 1.4 to 2.3 times
    # PyTorch's error in place of 1.8 to 3.0.
    CHUNK_FEW = 80
    FEW_TAPS = 8
    # Tiles of a block: as many as leave room in L2 for their products and some weights (F(4x4) is
    # 1.05 to 1.15 times as fast as with 768 KiB, F(2x2) 1.03 times), but enough side by side to be
    # worth fetching the transformed weights for.
    MOST_TILES = 84
    LEAST_COLUMNS = 56
    BLOCK_BYTES = 256 << 10
    MOST_BLOCK_BYTES = 8 << 20
    # Of transformed weights in a round, or more, for as many channels: the next one takes all tiles
    # to the points again. Where memory is slow (5 GB/s a core), 256 channels take 1.2 to 1.5 times
    # as long with 8 MiB.
    KERNEL_BYTES = 2304 << 10
    ROUND_CHANNELS = 128
    POINTS_BYTES = 384 << 10  # of a block at the points, to be multiplied a panel at a time
    GROUP_CHANNELS = 64  # of the output, multiplied at one point before the next, where it is more
    ENOUGH_JOBS = 8  # to share them out evenly among a few threads
    JOBS_PER_THREAD = 4
    SHARE_CHANNELS = 64  # of a job's output, at least: it has its tiles to transform


cdef struct Correlation:
    # the problem: one group of channels after the other
    Py_ssize_t G, C, OC
    bint flipped  # weights (C, OC, window, window), each turned around, not (OC, C, window, window)
    const void* weight
    const void* bias  # (OC,), or NULL
    Tiles tiles
    Source source
    # The output: its first row is row `top` of the tiles' own. The pieces of a window see the
    # source, but backward, where they are strided, each makes a phase of the output.
    Py_ssize_t H, W, top, left, stride
    # the plan: a function of the problem, but for who computes which tiles
    Py_ssize_t panel, panels, phases  # of the output: a panel has all of them
    Py_ssize_t depth, piece  # channels at the points, and from a piece to the next
    Py_ssize_t chunk
    Py_ssize_t rounds, round_panels, shares  # panels of a round, and jobs that share them
    Py_ssize_t group  # panels that are multiplied at one point before the next
    Py_ssize_t kernel_point, kernel_panel, product_point, product_tile  # steps
    # memory
    Py_ssize_t kernels_size, bias_size, table_size, product_size, result_size, taps_size
    Py_ssize_t workspace_size
    void* kernels  # [panel][phase][point][channel][panel's channels]
    void* padded_bias
    void* zeros
    Py_ssize_t* tile_offset
    Py_ssize_t* channel_offset
    char* workspace


cdef inline void plan_correlation(
    Correlation* p, Py_ssize_t itemsize, int num_threads
) noexcept nogil:
    """Choose the blocks; tell the memory that is needed.

    Sums are the same for any number of threads: only who computes which tiles depends on it.
    """
    cdef Py_ssize_t slice = SLICE_BYTES // itemsize, m = max(p.tiles.h.m, p.tiles.w.m)
    cdef Py_ssize_t points = p.tiles.points
    cdef Py_ssize_t blocks, tiles, share
    cdef Py_ssize_t jobs = min(ENOUGH_JOBS, JOBS_PER_THREAD * num_threads) if num_threads > 1 else 1
    p.panel = p.tiles.panel = panel_of(p.OC, itemsize)
    p.panels = ceil_div(p.OC, p.panel)
    p.phases = p.stride * p.stride
    p.piece = p.C if p.phases > 1 else piece_channels(&p.tiles, p.C, slice)
    p.depth = p.source.pieces * p.piece
    p.chunk = CHUNK_FEW if p.tiles.window <= FEW_TAPS else CHUNK
    # Backward, the products of all phases are as large as what they are made of.
    tiles = points * (p.depth if p.phases == 1 else max(p.C, p.phases * p.panel)) * itemsize
    tiles = min(
        MOST_BLOCK_BYTES // tiles, MOST_TILES, max(LEAST_COLUMNS // m, BLOCK_BYTES // tiles)
    )
    # An even share of a small problem, rather than one block of most of it and another of the rest;
    # but where panels can be shared, no fewer tiles than repay fetching the weights.
    share = ceil_div(p.tiles.all_tiles, jobs)
    share = max(share, TILE_ROWS if p.OC < 2 * SHARE_CHANNELS else 2 * TILE_ROWS)
    cut_tiles(&p.tiles, max(1, min(tiles, share)), TILE_ROWS)
    plan_source(&p.source, &p.tiles, p.C, p.C, itemsize)
    p.kernel_point = odd_lines(p.depth * p.panel, slice)
    p.kernel_panel = p.phases * points * p.kernel_point
    blocks = p.tiles.row_blocks * p.tiles.col_blocks
    p.rounds = max(KERNEL_BYTES // (p.kernel_panel * itemsize), ROUND_CHANNELS // p.panel)
    p.rounds = ceil_div(p.panels, p.rounds)
    p.round_panels = ceil_div(p.panels, p.rounds)
    p.rounds = ceil_div(p.panels, p.round_panels)
    p.shares = min(ceil_div(jobs, blocks), p.round_panels * p.panel // SHARE_CHANNELS)
    p.shares = max(1, p.shares)
    p.group = 1
    if p.source.points_size > POINTS_BYTES:
        p.group = max(1, GROUP_CHANNELS // (p.phases * p.panel))
        p.group = min(ceil_div(p.round_panels, p.shares), p.group)

    p.product_tile = p.group * p.phases * p.panel
    p.product_point = odd_lines(p.tiles.most * p.product_tile, slice)
    p.kernels_size = aligned(p.round_panels * p.kernel_panel * itemsize)
    p.bias_size = aligned(p.panels * p.panel * itemsize)
    p.table_size = aligned(max(p.tiles.most, min(p.depth, CHUNK)) * sizeof(Py_ssize_t))
    p.product_size = aligned(points * p.product_point * itemsize)
    p.result_size = p.tiles.h.m * p.tiles.w.m * p.stride * p.panel * itemsize
    p.result_size = aligned(p.tiles.most * p.result_size)
    p.taps_size = aligned((KERNELS + 1) * p.tiles.window * p.panel * itemsize)
    p.workspace_size = max(p.taps_size, (
        p.source.raw_size + p.source.image_size + p.source.points_size
        + p.product_size + p.result_size
    ))


cdef inline void fill_tables(Correlation* p, real* tag) noexcept nogil:
    """Shared tables: the padded bias, zeros to start from, and where rows and k of a tile lie."""
    cdef real* padded_bias = <real*> p.padded_bias
    cdef const real* bias = <const real*> p.bias
    cdef Py_ssize_t i
    memset(p.padded_bias, 0, p.bias_size)
    memset(p.zeros, 0, p.bias_size)
    if bias != NULL:
        for i in range(p.OC):
            padded_bias[i] = bias[i]
    for i in range(p.tiles.most):
        p.tile_offset[i] = i * p.source.tile
    for i in range(min(p.depth, CHUNK)):
        p.channel_offset[i] = i


cdef inline Py_ssize_t kernel_jobs(const Correlation* p, Py_ssize_t panels) noexcept nogil:
    """Jobs of `transform_kernels`: each reads weights that lie together."""
    return ceil_div(p.C, KERNELS) if p.flipped else panels


cdef inline void transform_kernels(
    const Correlation* p, Py_ssize_t first, Py_ssize_t panels, Py_ssize_t job, Py_ssize_t worker,
    real* tag,
) noexcept nogil:
    """Some weights of the round that starts at panel `first`, at the points."""
    cdef real* taps = <real*> (p.workspace + worker * p.workspace_size)
    cdef Py_ssize_t i
    if p.flipped:
        for i in range(panels):
            transform_some(p, first + i, job * KERNELS, taps,
                           <real*> p.kernels + i * p.kernel_panel)
    else:
        for i in range(ceil_div(p.C, KERNELS)):
            transform_some(p, first + job, i * KERNELS, taps,
                           <real*> p.kernels + job * p.kernel_panel)


cdef inline void transform_some(
    const Correlation* p, Py_ssize_t panel, Py_ssize_t c, real* taps, real* kernels
) noexcept nogil:
    """The weights of one panel and a few channels."""
    cdef Py_ssize_t oc = panel * p.panel, width = min(p.panel, p.OC - oc), i, place, row, col
    cdef Py_ssize_t count = min(KERNELS, p.C - c), window = p.tiles.window
    cdef const real* weight = <const real*> p.weight
    cdef real* piece = taps + KERNELS * window * p.panel
    if width < p.panel:
        memset(taps, 0, p.taps_size)
    if p.flipped:
        for i in range(count):
            transpose(taps + ((i + 1) * window - 1) * p.panel, -p.panel,
                      weight + ((c + i) * p.OC + oc) * window, window, width, window)
    else:
        transpose(taps, p.panel, weight + (oc * p.C + c) * window, p.C * window, width,
                  count * window)
    kernels += c * p.panel
    if p.tiles.pieces == 1:
        for i in range(count):
            kernel_at_points(&p.tiles, taps + i * window * p.panel, kernels + i * p.panel,
                             p.kernel_point)
        return
    for place in range(p.tiles.pieces):
        if p.phases > 1:
            row, col = place // p.stride, place % p.stride
        else:
            piece_at(&p.tiles, place, &row, &col)
        for i in range(count):
            take_piece(&p.tiles, taps + i * window * p.panel, row, col, p.phases > 1, piece)
            kernel_at_points(&p.tiles, piece, kernels + i * p.panel, p.kernel_point)
        if p.phases > 1:
            kernels += p.tiles.points * p.kernel_point
            continue
        if c + count == p.C:  # what fills the slices up to the next piece
            for i in range(p.tiles.points):
                memset(kernels + i * p.kernel_point + count * p.panel, 0,
                       (p.piece - p.C) * p.panel * sizeof(real))
        kernels += p.piece * p.panel


cdef inline void correlate(
    const Correlation* p, Py_ssize_t first, Py_ssize_t job, Py_ssize_t worker, real* out
) noexcept nogil:
    """One job of the round that starts at panel `first`."""
    cdef char* workspace = p.workspace + worker * p.workspace_size
    cdef char* rest = workspace + p.source.raw_size + p.source.image_size
    cdef real* points = <real*> rest
    cdef real* products = <real*> (rest + p.source.points_size)
    cdef real* result = <real*> (rest + p.source.points_size + p.product_size)
    cdef Py_ssize_t panels = min(p.round_panels, p.panels - first), share = job % p.shares, q, point
    cdef Block block = block_of(&p.tiles, job // p.shares)
    cdef Py_ssize_t begin = part_start(share, p.shares, panels)
    cdef Py_ssize_t end = part_start(share + 1, p.shares, panels), last
    transform_block(&p.source, &p.tiles, &block, 0, p.C, workspace, points)
    while begin < end:
        last = min(begin + p.group, end)
        for point in range(p.tiles.points):
            for q in range(begin, last):
                multiply_phases(
                    p, point, points + point * p.source.point, block.tiles,
                    <const real*> p.kernels + q * p.kernel_panel + point * p.kernel_point,
                    min(p.panel, p.OC - (first + q) * p.panel),
                    products + point * p.product_point + (q - begin) * p.phases * p.panel,
                )
        for q in range(begin, last):
            store_tiles(p, &block, products + (q - begin) * p.phases * p.panel, result, first + q,
                        out)
        begin = last


cdef inline void multiply_phases(
    const Correlation* p, Py_ssize_t point, const real* points, Py_ssize_t tiles,
    const real* kernel, Py_ssize_t width, real* products,
) noexcept nogil:
    """All that a point has: of each phase of the output, or of some pieces of the windows.

    What is zero is left out: values at infinity, of pieces that lack the last tap, and those at 0
    of phases, whose pieces are turned around and lack the first.
    """
    cdef Py_ssize_t first = 0, end = 1, phase, row, col, row_value, col_value, t
    if p.phases == 1:
        places_at(&p.tiles, point, &first, &end)
        multiply(p, points, tiles, kernel, first * p.piece, end * p.piece, width, products)
        return
    values_of(&p.tiles, point, &row_value, &col_value)
    for phase in range(p.phases):
        row, col = phase // p.stride, phase % p.stride
        if row >= p.tiles.h.whole and row_value == 0 or col >= p.tiles.w.whole and col_value == 0:
            for t in range(tiles):
                memset(products + t * p.product_tile, 0, p.panel * sizeof(real))
        else:
            multiply(p, points, tiles, kernel, 0, p.C, width, products)
        kernel += p.tiles.points * p.kernel_point
        products += p.panel


cdef inline void multiply(
    const Correlation* p, const real* points, Py_ssize_t tiles, const real* kernel,
    Py_ssize_t first, Py_ssize_t end, Py_ssize_t width, real* products,
) noexcept nogil:
    """products[tile][panel] = sum over some c of points[tile][c] * kernel[c][panel]"""
    cdef Py_ssize_t runs = ceil_div(tiles, TILE_ROWS), chunk, c, depth, run, start, count
    cdef Py_ssize_t chunks = ceil_div(end - first, p.chunk)
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), vectors = ceil_div(width, lanes)
    cdef const real* source
    cdef real* target
    for chunk in range(chunks):
        c = first + part_start(chunk, chunks, end - first)
        depth = first + part_start(chunk + 1, chunks, end - first) - c
        for run in range(runs):
            start = part_start(run, runs, tiles)
            count = part_start(run + 1, runs, tiles) - start
            source = points + start * p.source.tile + c
            target = products + start * p.product_tile
            CHECK((start + count - 1) * p.source.tile + c + depth <= p.source.point)
            if vectors * lanes == p.panel:
                product_tile(count, vectors, False, source, p.source.tile, depth,
                             kernel + c * p.panel, <const real*> p.zeros if chunk == 0 else target,
                             0 if chunk == 0 else p.product_tile,
                             target, p.product_tile, p.panel)
            elif chunk == 0:
                tile(count, vectors, source, p.tile_offset, p.channel_offset, depth,
                     kernel + c * p.panel, p.panel, <const real*> p.zeros, 0,
                     target, p.product_tile)
            else:
                tile(count, vectors, source, p.tile_offset, p.channel_offset, depth,
                     kernel + c * p.panel, p.panel, target, p.product_tile,
                     target, p.product_tile)


cdef inline void store_tiles(
    const Correlation* p, const Block* block, const real* products, real* result,
    Py_ssize_t panel, real* out,
) noexcept nogil:
    """From the products of a panel to the output.

    Rows and columns of the output belong to the phases of dilated windows in turn, each of which
    has tiles of its own, or to those of strided ones, for which each tile has products.
    """
    cdef const Tiles* t = &p.tiles
    cdef Py_ssize_t oc = panel * p.panel, width = min(p.panel, p.OC - oc), plane = p.H * p.W
    cdef Py_ssize_t step_h = t.dilation_h * p.stride, step_w = t.dilation_w * p.stride
    cdef Py_ssize_t start = block.col * t.w.m * step_w, left = max(0, p.left - start)
    cdef Py_ssize_t cols = min(block.cols * t.w.m * step_w, p.left + p.W - start)
    cdef Py_ssize_t r = block.first, n, first, end, row, rows, top, i, phase, col_phase
    cdef const real* at
    cdef real* target
    while r < block.end:
        n, first = r // t.TH // t.dilation_h, r % t.TH
        end = min(t.TH, first + block.end - r)
        for phase in range(p.stride):
            row = r // t.TH % t.dilation_h + phase
            rows = phase_outputs(p.top + p.H, step_h, row)
            for i in range(first, end):
                for col_phase in range(step_w):
                    at = products + (phase * p.stride + col_phase % p.stride) * p.panel
                    at += ((i - first) * t.dilation_w + col_phase // p.stride) * (
                        block.cols * p.product_tile
                    )
                    tiles_of_points(
                        t, at, p.product_point, p.product_tile, <const real*> p.padded_bias + oc,
                        result + ((i - first) * t.h.m * cols + col_phase) * p.panel, cols * p.panel,
                        step_w * p.panel, block.cols,
                        rows - i * t.h.m, phase_outputs(cols, step_w, col_phase),
                    )
            # Rows of the output before its first one are left out.
            top = max(first * t.h.m, ceil_div(max(0, p.top - row), step_h))
            rows = min(end * t.h.m, rows) - top
            target = out + (n * p.G * p.OC + oc) * plane + (top * step_h + row - p.top) * p.W
            target += start + left - p.left
            at = result + ((top - first * t.h.m) * cols + left) * p.panel
            if left == 0 and cols == step_h * p.W:  # rows that lie together are one stretch
                transpose(target, plane, at, p.panel, rows * cols, width)
            else:
                for i in range(rows):
                    transpose(target + i * step_h * p.W, plane, at + i * cols * p.panel,
                              p.panel, cols - left, width)
        products += (end - first) * t.dilation_w * block.cols * p.product_tile
        r += end - first
