"""How correlate.pxd does a problem: tile, blocks, memory and tables, from the shape alone."""

from libc.string cimport memset

from geometry cimport aligned, ceil_div, gcd, part_start
from tile cimport WIDE_ROWS, lanes_of, real, transpose

cdef enum:
    CHUNK = 288  # k in one chunk: with a panel of 2 vectors, it fits L1
    PIXELS = 256  # of a job, about
    WIDE_WINDOWS = 8192  # elements of x in a job of vectors of pixels: whole planes that fit L1
    COLUMNS = 512  # of a job, at most
    ENOUGH_JOBS = 16  # to share them out evenly among a few threads
    RESIDENT = 384 << 10  # bytes of a padded copy that is made once for all output channels
    LARGEST_COPY = 4 << 20


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
    # the plan: a pure function of the problem
    bint wide, direct, resident, straight
    Py_ssize_t taps, depth  # KH*KW, C*KH*KW
    Py_ssize_t panel, panels, vectors  # output channels of a tile; vectors of pixels of a wide one
    Py_ssize_t groups, images, rows, cols  # of a job
    Py_ssize_t group_blocks, image_blocks, row_blocks, col_blocks, panel_groups
    Py_ssize_t chunk, chunks  # channels
    Py_ssize_t row_gap, col_gap  # only every row_gap-th row of x is ever used
    Py_ssize_t copy_row, copy_plane, copy_image, copy_rows, phase
    Py_ssize_t span  # elements between the channels of a wide tile's result
    # memory
    Py_ssize_t packed_size, bias_size, table_size, copy_size, result_size, edge_size, pixel_size
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


cdef inline void plan_correlation(Correlation* p, Py_ssize_t itemsize) noexcept nogil:
    """Choose the tile and the blocks; tell the memory that is needed."""
    cdef Py_ssize_t lanes = lanes_of(itemsize), jobs, pixels = PIXELS
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
    p.direct = never_overhangs(p) and (not p.wide or (p.stride_w == 1 and p.OW >= lanes))
    # Blocks of pixels: some columns of some rows, or all of some images.
    if p.wide:
        pixels = max(PIXELS, WIDE_WINDOWS // max(1, p.C * p.stride_h * p.stride_w))
    p.col_blocks = ceil_div(p.OW, COLUMNS)
    p.cols = ceil_div(p.OW, p.col_blocks)
    p.row_blocks = max(1, min(p.OH, ceil_div(p.OH * p.cols, pixels)))
    p.rows = ceil_div(p.OH, p.row_blocks)
    p.images = 1
    if p.row_blocks == 1 and p.col_blocks == 1:
        p.images = max(1, min(PIXELS // (p.OH * p.OW), p.N * p.G // ENOUGH_JOBS))
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
    p.panel_groups = max(1, min(p.panels, ceil_div(ENOUGH_JOBS, max(jobs, 1))))
    p.groups = max(1, min(p.G, jobs // ENOUGH_JOBS))
    p.group_blocks = ceil_div(p.G, p.groups)
    p.straight = (
        p.chunks == 1 and p.out_col == 1 and (p.OW >= lanes or p.out_row == p.OW)
    )
    p.resident = p.chunks == 1 or p.C * p.copy_plane * p.images * itemsize <= RESIDENT

    p.copy_size = 0
    if not p.direct:
        p.copy_image = (p.C if p.resident else p.chunk) * p.copy_plane
        # Wide tiles read on to the end of their last vector.
        p.copy_size = aligned((p.images * p.copy_image + lanes) * itemsize)
    p.packed_size = aligned(p.G * p.panels * p.panel * p.depth * itemsize)
    p.bias_size = aligned(p.G * p.panels * p.panel * itemsize)
    p.table_size = aligned(p.chunk * p.taps * sizeof(Py_ssize_t))
    if p.wide:
        p.span = p.images * p.rows * wide_width(p.cols, lanes)
        p.result_size = aligned(p.panel * p.span * itemsize)
        p.edge_size = 0
        p.pixel_size = 2 * aligned(p.span // lanes * sizeof(Py_ssize_t))
    else:
        p.result_size = aligned(p.images * p.rows * p.cols * p.panel * itemsize)
        p.edge_size = aligned(p.panel * p.cols * itemsize)
        p.pixel_size = aligned(p.images * p.rows * p.cols * sizeof(Py_ssize_t))
    p.workspace_size = p.copy_size + p.result_size + p.edge_size + p.pixel_size


cdef inline void plan_tile(Correlation* p, Py_ssize_t lanes) noexcept nogil:
    """Compare what the two tiles compute in vain, in multiply-adds and steps of their ends."""
    cdef Py_ssize_t tile_cost = ceil_div(p.OC, lanes) * lanes * p.OW * (p.depth + 16)
    cdef Py_ssize_t wide_cost = p.OC * wide_width(p.OW, lanes) * (p.depth + 8)
    if p.OC <= lanes:
        tile_cost += tile_cost // 3  # one vector a row: too few sums to hide their latency
    p.wide = wide_cost < tile_cost
    if not p.wide:
        p.panel = 2 * lanes
        p.panels = ceil_div(p.OC, p.panel)
        return
    # The sums of 1x8, 2x4, 4x3 or 6x2 vectors fit 16 registers, and hide their latency.
    p.vectors = 8 if p.OC == 1 else 4 if p.OC == 2 else 3 if p.OC <= 4 else 2
    p.panels = ceil_div(p.OC, WIDE_ROWS)
    p.panel = ceil_div(p.OC, p.panels)


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
    if p.wide:
        # The columns of each phase of the stride lie together: vectors of pixels load at once.
        p.phase = p.cols + (p.KW - 1) * dilation_w // stride_w
        p.copy_row = p.phase * stride_w
    else:
        p.copy_row = (p.cols - 1) * stride_w + (p.KW - 1) * dilation_w + 1
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
    for c in range(p.chunk):
        for kh in range(p.KH):
            for kw in range(p.KW):
                col = kw * dilation_w
                if p.wide and not p.direct:
                    col = col % stride_w * p.phase + col // stride_w
                p.k_offset[i] = c * p.copy_plane + kh * dilation_h * p.copy_row + col
                i += 1
    for g in range(p.G):
        for oc in range(padded):
            padded_bias[g * padded + oc] = bias[g * p.OC + oc] if bias != NULL and oc < p.OC else 0


cdef inline void pack_panel(const Correlation* p, Py_ssize_t job, real* packed) noexcept nogil:
    """packed[k][j] = weight(g, first + j, k) for one panel, zeros beyond the last channel."""
    cdef Py_ssize_t g = job // p.panels, q = job % p.panels, c, kh, kw, j, width, panel, first
    cdef Weight w = p.weight
    cdef const real* source = <const real*> w.data
    cdef const real* at
    cdef real* target
    if p.wide:
        first = part_start(q, p.panels, p.OC)
        width = panel = part_start(q + 1, p.panels, p.OC) - first
    else:
        first = q * p.panel
        panel = p.panel
        width = min(panel, p.OC - first)
    source += g * w.group + first * w.out
    packed += (g * p.panels + q) * p.panel * p.depth
    if width < panel:
        memset(packed, 0, panel * p.depth * sizeof(real))
    if w.col == 1 and w.row == p.KW and w.channel == p.taps:
        transpose(packed, panel, source, w.out, width, p.depth)
        return
    for c in range(p.C):
        target = packed + c * p.taps * panel
        at = source + c * w.channel
        if w.col == -1 and w.row == -p.KW:
            transpose(target + (p.taps - 1) * panel, -panel, at - (p.taps - 1), w.out,
                      width, p.taps)
            continue
        for kh in range(p.KH):
            for kw in range(p.KW):
                for j in range(width):
                    target[j] = at[j * w.out + kh * w.row + kw * w.col]
                target += panel
