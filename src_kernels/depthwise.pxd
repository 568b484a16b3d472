"""Depthwise convolution: each channel has filters of its own, a few at most.

    forward          y[n, c, f, oh, ow] = bias[c, f] + sum over kh, kw of
                         x[n, c, oh*stride_h - top + kh*dilation_h, …] * weight[c, f, kh, kw]
    backward input   dx[n, c, ih, iw] = sum over f and the kh, kw of its phase of
                         dout[n, c, f, oh, ow] * weight[c, f, kh, kw]
    backward weight  dw[c, f, kh, kw] = sum over n, oh, ow of dout[n, c, f, oh, ow] * x[n, c, …]

A plane goes through the L1 cache once, in strips of rows: a copy with zeros around it, whose
columns are taken apart by the stride, so that vectors run along rows whatever it is. The first two
are one loop: forward has one phase and a step of the stride, the way back has steps of one and the
phases of phases.pxd, whose rows are put together at the end of each strip.
"""

from libc.string cimport memset

from geometry cimport aligned, ceil_div, end_inside, first_inside
from phases cimport Phase, phase_of
from tile cimport copy_row, lanes_of, real

cdef extern from "depthwise.h" nogil:
    void pad_rows_f32(float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*,
                      Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*,
                      bint)
    void pad_rows_f64(double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*,
                      Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*,
                      bint)
    void merge_row_f32(float*, const float*, const float*, Py_ssize_t, bint)
    void merge_row_f64(double*, const double*, const double*, Py_ssize_t, bint)
    enum:
        MOST_STRIDE
    void weighted_sums_f32(int, int, Py_ssize_t, const float*, const Py_ssize_t*, float,
                           const float*, Py_ssize_t, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                           Py_ssize_t)
    void weighted_sums_f64(int, int, Py_ssize_t, const double*, const Py_ssize_t*, double,
                           const double*, Py_ssize_t, double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                           Py_ssize_t)
    bint weighted_planes_f32(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             const float*, const float*, const float*, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t, float*, Py_ssize_t, Py_ssize_t)
    bint weighted_planes_f64(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                             const double*, const double*, const double*, Py_ssize_t, Py_ssize_t,
                             Py_ssize_t, Py_ssize_t, double*, Py_ssize_t, Py_ssize_t)
    bint narrow_dots_f32(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         float*)
    bint narrow_dots_f64(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         double*)
    bint spread_planes_f32(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                           const Py_ssize_t*, Py_ssize_t, const float*, Py_ssize_t, const float*,
                           Py_ssize_t, Py_ssize_t, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                           Py_ssize_t)
    bint spread_planes_f64(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const Py_ssize_t*,
                           const Py_ssize_t*, Py_ssize_t, const double*, Py_ssize_t, const double*,
                           Py_ssize_t, Py_ssize_t, double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                           Py_ssize_t)
    float sum_vector_f32(const float*)
    double sum_vector_f64(const double*)
    void lane_dots_f32(Py_ssize_t, const float*, Py_ssize_t, const float*, Py_ssize_t,
                       const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*)
    void lane_dots_f64(Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t,
                       const Py_ssize_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*)

cdef enum:
    MOST_FILTERS = 4  # of a channel: with more, register tiles are as fast
    STRIP = 12 << 10  # bytes of the copy of a strip: two threads of a core share its L1
    STRIP_COLUMNS = 1024
    LARGEST_STRIP = 512 << 10  # a dilation can make one row of windows that large
    PLANES_AT_ONCE = 16  # channels of a job of the weights' gradient, at most
    NARROW_PLANES = 32  # of a job: 7x7 took 1.6 times as long one by one, 14x14 1.3 times


cdef struct Planes:
    # the problem
    Py_ssize_t N, G, filters, H, W, OH, OW, KH, KW
    Py_ssize_t stride_h, stride_w, dilation_h, dilation_w, top, left
    # sums over `sources` planes go to `targets` planes of each channel
    Py_ssize_t sources, targets, source_h, source_w, target_h, target_w
    Py_ssize_t step_h, step_w, phases_h, phases_w
    # the plan: a pure function of the problem
    Py_ssize_t row_first, col_first, reach_h, reach_w  # of the source, for position 0
    Py_ssize_t rows, cols  # positions of a strip
    bint whole  # whether it holds a plane
    Py_ssize_t spill  # rows of a target with room for a vector before its end
    Py_ssize_t part, width, copy_row, copy_plane, line, buffer_plane
    Py_ssize_t channels  # of a job of the weights' gradient, or of narrow planes
    # memory
    Py_ssize_t packed_size, table_size, copy_size, buffer_size, workspace_size
    void* packed
    Py_ssize_t* offset
    Py_ssize_t* first_offset  # of each phase
    Phase* phase  # those of the rows, then those of the columns
    char* workspace


cdef inline bint is_depthwise(
    Py_ssize_t groups, Py_ssize_t channels, Py_ssize_t filters,
    Py_ssize_t stride_h, Py_ssize_t stride_w,
) noexcept nogil:
    return (
        groups > 1 and channels == 1 and filters <= MOST_FILTERS
        and stride_h <= MOST_STRIDE and stride_w <= MOST_STRIDE
    )


cdef inline Phase phase_along(
    const Planes* p, bint backward, bint rows, Py_ssize_t first
) noexcept nogil:
    """A phase of an axis; forward there is one, and its taps run the other way."""
    cdef Phase phase
    if backward and rows:
        return phase_of(first, p.H, p.KH, p.stride_h, p.dilation_h, p.top)
    if backward:
        return phase_of(first, p.W, p.KW, p.stride_w, p.dilation_w, p.left)
    phase.first_tap, phase.tap_step = 0, -1
    if rows:
        phase.positions, phase.taps = p.OH, p.KH
        phase.before, phase.dilation = p.top, p.dilation_h
    else:
        phase.positions, phase.taps = p.OW, p.KW
        phase.before, phase.dilation = p.left, p.dilation_w
    return phase


cdef inline bint plan_planes(Planes* p, bint backward, Py_ssize_t itemsize) noexcept nogil:
    """Choose the strips; tell the memory that is needed. False if even one row is too large."""
    cdef Py_ssize_t lanes = lanes_of(itemsize), needed, strips, positions_h, positions_w
    if backward:
        p.sources, p.targets = p.filters, 1
        p.source_h, p.source_w, p.target_h, p.target_w = p.OH, p.OW, p.H, p.W
        p.step_h = p.step_w = 1
        p.phases_h, p.phases_w = min(p.stride_h, p.H), min(p.stride_w, p.W)
    else:
        p.sources, p.targets = 1, p.filters
        p.source_h, p.source_w, p.target_h, p.target_w = p.H, p.W, p.OH, p.OW
        p.step_h, p.step_w = p.stride_h, p.stride_w
        p.phases_h = p.phases_w = 1
    reach_along(p, backward, True, p.phases_h, &p.row_first, &p.reach_h)
    reach_along(p, backward, False, p.phases_w, &p.col_first, &p.reach_w)
    positions_h = phase_along(p, backward, True, 0).positions
    positions_w = phase_along(p, backward, False, 0).positions
    p.cols = ceil_div(positions_w, ceil_div(positions_w, STRIP_COLUMNS))
    p.width = ceil_div((p.cols - 1) * p.step_w + p.reach_w, p.step_w)
    # Behind the last column vectors are read on, and written on.
    p.part = ceil_div(p.width, lanes) * lanes + lanes
    p.copy_row = p.part * p.step_w
    needed = p.sources * p.copy_row * itemsize
    if p.reach_h * needed > LARGEST_STRIP:
        return False
    p.rows = max(1, min(positions_h, (STRIP // needed - p.reach_h) // p.step_h + 1))
    strips = ceil_div(positions_h, p.rows)
    p.rows = ceil_div(positions_h, strips)
    p.whole = strips == 1 and p.cols == positions_w
    p.spill = p.target_h * p.target_w - lanes
    p.spill = p.spill // p.target_w + 1 if p.spill >= 0 else 0
    p.copy_plane = ((p.rows - 1) * p.step_h + p.reach_h) * p.copy_row
    p.line = ceil_div(p.cols, lanes) * lanes
    p.buffer_plane = p.rows * p.line
    p.packed_size = aligned(p.G * p.filters * p.KH * p.KW * itemsize)
    p.table_size = aligned(
        (p.sources * p.KH * p.KW + p.phases_h * p.phases_w + 1) * sizeof(Py_ssize_t)
        + (p.phases_h + p.phases_w) * sizeof(Phase)
    )
    p.copy_size = aligned((p.sources * p.copy_plane + lanes) * itemsize)
    p.buffer_size = 0
    if backward and (p.stride_h > 1 or p.stride_w > 1):
        p.buffer_size = aligned(p.phases_h * p.phases_w * p.buffer_plane * itemsize)
    p.workspace_size = p.copy_size + p.buffer_size
    return True


cdef inline void reach_along(
    const Planes* p, bint backward, bint rows, Py_ssize_t phases,
    Py_ssize_t* first, Py_ssize_t* reach,
) noexcept nogil:
    """Where the windows of position 0 begin, in any phase, and how far they reach."""
    cdef Py_ssize_t i, low = 0, high = 0
    cdef bint any_taps = False
    cdef Phase phase
    for i in range(phases):
        phase = phase_along(p, backward, rows, i)
        if phase.taps:
            high = max(high, (phase.taps - 1) * phase.dilation - phase.before)
            low = min(low, -phase.before)
            if not any_taps:
                high = (phase.taps - 1) * phase.dilation - phase.before
                low = -phase.before
            any_taps = True
    first[0] = low
    reach[0] = high - low + 1


cdef inline void fill_planes_tables(
    Planes* p, bint backward, const real* weight, real* packed, int workers
) noexcept nogil:
    """The phases, where each of their taps lies in a copy, and its weights: [c][target][tap].

    Taps go down the columns of a window, one column after the other.
    """
    cdef Py_ssize_t i, j, s, t, u, c, f, at, row, col, count = 0, taps = p.KH * p.KW
    cdef Phase* rows
    cdef Phase* cols
    if p.whole:
        # Around a plane, zeros are where they were for the plane before it.
        memset(p.workspace, 0, workers * p.workspace_size)
    p.phase = <Phase*> (p.offset + p.sources * taps + p.phases_h * p.phases_w + 1)
    p.first_offset = p.offset + p.sources * taps
    for i in range(p.phases_h):
        p.phase[i] = phase_along(p, backward, True, i)
    for j in range(p.phases_w):
        p.phase[p.phases_h + j] = phase_along(p, backward, False, j)
    for i in range(p.phases_h):
        rows = p.phase + i
        for j in range(p.phases_w):
            cols = p.phase + p.phases_h + j
            p.first_offset[i * p.phases_w + j] = count
            for s in range(p.sources):
                for u in range(cols.taps):
                    for t in range(rows.taps):
                        row = t * rows.dilation - rows.before - p.row_first
                        col = u * cols.dilation - cols.before - p.col_first
                        p.offset[count] = (
                            s * p.copy_plane + row * p.copy_row
                            + col % p.step_w * p.part + col // p.step_w
                        )
                        at = (rows.first_tap - t * rows.tap_step) * p.KW
                        at += cols.first_tap - u * cols.tap_step + s * taps
                        for c in range(p.G):
                            for f in range(p.targets):
                                packed[(c * p.targets + f) * p.sources * taps + count] = (
                                    weight[c * p.filters * taps + f * taps + at]
                                )
                        count += 1
    p.first_offset[p.phases_h * p.phases_w] = count


cdef inline void copy_strip(
    const Planes* p, const real* source, real* copy, Py_ssize_t plane, Py_ssize_t planes,
    Py_ssize_t t, Py_ssize_t rows, Py_ssize_t u, Py_ssize_t next,
) noexcept nogil:
    """The padded copies of some planes, for the positions from (t, u) on."""
    cdef Py_ssize_t row = p.row_first + t * p.step_h, col = p.col_first + u * p.step_w
    cdef Py_ssize_t needed = (rows - 1) * p.step_h + p.reach_h, size = p.source_h * p.source_w
    cdef Py_ssize_t top = min(first_inside(row, 1), needed), s
    cdef Py_ssize_t bottom = max(end_inside(row, 1, needed, p.source_h), top)
    cdef Py_ssize_t before = min(first_inside(col, 1), p.width * p.step_w)
    cdef Py_ssize_t end = max(end_inside(col, 1, p.width * p.step_w, p.source_w), before)
    cdef const real* readable = source + p.N * p.G * p.sources * size
    readable -= p.step_w * lanes_of(sizeof(real))
    if end == before:
        bottom = top
    for s in range(planes):
        if top > 0 and not p.whole:
            memset(copy, 0, top * p.copy_row * sizeof(real))
        pad_rows(copy + top * p.copy_row, p.copy_row, p.part, p.width, p.step_w,
                 source + (plane + s) * size + (row + top) * p.source_w + col + before,
                 p.source_w, bottom - top, before, end - before, next, readable, p.whole)
        if bottom < needed and not p.whole:
            memset(copy + bottom * p.copy_row, 0, (needed - bottom) * p.copy_row * sizeof(real))
        copy += p.copy_plane


cdef inline bint is_narrow(const Planes* p, const real* source, real* out) noexcept nogil:
    """Whether rows of planes fit a vector, and there is code for such windows."""
    if p.sources > 1:
        return False
    if p.buffer_size > 0:
        return (
            p.stride_h == 2 and p.stride_w == 2 and p.phases_w == 2
            and spread_planes(p, 0, 0, source, source, out)
        )
    return (
        p.phase[0].dilation == 1 and p.step_h == p.step_w
        and weighted_planes(p, 0, source, source, source, out)
    )


cdef inline void correlate_narrow(
    const Planes* p, Py_ssize_t job, const real* source, const real* bias, real* out
) noexcept nogil:
    """Some narrow planes of an image, read where they lie."""
    cdef Py_ssize_t blocks = ceil_div(p.G, p.channels), c = job % blocks * p.channels, f
    cdef Py_ssize_t plane = job // blocks * p.G + c, taps = p.KH * p.KW
    cdef Py_ssize_t planes = min(p.channels, p.G - c)
    cdef const real* packed = <const real*> p.packed
    cdef const real* start = NULL
    source += plane * p.source_h * p.source_w
    out += plane * p.targets * p.target_h * p.target_w
    if p.buffer_size > 0:
        for f in range(p.phases_h):
            spread_planes(p, f, planes, packed + c * taps, source, out)
        return
    for f in range(p.targets):
        if bias != NULL:
            start = bias + c * p.targets + f
        weighted_planes(p, planes, packed + (c * p.targets + f) * taps, start, source,
                        out + f * p.target_h * p.target_w)


cdef inline bint spread_planes(
    const Planes* p, Py_ssize_t i, Py_ssize_t planes, const real* packed, const real* src,
    real* out,
) noexcept nogil:
    """The rows of phase i of some planes, from those of the phases' outputs."""
    cdef const Phase* rows = p.phase + i
    cdef const Phase* cols = p.phase + p.phases_h
    cdef Py_ssize_t[2] taps, shift
    taps[0], taps[1] = cols[0].taps, cols[1].taps
    shift[0], shift[1] = -cols[0].before, -cols[1].before
    packed += p.first_offset[i * p.phases_w]
    out += i * p.W
    if real is float:
        return spread_planes_f32(
            planes, rows.taps, -rows.before, rows.dilation, taps, shift, cols.dilation, packed,
            p.KH * p.KW, src, p.OH, p.OW, out, p.H * p.W, p.stride_h * p.W, rows.positions, p.W)
    else:
        return spread_planes_f64(
            planes, rows.taps, -rows.before, rows.dilation, taps, shift, cols.dilation, packed,
            p.KH * p.KW, src, p.OH, p.OW, out, p.H * p.W, p.stride_h * p.W, rows.positions, p.W)


cdef inline bint weighted_planes(
    const Planes* p, Py_ssize_t planes, const real* weight, const real* bias, const real* src,
    real* out,
) noexcept nogil:
    """The sums of one filter of each of some channels."""
    cdef const Phase* rows = p.phase
    cdef const Phase* cols = p.phase + p.phases_h
    if real is float:
        return weighted_planes_f32(
            p.step_w, p.KH, p.KW, cols.dilation, planes, p.targets, weight, bias, src,
            p.source_h, p.source_w, rows.before, cols.before, out, p.target_h, p.target_w)
    else:
        return weighted_planes_f64(
            p.step_w, p.KH, p.KW, cols.dilation, planes, p.targets, weight, bias, src,
            p.source_h, p.source_w, rows.before, cols.before, out, p.target_h, p.target_w)


cdef inline void correlate_plane(
    const Planes* p, Py_ssize_t job, Py_ssize_t worker, const real* source, const real* bias,
    real* out,
) noexcept nogil:
    """All targets of one channel of one image."""
    cdef real* copy = <real*> (p.workspace + worker * p.workspace_size)
    cdef real* buffer = <real*> (<char*> copy + p.copy_size)
    cdef Py_ssize_t c = job % p.G, f, t = 0, u, i, rows, first, phases = p.phases_h * p.phases_w
    # Rows of windows that are neighbours: the next window begins so many of them further down.
    cdef Py_ssize_t gap = p.step_h if p.phase[0].dilation == 1 else 0
    cdef Py_ssize_t taps = p.sources * p.KH * p.KW, next = p.sources * p.source_h * p.source_w
    cdef Py_ssize_t positions_h = p.phase[0].positions
    cdef Py_ssize_t positions_w = p.phase[p.phases_h].positions
    cdef const real* packed = <const real*> p.packed + c * p.targets * taps
    cdef real start = 0
    cdef real* target
    if p.rows < positions_h:
        next = p.rows * p.step_h * p.source_w
    while t < positions_h:
        rows = min(p.rows, positions_h - t)
        u = 0
        while u < positions_w:
            # The last columns overlap those before them.
            u = min(u, positions_w - p.cols)
            copy_strip(p, source, copy, job * p.sources, p.sources, t, rows, u, next)
            for f in range(p.targets):
                target = out + (job * p.targets + f) * p.target_h * p.target_w
                if p.buffer_size == 0:
                    if bias != NULL:
                        start = bias[c * p.targets + f]
                    target += t * p.target_w + u
                    weighted_sums(gap, p.KH, taps, packed + f * taps, p.offset,
                                  start, copy, p.step_h * p.copy_row, target, p.target_w,
                                  rows, p.cols,
                                  p.spill - t)
                    continue
                for i in range(phases):
                    first = p.first_offset[i]
                    weighted_sums(gap, p.phase[i // p.phases_w].taps,
                                  p.first_offset[i + 1] - first, packed + first,
                                  p.offset + first, start, copy, p.copy_row,
                                  buffer + i * p.buffer_plane, p.line, rows, p.cols, rows)
                merge_strip(p, buffer, target, t, rows, u)
            u += p.cols
        t += rows


cdef inline void merge_strip(
    const Planes* p, const real* buffer, real* out, Py_ssize_t t, Py_ssize_t rows, Py_ssize_t u
) noexcept nogil:
    """The rows of the phases, each of their columns in its place."""
    cdef Py_ssize_t first = u * p.stride_w, count = min(p.cols * p.stride_w, p.W - first)
    cdef Py_ssize_t r, i, j, ih, room, first_col
    cdef const real* line
    cdef real* row
    for r in range(rows):
        for i in range(p.phases_h):
            ih = (t + r) * p.stride_h + i
            if ih >= p.H:
                break
            line = buffer + i * p.phases_w * p.buffer_plane + r * p.line
            row = out + ih * p.W + first
            if p.phases_w == 1 and p.stride_w == 1:
                copy_row(row, line, count)
            elif p.phases_w == 2 and p.stride_w == 2:
                room = (p.H - ih) * p.W - first - 2 * lanes_of(sizeof(real))
                merge_row(row, line, line + p.buffer_plane, count, room >= 0)
            else:
                for first_col in range(p.stride_w):
                    for j in range(ceil_div(count - first_col, p.stride_w)):
                        row[first_col + j * p.stride_w] = line[j]
                    line += p.buffer_plane


cdef inline void plan_planes_gradient(Planes* p, Py_ssize_t itemsize) noexcept nogil:
    """Jobs of some channels, whose planes lie together; sums for the lanes of each weight."""
    cdef Py_ssize_t plane = max(1, p.OH * p.OW)
    p.channels = max(1, min(p.G // PLANES_AT_ONCE, ceil_div(4096, plane), PLANES_AT_ONCE))
    p.buffer_size = (p.KH * p.KW + 1) * lanes_of(itemsize) * itemsize
    p.buffer_size = aligned(p.channels * p.filters * p.buffer_size)
    p.buffer_size += aligned((p.rows * p.cols + lanes_of(itemsize)) * itemsize)
    p.workspace_size = p.copy_size + p.buffer_size


cdef inline void correlate_planes_weight(
    const Planes* p, Py_ssize_t job, Py_ssize_t worker, const real* dout, const real* x,
    real* dw, real* db,
) noexcept nogil:
    """The weights of some channels, from all images."""
    cdef real* copy = <real*> (p.workspace + worker * p.workspace_size)
    cdef real* sums = <real*> (<char*> copy + p.copy_size)
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), taps = p.KH * p.KW, size = (taps + 1) * lanes
    cdef Py_ssize_t first = job * p.channels, count = min(p.channels, p.G - first)
    cdef Py_ssize_t n, c, f, k, kh, kw
    cdef real* own
    cdef real* edge = sums + p.channels * p.filters * size
    memset(sums, 0, count * p.filters * size * sizeof(real))
    cdef bint narrow = narrow_dots(p, first, count, dout, x, sums)
    for n in range(0 if narrow else p.N):
        for c in range(count):
            add_plane(p, n * p.G + first + c, dout, x, copy, edge, sums + c * p.filters * size)
    for c in range(count):
        for f in range(p.filters):
            own = sums + (c * p.filters + f) * size
            for k in range(taps):
                kh, kw = k % p.KH, k // p.KH
                dw[((first + c) * p.filters + f) * taps + kh * p.KW + kw] = (
                    sum_vector(own + k * lanes)
                )
            db[(first + c) * p.filters + f] = sum_vector(own + taps * lanes)


cdef inline void add_plane(
    const Planes* p, Py_ssize_t plane, const real* dout, const real* x, real* copy, real* edge,
    real* sums,
) noexcept nogil:
    """The products of one plane of x with what its filters have made of it."""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), t = 0, u, f, r, rows, cols, step
    cdef Py_ssize_t next = p.H * p.W
    cdef const real* source
    cdef const real* end = dout + p.N * p.G * p.filters * p.OH * p.OW
    if p.rows < p.OH:
        next = p.rows * p.step_h * p.W
    while t < p.OH:
        rows = min(p.rows, p.OH - t)
        u = 0
        while u < p.OW:
            cols = min(p.cols, p.OW - u)
            copy_strip(p, x, copy, plane, 1, t, rows, u, next)
            for f in range(p.filters):
                source = dout + (plane * p.filters + f) * p.OH * p.OW + t * p.OW + u
                step = p.OW
                if cols < lanes and source + (rows - 1) * step + lanes > end:
                    # The last vector would read on behind the last row.
                    for r in range(rows):
                        copy_row(edge + r * cols, source + r * step, cols)
                    source, step = edge, cols
                lane_dots(p.KH * p.KW, source, step, copy, p.step_h * p.copy_row, p.offset,
                          rows, cols, p.OH * p.OW, sums + f * (p.KH * p.KW + 1) * lanes)
            u += cols
        t += rows


cdef inline void pad_rows(
    real* dst, Py_ssize_t dst_step, Py_ssize_t part, Py_ssize_t width, Py_ssize_t stride,
    const real* src, Py_ssize_t src_step, Py_ssize_t rows, Py_ssize_t before, Py_ssize_t count,
    Py_ssize_t next, const real* readable, bint is_clean,
) noexcept nogil:
    """Column j of src to dst[(before + j) % stride][(before + j) // stride], zeros around"""
    if real is float:
        pad_rows_f32(dst, dst_step, part, width, stride, src, src_step, rows, before, count, next,
                     readable, is_clean)
    else:
        pad_rows_f64(dst, dst_step, part, width, stride, src, src_step, rows, before, count, next,
                     readable, is_clean)


cdef inline void merge_row(
    real* dst, const real* even, const real* odd, Py_ssize_t count, bint writes_on
) noexcept nogil:
    """dst = elements of even and of odd in turn"""
    if real is float:
        merge_row_f32(dst, even, odd, count, writes_on)
    else:
        merge_row_f64(dst, even, odd, count, writes_on)


cdef inline void weighted_sums(
    Py_ssize_t gap, Py_ssize_t kernel_h, Py_ssize_t taps, const real* weight,
    const Py_ssize_t* offset, real start, const real* src, Py_ssize_t row_step, real* out,
    Py_ssize_t out_step, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t spill,
) noexcept nogil:
    """out[r*out_step + i] = start + sum_k weight[k] * src[r*row_step + offset[k] + i]"""
    if real is float:
        weighted_sums_f32(<int> gap, <int> kernel_h, taps, weight, offset, start, src,
                          row_step, out, out_step, rows, cols, spill)
    else:
        weighted_sums_f64(<int> gap, <int> kernel_h, taps, weight, offset, start, src,
                          row_step, out, out_step, rows, cols, spill)


cdef inline real sum_vector(const real* sums) noexcept nogil:
    """The sum of a vector's lanes."""
    if real is float:
        return sum_vector_f32(sums)
    else:
        return sum_vector_f64(sums)


cdef inline bint narrow_dots(
    const Planes* p, Py_ssize_t first, Py_ssize_t count, const real* dout, const real* x,
    real* sums,
) noexcept nogil:
    """`lane_dots` of some channels whose rows are short; False if they are left to others."""
    if p.step_h != p.step_w:
        return False
    if real is float:
        return narrow_dots_f32(
            p.step_w, p.KH, p.KW, p.dilation_h, p.dilation_w, p.N, count * p.filters, p.filters,
            dout + first * p.filters * p.OH * p.OW, p.G * p.filters * p.OH * p.OW, p.OH, p.OW,
            x + first * p.H * p.W, p.G * p.H * p.W, p.H, p.W, p.top, p.left, sums)
    else:
        return narrow_dots_f64(
            p.step_w, p.KH, p.KW, p.dilation_h, p.dilation_w, p.N, count * p.filters, p.filters,
            dout + first * p.filters * p.OH * p.OW, p.G * p.filters * p.OH * p.OW, p.OH, p.OW,
            x + first * p.H * p.W, p.G * p.H * p.W, p.H, p.W, p.top, p.left, sums)


cdef inline void lane_dots(
    Py_ssize_t taps, const real* a, Py_ssize_t a_step, const real* b, Py_ssize_t b_step,
    const Py_ssize_t* offset, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t next, real* sums,
) noexcept nogil:
    """sums[k, :] += what adds up to <a, b seen through tap k>; sums[taps, :] += a"""
    if real is float:
        lane_dots_f32(taps, a, a_step, b, b_step, offset, rows, cols, next, sums)
    else:
        lane_dots_f64(taps, a, a_step, b, b_step, offset, rows, cols, next, sums)
