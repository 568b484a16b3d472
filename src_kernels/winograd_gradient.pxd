"""The gradient of a convolution's weights, at points.

    dw = G^T [ sum over tiles of (A dout A^T) * (B^T x B) ] G

A job is a block of channels of x, a group of panels of output channels and a part of the blocks of
tiles. It takes one block of tiles after the other to the points, on both sides, and adds their
products, for each point, to sums of its own: the register tile with channels as its rows, and its k
over tiles. The pieces of a window are further channels of x. The parts, whose number the
shape decides, are added up at the end.
"""

from libc.string cimport memcpy, memset

from geometry cimport aligned, ceil_div, part_start
from tile cimport CHECK, TILE_ROWS, lanes_of, product_tile, real, tile, transpose
from winograd cimport (
    F2, KERNELS, SLICE_BYTES, Block, Source, Tiles, block_of, cut_tiles, kernel_of_points,
    odd_lines, panel_of, piece_at, piece_channels, places_at, plan_source, put_piece,
    transform_block,
)

cdef enum:
    GRADIENT_TILES = 56  # of a block, about: the depth of a product
    GRADIENT_CHANNELS = 128  # of a job, on either side
    # The same for F(4x4), whose points are more: sums of 128 channels lie in L3, 0.7 to 1.3 times
    # as fast on one thread and 0.4 to 1.1 times on two.
    GRADIENT_TILES_4 = 42
    GRADIENT_CHANNELS_4 = 64
    GRADIENT_JOBS = 8
    GRADIENT_SUMS = 4 << 20  # bytes that more parts may cost


cdef struct Gradient:
    # the problem: one group of channels after the other
    Py_ssize_t G, C, OC
    Tiles tiles
    Source x, dout
    # the plan: a pure function of the problem
    Py_ssize_t panel, panels, parts
    Py_ssize_t channels, channel_blocks, group, groups  # panels of a job, and their groups
    Py_ssize_t pieces, rows  # of the windows, on both axes, and the channels of all of them
    Py_ssize_t sums_point, sums_step  # steps: to the next point, to the next job's sums
    # memory
    Py_ssize_t sums_size, table_size, zeros_size, image_size, workspace_size
    void* sums  # [point][panel][channel][panel's channels], then those of db
    void* zeros
    Py_ssize_t* channel_offset
    Py_ssize_t* tile_offset
    char* workspace


cdef inline void plan_gradient(Gradient* p, Py_ssize_t itemsize) noexcept nogil:
    """Choose the blocks; tell the memory that is needed."""
    cdef Py_ssize_t slice = SLICE_BYTES // itemsize, points = p.tiles.points, jobs
    cdef Py_ssize_t channels = GRADIENT_CHANNELS if points <= F2 else GRADIENT_CHANNELS_4
    p.panel = p.tiles.panel = panel_of(p.OC, itemsize)
    p.panels = ceil_div(p.OC, p.panel)
    cut_tiles(&p.tiles, GRADIENT_TILES if points <= F2 else GRADIENT_TILES_4, 1)
    p.pieces = p.x.pieces
    p.channel_blocks = ceil_div(p.C * p.pieces, channels)
    p.channels = ceil_div(ceil_div(p.C, p.channel_blocks), slice) * slice
    p.channel_blocks = ceil_div(p.C, p.channels)
    p.rows = p.pieces * p.channels
    p.groups = ceil_div(p.panels * p.panel, channels)
    p.group = ceil_div(p.panels, p.groups)
    p.groups = ceil_div(p.panels, p.group)
    p.x.gradients, p.dout.gradients = False, True
    plan_source(&p.x, &p.tiles, p.channels, p.channels, itemsize)
    plan_source(&p.dout, &p.tiles, p.group * p.panel, p.panel, itemsize)
    p.sums_point = odd_lines(p.group * p.rows * p.panel, slice)
    p.sums_size = aligned((points * p.sums_point + p.group * p.panel) * itemsize)
    p.sums_step = p.sums_size // itemsize
    jobs = p.channel_blocks * p.groups
    p.parts = min(ceil_div(GRADIENT_JOBS, jobs), p.tiles.row_blocks * p.tiles.col_blocks)
    p.parts = max(1, min(p.parts, GRADIENT_SUMS // (jobs * p.sums_size)))

    p.table_size = aligned(max(p.tiles.most, TILE_ROWS) * sizeof(Py_ssize_t))
    p.zeros_size = aligned(p.panel * itemsize)
    p.image_size = max(p.x.raw_size + p.x.image_size, p.dout.raw_size + p.dout.image_size)
    p.image_size = max(p.image_size, aligned((KERNELS + 1) * p.tiles.window * p.panel * itemsize))
    p.workspace_size = p.image_size + p.x.points_size + p.dout.points_size


cdef inline void fill_gradient_tables(Gradient* p) noexcept nogil:
    cdef Py_ssize_t i
    memset(p.zeros, 0, p.zeros_size)
    for i in range(TILE_ROWS):
        p.channel_offset[i] = i
    for i in range(p.tiles.most):
        p.tile_offset[i] = i * p.x.tile


cdef inline real* sums_of(
    const Gradient* p, Py_ssize_t job, Py_ssize_t worker, real* tag
) noexcept nogil:
    """A job's sums; those of a single part are done with when the job is."""
    return <real*> p.sums + (job if p.parts > 1 else worker) * p.sums_step


cdef inline void accumulate(
    const Gradient* p, Py_ssize_t job, Py_ssize_t worker, real* dw, real* db
) noexcept nogil:
    """One job; all of it where there is a single part."""
    cdef char* workspace = p.workspace + worker * p.workspace_size
    cdef real* x = <real*> (workspace + p.image_size)
    cdef real* dout = <real*> (workspace + p.image_size + p.x.points_size)
    cdef real* sums = sums_of(p, job, worker, dw)
    cdef Py_ssize_t part = job % p.parts, blocks = p.tiles.row_blocks * p.tiles.col_blocks
    cdef Py_ssize_t group = job // p.parts % p.groups, oc = group * p.group * p.panel
    cdef Py_ssize_t c = job // p.parts // p.groups * p.channels, index
    cdef Py_ssize_t channels = min(p.channels, p.C - c), width = min(p.group * p.panel, p.OC - oc)
    cdef Py_ssize_t begin = part_start(part, p.parts, blocks)
    cdef Block block
    for index in range(begin, part_start(part + 1, p.parts, blocks)):
        block = block_of(&p.tiles, index)
        transform_block(&p.x, &p.tiles, &block, c, channels, workspace, x)
        transform_block(&p.dout, &p.tiles, &block, oc, width, workspace, dout)
        add_products(p, x, dout, block.tiles, channels, width, index == begin, sums)
        if c == 0:
            add_gradients(p, dout, block.tiles, width, index == begin, sums)
    if p.parts == 1:
        for index in range(p.group):
            finish(p, job, index, worker, dw, db)


cdef inline void add_products(
    const Gradient* p, const real* x, const real* dout, Py_ssize_t tiles, Py_ssize_t channels,
    Py_ssize_t width, bint first, real* sums,
) noexcept nogil:
    """sums[point][panel][c][:] += sum over tiles of x[point][tile][c] * dout[point][tile][panel]"""
    cdef Py_ssize_t runs, point, q, run, start, count, vectors
    cdef Py_ssize_t lanes = lanes_of(sizeof(real))
    cdef const real* panel
    cdef const real* init
    cdef real* target
    cdef Py_ssize_t piece = piece_channels(&p.tiles, channels, SLICE_BYTES // sizeof(real))
    cdef Py_ssize_t begin, end
    CHECK((tiles - 1) * p.x.tile + p.pieces * piece <= p.x.point)
    for point in range(p.tiles.points):
        places_at(&p.tiles, point, &begin, &end)
        begin, end = begin * piece, end * piece
        runs = ceil_div(end - begin, TILE_ROWS)
        for q in range(ceil_div(width, p.panel)):
            vectors = ceil_div(min(p.panel, width - q * p.panel), lanes)
            panel = dout + point * p.dout.point
            panel += q * p.panel // p.dout.width * p.dout.part + q * p.panel % p.dout.width
            for run in range(runs):
                start = begin + part_start(run, runs, end - begin)
                count = begin + part_start(run + 1, runs, end - begin) - start
                target = sums + point * p.sums_point + (q * p.rows + start) * p.panel
                init = <const real*> p.zeros if first else target
                if vectors * lanes == p.panel and p.dout.tile == p.panel:
                    product_tile(count, vectors, True, x + point * p.x.point + start, p.x.tile,
                                 tiles, panel, init, 0 if first else p.panel, target, p.panel,
                                 p.panel)
                else:
                    tile(count, vectors, x + point * p.x.point + start, p.channel_offset,
                         p.tile_offset, tiles, panel, p.dout.tile,
                         init, 0 if first else p.panel, target, p.panel)


cdef inline void add_gradients(
    const Gradient* p, const real* dout, Py_ssize_t tiles, Py_ssize_t width, bint first, real* sums
) noexcept nogil:
    """What db gets: the sum of a tile's gradients stands behind the points."""
    cdef real* total = sums + p.tiles.points * p.sums_point
    cdef Py_ssize_t part, t, i
    dout += p.tiles.points * p.dout.point
    if first:
        memset(total, 0, p.group * p.panel * sizeof(real))
    for part in range(ceil_div(width, p.dout.width)):
        for t in range(tiles):
            for i in range(min(p.dout.width, width - part * p.dout.width)):
                total[i] += dout[t * p.dout.tile + i]
        dout += p.dout.part
        total += p.dout.width


cdef inline void finish(
    const Gradient* p, Py_ssize_t job, Py_ssize_t panel, Py_ssize_t worker, real* dw, real* db
) noexcept nogil:
    """Add up the parts that start at a job, in order, and take one panel of sums to weights."""
    cdef real* taps = <real*> (p.workspace + worker * p.workspace_size)
    cdef Py_ssize_t oc = (job // p.parts % p.groups * p.group + panel) * p.panel
    cdef Py_ssize_t c = job // p.parts // p.groups * p.channels
    cdef Py_ssize_t channels = min(p.channels, p.C - c), width = min(p.panel, p.OC - oc)
    cdef Py_ssize_t part, point, i, k, count, place, row, col
    cdef Py_ssize_t window = p.tiles.window
    cdef Py_ssize_t step = piece_channels(&p.tiles, channels, SLICE_BYTES // sizeof(real))
    cdef real* piece = taps + KERNELS * window * p.panel
    cdef real* sums = sums_of(p, job, worker, dw) + panel * p.rows * p.panel
    cdef real* total = sums_of(p, job, worker, dw) + p.tiles.points * p.sums_point + panel * p.panel
    cdef real* at
    if oc >= p.OC:
        return
    for part in range(1, p.parts):
        for point in range(p.tiles.points):
            at = sums + point * p.sums_point
            for i in range(p.pieces * step * p.panel):
                at[i] += at[part * p.sums_step + i]
        if c == 0:
            for i in range(width):
                total[i] += total[part * p.sums_step + i]
    for k in range(ceil_div(channels, KERNELS)):
        count = min(KERNELS, channels - k * KERNELS)
        for place in range(p.pieces):
            piece_at(&p.tiles, place, &row, &col)
            at = sums + (place * step + k * KERNELS) * p.panel
            for i in range(count):
                if p.pieces == 1:
                    kernel_of_points(&p.tiles, at + i * p.panel, p.sums_point,
                                     taps + i * window * p.panel)
                else:
                    kernel_of_points(&p.tiles, at + i * p.panel, p.sums_point, piece)
                    put_piece(&p.tiles, piece, row, col, taps + i * window * p.panel)
        transpose(dw + (oc * p.C + c + k * KERNELS) * window, p.C * window, taps, p.panel,
                  count * window, width)
    if c == 0:
        memcpy(db + oc, total, width * sizeof(real))
