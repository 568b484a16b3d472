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
    KERNELS, MOST_TAPS, SLICE_BYTES, Block, Source, Tiles, block_of, cut_tiles, kernel_at_points,
    odd_lines, phase_outputs, panel_of, plan_source, tiles_of_points, transform_block,
)

cdef enum:
    # Channels in one chunk of a sum: a running sum over more loses digits. Of 256 channels the
    # error is 1.5 times PyTorch's in place of 2.6, for 1 to 3 % of the time.
    CHUNK = 160
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
    bint flipped  # weights (C, OC, taps, taps), each turned around, not (OC, C, taps, taps)
    const void* weight
    const void* bias  # (OC,), or NULL
    Tiles tiles
    Source source
    # the plan: a function of the problem, but for who computes which tiles
    Py_ssize_t panel, panels, chunks
    Py_ssize_t rounds, round_panels, shares  # panels of a round, and jobs that share them
    Py_ssize_t group  # panels that are multiplied at one point before the next
    Py_ssize_t kernel_point, kernel_panel, product_point, product_tile  # steps
    # memory
    Py_ssize_t kernels_size, bias_size, table_size, product_size, result_size, taps_size
    Py_ssize_t workspace_size
    void* kernels  # [panel][point][channel][panel's channels]
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
    cdef Py_ssize_t slice = SLICE_BYTES // itemsize, m = p.tiles.m, points = p.tiles.points
    cdef Py_ssize_t blocks, tiles, share
    cdef Py_ssize_t jobs = min(ENOUGH_JOBS, JOBS_PER_THREAD * num_threads) if num_threads > 1 else 1
    p.panel = p.tiles.panel = panel_of(p.OC, itemsize)
    p.panels = ceil_div(p.OC, p.panel)
    p.chunks = ceil_div(p.C, CHUNK)
    tiles = points * p.C * itemsize
    tiles = min(
        MOST_BLOCK_BYTES // tiles, MOST_TILES, max(LEAST_COLUMNS // m, BLOCK_BYTES // tiles)
    )
    # An even share of a small problem, rather than one block of most of it and another of the rest;
    # but where panels can be shared, no fewer tiles than repay fetching the weights.
    share = ceil_div(p.tiles.all_tiles, jobs)
    share = max(share, TILE_ROWS if p.OC < 2 * SHARE_CHANNELS else 2 * TILE_ROWS)
    cut_tiles(&p.tiles, max(1, min(tiles, share)), TILE_ROWS)
    plan_source(&p.source, &p.tiles, p.C, p.C, itemsize)
    p.kernel_point = odd_lines(p.C * p.panel, slice)
    p.kernel_panel = points * p.kernel_point
    blocks = p.tiles.row_blocks * p.tiles.col_blocks
    p.rounds = max(KERNEL_BYTES // (p.kernel_panel * itemsize), ROUND_CHANNELS // p.panel)
    p.rounds = ceil_div(p.panels, p.rounds)
    p.round_panels = ceil_div(p.panels, p.rounds)
    p.rounds = ceil_div(p.panels, p.round_panels)
    p.shares = min(ceil_div(jobs, blocks), p.round_panels * p.panel // SHARE_CHANNELS)
    p.shares = max(1, p.shares)
    p.group = 1
    if p.source.points_size > POINTS_BYTES:
        p.group = min(ceil_div(p.round_panels, p.shares), max(1, GROUP_CHANNELS // p.panel))

    p.product_tile = p.group * p.panel
    p.product_point = odd_lines(p.tiles.most * p.product_tile, slice)
    p.kernels_size = aligned(p.round_panels * p.kernel_panel * itemsize)
    p.bias_size = aligned(p.panels * p.panel * itemsize)
    p.table_size = aligned(max(p.tiles.most, min(p.C, CHUNK)) * sizeof(Py_ssize_t))
    p.product_size = aligned(points * p.product_point * itemsize)
    p.result_size = aligned(p.tiles.most * m * m * p.panel * itemsize)
    p.taps_size = aligned(KERNELS * MOST_TAPS * MOST_TAPS * p.panel * itemsize)
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
    for i in range(min(p.C, CHUNK)):
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
    cdef Py_ssize_t oc = panel * p.panel, width = min(p.panel, p.OC - oc), i
    cdef Py_ssize_t count = min(KERNELS, p.C - c), window = p.tiles.taps * p.tiles.taps
    cdef const real* weight = <const real*> p.weight
    if width < p.panel:
        memset(taps, 0, p.taps_size)
    if p.flipped:
        for i in range(count):
            transpose(taps + ((i + 1) * window - 1) * p.panel, -p.panel,
                      weight + ((c + i) * p.OC + oc) * window, window, width, window)
    else:
        transpose(taps, p.panel, weight + (oc * p.C + c) * window, p.C * window, width,
                  count * window)
    for i in range(count):
        kernel_at_points(&p.tiles, taps + i * window * p.panel, kernels + (c + i) * p.panel,
                         p.kernel_point)


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
                multiply(
                    p, points + point * p.source.point, block.tiles,
                    <const real*> p.kernels + q * p.kernel_panel + point * p.kernel_point,
                    min(p.panel, p.OC - (first + q) * p.panel),
                    products + point * p.product_point + (q - begin) * p.panel,
                )
        for q in range(begin, last):
            store_tiles(p, &block, products + (q - begin) * p.panel, result, first + q, out)
        begin = last


cdef inline void multiply(
    const Correlation* p, const real* points, Py_ssize_t tiles, const real* kernel,
    Py_ssize_t width, real* products,
) noexcept nogil:
    """products[tile][panel] = sum over c of points[tile][c] * kernel[c][panel]"""
    cdef Py_ssize_t runs = ceil_div(tiles, TILE_ROWS), chunk, c, depth, run, start, count
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), vectors = ceil_div(width, lanes)
    cdef const real* source
    cdef real* target
    for chunk in range(p.chunks):
        c = part_start(chunk, p.chunks, p.C)
        depth = part_start(chunk + 1, p.chunks, p.C) - c
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
                     kernel, p.panel, <const real*> p.zeros, 0, target, p.product_tile)
            else:
                tile(count, vectors, source, p.tile_offset, p.channel_offset, depth,
                     kernel + c * p.panel, p.panel, target, p.product_tile,
                     target, p.product_tile)


cdef inline void store_tiles(
    const Correlation* p, const Block* block, const real* products, real* result,
    Py_ssize_t panel, real* out,
) noexcept nogil:
    """From the products of a panel to the output."""
    cdef const Tiles* t = &p.tiles
    cdef Py_ssize_t oc = panel * p.panel, width = min(p.panel, p.OC - oc), plane = t.OH * t.OW
    cdef Py_ssize_t col = block.col * t.m * t.dilation_w
    cdef Py_ssize_t cols = min(block.cols * t.m * t.dilation_w, t.OW - col)
    cdef Py_ssize_t r = block.first, n, phase, first, end, row, rows, i, col_phase
    cdef real* target
    while r < block.end:
        n, phase, first = r // t.TH // t.dilation_h, r // t.TH % t.dilation_h, r % t.TH
        end = min(t.TH, first + block.end - r)
        rows = phase_outputs(t.OH, t.dilation_h, phase)
        for i in range(first, end):
            for col_phase in range(t.dilation_w):
                tiles_of_points(
                    t, products, p.product_point, p.product_tile,
                    <const real*> p.padded_bias + oc,
                    result + ((i - first) * t.m * cols + col_phase) * p.panel, cols * p.panel,
                    t.dilation_w * p.panel, block.cols,
                    rows - i * t.m, phase_outputs(cols, t.dilation_w, col_phase),
                )
                products += block.cols * p.product_tile
        row = first * t.m
        rows = min(end * t.m, rows) - row
        target = out + (n * p.G * p.OC + oc) * plane + (row * t.dilation_h + phase) * t.OW + col
        if cols == t.dilation_h * t.OW:  # rows that lie together are one stretch
            transpose(target, plane, result, p.panel, rows * cols, width)
        else:
            for i in range(rows):
                transpose(target + i * t.dilation_h * t.OW, plane, result + i * cols * p.panel,
                          p.panel, cols, width)
        r += end - first
