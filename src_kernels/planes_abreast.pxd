"""Depthwise convolution of small planes, the channels side by side in the lanes of vectors.

Rows of seven pixels fill less than half of a vector of sixteen, and with windows of 5x5 or 7x7 much
of what they fill is multiplied by the zeros around the plane. Here the planes of as many channels
as there are lanes are transposed, and what lies outside is left out.
"""

from libc.string cimport memset

from depthwise cimport Planes, phase_along
from geometry cimport aligned, ceil_div, part_start
from phases cimport Phase
from tile cimport lanes_of, real, transpose

cdef extern from "depthwise.h" nogil:
    enum:
        ABREAST_COLUMNS
    void row_abreast_f32(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t,
                         const float*, float*, Py_ssize_t)
    void row_abreast_f64(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t,
                         const double*, double*, Py_ssize_t)

cdef enum:
    MOST_PIXELS = 256  # of a plane: those of a block of channels stay in L1, or near it
    ENOUGH_JOBS = 16  # to share them out evenly among a few threads


cdef struct Abreast:
    # The planes of a correlation, each a channel of an image; a job is a block of channels of some
    # images. Backward, a stride of two has two phases on either axis.
    Planes planes
    Phase[2] rows
    Phase[2] cols
    const void* weight
    Py_ssize_t blocks, parts
    Py_ssize_t weight_size, source_size, sums_size, workspace_size  # bytes
    char* workspace


cdef inline bint plan_abreast(
    Abreast* p, const Planes* planes, bint backward, const real* weight
) noexcept nogil:
    """Share out the planes; False if they do not go this way, a function of the problem.

    Beside rows where they lie, on AVX-512, 7x7 windows on 7x7 are 3.1 times as fast, 5x5 ones 1.6
    times, and with a stride of two, to 7x7, 1.3 times.
    """
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), pixel = lanes * sizeof(real), i
    if (
        planes.sources > 1 or planes.targets > 1 or max(planes.stride_h, planes.stride_w) > 2
        or planes.dilation_h > 1 or planes.dilation_w > 1 or planes.G < lanes
        or planes.KW != 5 and planes.KW != 7
        or planes.source_h * planes.source_w > MOST_PIXELS
        or planes.target_h * planes.target_w > MOST_PIXELS
    ):
        return False
    for i in range(planes.phases_h):
        p.rows[i] = phase_along(planes, backward, True, i)
    for i in range(planes.phases_w):
        p.cols[i] = phase_along(planes, backward, False, i)
    if p.cols[0].positions > min(ABREAST_COLUMNS, lanes // 2):
        return False
    p.planes, p.weight = planes[0], weight
    p.blocks = ceil_div(planes.G, lanes)
    p.parts = min(planes.N, ceil_div(ENOUGH_JOBS, p.blocks))
    p.weight_size = aligned((planes.KH * planes.KW + 1) * pixel)
    p.source_size = aligned(planes.source_h * planes.source_w * pixel)
    p.sums_size = aligned(planes.target_h * planes.target_w * pixel)
    p.workspace_size = p.weight_size + p.source_size + p.sums_size
    return True


cdef inline void correlate_abreast(
    const Abreast* p, Py_ssize_t job, Py_ssize_t worker, const real* source, const real* bias,
    real* out,
) noexcept nogil:
    """One job: the planes of some channels, transposed, row by row, and back."""
    cdef const Planes* s = &p.planes
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), taps = s.KH * s.KW, n, i, k
    cdef Py_ssize_t part = job % p.parts, c = job // p.parts * lanes, width = min(lanes, s.G - c)
    cdef Py_ssize_t source_plane = s.source_h * s.source_w, plane = s.target_h * s.target_w
    cdef real* weight = <real*> (p.workspace + worker * p.workspace_size)
    cdef real* start = weight + taps * lanes
    cdef real* pixels = <real*> (<char*> weight + p.weight_size)
    cdef real* sums = <real*> (<char*> pixels + p.source_size)
    if width < lanes:
        memset(weight, 0, p.weight_size + p.source_size)
    transpose(weight, lanes, <const real*> p.weight + c * taps, taps, width, taps)
    for i in range(lanes):
        start[i] = bias[c + i] if bias != NULL and i < width else 0
    if bias != NULL:
        # Forward, an infinite weight meets the zeros around a plane, too, which makes NaN of them.
        for k in range(taps):
            for i in range(lanes):
                start[i] += 0 * weight[k * lanes + i]
    for n in range(part_start(part, p.parts, s.N), part_start(part + 1, p.parts, s.N)):
        transpose(pixels, lanes, source + (n * s.G + c) * source_plane, source_plane, width,
                  source_plane)
        for i in range(s.phases_h * s.phases_w):
            sum_phase(p, i // s.phases_w, i % s.phases_w, pixels, weight, start, sums)
        transpose(out + (n * s.G + c) * plane, plane, sums, lanes, plane, width)


cdef inline void sum_phase(
    const Abreast* p, Py_ssize_t i, Py_ssize_t j, const real* pixels, const real* weight,
    const real* start, real* sums,
) noexcept nogil:
    """The sums of one phase: forward there is one, and it is all of them."""
    cdef const Planes* s = &p.planes
    cdef const Phase* rows = p.rows + i
    cdef const Phase* cols = p.cols + j
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), source_row = s.source_w * lanes
    cdef Py_ssize_t t, above, first, end, out_col = s.phases_w * lanes
    # The first of the taps that are met, and from one of them to the next.
    cdef const real* tap = weight + (rows.first_tap * s.KW + cols.first_tap) * lanes
    cdef Py_ssize_t tap_row = -rows.tap_step * s.KW * lanes, tap_col = -cols.tap_step * lanes
    for t in range(rows.positions):
        above = t * s.step_h - rows.before
        first = max(0, -above)
        end = min(rows.taps, s.source_h - above) if cols.taps else 0
        row_abreast(cols.taps if cols.taps else s.KW, s.step_w, cols.positions, end - first,
                    pixels + (above + first) * source_row, source_row, s.source_w, cols.before,
                    tap + first * tap_row, tap_row, tap_col, start,
                    sums + ((t * s.phases_h + i) * s.target_w + j) * lanes, out_col)


cdef inline void row_abreast(
    Py_ssize_t kernel, Py_ssize_t step, Py_ssize_t count, Py_ssize_t rows, const real* src,
    Py_ssize_t src_row, Py_ssize_t width, Py_ssize_t before, const real* weight,
    Py_ssize_t weight_row, Py_ssize_t weight_col, const real* start, real* out, Py_ssize_t out_col,
) noexcept nogil:
    """out[u] = start + sum_t,v src[t][u*step + v - before] * weight[t][v]"""
    if real is float:
        row_abreast_f32(kernel, step, count, rows, src, src_row, width, before, weight, weight_row,
                        weight_col, start, out, out_col)
    else:
        row_abreast_f64(kernel, step, count, rows, src, src_row, width, before, weight, weight_row,
                        weight_col, start, out, out_col)
