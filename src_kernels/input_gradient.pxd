"""The gradient of an input with few channels, as of a first layer.

    sums[c, kw, t, u] = sum over oc, kh of dout[oc, oh, u] * weight[oc, c, kh, kw]
    dx[c, t, iw] = sum over kw of sums[c, kw, t, u],  where iw + left = u*stride_w + kw*dilation_w

and oh + … as in phases.pxd. With one to a few channels, a tile of output channels would be nearly
empty. Here its rows are the taps of a kernel's row, (c, kw), and its vectors run along the rows of
dout, without padding between them: 5x5 on one channel took 0.37 of the time, 7x7 of stride 2 on
three 0.62. The shifted sums are few: one addition for OC*KH multiply-adds. A job is a block of one
image's rows of one phase; a stride along the width costs nothing but the last step.
"""

from geometry cimport aligned, ceil_div, copy_window, part_start
from phases cimport Phase, phase_of
from tile cimport CHECK, WIDE_ROWS, add_shifted, lanes_of, real, wide_tile

cdef enum:
    FEW_CHANNELS = 6
    MOST_TAPS = 64  # rows of taps, whose sums are scratch memory
    MOST_PHASES = 8
    LEAST_DEPTH = 16  # multiply-adds that repay the last step
    INPUT_CHUNK = 288  # k in one chunk, as in correlation_plan.pxd
    INPUT_COPY = 192 << 10  # bytes of a chunk's copy of dout, which stays in L2
    INPUT_SUMS = 96 << 10
    LARGEST_INPUT_COPY = 4 << 20  # with a large dilation, one row can need many


cdef struct InputGradient:
    # the problem
    Py_ssize_t N, G, C, H, W, OC, OH, OW, KH, KW
    Py_ssize_t stride_h, stride_w, dilation_h, dilation_w, top, left
    const void* dout
    const void* weight
    # the plan: a pure function of the problem
    Py_ssize_t phases, rows, row_blocks, chunk, chunks
    Py_ssize_t taps_rows, panels, vectors  # C*KW, and how they are cut into tiles
    Py_ssize_t copy_plane, span
    Phase[MOST_PHASES] row_phase
    Py_ssize_t[MOST_PHASES] taps_before  # of the phases before it
    # memory
    Py_ssize_t packed_size, table_size, copy_size, sums_size, line_size, workspace_size
    void* packed
    Py_ssize_t* k_offset
    char* workspace


cdef inline bint few_channels(
    Py_ssize_t C, Py_ssize_t OC, Py_ssize_t KH, Py_ssize_t KW, Py_ssize_t stride_h
) noexcept nogil:
    """Whether this is the way."""
    return (
        C <= FEW_CHANNELS and 1 < KW and C * KW <= MOST_TAPS
        and stride_h <= MOST_PHASES and OC * KH >= LEAST_DEPTH
    )


cdef inline void plan_input_gradient(InputGradient* p, Py_ssize_t itemsize) noexcept nogil:
    """Choose the blocks; tell the memory that is needed."""
    cdef Py_ssize_t lanes = lanes_of(itemsize), i, taps = 0, most = 1, reach = 1, fitting
    cdef Py_ssize_t positions = ceil_div(p.H, p.stride_h)
    p.phases = p.stride_h
    for i in range(p.phases):
        p.row_phase[i] = phase_of(i, p.H, p.KH, p.stride_h, p.dilation_h, p.top)
        p.taps_before[i] = taps
        taps += p.row_phase[i].taps
        most = max(most, p.row_phase[i].taps)
        reach = max(reach, (p.row_phase[i].taps - 1) * p.row_phase[i].dilation + 1)
    p.taps_rows = p.C * p.KW
    p.panels = ceil_div(p.taps_rows, WIDE_ROWS)
    # The sums of 2x4, 4x3 or 6x2 vectors fit 16 registers, and hide their latency.
    i = ceil_div(p.taps_rows, p.panels)
    p.vectors = 4 if i == 2 else 3 if i <= 4 else 2
    p.chunks = max(1, ceil_div(p.OC * most, INPUT_CHUNK))
    p.chunk = ceil_div(p.OC, p.chunks)
    while p.chunk > 1 and p.chunk * reach * p.OW * itemsize > LARGEST_INPUT_COPY:
        p.chunks *= 2
        p.chunk = ceil_div(p.OC, p.chunks)
    fitting = INPUT_COPY // max(1, p.chunk * p.OW * itemsize) - (reach - 1)
    fitting = min(fitting, INPUT_SUMS // max(1, p.taps_rows * p.OW * itemsize))
    p.row_blocks = ceil_div(positions, max(1, min(positions, fitting)))
    p.rows = ceil_div(positions, p.row_blocks)
    p.span = ceil_div(p.rows * p.OW, lanes) * lanes
    p.copy_plane = (p.rows + reach - 1) * p.OW
    if p.copy_plane * itemsize % 1024 == 0:
        p.copy_plane += 16  # planes a power of two apart fall into one set of the cache
    p.packed_size = aligned(p.G * p.OC * taps * p.taps_rows * itemsize)
    p.table_size = aligned(p.chunk * taps * sizeof(Py_ssize_t))
    # Tiles read on to the end of their last vector, and the last step to both sides of the sums.
    p.copy_size = aligned((p.chunk * p.copy_plane + lanes) * itemsize)
    p.sums_size = aligned((p.taps_rows * p.span + 2 * lanes) * itemsize)
    p.line_size = aligned(p.W * itemsize)
    p.workspace_size = p.copy_size + p.sums_size + p.line_size


cdef inline void fill_input_tables(InputGradient* p) noexcept nogil:
    """Where in the copy each k of a chunk lies, for each phase."""
    cdef Py_ssize_t ph, oc, j, i = 0
    for ph in range(p.phases):
        for oc in range(p.chunk):
            for j in range(p.row_phase[ph].taps):
                p.k_offset[i] = oc * p.copy_plane + j * p.row_phase[ph].dilation * p.OW
                i += 1


cdef inline void pack_rows_of_taps(const InputGradient* p, real* packed) noexcept nogil:
    """packed[g][phase][panel][oc][kh][r] = weight(g, oc, c, kh, kw), for r = (c, kw)."""
    cdef Py_ssize_t g, ph, q, oc, j, r, kh, taps = p.KH * p.KW
    cdef const real* weight
    for g in range(p.G):
        for ph in range(p.phases):
            for q in range(p.panels):
                for oc in range(p.OC):
                    for j in range(p.row_phase[ph].taps):
                        kh = p.row_phase[ph].first_tap - j * p.row_phase[ph].tap_step
                        weight = <const real*> p.weight + (g * p.OC + oc) * p.C * taps + kh * p.KW
                        for r in range(part_start(q, p.panels, p.taps_rows),
                                       part_start(q + 1, p.panels, p.taps_rows)):
                            packed[0] = weight[r // p.KW * taps + r % p.KW]
                            packed += 1


cdef inline void shift_and_add(
    const InputGradient* p, Py_ssize_t job, Py_ssize_t worker, real* dx
) noexcept nogil:
    """One job: some rows of one phase of an image."""
    cdef char* workspace = p.workspace + worker * p.workspace_size
    cdef real* copy = <real*> workspace
    cdef real* sums = <real*> (workspace + p.copy_size) + lanes_of(sizeof(real))
    cdef real* line = <real*> (workspace + p.copy_size + p.sums_size)
    cdef Py_ssize_t block = job % p.row_blocks, ph = job // p.row_blocks % p.phases
    cdef Py_ssize_t n = job // p.row_blocks // p.phases // p.G
    cdef Py_ssize_t g = job // p.row_blocks // p.phases % p.G
    cdef Phase rows = p.row_phase[ph], cols
    cdef Py_ssize_t row = part_start(block, p.row_blocks, rows.positions)
    cdef Py_ssize_t count = part_start(block + 1, p.row_blocks, rows.positions) - row
    cdef Py_ssize_t needed = (count + (rows.taps - 1) * rows.dilation) * p.OW
    cdef Py_ssize_t chunk, first, channels, oc, c, t, pw
    cdef const real* plane
    cdef real* target
    if count == 0:
        return
    for chunk in range(p.chunks):
        first = part_start(chunk, p.chunks, p.OC)
        channels = part_start(chunk + 1, p.chunks, p.OC) - first
        for oc in range(channels if rows.taps else 0):
            # Whole rows: one long row.
            plane = <const real*> p.dout + ((n * p.G + g) * p.OC + first + oc) * p.OH * p.OW
            copy_window(copy + oc * p.copy_plane, 0, plane, 1, p.OH * p.OW, 0, 1, 1,
                        (row - rows.before) * p.OW, 1, needed)
        sum_rows_of_taps(p, copy, sums, g, ph, count * p.OW, first, channels)
    for c in range(p.C):
        for t in range(count):
            target = dx + ((n * p.G + g) * p.C + c) * p.H * p.W
            target += (ph + (row + t) * p.stride_h) * p.W
            for pw in range(min(p.stride_w, p.W)):
                cols = phase_of(pw, p.W, p.KW, p.stride_w, p.dilation_w, p.left)
                store_phase(p, &cols, target + pw, sums + c * p.KW * p.span + t * p.OW, line)


cdef inline void sum_rows_of_taps(
    const InputGradient* p, const real* copy, real* sums, Py_ssize_t g, Py_ssize_t ph,
    Py_ssize_t pixels, Py_ssize_t first, Py_ssize_t channels,
) noexcept nogil:
    """The sums over one chunk of output channels; the first chunk sets, the others add."""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), taps = p.row_phase[ph].taps
    cdef Py_ssize_t count = ceil_div(pixels, lanes), tiles = ceil_div(count, p.vectors)
    cdef Py_ssize_t q, i, r, width, start, vectors
    cdef const Py_ssize_t* k_offset = p.k_offset + p.chunk * p.taps_before[ph]
    cdef Py_ssize_t[8] side_by_side
    cdef real[WIDE_ROWS] zeros
    cdef const real* start_at = NULL
    cdef const real* packed
    for i in range(8):
        side_by_side[i] = i * lanes
    for i in range(WIDE_ROWS):
        zeros[i] = 0
    if first == 0:
        start_at = zeros
    # All panels for a few vectors of the copy, which stay in L1.
    for i in range(tiles):
        start = part_start(i, tiles, count)
        vectors = part_start(i + 1, tiles, count) - start
        packed = <const real*> p.packed + g * p.OC * p.KH * p.taps_rows
        packed += p.OC * p.taps_before[ph] * p.taps_rows
        if channels * taps:
            CHECK((start + vectors) * lanes + k_offset[channels * taps - 1]
                  <= p.copy_size // <Py_ssize_t> sizeof(real))
        for q in range(p.panels):
            r = part_start(q, p.panels, p.taps_rows)
            width = part_start(q + 1, p.panels, p.taps_rows) - r
            wide_tile(width, vectors, packed + first * taps * width, copy + start * lanes,
                      side_by_side, k_offset, channels * taps, start_at,
                      sums + r * p.span + start * lanes, p.span, side_by_side)
            packed += width * p.OC * taps


cdef inline void store_phase(
    const InputGradient* p, const Phase* cols, real* target, const real* sums, real* line
) noexcept nogil:
    """The positions of one phase of a row: the shifted sums of its taps, added up."""
    cdef Py_ssize_t i
    cdef real* to = target if p.stride_w == 1 else line
    add_shifted(to, cols.positions, sums + cols.first_tap * p.span, -cols.tap_step * p.span,
                cols.taps, -cols.before, cols.dilation, p.OW)
    if p.stride_w > 1:
        for i in range(cols.positions):
            target[i * p.stride_w] = line[i]
