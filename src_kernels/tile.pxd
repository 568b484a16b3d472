"""tile.h for Cython: each C function under one name for both dtypes."""

cdef extern from "tile.h" nogil:
    enum:
        FASTSCRATCH_VECTOR_BYTES
        TILE_ROWS
        ADDRESSED_ROWS
        HAS_MASKS
        WIDE_ROWS
        FEW_COLUMNS
    bint CHECKED
    void CHECK(bint condition)
    void tile_f32(int, int, const float*, const Py_ssize_t*, const Py_ssize_t*, Py_ssize_t,
                  const float*, Py_ssize_t, const float*, Py_ssize_t, float*, Py_ssize_t)
    void tile_f64(int, int, const double*, const Py_ssize_t*, const Py_ssize_t*, Py_ssize_t,
                  const double*, Py_ssize_t, const double*, Py_ssize_t, double*, Py_ssize_t)
    void product_tile_f32(int, int, int, const float*, Py_ssize_t, Py_ssize_t, const float*,
                          const float*, Py_ssize_t, float*, Py_ssize_t, Py_ssize_t)
    void product_tile_f64(int, int, int, const double*, Py_ssize_t, Py_ssize_t, const double*,
                          const double*, Py_ssize_t, double*, Py_ssize_t, Py_ssize_t)
    void few_columns_f32(int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, const float*,
                         Py_ssize_t, const float*, Py_ssize_t, float*, Py_ssize_t)
    void few_columns_f64(int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, const double*,
                         Py_ssize_t, const double*, Py_ssize_t, double*, Py_ssize_t)
    void gather_columns_f32(int, int, float*, Py_ssize_t, const float*, const Py_ssize_t*,
                            Py_ssize_t, const Py_ssize_t*, const Py_ssize_t*)
    void gather_columns_f64(int, int, double*, Py_ssize_t, const double*, const Py_ssize_t*,
                            Py_ssize_t, const Py_ssize_t*, const Py_ssize_t*)
    void add_taps_f32(float*, Py_ssize_t, int, int, const float*, Py_ssize_t, const unsigned int*,
                      const Py_ssize_t*)
    void add_taps_f64(double*, Py_ssize_t, int, int, const double*, Py_ssize_t,
                      const unsigned int*, const Py_ssize_t*)
    void pack_tile_f32(float*, const float*, Py_ssize_t, int, Py_ssize_t)
    void pack_tile_f64(double*, const double*, Py_ssize_t, int, Py_ssize_t)
    void pack_part_f32(float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void pack_part_f64(double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void wide_tile_f32(int, int, const float*, const float*, const Py_ssize_t*, const Py_ssize_t*,
                       Py_ssize_t, const float*, float*, Py_ssize_t, const Py_ssize_t*)
    void wide_tile_f64(int, int, const double*, const double*, const Py_ssize_t*, const Py_ssize_t*,
                       Py_ssize_t, const double*, double*, Py_ssize_t, const Py_ssize_t*)
    void copy_row_f32(float*, const float*, Py_ssize_t)
    void copy_row_f64(double*, const double*, Py_ssize_t)
    void copy_second_f32(float*, const float*, Py_ssize_t)
    void copy_second_f64(double*, const double*, Py_ssize_t)
    void store_second_f32(float*, const float*, Py_ssize_t)
    void store_second_f64(double*, const double*, Py_ssize_t)
    void copy_phases_f32(Py_ssize_t, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*,
                         Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void copy_phases_f64(Py_ssize_t, double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*,
                         Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void copy_padded_f32(float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void copy_padded_f64(double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void window_dots_f32(Py_ssize_t, const float*, Py_ssize_t, const float*, Py_ssize_t,
                         const Py_ssize_t*, Py_ssize_t, Py_ssize_t, float*)
    void window_dots_f64(Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t,
                         const Py_ssize_t*, Py_ssize_t, Py_ssize_t, double*)
    void add_shifted_f32(float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t)
    void add_shifted_f64(double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         Py_ssize_t, Py_ssize_t)
    float sum_rows_f32(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    double sum_rows_f64(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t)
    void pack_beside_f32(float*, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t,
                         const Py_ssize_t*, Py_ssize_t, Py_ssize_t)
    void pack_beside_f64(double*, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t,
                         const Py_ssize_t*, Py_ssize_t, Py_ssize_t)
    void add_columns_f32(int, const float*, Py_ssize_t, float*)
    void add_columns_f64(int, const double*, Py_ssize_t, double*)
    void four_dots_f32(const float*, const float*, Py_ssize_t, Py_ssize_t, float*)
    void four_dots_f64(const double*, const double*, Py_ssize_t, Py_ssize_t, double*)
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


cdef inline void product_tile(
    Py_ssize_t rows, Py_ssize_t vectors, bint side_by_side, const real* a, Py_ssize_t a_step,
    Py_ssize_t depth, const real* b, const real* init, Py_ssize_t init_step,
    real* out, Py_ssize_t out_step, Py_ssize_t width,
) noexcept nogil:
    """out[r, :width] = init[r, :width] + sum_k a[r, k] * b[k, :width]; a[k, r] if side by side"""
    if real is float:
        product_tile_f32(<int> rows, <int> vectors, side_by_side, a, a_step, depth, b,
                         init, init_step, out, out_step, width)
    else:
        product_tile_f64(<int> rows, <int> vectors, side_by_side, a, a_step, depth, b,
                         init, init_step, out, out_step, width)


cdef inline void few_columns(
    Py_ssize_t cols, Py_ssize_t rows, const real* a, Py_ssize_t a_step, Py_ssize_t depth,
    const real* b, Py_ssize_t b_step, const real* init, Py_ssize_t init_step,
    real* out, Py_ssize_t out_step,
) noexcept nogil:
    """out[r, :cols] = init[r, :cols] + sum_k a[k, r] * b[k, :cols]"""
    if real is float:
        few_columns_f32(<int> cols, rows, a, a_step, depth, b, b_step, init, init_step,
                        out, out_step)
    else:
        few_columns_f64(<int> cols, rows, a, a_step, depth, b, b_step, init, init_step,
                        out, out_step)


cdef inline void add_taps(
    real* row, Py_ssize_t count, Py_ssize_t taps, bint spread, const real* columns,
    Py_ssize_t step, const unsigned int* lanes, const Py_ssize_t* first,
) noexcept nogil:
    """row[:] += columns of some taps, in the lanes that each of them meets"""
    if real is float:
        add_taps_f32(row, count, <int> taps, spread, columns, step, lanes, first)
    else:
        add_taps_f64(row, count, <int> taps, spread, columns, step, lanes, first)


cdef inline void gather_columns(
    Py_ssize_t vectors, bint whole, real* columns, Py_ssize_t step, const real* source,
    const Py_ssize_t* k_offset, Py_ssize_t depth, const Py_ssize_t* place, const Py_ssize_t* at,
) noexcept nogil:
    """columns[k*step + at[i] + :] = source[k_offset[k] + place[i] + :] for some vectors i"""
    if real is float:
        gather_columns_f32(<int> vectors, whole, columns, step, source, k_offset, depth, place, at)
    else:
        gather_columns_f64(<int> vectors, whole, columns, step, source, k_offset, depth, place, at)


cdef inline void wide_tile(
    Py_ssize_t rows, Py_ssize_t vectors, const real* a, const real* b, const Py_ssize_t* place,
    const Py_ssize_t* k_offset, Py_ssize_t depth, const real* bias,
    real* out, Py_ssize_t out_step, const Py_ssize_t* target,
) noexcept nogil:
    """out[r, target[v] + :] = start + sum_k a[k*rows + r] * b[place[v] + k_offset[k] + :]"""
    if real is float:
        wide_tile_f32(<int> rows, <int> vectors, a, b, place, k_offset, depth, bias,
                      out, out_step, target)
    else:
        wide_tile_f64(<int> rows, <int> vectors, a, b, place, k_offset, depth, bias,
                      out, out_step, target)


cdef inline void copy_row(real* dst, const real* src, Py_ssize_t count) noexcept nogil:
    """dst[i] = src[i]"""
    if real is float:
        copy_row_f32(dst, src, count)
    else:
        copy_row_f64(dst, src, count)


cdef inline void copy_second(real* dst, const real* src, Py_ssize_t count) noexcept nogil:
    """dst[i] = src[2*i]"""
    if real is float:
        copy_second_f32(dst, src, count)
    else:
        copy_second_f64(dst, src, count)


cdef inline void store_second(real* dst, const real* src, Py_ssize_t count) noexcept nogil:
    """dst[2*i] = src[i]"""
    if real is float:
        store_second_f32(dst, src, count)
    else:
        store_second_f64(dst, src, count)


cdef inline void copy_phases(
    Py_ssize_t step, real* dst, Py_ssize_t dst_step, Py_ssize_t gap, Py_ssize_t phases,
    const real* src, Py_ssize_t src_step, Py_ssize_t rows, Py_ssize_t before, Py_ssize_t count,
    Py_ssize_t width, Py_ssize_t next,
) noexcept nogil:
    """dst[i, phase*gap + j] = row[step*j + phase] of padded rows"""
    if real is float:
        copy_phases_f32(step, dst, dst_step, gap, phases, src, src_step, rows, before, count, width,
                        next)
    else:
        copy_phases_f64(step, dst, dst_step, gap, phases, src, src_step, rows, before, count, width,
                        next)


cdef inline void copy_padded(
    real* dst, Py_ssize_t dst_step, const real* src, Py_ssize_t src_step,
    Py_ssize_t rows, Py_ssize_t before, Py_ssize_t count, Py_ssize_t after, Py_ssize_t next,
) noexcept nogil:
    """dst[i, j] = src[i, j - before], and zeros before and after"""
    if real is float:
        copy_padded_f32(dst, dst_step, src, src_step, rows, before, count, after, next)
    else:
        copy_padded_f64(dst, dst_step, src, src_step, rows, before, count, after, next)


cdef inline void add_shifted(
    real* dst, Py_ssize_t count, const real* src, Py_ssize_t step, Py_ssize_t taps,
    Py_ssize_t first, Py_ssize_t advance, Py_ssize_t limit,
) noexcept nogil:
    """dst[i] = sum_j src[j*step + i + first + j*advance], where that is inside its row"""
    if real is float:
        add_shifted_f32(dst, count, src, step, taps, first, advance, limit)
    else:
        add_shifted_f64(dst, count, src, step, taps, first, advance, limit)


cdef inline void window_dots(
    Py_ssize_t rows, const real* a, Py_ssize_t a_step, const real* b, Py_ssize_t b_step,
    const Py_ssize_t* b_offset, Py_ssize_t count, Py_ssize_t width, real* sums,
) noexcept nogil:
    """sums[r] += sum_i sum_j a[i*a_step + j] * b[b_offset[r] + i*b_step + j]"""
    if real is float:
        window_dots_f32(rows, a, a_step, b, b_step, b_offset, count, width, sums)
    else:
        window_dots_f64(rows, a, a_step, b, b_step, b_offset, count, width, sums)


cdef inline real sum_rows(
    const real* a, Py_ssize_t a_step, Py_ssize_t count, Py_ssize_t width
) noexcept nogil:
    """The sum over i < count and j < width of a[i*a_step + j]."""
    if real is float:
        return sum_rows_f32(a, a_step, count, width)
    else:
        return sum_rows_f64(a, a_step, count, width)


cdef inline void pack_beside(
    real* packed, Py_ssize_t packed_panel, Py_ssize_t panel, const real* b, Py_ssize_t b_step,
    const Py_ssize_t* first, Py_ssize_t panels, Py_ssize_t depth,
) noexcept nogil:
    """packed[q, k, j] = b[k, first[q] + j]"""
    if real is float:
        pack_beside_f32(packed, packed_panel, panel, b, b_step, first, panels, depth)
    else:
        pack_beside_f64(packed, packed_panel, panel, b, b_step, first, panels, depth)


cdef inline void add_columns(
    int vectors, const real* a, Py_ssize_t rows, real* sums
) noexcept nogil:
    """sums[j] += sum_i a[i, j], for j of one or two vectors"""
    if real is float:
        add_columns_f32(vectors, a, rows, sums)
    else:
        add_columns_f64(vectors, a, rows, sums)


cdef inline real dot(const real* a, const real* b, Py_ssize_t depth) noexcept nogil:
    """The sum of a[k] * b[k]."""
    if real is float:
        return dot_f32(a, b, depth)
    else:
        return dot_f64(a, b, depth)


cdef inline void four_dots(
    const real* a, const real* b, Py_ssize_t b_step, Py_ssize_t depth, real* sums
) noexcept nogil:
    """sums[r] = sum_k a[k] * b[r*b_step + k], for four rows"""
    if real is float:
        four_dots_f32(a, b, b_step, depth, sums)
    else:
        four_dots_f64(a, b, b_step, depth, sums)


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


cdef inline void pack_tile(
    real* packed, const real* a, Py_ssize_t a_step, Py_ssize_t rows, Py_ssize_t depth
) noexcept nogil:
    """packed[k*TILE_ROWS + r] = a[r*a_step + k], with room for a vector beyond it"""
    if real is float:
        pack_tile_f32(packed, a, a_step, <int> rows, depth)
    else:
        pack_tile_f64(packed, a, a_step, <int> rows, depth)


cdef inline void pack_part(
    real* packed, Py_ssize_t step, const real* b, Py_ssize_t b_step,
    Py_ssize_t depth, Py_ssize_t cols,
) noexcept nogil:
    """packed[k*step + j] = b[k*b_step + j] for j < cols, zero up to the step"""
    if real is float:
        pack_part_f32(packed, step, b, b_step, depth, cols)
    else:
        pack_part_f64(packed, step, b, b_step, depth, cols)
