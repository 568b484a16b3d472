"""tile.h for Cython: each C function under one name for both dtypes."""

cdef extern from "tile.h" nogil:
    enum:
        FASTSCRATCH_VECTOR_BYTES
        TILE_ROWS
        WIDE_ROWS
    bint CHECKED
    void CHECK(bint condition)
    void tile_f32(int, int, const float*, const Py_ssize_t*, const Py_ssize_t*, Py_ssize_t,
                  const float*, Py_ssize_t, const float*, Py_ssize_t, float*, Py_ssize_t)
    void tile_f64(int, int, const double*, const Py_ssize_t*, const Py_ssize_t*, Py_ssize_t,
                  const double*, Py_ssize_t, const double*, Py_ssize_t, double*, Py_ssize_t)
    void wide_tile_f32(int, int, const float*, const float*, const Py_ssize_t*, Py_ssize_t,
                       const float*, const float*, Py_ssize_t, float*, Py_ssize_t)
    void wide_tile_f64(int, int, const double*, const double*, const Py_ssize_t*, Py_ssize_t,
                       const double*, const double*, Py_ssize_t, double*, Py_ssize_t)
    void window_dots_f32(Py_ssize_t, const float*, Py_ssize_t, const float*, Py_ssize_t,
                         const Py_ssize_t*, Py_ssize_t, Py_ssize_t, float*)
    void window_dots_f64(Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t,
                         const Py_ssize_t*, Py_ssize_t, Py_ssize_t, double*)
    float dot_f32(const float*, const float*, Py_ssize_t)
    double dot_f64(const double*, const double*, Py_ssize_t)
    void pack_rows_f32(float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void pack_rows_f64(double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void transpose_f32(float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void transpose_f64(double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t)

ctypedef fused real:
    float
    double


cdef inline Py_ssize_t lanes_of(Py_ssize_t itemsize) noexcept nogil:
    """Elements in one vector."""
    return FASTSCRATCH_VECTOR_BYTES // itemsize


cdef inline void tile(
    Py_ssize_t rows, Py_ssize_t vectors, const real* a, const Py_ssize_t* row_offset,
    const Py_ssize_t* k_offset, Py_ssize_t depth, const real* b, Py_ssize_t b_step,
    const real* init, Py_ssize_t init_step, real* out, Py_ssize_t out_step,
) noexcept nogil:
    """out[r, :] = init[r, :] + sum_k a[row_offset[r] + k_offset[k]] * b[k, :]"""
    if real is float:
        tile_f32(<int> rows, <int> vectors, a, row_offset, k_offset, depth, b, b_step,
                 init, init_step, out, out_step)
    else:
        tile_f64(<int> rows, <int> vectors, a, row_offset, k_offset, depth, b, b_step,
                 init, init_step, out, out_step)


cdef inline void wide_tile(
    Py_ssize_t rows, Py_ssize_t vectors, const real* a, const real* b, const Py_ssize_t* b_offset,
    Py_ssize_t depth, const real* bias, const real* init, Py_ssize_t init_step,
    real* out, Py_ssize_t out_step,
) noexcept nogil:
    """out[r, :] = (bias[r] or init[r, :]) + sum_k a[k*rows + r] * b[b_offset[k] + :]"""
    if real is float:
        wide_tile_f32(<int> rows, <int> vectors, a, b, b_offset, depth, bias, init, init_step,
                      out, out_step)
    else:
        wide_tile_f64(<int> rows, <int> vectors, a, b, b_offset, depth, bias, init, init_step,
                      out, out_step)


cdef inline void window_dots(
    Py_ssize_t rows, const real* a, Py_ssize_t a_step, const real* b, Py_ssize_t b_step,
    const Py_ssize_t* b_offset, Py_ssize_t count, Py_ssize_t width, real* sums,
) noexcept nogil:
    """sums[r] += sum_i sum_j a[i*a_step + j] * b[b_offset[r] + i*b_step + j]"""
    if real is float:
        window_dots_f32(rows, a, a_step, b, b_step, b_offset, count, width, sums)
    else:
        window_dots_f64(rows, a, a_step, b, b_step, b_offset, count, width, sums)


cdef inline real dot(const real* a, const real* b, Py_ssize_t depth) noexcept nogil:
    """The sum of a[k] * b[k]."""
    if real is float:
        return dot_f32(a, b, depth)
    else:
        return dot_f64(a, b, depth)


cdef inline void transpose(
    real* dst, Py_ssize_t dst_step, const real* src, Py_ssize_t src_step,
    Py_ssize_t rows, Py_ssize_t cols,
) noexcept nogil:
    """dst[c*dst_step + r] = src[r*src_step + c]"""
    if real is float:
        transpose_f32(dst, dst_step, src, src_step, rows, cols)
    else:
        transpose_f64(dst, dst_step, src, src_step, rows, cols)


cdef inline void pack_rows(
    real* packed, Py_ssize_t panel_step, const real* b, Py_ssize_t b_step,
    Py_ssize_t depth, Py_ssize_t panels,
) noexcept nogil:
    """packed[panel][k] = b[k][panel]"""
    if real is float:
        pack_rows_f32(packed, panel_step, b, b_step, depth, panels)
    else:
        pack_rows_f64(packed, panel_step, b, b_step, depth, panels)
