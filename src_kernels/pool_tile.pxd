"""pool_tile.h for Cython: each C function under one name for both dtypes."""

from tile cimport real

cdef extern from "pool_tile.h" nogil:
    enum:
        FASTSCRATCH_VECTOR_BYTES
    Py_ssize_t largest_of_windows_f32(
        const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, int, int,
        Py_ssize_t, Py_ssize_t, int, float*, unsigned char*, int*, Py_ssize_t)
    Py_ssize_t largest_of_windows_f64(
        const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, int, int,
        Py_ssize_t, Py_ssize_t, int, double*, unsigned char*, int*, Py_ssize_t)
    Py_ssize_t means_of_windows_f32(
        const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, int, int, int, Py_ssize_t,
        float, float*, Py_ssize_t)
    Py_ssize_t means_of_windows_f64(
        const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, int, int, int, Py_ssize_t,
        double, double*, Py_ssize_t)
    void collect_largest_f32(
        int, int, int, int, int, const float*, const unsigned char*, Py_ssize_t, float*,
        Py_ssize_t, Py_ssize_t)
    void collect_largest_f64(
        int, int, int, int, int, const double*, const unsigned char*, Py_ssize_t, double*,
        Py_ssize_t, Py_ssize_t)
    void collect_shares_f32(
        int, int, int, int, int, const float*, Py_ssize_t, float, float*, Py_ssize_t, Py_ssize_t)
    void collect_shares_f64(
        int, int, int, int, int, const double*, Py_ssize_t, double, double*, Py_ssize_t,
        Py_ssize_t)
    void strip_row_f32(
        float*, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, const float*, float)
    void strip_row_f64(
        double*, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, const double*, double)


cdef inline Py_ssize_t pool_lanes(Py_ssize_t count, Py_ssize_t itemsize) noexcept nogil:
    """Elements of a block on the way back, where a row has windows for so many: as FOR_ROWS_OF."""
    cdef Py_ssize_t lanes = FASTSCRATCH_VECTOR_BYTES // itemsize
    if FASTSCRATCH_VECTOR_BYTES == 64 and count < lanes:
        lanes = 32 // itemsize
    if FASTSCRATCH_VECTOR_BYTES >= 32 and count * itemsize <= 16:
        lanes = 16 // itemsize
    return lanes


cdef inline Py_ssize_t largest_of_windows(
    const real* x, Py_ssize_t there, Py_ssize_t x_step, Py_ssize_t rows, Py_ssize_t count,
    Py_ssize_t step, int kernel_h, int kernel_w, Py_ssize_t row_step, Py_ssize_t col_step,
    int first, real* y, unsigned char* small, int* large, Py_ssize_t y_step,
) noexcept nogil:
    """y[r, i], argmax[r, i] = the largest of the window x + r*x_step + i*step; for r < the result

    Of x there are so many elements: the last rows may be left out.
    """
    if real is float:
        return largest_of_windows_f32(x, there, x_step, rows, count, step, kernel_h, kernel_w,
                                      row_step, col_step, first, y, small, large, y_step)
    else:
        return largest_of_windows_f64(x, there, x_step, rows, count, step, kernel_h, kernel_w,
                                      row_step, col_step, first, y, small, large, y_step)


cdef inline Py_ssize_t means_of_windows(
    const real* x, Py_ssize_t there, Py_ssize_t x_step, Py_ssize_t rows, Py_ssize_t count,
    int stride, int kernel_h, int kernel_w, Py_ssize_t row_step, real divisor, real* y,
    Py_ssize_t y_step,
) noexcept nogil:
    """y[r, i] = the sum of the window x + r*x_step + i*stride over the divisor, as above"""
    if real is float:
        return means_of_windows_f32(x, there, x_step, rows, count, stride, kernel_h, kernel_w,
                                    row_step, divisor, y, y_step)
    else:
        return means_of_windows_f64(x, there, x_step, rows, count, stride, kernel_h, kernel_w,
                                    row_step, divisor, y, y_step)


cdef inline void collect_largest(
    int stride, int kernel_h, int kernel_w, int top, int left, const real* dout,
    const unsigned char* argmax, Py_ssize_t dout_step, real* dx, Py_ssize_t H, Py_ssize_t W,
) noexcept nogil:
    """dx[ih, iw] = the sum of dout over the windows whose argmax names it"""
    if real is float:
        collect_largest_f32(stride, kernel_h, kernel_w, top, left, dout, argmax, dout_step,
                            dx, H, W)
    else:
        collect_largest_f64(stride, kernel_h, kernel_w, top, left, dout, argmax, dout_step,
                            dx, H, W)


cdef inline void collect_shares(
    int stride, int kernel_h, int kernel_w, int top, int left, const real* dout,
    Py_ssize_t dout_step, real divisor, real* dx, Py_ssize_t H, Py_ssize_t W,
) noexcept nogil:
    """dx[ih, iw] = the sum of dout over the windows that cover it, over the divisor"""
    if real is float:
        collect_shares_f32(stride, kernel_h, kernel_w, top, left, dout, dout_step, divisor,
                           dx, H, W)
    else:
        collect_shares_f64(stride, kernel_h, kernel_w, top, left, dout, dout_step, divisor,
                           dx, H, W)


cdef inline void strip_row(
    real* dst, Py_ssize_t step, Py_ssize_t before, const real* src, Py_ssize_t count,
    const real* columns, real rows,
) noexcept nogil:
    """A row of a strip: zeros, src over rows * columns if these are given, zeros."""
    if real is float:
        strip_row_f32(dst, step, before, src, count, columns, rows)
    else:
        strip_row_f64(dst, step, before, src, count, columns, rows)
