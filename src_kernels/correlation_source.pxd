"""What a correlation reads: x as it lies, or a padded copy of a job's part of it."""

from correlation_plan cimport Correlation
from geometry cimport copy_window, copy_window_phases
from tile cimport CHECK, CHECKED, real


cdef inline void copy_channels(
    const Correlation* p, real* copy, Py_ssize_t g, Py_ssize_t n, Py_ssize_t images,
    Py_ssize_t row, Py_ssize_t rows, Py_ssize_t col, Py_ssize_t first, Py_ssize_t channels,
) noexcept nogil:
    """The padded copy of some channels for the pixels that start at row, col of the output."""
    cdef Py_ssize_t stride_h = p.stride_h // p.row_gap, stride_w = p.stride_w // p.col_gap
    cdef Py_ssize_t dilation_h = p.dilation_h // p.row_gap if p.KH > 1 else 1
    cdef Py_ssize_t needed = (rows - 1) * stride_h + (p.KH - 1) * dilation_h + 1
    # A window that is narrower than the stride is does not see them all.
    cdef Py_ssize_t phases = min(stride_w, (p.KW - 1) * p.dilation_w // p.col_gap + 1)
    cdef Py_ssize_t c, i, phase
    cdef const real* plane
    cdef real* target
    for i in range(images):
        for c in range(channels):
            plane = <const real*> p.x + (((n + i) * p.G + g) * p.C + first + c) * p.H * p.W
            target = copy + i * p.copy_image + c * p.copy_plane
            if p.phase == 0:
                copy_window(target, p.copy_row, plane, p.H, p.W,
                            row * p.stride_h - p.top, p.row_gap, needed,
                            col * p.stride_w - p.left, p.col_gap, p.copy_row)
                continue
            if stride_w > 1 and p.col_gap == 1:
                copy_window_phases(target, p.copy_row, p.phase, phases, plane, p.H, p.W,
                                   row * p.stride_h - p.top, p.row_gap, needed,
                                   col * p.stride_w - p.left, stride_w, p.phase)
                continue
            for phase in range(phases):
                copy_window(target + phase * p.phase, p.copy_row, plane, p.H, p.W,
                            row * p.stride_h - p.top, p.row_gap, needed,
                            col * p.stride_w - p.left + phase * p.col_gap, p.stride_w,
                            p.phase)


cdef inline void check_reads(
    const Correlation* p, const real* copy, const real* source, const Py_ssize_t* pixel,
    Py_ssize_t pixels, Py_ssize_t depth, Py_ssize_t width,
) noexcept nogil:
    """In a build with checks: that every read of a tile is inside x or the copy."""
    cdef const real* start = <const real*> p.x if p.direct else copy
    cdef Py_ssize_t size = p.copy_size // sizeof(real), i, k, at
    if not CHECKED:
        return
    if p.direct:
        size = p.N * p.G * p.C * p.H * p.W
    for i in range(pixels):
        for k in range(depth):
            at = (source - start) + pixel[i] + p.k_offset[k]
            CHECK(0 <= at and at + width <= size)
