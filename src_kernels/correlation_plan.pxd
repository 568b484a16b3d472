"""How correlate.pxd does a problem: tile, blocks, memory and tables, from the shape alone."""

from libc.string cimport memset

from geometry cimport aligned, ceil_div, gcd, part_start
from tile cimport (
    FASTSCRATCH_VECTOR_BYTES, TILE_ROWS, WIDE_ROWS, lanes_of, pack_beside, pack_tile, real,
    transpose,
)

cdef enum:
    CHUNK = 288  # k in one chunk: with a panel of 2 vectors, it fits L1
    PIXELS = 256  # of a job, about
    WIDE_WINDOWS = 8192  # elements of x in a job of vectors of pixels: whole planes that fit L1
    ROW_PIXELS = 512  # of a row in a job, at most
    ENOUGH_JOBS = 16  # to share them out evenly among a few threads
    FEWEST_JOBS = 8
    JOBS_PER_THREAD = 4
    FEW_PIXELS = 256  # of all images, which do not repay packing the weights of 1x1 windows
    PAGE = 4096
    LEAST_PANELS = 3  # of a job that fetches columns
    PANELS_TOGETHER = 16  # that are packed at once, where they lie side by side
    LARGEST_COPY = 4 << 20
    LARGEST_RESULT = 4 << 20
    SHARE_OF_WEIGHTS = 256 << 10
    COLUMNS_BYTES = 192 << 10  # of columns of windows, in L2 beside a job's part of the output
    CHANNELS_PER_COPY = 256
    LEAST_RUN = 6  # pixels of a row, as many sums as hide the latency of a multiply-add
    LEAST_TILES = 3  # of output channels, that repay fetching columns
    # One tile does where planes are large and products not few: 1.1 to 2.5 times as fast on
    # AVX-512, 2.3 times with 16 channels on AVX2. On planes of 14x14 it was 0.5 to 1.05 times.
    LARGE_PLANE = 576
    LEAST_PRODUCTS = 768


cdef enum Way:
    TILE
    WIDE
    COLUMNS


cdef struct Weight:
    # weight(g, oc, c, kh, kw) is data[g*group + oc*out + c*channel + kh*row + kw*col]
    const void* data
    Py_ssize_t group, out, channel, row, col


cdef struct Correlation:
    # the problem
    Py_ssize_t N, G, C, H, W, OC, OH, OW, KH, KW
    Py_ssize_t stride_h, stride_w, dilation_h, dilation_w, top, left
    const void* x
    const void* bias  # (G, OC), or NULL
    Weight weight
    void* out
    Py_ssize_t out_image, out_plane, out_row, out_col  # distances between elements
    # what else a caller decides: correlations whose jobs are shared out together; limits of a job
    Py_ssize_t together, most_images, most_groups
    # the plan: a function of the problem, but for who computes which panels
    Way way
    bint direct, straight, by_row
    bint unpacked  # whether columns meet the weights as they lie
    Py_ssize_t taps, depth  # KH*KW, C*KH*KW
    Py_ssize_t panel, panels, vectors  # output channels of a tile; vectors of its pixels
    Py_ssize_t packed_panel, packed_at_once  # elements between packed panels; panels of a job
    Py_ssize_t groups, images, rows, cols  # of a job
    Py_ssize_t group_blocks, image_blocks, row_blocks, col_blocks, panel_groups, jobs
    Py_ssize_t chunk, chunks  # channels
    Py_ssize_t row_gap, col_gap  # only every row_gap-th row of x is ever used
    Py_ssize_t copy_row, copy_plane, copy_image, copy_rows, phase
    Py_ssize_t span  # pixels of a job, those that fill up vectors among them
    Py_ssize_t step, steps, columns_step  # columns of a product tile; tiles at once; between them
    # memory
    Py_ssize_t packed_size, bias_size, table_size
    Py_ssize_t copy_size, columns_size, result_size, pixel_size
    void* packed
    void* padded_bias
    Py_ssize_t* k_offset
    char* workspace
    Py_ssize_t workspace_size


cdef inline bint never_overhangs(const Correlation* p) noexcept nogil:
    return (
        p.top <= 0 and p.left <= 0
        and (p.OH - 1) * p.stride_h - p.top + (p.KH - 1) * p.dilation_h < p.H
        and (p.OW - 1) * p.stride_w - p.left + (p.KW - 1) * p.dilation_w < p.W
    )


cdef inline bint is_pointwise(const Correlation* p) noexcept nogil:
    """Whether pixel i of the output is a matter of pixel i of x alone."""
    return (
        p.KH == 1 and p.KW == 1 and p.stride_h == 1 and p.stride_w == 1
        and p.OW == p.W and p.out_col == 1 and p.out_row == p.OW
    )


cdef inline Py_ssize_t wide_width(Py_ssize_t pixels, Py_ssize_t lanes) noexcept nogil:
    """What wide tiles compute of a row of pixels: its last vector overlaps the one before."""
    return ceil_div(pixels, lanes) * lanes


cdef inline void plan_correlation(
    Correlation* p, Py_ssize_t itemsize, int num_threads
) noexcept nogil:
    """Choose the tile and the blocks; tell the memory that is needed.

    Sums are the same for any number of threads: only who computes which panels depends on it.
    """
    cdef Py_ssize_t lanes = lanes_of(itemsize), jobs, shares, pixels
    cdef Py_ssize_t block = PIXELS
    if FASTSCRATCH_VECTOR_BYTES == 64:  # those processors' L2 is twice as large: 1.02 times as fast
        block = 2 * PIXELS
    pixels = block
    p.taps = p.KH * p.KW
    p.depth = p.C * p.taps
    plan_tile(p, lanes)
    p.chunks = max(1, ceil_div(p.depth, CHUNK))
    p.chunk = max(1, ceil_div(p.C, p.chunks))
    if never_overhangs(p) and is_pointwise(p):
        # The image is one long row, which splits evenly whatever its width.
        p.OW *= p.OH
        p.W *= p.H
        p.OH = p.H = 1
        p.out_row = p.OW
    # Vectors of pixels that are longer than a row would read on past its end, and x's.
    p.direct = never_overhangs(p) and (p.stride_w == 1 or p.way == TILE)
    p.direct = p.direct and (p.way != WIDE or p.OW >= lanes)
    # Blocks of pixels: some columns of some rows, or all of some images.
    if p.way == WIDE:
        pixels = max(pixels, WIDE_WINDOWS // max(1, p.C * p.stride_h * p.stride_w))
    elif p.way == COLUMNS:
        # Rather than for shares of the panels, for each of which the columns are fetched anew.
        pixels = p.G * p.N * p.OH * p.OW // ENOUGH_JOBS // p.step * p.step
        pixels = max(2 * p.step, min(ROW_PIXELS, pixels))
    p.col_blocks = ceil_div(p.OW, min(pixels, ROW_PIXELS) if p.way == COLUMNS else ROW_PIXELS)
    p.cols = ceil_div(p.OW, p.col_blocks)
    if p.way == COLUMNS and p.col_blocks > 1:
        p.cols = ceil_div(p.cols, p.step) * p.step
        p.col_blocks = ceil_div(p.OW, p.cols)
    p.row_blocks = max(1, min(p.OH, ceil_div(p.OH * p.cols, pixels)))
    p.rows = ceil_div(p.OH, p.row_blocks)
    p.images = 1
    if p.row_blocks == 1 and p.col_blocks == 1:
        p.images = images_of_job(p, block, num_threads)
    plan_copy(p, itemsize)
    # A large dilation can make the copy large: take fewer rows, then fewer channels.
    while p.copy_plane * p.chunk * itemsize > LARGEST_COPY and (p.rows > 1 or p.chunk > 1):
        if p.rows > 1:
            p.rows = 1
        else:
            p.chunk = max(1, p.chunk // 2)
        plan_copy(p, itemsize)
    p.row_blocks = ceil_div(p.OH, p.rows)
    p.chunks = max(1, ceil_div(p.C, p.chunk))
    p.image_blocks = ceil_div(p.N, p.images)
    jobs = p.G * p.image_blocks * p.row_blocks * p.col_blocks
    # Each share of the panels copies its part of x anew: no more of them than the threads need.
    p.panel_groups = min(ENOUGH_JOBS, JOBS_PER_THREAD * num_threads) if num_threads > 1 else 1
    p.panel_groups = max(1, min(p.panels, ceil_div(p.panel_groups, max(jobs, 1))))
    p.span = p.images * p.rows * p.cols
    if p.way == WIDE:
        p.span = p.images * p.rows * wide_width(p.cols, lanes)
    elif p.way == COLUMNS:
        p.span = ceil_div(p.span, p.step) * p.step
        if not p.direct:
            # Each share copies its part of x anew.
            p.panel_groups = max(1, min(p.panel_groups, p.OC // CHANNELS_PER_COPY))
    if p.way == COLUMNS or p.chunks > 1:
        # All panels of a share take their part of a chunk before the next chunk is looked at.
        shares = ceil_div(p.span * p.panels * p.panel * itemsize, LARGEST_RESULT)
        if p.way == COLUMNS and p.direct:
            # The weights of a share stay in L2 from one step of columns to the next.
            shares = max(shares, p.OC * p.chunk * p.taps * itemsize // SHARE_OF_WEIGHTS)
        p.panel_groups = min(p.panels, max(p.panel_groups, shares))
    p.groups = max(1, min(p.G, jobs // ENOUGH_JOBS, p.most_groups))
    p.group_blocks = ceil_div(p.G, p.groups)
    p.jobs = p.group_blocks * p.image_blocks * p.row_blocks * p.col_blocks * p.panel_groups
    p.straight = (
        p.chunks == 1 and p.out_col == 1 and (p.OW >= lanes or p.out_row == p.OW)
    )
    p.copy_size = 0
    if not p.direct:
        p.copy_image = p.chunk * p.copy_plane
        # Wide tiles read on to the end of their last vector.
        p.copy_size = aligned((p.images * p.copy_image + lanes) * itemsize)
    p.table_size = aligned(p.chunk * p.taps * sizeof(Py_ssize_t))
    p.packed_panel = p.panel * p.depth
    p.bias_size = aligned(p.G * p.panels * p.panel * itemsize)
    p.columns_size = 0
    p.pixel_size = 2 * aligned(p.images * p.rows * p.cols * sizeof(Py_ssize_t))
    if p.way == WIDE:
        p.pixel_size = 2 * aligned(p.span // lanes * sizeof(Py_ssize_t))
    elif p.way == TILE:
        p.columns_size = aligned(p.panel * p.cols * itemsize)
    else:
        # Packing by register transposes writes a vector beyond the end.
        p.packed_panel = ceil_div(p.panel * p.depth + lanes, 2 * lanes) * 2 * lanes
        p.bias_size = aligned(p.G * p.OC * p.step * itemsize)
        p.columns_step = p.step * p.chunk * p.taps
        p.steps = max(1, min(p.span // p.step, COLUMNS_BYTES // (p.columns_step * itemsize)))
        p.columns_size = aligned((p.steps * p.columns_step + lanes) * itemsize)
    p.result_size = aligned(p.panel * p.span * itemsize)
    if p.way == COLUMNS or p.chunks > 1:
        p.result_size *= ceil_div(p.panels, p.panel_groups)
    # Tiles of one row need one address, and those of neighbours do not fit the registers where a
    # tile is large: 0.99 of the limit against 0.87, and 0.9 against 0.7 with one vector a row.
    p.by_row = TILE_ROWS > LEAST_RUN and p.cols >= LEAST_RUN and (
        p.phase > 0 or p.stride_w == p.col_gap
    )
    # Met by few pixels, weights are read as they lie (1.0 to 1.25 times as fast, with two threads
    # up to 1.8 times); but not rows that are pages apart, which fall into one set of the cache.
    p.unpacked = p.way == COLUMNS and p.taps == 1 and p.N * p.OH * p.OW <= FEW_PIXELS and (
        p.weight.out == 1 or (p.weight.channel == 1 and p.weight.out * itemsize % PAGE)
    )
    p.packed_size = 0 if p.unpacked else aligned(p.G * p.panels * p.packed_panel * itemsize)
    p.packed_at_once = 1
    if p.way == COLUMNS and p.weight.out == 1:
        p.packed_at_once = max(1, min(PANELS_TOGETHER, p.panels // JOBS_PER_THREAD))
    p.workspace_size = p.copy_size + p.columns_size + p.result_size + p.pixel_size


cdef inline Py_ssize_t images_of_job(
    const Correlation* p, Py_ssize_t block, int num_threads
) noexcept nogil:
    """How many small images a job takes: about a block of pixels, but leaving jobs for all threads.

    Columns are computed in whole vectors: the number is the one that wastes the least (1.05 to 1.25
    times as fast on 7x7). Where blocks are fewer than jobs shall be, each is fetched for several
    shares of the panels.
    """
    cdef Py_ssize_t jobs = p.N * p.G * p.together, images, blocks, vectors, pixels = p.OH * p.OW
    cdef Py_ssize_t shares = p.panels // LEAST_PANELS if p.direct else p.OC // CHANNELS_PER_COPY
    cdef Py_ssize_t cost, least = 0, best = 1
    cdef Py_ssize_t most = max(1, min(block // pixels, p.N, p.most_images))
    if p.way != COLUMNS:
        images = max(1, min(most, jobs // ENOUGH_JOBS))
        return ceil_div(p.N, ceil_div(p.N, images))
    for images in range(1, most + 1):
        blocks = ceil_div(p.N, images) * p.G * p.together
        if images > 1 and blocks * max(1, shares) < FEWEST_JOBS:
            break
        vectors = p.N // images * ceil_div(2 * images * pixels, p.step)
        vectors += ceil_div(2 * (p.N % images * pixels), p.step)
        # Fetching a column takes as long as half a panel's sums.
        cost = vectors * (2 * p.panels + (ceil_div(FEWEST_JOBS, blocks) if num_threads > 1 else 1))
        if images == 1 or cost < least:
            least = cost
            best = images
    return best


cdef inline void plan_tile(Correlation* p, Py_ssize_t lanes) noexcept nogil:
    """Compare what the two tiles compute in vain, in multiply-adds and steps of their ends."""
    cdef Py_ssize_t tile_cost = ceil_div(p.OC, lanes) * lanes * p.OW * (p.depth + 16)
    cdef Py_ssize_t wide_cost = p.OC * wide_width(p.OW, lanes) * (p.depth + 8)
    if FASTSCRATCH_VECTOR_BYTES == 64 or p.depth > CHUNK:
        # It has more addresses; its sums of a chunk pass through memory, channel by channel.
        wide_cost += p.OC * wide_width(p.OW, lanes) * p.depth // 12
    # One vector a row: too few sums to hide their latency, with six rows more than with nine.
    if TILE_ROWS <= LEAST_RUN and ceil_div(p.OC, lanes) % 2:
        tile_cost += lanes * p.OW * (p.depth + 16) // 2
    elif p.OC <= lanes:
        tile_cost += tile_cost // 3
    p.way = WIDE if wide_cost < tile_cost else TILE
    if p.taps == 1 and p.OC > (
        TILE_ROWS if p.OH * p.OW >= LARGE_PLANE and p.C * p.OC >= LEAST_PRODUCTS
        else LEAST_TILES * TILE_ROWS
    ):
        p.way = COLUMNS
    if p.way == TILE:
        p.panel = 2 * lanes
        p.panels = ceil_div(p.OC, p.panel)
        return
    if p.way == COLUMNS:
        p.panel = TILE_ROWS
        p.panels = ceil_div(p.OC, p.panel)
        p.step = 2 * lanes
        return
    p.panels = ceil_div(p.OC, WIDE_ROWS)
    p.panel = ceil_div(p.OC, p.panels)
    # The sums of 1x8, 2x4, 4x3 or 6x2 vectors fit 16 registers, and hide their latency.
    p.vectors = 8 if p.panel == 1 else 4 if p.panel == 2 else 3 if p.panel <= 4 else 2
    if WIDE_ROWS > 6 and 3 <= p.panel <= 8:
        # And 6x4 or 8x3 fit 32.
        p.vectors = 4 if p.panel <= 6 else 3


cdef inline void plan_copy(Correlation* p, Py_ssize_t itemsize) noexcept nogil:
    """The layout of the padded copy, or of x itself, and the tables' steps."""
    cdef Py_ssize_t stride_h = p.stride_h, stride_w = p.stride_w
    cdef Py_ssize_t dilation_h = p.dilation_h, dilation_w = p.dilation_w
    if p.direct:
        p.row_gap = p.col_gap = 1
        p.copy_row = p.W
        p.copy_plane = p.H * p.W
        p.copy_image = p.G * p.C * p.H * p.W
        p.phase = 0
        p.copy_rows = 0
        return
    # Rows that no window uses are left out: a pointwise convolution of stride 2 uses every other.
    p.row_gap = gcd(stride_h, dilation_h)
    p.col_gap = gcd(stride_w, dilation_w)
    if p.KH == 1:
        p.row_gap = stride_h
    elif p.rows == 1:
        p.row_gap = dilation_h
    if p.KW == 1:
        p.col_gap = stride_w
    stride_h = stride_h // p.row_gap
    stride_w = stride_w // p.col_gap
    dilation_h = dilation_h // p.row_gap if p.KH > 1 else 1
    dilation_w = dilation_w // p.col_gap if p.KW > 1 else 1
    p.copy_rows = (p.rows - 1) * stride_h + (p.KH - 1) * dilation_h + 1
    p.phase = 0
    if p.way == TILE and (stride_w == 1 or TILE_ROWS <= LEAST_RUN):
        p.copy_row = (p.cols - 1) * stride_w + (p.KW - 1) * dilation_w + 1
    else:
        # The columns of each phase of the stride lie together: neighbouring pixels, or vectors of
        # them, are neighbours here.
        p.phase = p.cols + (p.KW - 1) * dilation_w // stride_w
        p.copy_row = p.phase * stride_w
    p.copy_plane = p.copy_rows * p.copy_row
    if p.copy_plane * itemsize % 1024 == 0:
        p.copy_plane += 16  # planes a power of two apart fall into one set of the cache


cdef inline void fill_tables(Correlation* p, real* tag) noexcept nogil:
    """Shared tables: the padded bias, and where in the image each k of a chunk lies."""
    cdef Py_ssize_t dilation_h = p.dilation_h // p.row_gap if p.KH > 1 else 1
    cdef Py_ssize_t dilation_w = p.dilation_w // p.col_gap if p.KW > 1 else 1
    cdef Py_ssize_t stride_w = p.stride_w // p.col_gap
    cdef Py_ssize_t c, kh, kw, col, g, oc, i = 0
    cdef Py_ssize_t padded = p.panels * p.panel
    cdef real* padded_bias = <real*> p.padded_bias
    cdef const real* bias = <const real*> p.bias
    cdef real value
    for c in range(p.chunk):
        for kh in range(p.KH):
            for kw in range(p.KW):
                col = kw * dilation_w
                if p.phase:
                    col = col % stride_w * p.phase + col // stride_w
                p.k_offset[i] = c * p.copy_plane + kh * dilation_h * p.copy_row + col
                i += 1
    if p.way == COLUMNS:
        # One row of a tile for each channel.
        for oc in range(p.G * p.OC):
            value = bias[oc] if bias != NULL else 0
            for i in range(p.step):
                padded_bias[oc * p.step + i] = value
        return
    for g in range(p.G):
        for oc in range(padded):
            padded_bias[g * padded + oc] = bias[g * p.OC + oc] if bias != NULL and oc < p.OC else 0


cdef inline void clear_tables(const Correlation* p, Py_ssize_t workers) noexcept nogil:
    """Leave no integers in the memory (scratch.pyx says why)."""
    cdef Py_ssize_t worker
    memset(p.k_offset, 0, p.table_size)
    for worker in range(workers):
        memset(pixels_of(p, worker), 0, p.pixel_size)


cdef inline Py_ssize_t* pixels_of(const Correlation* p, Py_ssize_t worker) noexcept nogil:
    """A worker's table of where pixels lie; that of where their sums go is its second half."""
    cdef char* workspace = p.workspace + worker * p.workspace_size
    return <Py_ssize_t*> (workspace + p.copy_size + p.result_size + p.columns_size)


cdef inline Py_ssize_t packing_jobs(const Correlation* p) noexcept nogil:
    if p.unpacked:
        return 0
    return p.G * ceil_div(p.panels, p.packed_at_once)


cdef inline void pack_panels(const Correlation* p, Py_ssize_t job, real* tag) noexcept nogil:
    """One panel, or some whose rows lie side by side in the weights.

    Of those, whole lines of the cache are read at once: the gradient of an input of 512x14x14 took
    up to 1.6 times as long when each panel fetched its lines anew.
    """
    cdef Py_ssize_t blocks = ceil_div(p.panels, p.packed_at_once)
    cdef Py_ssize_t g = job // blocks, begin = job % blocks * p.packed_at_once, q
    cdef Py_ssize_t count = min(p.packed_at_once, p.panels - begin)
    cdef Py_ssize_t[PANELS_TOGETHER + 1] first
    if job >= p.G * blocks or p.unpacked:
        return
    if p.packed_at_once == 1:
        pack_panel(p, job, tag)
        return
    for q in range(count + 1):
        first[q] = part_start(begin + q, p.panels, p.OC)
    pack_beside(
        <real*> p.packed + (g * p.panels + begin) * p.packed_panel, p.packed_panel, p.panel,
        <const real*> p.weight.data + g * p.weight.group, p.weight.channel, first, count, p.C,
    )


cdef inline void pack_panel(const Correlation* p, Py_ssize_t job, real* tag) noexcept nogil:
    """packed[k][j] = weight(g, first + j, k) for one panel."""
    cdef Py_ssize_t g = job // p.panels, q = job % p.panels, c, kh, kw, j, width, panel, first
    cdef Weight w = p.weight
    cdef const real* source = <const real*> w.data
    cdef const real* at
    cdef real* packed = <real*> p.packed + job * p.packed_panel
    cdef real* target
    first = q * p.panel if p.way == TILE else part_start(q, p.panels, p.OC)
    width = min(p.panel, p.OC - first)
    if p.way != TILE:
        width = part_start(q + 1, p.panels, p.OC) - first
    panel = width if p.way == WIDE else p.panel
    source += g * w.group + first * w.out
    if p.way == TILE and width < panel:
        memset(packed, 0, panel * p.depth * sizeof(real))
    if w.col == 1 and w.row == p.KW and w.channel == p.taps:
        if p.way == COLUMNS:
            pack_tile(packed, source, w.out, width, p.depth)
        else:
            transpose(packed, panel, source, w.out, width, p.depth)
        return
    for c in range(p.C):
        target = packed + c * p.taps * panel
        at = source + c * w.channel
        if p.taps == 1 and w.out == 1:
            for j in range(width):
                target[j] = at[j]
            continue
        if w.col == -1 and w.row == -p.KW:
            transpose(target + (p.taps - 1) * panel, -panel, at - (p.taps - 1), w.out,
                      width, p.taps)
            continue
        for kh in range(p.KH):
            for kw in range(p.KW):
                for j in range(width):
                    target[j] = at[j * w.out + kh * w.row + kw * w.col]
                target += panel
