/* Depthwise convolution of planes whose rows fill less than half of a vector: so many channels lie side by
   side, pixel by pixel, one in each lane. A row of sums, a row of taps and the pixels in turn are all in
   registers, and pixels outside of the plane are left out. Included by depthwise.h, for each dtype. */

/* Columns of a row of sums, at most, and of its windows. */
#define ABREAST_COLUMNS 8
#define ABREAST_TAPS 7

/* out[u] = start + sum_t,v src[t][u*stride + v - before] * weight[t][v], of a vector of channels each, which
   lie out_col apart. */
TILE_INLINE void X(sum_abreast)(const int cols, const int kernel_w, const int stride, ptrdiff_t rows,
                                const REAL *src, ptrdiff_t src_row, ptrdiff_t width, ptrdiff_t before,
                                const REAL *weight, ptrdiff_t weight_row, ptrdiff_t weight_col,
                                const REAL *start, REAL *out, ptrdiff_t out_col)
{
    X(vec) sum[ABREAST_COLUMNS], tap[ABREAST_TAPS];
    for (int u = 0; u < cols; u++)
        sum[u] = X(load)(start);
    for (ptrdiff_t t = 0; t < rows; t++) {
        for (int v = 0; v < kernel_w; v++)
            tap[v] = X(load)(weight + v * weight_col);
#pragma GCC unroll 24
        for (int i = 0; i < (cols - 1) * stride + kernel_w; i++) {
            if (i < before || i - before >= width)
                continue;
            const X(vec) pixel = X(load)(src + (i - before) * LANES);
            for (int u = 0; u < cols; u++)
                if (u * stride <= i && i < u * stride + kernel_w)
                    sum[u] += pixel * tap[i - u * stride];
        }
        src += src_row;
        weight += weight_row;
    }
    for (int u = 0; u < cols; u++)
        X(store)(out + u * out_col, sum[u]);
}

#define ABREAST(kernel_w, stride, cols)                                                             \
    case cols:                                                                                      \
        X(sum_abreast)(cols, kernel_w, stride, rows, src, src_row, width, before, weight,           \
                       weight_row, weight_col, start, out, out_col);                                \
        return;
#define ABREAST_ROWS(kernel_w, stride)                                                              \
    if (kernel == kernel_w && step == stride)                                                       \
        switch (cols) {                                                                             \
            ABREAST(kernel_w, stride, 1)                                                            \
            ABREAST(kernel_w, stride, 2)                                                            \
            ABREAST(kernel_w, stride, 3)                                                            \
            ABREAST(kernel_w, stride, 4)                                                            \
            ABREAST(kernel_w, stride, 5)                                                            \
            ABREAST(kernel_w, stride, 6)                                                            \
            ABREAST(kernel_w, stride, 7)                                                            \
            ABREAST(kernel_w, stride, 8)                                                            \
        }

/* One row of sums. The windows of a phase of the stride have two to four columns, or none. */
TILE_FUNCTION void X(row_abreast)(ptrdiff_t kernel, ptrdiff_t step, ptrdiff_t cols, ptrdiff_t rows,
                                  const REAL *src, ptrdiff_t src_row, ptrdiff_t width, ptrdiff_t before,
                                  const REAL *weight, ptrdiff_t weight_row, ptrdiff_t weight_col,
                                  const REAL *start, REAL *out, ptrdiff_t out_col)
{
    ABREAST_ROWS(5, 1)
    ABREAST_ROWS(5, 2)
    ABREAST_ROWS(7, 1)
    ABREAST_ROWS(7, 2)
    ABREAST_ROWS(2, 1)
    ABREAST_ROWS(3, 1)
    ABREAST_ROWS(4, 1)
}
#undef ABREAST_ROWS
#undef ABREAST
