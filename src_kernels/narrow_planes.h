/* Depthwise convolution of planes with rows of few vectors, from the plane as it is: what is outside is
   masked away. A copy with zeros around it, whose loads wait for what was just stored, took twice as long
   (7x7), and 2 to 4 times at stride 2. Included by depthwise.h, for each dtype; without masked loads there is
   no code here, and its callers are told so. */

/* Columns of a window, vectors of a row, and vectors and taps of a flat plane, at most. */
#define NARROW_COLUMNS 8
#define NARROW_VECTORS (HAS_MASKS ? 1 : 4)
#define FLAT_ELEMENTS 64
#define FLAT_TAPS 9

#if HAS_MASKED_LOADS

/* Every stride-th column from `shift` on of a row that lies in a plane: which lanes of two vectors. */
TILE_INLINE void X(step_lanes)(const int stride, ptrdiff_t shift, ptrdiff_t width, ptrdiff_t cols, X(some) *lanes)
{
    const ptrdiff_t end = shift + stride * cols;
    lanes[0] = X(lanes_inside)(shift, width < end ? width : end);
    if (stride == 2)
        lanes[1] = X(lanes_inside)(shift + LANES, width < end ? width : end);
}

/* Those columns, and zeros; of rows that are short twice, all are in the first vector. */
TILE_INLINE X(vec) X(load_steps)(const int stride, const int is_short, const REAL *p, const X(some) *lanes)
{
    const X(vec) low = X(load_some)(p, lanes[0]);
    if (stride == 1)
        return low;
    const X(vec) high = is_short == 2 ? (X(vec)){0} : X(load_some)(p + LANES, lanes[1]);
    return SHUFFLE(X(mask), low, high, ALL_LANES(EVERY_SECOND, 0, 0));
}

/* Blocks of rows of some planes.

   Windows reach at most `reach` rows beyond a plane. Rows that are surely in it need no mask of their
   own: masks of all rows take more registers than there are, and planes of 7x7 or 14x14 1.2 times as long.
   The last vector of a row overlaps the one before. Where parts of vectors are slow to store, rows shorter
   than one are written on into what is written later. */
TILE_INLINE void X(sum_narrow)(const int stride, const int is_short, const int at_once, const int kernel_h,
                               const int reach, ptrdiff_t kernel_w, ptrdiff_t dilation_w, ptrdiff_t planes,
                               ptrdiff_t filters, const REAL *weight, const REAL *bias, const REAL *src,
                               ptrdiff_t height, ptrdiff_t width, ptrdiff_t top, ptrdiff_t left, REAL *out,
                               ptrdiff_t rows, ptrdiff_t cols)
{
    X(some) inside[NARROW_VECTORS * NARROW_COLUMNS][2], nowhere[2];
    const ptrdiff_t last = is_short ? 0 : cols - LANES;
    nowhere[0] = nowhere[1] = X(lanes_inside)(0, 0);
    for (ptrdiff_t j = 0, at = 0; j < last + LANES; j += LANES)
        for (ptrdiff_t kw = 0; kw < kernel_w; kw++)
            X(step_lanes)(stride, stride * (j < last ? j : last) + kw * dilation_w - left, width, cols,
                          inside[at++]);
    for (ptrdiff_t c = 0; c < planes; c++) {
        /* What the last row writes on is in the next plane, if that is large enough. */
        const int is_followed = filters == 1 && c < planes - 1 && (rows + 1) * cols >= LANES;
        const ptrdiff_t spill = is_followed ? rows : rows - (LANES + cols - 1) / cols;
        for (ptrdiff_t r = 0; r < rows; r += at_once) {
            if (r > rows - at_once)
                r = rows - at_once;
            for (ptrdiff_t j = 0; j < last + LANES; j += LANES) {
                const X(some)(*here)[2] = inside + j / LANES * kernel_w;
                const ptrdiff_t col = j < last ? j : last;
                X(vec) sums[SUM_ROWS];
#pragma GCC unroll 8
                for (int n = 0; n < at_once; n++)
                    sums[n] = (bias ? bias[c * filters] : 0) - (X(vec)){0};
                for (ptrdiff_t kw = 0; kw < kernel_w; kw++) {
                    const REAL *row = src + (stride * r - top) * width + stride * col + kw * dilation_w - left;
                    X(vec) factor[7];
#pragma GCC unroll 8
                    for (int kh = 0; kh < kernel_h; kh++)
                        factor[kh] = weight[kw * kernel_h + kh] - (X(vec)){0};
#pragma GCC unroll 32
                    for (int i = 0; i < stride * (at_once - 1) + kernel_h; i++, row += width) {
                        const ptrdiff_t at = stride * r - top + i;
                        const int is_sure = i >= reach && i < stride * (at_once - 1) + kernel_h - reach;
                        KEEP_WALKING(row);
                        const X(vec) value =
                            X(load_steps)(stride, is_short, row,
                                          is_sure || (at >= 0 && at < height) ? here[kw] : nowhere);
#pragma GCC unroll 8
                        for (int n = 0; n < at_once; n++)
                            if (i - stride * n >= 0 && i - stride * n < kernel_h)
                                sums[n] += factor[i - stride * n] * value;
                    }
                }
#pragma GCC unroll 8
                for (int n = 0; n < at_once; n++) {
                    REAL *to = out + (r + n) * cols + col;
                    if (!HAS_MASKS && (!is_short || cols == LANES || r + n <= spill))
                        X(store)(to, sums[n]);
                    else
                        X(store_first)(to, sums[n], cols);
                }
            }
        }
        src += height * width;
        out += filters * rows * cols;
        weight += filters * kernel_h * kernel_w;
    }
}

#define NARROW(stride, is_short, at_once, kernel_h, reach)                                          \
    X(sum_narrow)(stride, is_short, at_once, kernel_h, reach, kernel_w, dilation_w, planes, filters, weight, \
                  bias, src, height, width, top, left, out, rows, cols)
#define NARROW_ROWS(stride, is_short, kernel_h)                                                     \
    if (rows < 4)                                                                                   \
        NARROW(stride, is_short, 1, kernel_h, stride + kernel_h);                                   \
    else if (rows < 7 && centred)                                                                   \
        NARROW(stride, is_short, 4, kernel_h, kernel_h / 2);                                        \
    else if (rows < 7)                                                                              \
        NARROW(stride, is_short, 4, kernel_h, 4 * stride + kernel_h);                               \
    else if (centred)                                                                               \
        NARROW(stride, is_short, 7, kernel_h, kernel_h / 2);                                        \
    else                                                                                            \
        NARROW(stride, is_short, 7, kernel_h, 7 * stride + kernel_h)
#define NARROW_CASE(stride, kernel_h)                                                               \
    case 16 * stride + kernel_h:                                                                    \
        if (cols > LANES && stride == 2) {                                                          \
            return 0;                                                                               \
        } else if (cols > LANES) {                                                                  \
            NARROW_ROWS(1, 0, kernel_h);                                                            \
        } else if (stride == 2 && 2 * cols <= LANES) {                                              \
            NARROW_ROWS(stride, 2, kernel_h);                                                       \
        } else {                                                                                    \
            NARROW_ROWS(stride, 1, kernel_h);                                                       \
        }                                                                                           \
        return 1

/* The lanes of a vector, from the first of these bits on. */
TILE_INLINE X(some) X(lanes_of_bits)(unsigned long long bits)
{
#if HAS_MASKS
    return bits & ((1u << LANES) - 1);
#else
    X(mask) lane;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        lane[i] = (MASK_INT)(bits >> i & 1);
    return lane > 0;
#endif
}

/* A plane of few elements whose windows leave its extent is one row: 4x4 is one vector of 16 then, and not 4.
   A tap sees the elements `shift` further, where `inside`. (Sums of 7x7 took 1.2 times as long.) */
typedef struct {
    ptrdiff_t shift[FLAT_TAPS];
    X(some) inside[FLAT_ELEMENTS / LANES][FLAT_TAPS];
} X(flat);

TILE_INLINE int X(is_flat)(ptrdiff_t stride, ptrdiff_t taps, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t width)
{
    const ptrdiff_t vectors = (rows * cols + LANES - 1) / LANES;
    return stride == 1 && cols == width && taps <= FLAT_TAPS && rows * cols <= FLAT_ELEMENTS &&
           vectors < rows * ((cols + LANES - 1) / LANES);
}

TILE_INLINE void X(make_flat)(X(flat) *flat, ptrdiff_t kernel_h, ptrdiff_t kernel_w, ptrdiff_t dilation_h,
                              ptrdiff_t dilation_w, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t height, ptrdiff_t top,
                              ptrdiff_t left)
{
    for (ptrdiff_t kw = 0, k = 0; kw < kernel_w; kw++) {
        const ptrdiff_t right = kw * dilation_w - left;
        const ptrdiff_t first = right < 0 ? -right : 0, end = right > 0 ? cols - right : cols;
        const unsigned long long row = first < end ? (~0ull >> (64 - (end - first))) << first : 0;
        for (ptrdiff_t kh = 0; kh < kernel_h; kh++, k++) {
            const ptrdiff_t down = kh * dilation_h - top;
            unsigned long long elements = 0;
            for (ptrdiff_t r = down < 0 ? -down : 0; r < rows && r + down < height; r++)
                elements |= row << r * cols;
            flat->shift[k] = down * cols + right;
            for (ptrdiff_t i = 0; i < rows * cols; i += LANES)
                flat->inside[i / LANES][k] = X(lanes_of_bits)(elements >> i);
        }
    }
}

TILE_INLINE void X(sum_flat)(const X(flat) *flat, ptrdiff_t taps, ptrdiff_t planes, ptrdiff_t filters,
                             const REAL *weight, const REAL *bias, const REAL *src, ptrdiff_t size, REAL *out,
                             ptrdiff_t count)
{
    for (ptrdiff_t c = 0; c < planes; c++, src += size, out += filters * count, weight += filters * taps)
        for (ptrdiff_t i = 0; i < count; i += LANES) {
            X(vec) sum = (bias ? bias[c * filters] : 0) - (X(vec)){0};
            for (ptrdiff_t k = 0; k < taps; k++)
                sum += weight[k] * X(load_some)(src + i + flat->shift[k], flat->inside[i / LANES][k]);
            if (i + LANES <= count)
                X(store)(out + i, sum);
            else
                X(store_first)(out + i, sum, count - i);
        }
}

#endif

/* The sums of one of the `filters` of each of some planes, for windows whose rows are neighbours. False where
   there is no code for such windows, which a call with no planes asks. */
TILE_FUNCTION int X(weighted_planes)(ptrdiff_t stride, ptrdiff_t kernel_h, ptrdiff_t kernel_w, ptrdiff_t dilation_w,
                                     ptrdiff_t planes, ptrdiff_t filters, const REAL *weight,
                                     const REAL *bias, const REAL *src, ptrdiff_t height, ptrdiff_t width,
                                     ptrdiff_t top, ptrdiff_t left, REAL *out, ptrdiff_t rows, ptrdiff_t cols)
{
#if HAS_MASKED_LOADS
    if (rows < 7 && X(is_flat)(stride, kernel_h * kernel_w, rows, cols, width)) {
        X(flat) flat;
        X(make_flat)(&flat, kernel_h, kernel_w, 1, dilation_w, rows, cols, height, top, left);
        X(sum_flat)(&flat, kernel_h * kernel_w, planes, filters, weight, bias, src, height * width, out, rows * cols);
        return 1;
    }
    if (cols > NARROW_VECTORS * LANES || kernel_w > NARROW_COLUMNS)
        return 0;
    const ptrdiff_t below = stride * (rows - 1) + kernel_h - top - height;
    const int centred = top <= kernel_h / 2 && below <= kernel_h / 2;
    switch (16 * stride + kernel_h) {
        NARROW_CASE(1, 3);
        NARROW_CASE(1, 5);
        NARROW_CASE(2, 3);
        NARROW_CASE(2, 5);
    }
#endif
    return 0;
}
#undef NARROW
#undef NARROW_ROWS
#undef NARROW_CASE

#if HAS_MASKED_LOADS
/* Rows of one phase of the stride, both phases of whose columns are put together in the registers. */
TILE_INLINE void X(spread_rows)(const int at_once, ptrdiff_t taps_h, ptrdiff_t shift_h, ptrdiff_t step_h,
                                const ptrdiff_t *taps_w, const ptrdiff_t *shift_w, ptrdiff_t step_w,
                                const X(some) (*inside)[NARROW_COLUMNS], const REAL *weight, const REAL *src,
                                ptrdiff_t height, ptrdiff_t width, REAL *out, ptrdiff_t out_step, ptrdiff_t cols)
{
    const X(some) nowhere = X(lanes_inside)(0, 0);
    X(vec) sums[2][SUM_ROWS];
#pragma GCC unroll 8
    for (int n = 0; n < at_once; n++)
        sums[0][n] = sums[1][n] = (X(vec)){0};
#pragma GCC unroll 2
    for (int phase = 0; phase < 2; phase++)
        for (ptrdiff_t u = 0; u < taps_w[phase]; u++) {
            const REAL *col = src + shift_w[phase] + u * step_w;
            for (ptrdiff_t t = 0; t < taps_h; t++) {
                const X(vec) factor = *weight++ - (X(vec)){0};
                ptrdiff_t at = shift_h + t * step_h;
                const REAL *row = col + at * width;
#pragma GCC unroll 8
                for (int n = 0; n < at_once; n++, at++, row += width) {
                    KEEP_WALKING(row);
                    sums[phase][n] +=
                        factor * X(load_some)(row, at >= 0 && at < height ? inside[phase][u] : nowhere);
                }
            }
        }
#pragma GCC unroll 8
    for (int n = 0; n < at_once; n++, out += out_step) {
        X(store_first)(out, SHUFFLE(X(mask), sums[0][n], sums[1][n], ALL_LANES(IN_TURN, 0, 0)),
                       cols < LANES ? cols : LANES);
        if (cols > LANES)
            X(store_first)(out + LANES, SHUFFLE(X(mask), sums[0][n], sums[1][n], ALL_LANES(IN_TURN, 0, LANES / 2)),
                           cols - LANES);
    }
}
#endif

/* The way back at stride 2, for one phase of the rows of some planes: `rows` of them, out_step from one to the
   next. Column i of the output sees taps_w[i % 2] taps, from column i / 2 + shift_w[i % 2] of src on. False
   where there is no code for it, which a call with no planes asks. */
TILE_FUNCTION int X(spread_planes)(ptrdiff_t planes, ptrdiff_t taps_h, ptrdiff_t shift_h, ptrdiff_t step_h,
                                   const ptrdiff_t *taps_w, const ptrdiff_t *shift_w, ptrdiff_t step_w,
                                   const REAL *weight, ptrdiff_t weights, const REAL *src, ptrdiff_t height,
                                   ptrdiff_t width, REAL *out, ptrdiff_t out_plane, ptrdiff_t out_step,
                                   ptrdiff_t rows, ptrdiff_t cols)
{
#if HAS_MASKED_LOADS
    X(some) inside[2][NARROW_COLUMNS];
    if (cols > 2 * LANES || taps_w[0] > NARROW_COLUMNS || taps_w[1] > NARROW_COLUMNS)
        return 0;
    for (int phase = 0; phase < 2; phase++)
        for (ptrdiff_t u = 0; u < taps_w[phase]; u++)
            inside[phase][u] = X(lanes_inside)(shift_w[phase] + u * step_w, width);
#define SPREAD(at_once)                                                                             \
    X(spread_rows)(at_once, taps_h, shift_h + r, step_h, taps_w, shift_w, step_w, inside, weight, src, height, \
                   width, out + r * out_step, out_step, cols)
    for (ptrdiff_t c = 0; c < planes; c++, src += height * width, out += out_plane, weight += weights)
        for (ptrdiff_t r = 0; r < rows;) {
            const ptrdiff_t left = rows - r;
            if (left >= 7) {
                SPREAD(7);
                r += 7;
            } else if (left >= 4) {
                SPREAD(4);
                r += 4;
            } else if (left >= 2) {
                SPREAD(2);
                r += 2;
            } else {
                SPREAD(1);
                r += 1;
            }
        }
#undef SPREAD
    return 1;
#else
    return 0;
#endif
}

#if HAS_MASKED_LOADS
/* The dots of narrow_dots, a vector of columns after the other. */
TILE_INLINE void X(dot_rows)(const int stride, const int is_short, ptrdiff_t dilation_h, ptrdiff_t dilation_w,
                             const REAL *restrict a, ptrdiff_t rows, ptrdiff_t cols, const REAL *restrict b,
                             ptrdiff_t height, ptrdiff_t width, ptrdiff_t top, ptrdiff_t left, REAL *restrict sums)
{
    X(vec) acc[3][3], total = {0};
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++)
        acc[k / 3][k % 3] = (X(vec)){0};
    for (ptrdiff_t j = 0; j < (is_short ? 1 : cols); j += LANES) {
        const X(some) first = X(lanes_inside)(j, cols);
        X(some) inside[3][2];
#pragma GCC unroll 3
        for (int kw = 0; kw < 3; kw++)
            X(step_lanes)(stride, stride * j + kw * dilation_w - left, width, cols - j, inside[kw]);
        for (ptrdiff_t r = 0; r < rows; r++) {
            const X(vec) shared = X(load_some)(a + r * cols + j, first);
            total += shared;
#pragma GCC unroll 3
            for (int kh = 0; kh < 3; kh++) {
                const ptrdiff_t row = stride * r - top + kh * dilation_h;
                if (row < 0 || row >= height)
                    continue;
                const REAL *at = b + row * width + stride * j - left;
#pragma GCC unroll 3
                for (int kw = 0; kw < 3; kw++)
                    acc[kw][kh] += shared * X(load_steps)(stride, is_short, at + kw * dilation_w, inside[kw]);
            }
        }
    }
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++)
        X(store)(sums + k * LANES, X(load)(sums + k * LANES) + acc[k / 3][k % 3]);
    X(store)(sums + 9 * LANES, X(load)(sums + 9 * LANES) + total);
}

/* The same of a flat plane. */
TILE_INLINE void X(dot_flat)(const X(flat) *flat, const REAL *restrict a, ptrdiff_t count, const REAL *restrict b,
                             REAL *restrict sums)
{
    X(vec) acc[9], total = X(load)(sums + 9 * LANES);
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++)
        acc[k] = X(load)(sums + k * LANES);
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        const X(vec) shared = X(load_some)(a + i, X(lanes_inside)(i, count));
        total += shared;
#pragma GCC unroll 9
        for (int k = 0; k < 9; k++)
            acc[k] += shared * X(load_some)(b + i + flat->shift[k], flat->inside[i / LANES][k]);
    }
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++)
        X(store)(sums + k * LANES, acc[k]);
    X(store)(sums + 9 * LANES, total);
}
#endif

/* sums[plane][k, :] += what adds up to the dot product of a plane of a with that of b at tap k, for windows of
   3x3; sums[plane][9, :] += a. b has a plane for `filters` of a; from an image to the next it is step_a and
   step_b. False for other windows or planes. */
TILE_FUNCTION int X(narrow_dots)(ptrdiff_t stride, ptrdiff_t kernel_h, ptrdiff_t kernel_w, ptrdiff_t dilation_h,
                                 ptrdiff_t dilation_w, ptrdiff_t images, ptrdiff_t planes, ptrdiff_t filters,
                                 const REAL *restrict a, ptrdiff_t step_a, ptrdiff_t rows, ptrdiff_t cols,
                                 const REAL *restrict b, ptrdiff_t step_b, ptrdiff_t height, ptrdiff_t width,
                                 ptrdiff_t top, ptrdiff_t left, REAL *restrict sums)
{
#if HAS_MASKED_LOADS
    const ptrdiff_t count = rows * cols, size = height * width, line = 64 / (ptrdiff_t)sizeof(REAL);
    X(flat) flat;
    if (kernel_h != 3 || kernel_w != 3 || cols > (stride > 1 ? 1 : NARROW_VECTORS) * LANES || stride > 2)
        return 0;
    const int is_flat = X(is_flat)(stride, 9, rows, cols, width);
    if (is_flat)
        X(make_flat)(&flat, 3, 3, dilation_h, dilation_w, rows, cols, height, top, left);
#define DOT_ROWS(stride, is_short)                                                                  \
    X(dot_rows)(stride, is_short, dilation_h, dilation_w, from, rows, cols, seen, height, width, top, left, to)
    for (ptrdiff_t n = 0; n < images; n++, a += step_a, b += step_b)
        for (ptrdiff_t plane = 0; plane < planes; plane++) {
            const REAL *from = a + plane * count, *seen = b + plane / filters * size;
            REAL *to = sums + plane * 10 * LANES;
            for (ptrdiff_t i = 0; i < count; i += line)
                __builtin_prefetch(from + step_a + i);
            for (ptrdiff_t i = 0; i < size && plane % filters == 0; i += line)
                __builtin_prefetch(seen + step_b + i);
            if (is_flat)
                X(dot_flat)(&flat, from, count, seen, to);
            else if (stride == 1 && cols > LANES)
                DOT_ROWS(1, 0);
            else if (stride == 1)
                DOT_ROWS(1, 1);
            else if (2 * cols <= LANES)
                DOT_ROWS(2, 2);
            else
                DOT_ROWS(2, 1);
        }
#undef DOT_ROWS
    return 1;
#else
    return 0;
#endif
}

#undef NARROW_COLUMNS
#undef NARROW_VECTORS
#undef FLAT_ELEMENTS
#undef FLAT_TAPS
