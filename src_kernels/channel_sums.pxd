"""channel_sums.h for Cython: each sum under a name of its own, for both dtypes."""

from tile cimport real

cdef extern from "channel_sums.h" nogil:
    enum:
        ELEMENTS
        SQUARES
        SLOPES
        PASSED_SLOPES
        LEAKS
    void sum_channel_f32(int, const float*, const float*, const float*, float, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, double*, double*)
    void sum_channel_f64(int, const double*, const double*, const double*, double, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, double*, double*)


cdef struct Rows:
    # what is contiguous of a channel, an image each
    Py_ssize_t rows, step, count


cdef struct Sums:
    double slopes, products


cdef inline double sum_elements(const Rows* r, const real* x) noexcept nogil:
    """The sum of x."""
    return sums_of(ELEMENTS, r, x, x, x, <real> 0).slopes


cdef inline double sum_squares(const Rows* r, const real* x, real mean) noexcept nogil:
    """The sum of (x - mean)^2."""
    return sums_of(SQUARES, r, x, x, x, mean).slopes


cdef inline double sum_leaks(const Rows* r, const real* dout, const real* x) noexcept nogil:
    """The sum of dout*x where x > 0 is not true."""
    return sums_of(LEAKS, r, dout, x, x, <real> 0).slopes


cdef inline Sums sum_slopes(
    const Rows* r, const real* dout, const real* y, const real* x, real mean
) noexcept nogil:
    """The sums of dout, and of dout*(x - mean); only where y > 0, if y is not NULL."""
    if y == NULL:
        return sums_of(SLOPES, r, dout, x, x, mean)
    return sums_of(PASSED_SLOPES, r, dout, y, x, mean)


cdef inline Sums sums_of(
    int kind, const Rows* r, const real* dout, const real* y, const real* x, real mean
) noexcept nogil:
    cdef Sums sums
    if real is float:
        sum_channel_f32(kind, dout, y, x, mean, r.rows, r.step, r.count, &sums.slopes,
                        &sums.products)
    else:
        sum_channel_f64(kind, dout, y, x, mean, r.rows, r.step, r.count, &sums.slopes,
                        &sums.products)
    return sums
