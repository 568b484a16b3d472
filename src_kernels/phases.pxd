"""The phases of a strided backward pass: positions of the input that see the same taps."""

from geometry cimport gcd


cdef struct Phase:
    # The positions first, first + stride, … of the input along one axis, and the taps that reach
    # them.
    Py_ssize_t positions, taps, first_tap, tap_step, before, dilation


cdef inline Phase phase_of(
    Py_ssize_t first, Py_ssize_t extent, Py_ssize_t kernel, Py_ssize_t stride,
    Py_ssize_t dilation, Py_ssize_t before,
) noexcept nogil:
    """Tap kh of window oh reaches position ih where ih + before = oh*stride + kh*dilation.

    On ih = first + t*stride the taps that divide evenly are tap_step = stride/gcd apart, and the
    windows run backwards, dilation/gcd for each: over dout, flipped taps with stride 1.
    """
    cdef Phase phase
    cdef Py_ssize_t divisor = gcd(stride, dilation), kh = 0
    phase.positions = (extent - first + stride - 1) // stride if first < extent else 0
    phase.tap_step = stride // divisor
    phase.dilation = dilation // divisor
    while kh < kernel and kh < phase.tap_step and (first + before - kh * dilation) % stride:
        kh += 1
    phase.taps = 0
    if kh < kernel and kh < phase.tap_step:
        phase.taps = (kernel - 1 - kh) // phase.tap_step + 1
    phase.first_tap = kh + (phase.taps - 1) * phase.tap_step
    # Exact, so the sign of the numerator does no harm.
    phase.before = (phase.taps - 1) * phase.dilation - (first + before - kh * dilation) // stride
    return phase


cdef inline bint reaches_all(
    Py_ssize_t extent, Py_ssize_t kernel, Py_ssize_t stride, Py_ssize_t dilation,
    Py_ssize_t before,
) noexcept nogil:
    """Whether each phase has taps: the others are zero."""
    cdef Py_ssize_t first
    for first in range(min(stride, extent)):
        if phase_of(first, extent, kernel, stride, dilation, before).taps == 0:
            return False
    return True
