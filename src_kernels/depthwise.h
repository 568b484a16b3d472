/* Depthwise convolution: one plane of an image with the few taps of its own filter.

   Each element takes part in a handful of multiply-adds only, so what counts is that it is brought into
   the L1 cache once, and that little is done around a short row. Written like tile.h, in portable vector
   types, once per dtype: this file includes itself twice. Its twin for Numba is
   fastscratch/kernels/numba_jit/depthwise_tile.py. */

#ifndef FASTSCRATCH_DEPTHWISE_H
#define FASTSCRATCH_DEPTHWISE_H

#include "tile.h"

#if defined(__clang__)
#define SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

/* Rows that are summed at once, and taps; columns that a row is taken apart into. */
#define SUM_ROWS 8
#define DOT_TAPS 9
#define MOST_STRIDE 4

/* The address of a row is that of the one before and a step. Left to itself, the compiler computes those
   of all rows ahead and keeps them on the stack, which takes another load for each load. */
#define KEEP_WALKING(pointer) __asm__("" : "+r"(pointer))

#define REAL float
#define LANES LANES_F32
#define MASK_INT int
#define X(name) PASTE(name, _f32)
#include "depthwise.h"
#undef REAL
#undef LANES
#undef MASK_INT
#undef X

#define REAL double
#define LANES LANES_F64
#define MASK_INT long long
#define X(name) PASTE(name, _f64)
#include "depthwise.h"
#undef REAL
#undef LANES
#undef MASK_INT
#undef X

#undef SHUFFLE

#elif defined(REAL)

#define TWO(f, e, s) f(e, s), f(e + 1, s)
#define FOUR(f, e, s) TWO(f, e, s), TWO(f, e + 2, s)
#define EIGHT(f, e, s) FOUR(f, e, s), FOUR(f, e + 4, s)
#define SIXTEEN(f, e, s) EIGHT(f, e, s), EIGHT(f, e + 8, s)
#if LANES == 16
#define ALL_LANES SIXTEEN
#elif LANES == 8
#define ALL_LANES EIGHT
#elif LANES == 4
#define ALL_LANES FOUR
#else
#define ALL_LANES TWO
#endif
/* Lane e of every second element of two vectors from s on; of every third of two vectors, and of those and
   a third vector; of two vectors in turn from lane s on. */
#define EVERY_SECOND(e, s) (2 * (e) + (s))
#define THIRD_OF_TWO(e, s) (3 * (e) + (s) < 2 * LANES ? 3 * (e) + (s) : 0)
#define AND_OF_LAST(e, s) (3 * (e) + (s) < 2 * LANES ? (e) : 3 * (e) + (s) - LANES)
#define IN_TURN(e, s) ((s) + (e) / 2 + (e) % 2 * LANES)

/* Vectors of every stride-th element: part[p] is src[p], src[p + stride], ... */
TILE_INLINE void X(split_vectors)(const int stride, const REAL *src, X(vec) *part)
{
    X(vec) whole[MOST_STRIDE];
#pragma GCC unroll 4
    for (int p = 0; p < stride; p++)
        whole[p] = X(load)(src + p * LANES);
    if (stride == 3) {
        const X(vec) first = SHUFFLE(X(mask), whole[0], whole[1], ALL_LANES(THIRD_OF_TWO, 0, 0));
        const X(vec) second = SHUFFLE(X(mask), whole[0], whole[1], ALL_LANES(THIRD_OF_TWO, 0, 1));
        const X(vec) third = SHUFFLE(X(mask), whole[0], whole[1], ALL_LANES(THIRD_OF_TWO, 0, 2));
        part[0] = SHUFFLE(X(mask), first, whole[2], ALL_LANES(AND_OF_LAST, 0, 0));
        part[1] = SHUFFLE(X(mask), second, whole[2], ALL_LANES(AND_OF_LAST, 0, 1));
        part[2] = SHUFFLE(X(mask), third, whole[2], ALL_LANES(AND_OF_LAST, 0, 2));
        return;
    }
    const X(vec) even = SHUFFLE(X(mask), whole[0], whole[1], ALL_LANES(EVERY_SECOND, 0, 0));
    const X(vec) odd = SHUFFLE(X(mask), whole[0], whole[1], ALL_LANES(EVERY_SECOND, 0, 1));
    part[0] = even;
    part[1] = odd;
    if (stride == 4) {
        const X(vec) next_even = SHUFFLE(X(mask), whole[2], whole[3], ALL_LANES(EVERY_SECOND, 0, 0));
        const X(vec) next_odd = SHUFFLE(X(mask), whole[2], whole[3], ALL_LANES(EVERY_SECOND, 0, 1));
        part[0] = SHUFFLE(X(mask), even, next_even, ALL_LANES(EVERY_SECOND, 0, 0));
        part[1] = SHUFFLE(X(mask), odd, next_odd, ALL_LANES(EVERY_SECOND, 0, 0));
        part[2] = SHUFFLE(X(mask), even, next_even, ALL_LANES(EVERY_SECOND, 0, 1));
        part[3] = SHUFFLE(X(mask), odd, next_odd, ALL_LANES(EVERY_SECOND, 0, 1));
    }
}

/* The columns of a row, `stride` of them to a step: column j goes to dst[part[j % stride] + j / stride]. */
TILE_INLINE void X(split_row)(const int stride, REAL *dst, const ptrdiff_t *part, const REAL *src,
                              ptrdiff_t count, int reads_on)
{
    const ptrdiff_t steps = count / stride;
    if (steps >= LANES || reads_on)
        for (ptrdiff_t i = 0; i < steps; i += LANES) {
            if (steps >= LANES && i > steps - LANES)
                i = steps - LANES;
            X(vec) split[MOST_STRIDE];
            X(split_vectors)(stride, src + i * stride, split);
#pragma GCC unroll 4
            for (int p = 0; p < stride; p++)
                X(store)(dst + part[p] + i, split[p]);
        }
    else
        for (ptrdiff_t i = 0; i < steps; i++)
            for (int p = 0; p < stride; p++)
                dst[part[p] + i] = src[i * stride + p];
    for (ptrdiff_t j = steps * stride; j < count; j++)
        dst[part[j - steps * stride] + steps] = src[j];
}

/* The rows of pad_rows, for one stride. */
TILE_INLINE void X(pad_rows_by)(const int stride, REAL *dst, ptrdiff_t dst_step, ptrdiff_t part, ptrdiff_t width,
                                const REAL *src, ptrdiff_t src_step, ptrdiff_t rows, ptrdiff_t before,
                                ptrdiff_t count, ptrdiff_t next, const REAL *readable, int is_clean)
{
    const X(vec) zero = {0};
    const ptrdiff_t line = 64 / (ptrdiff_t)sizeof(REAL);
    ptrdiff_t first[MOST_STRIDE], end[MOST_STRIDE], place[MOST_STRIDE];
#pragma GCC unroll 4
    for (int p = 0; p < stride; p++) {
        first[p] = (before - p + stride - 1) / stride;
        end[p] = (before + count - p + stride - 1) / stride;
        place[p] = (before + p) % stride * part + (before + p) / stride;
    }
    if (is_clean && count < stride * LANES)
        is_clean = 0;
    for (ptrdiff_t i = 0; i < rows; i++, dst += dst_step, src += src_step) {
        for (ptrdiff_t j = 0; j < count; j += line)
            __builtin_prefetch(src + next + j);
        /* What is too much is written over: by the elements, or with zeros behind them. */
#pragma GCC unroll 4
        for (int p = 0; p < stride && !is_clean; p++)
            for (ptrdiff_t j = 0; j < first[p]; j += LANES)
                X(store)(dst + p * part + j, zero);
        if (stride > 1)
            X(split_row)(stride, dst, place, src, count, src <= readable);
        else if (count < LANES && src <= readable)
            X(store)(dst + before, X(load)(src));
        else
            X(copy_row)(dst + before, src, count);
#pragma GCC unroll 4
        for (int p = 0; p < stride && !is_clean; p++)
            for (ptrdiff_t j = end[p]; j < width; j += LANES)
                X(store)(dst + p * part + j, zero);
    }
}

#define PAD_ROWS(stride)                                                                            \
    X(pad_rows_by)(stride, dst, dst_step, part, width, src, src_step, rows, before, count, next,    \
                   readable, is_clean)

/* dst[p*part + q] = src[p + q*stride - before] for `count` elements of src, and zeros before and behind
   up to `width`: rows with zeros around, taken apart by the stride, so that neighbouring windows see
   neighbours. A part has room for a vector behind its width.

   Where the zeros are there already (`is_clean`), only rows that are shorter than a vector, and written
   on, need them again. `next` elements behind this lies what will be copied next. Rows that do not begin
   behind `readable` may be read on behind their end. */
TILE_FUNCTION void X(pad_rows)(REAL *dst, ptrdiff_t dst_step, ptrdiff_t part, ptrdiff_t width,
                               ptrdiff_t stride, const REAL *src, ptrdiff_t src_step, ptrdiff_t rows,
                               ptrdiff_t before, ptrdiff_t count, ptrdiff_t next, const REAL *readable,
                               int is_clean)
{
    if (HAS_MASKS && stride == 1)
        X(copy_padded)(dst, dst_step, src, src_step, rows, before, count, is_clean ? 0 : width - before - count,
                       next);
    else if (stride == 1)
        PAD_ROWS(1);
    else if (stride == 2)
        PAD_ROWS(2);
    else if (stride == 3)
        PAD_ROWS(3);
    else
        PAD_ROWS(4);
}
#undef PAD_ROWS

/* dst[2*i] = even[i], dst[2*i + 1] = odd[i], for `count` elements of dst. */
TILE_FUNCTION void X(merge_row)(REAL *dst, const REAL *even, const REAL *odd, ptrdiff_t count, int writes_on)
{
    ptrdiff_t i = 0;
    if (count >= 2 * LANES || writes_on)
        for (; i + 1 < count; i += 2 * LANES) {
            if (count >= 2 * LANES && i > count - 2 * LANES)
                i = (count - 2 * LANES) / 2 * 2;
            const X(vec) low = X(load)(even + i / 2), high = X(load)(odd + i / 2);
            X(store)(dst + i, SHUFFLE(X(mask), low, high, ALL_LANES(IN_TURN, 0, 0)));
            X(store)(dst + i + LANES, SHUFFLE(X(mask), low, high, ALL_LANES(IN_TURN, 0, LANES / 2)));
        }
    else
        for (; i + 1 < count; i += 2) {
            dst[i] = even[i / 2];
            dst[i + 1] = odd[i / 2];
        }
    if (count % 2)
        dst[count - 1] = even[count / 2];
}

/* sums[r] += sum_k weight[k] * src[r*row_step + offset[k] + :] for some rows. */
TILE_INLINE void X(sum_taps)(const int rows, ptrdiff_t taps, const REAL *restrict weight,
                             const ptrdiff_t *restrict offset, const REAL *restrict src,
                             ptrdiff_t row_step, X(vec) *sums)
{
    for (ptrdiff_t k = 0; k < taps; k++) {
        const REAL *row = src + offset[k];
        const X(vec) factor = weight[k] - (X(vec)){0};
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++, row += row_step) {
            KEEP_WALKING(row);
            sums[r] += factor * X(load)(row);
        }
    }
}

/* The same for windows whose rows are neighbours, `gap` rows from one to the next: down a column of
   taps, each row of src is loaded once for all the sums that it is part of. Most loads cross a line of
   the cache, and take longer than a multiply-add: 5x5 took half the time. */
TILE_INLINE void X(sum_columns)(const int rows, const int gap, const int kernel_h, ptrdiff_t taps,
                                const REAL *restrict weight, const ptrdiff_t *restrict offset,
                                const REAL *restrict src, ptrdiff_t src_step, X(vec) *sums)
{
    for (ptrdiff_t k = 0; k < taps; k += kernel_h) {
        const REAL *row = src + offset[k];
        X(vec) factor[7];
#pragma GCC unroll 8
        for (int kh = 0; kh < kernel_h; kh++)
            factor[kh] = weight[k + kh] - (X(vec)){0};
#pragma GCC unroll 32
        for (int i = 0; i < gap * (rows - 1) + kernel_h; i++, row += src_step) {
            KEEP_WALKING(row);
            const X(vec) value = X(load)(row);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                if (i - gap * r >= 0 && i - gap * r < kernel_h)
                    sums[r] += factor[i - gap * r] * value;
        }
    }
}

/* Blocks of `at_once` rows, a vector wide; what is left over overlaps the block before it. */
TILE_INLINE void X(sum_blocks)(const int at_once, const int gap, const int kernel_h, ptrdiff_t taps,
                               const REAL *weight, const ptrdiff_t *offset, REAL start, const REAL *src,
                               ptrdiff_t row_step, REAL *out, ptrdiff_t out_step, ptrdiff_t rows,
                               ptrdiff_t cols, ptrdiff_t spill)
{
    for (ptrdiff_t r = 0; r < rows; r += at_once) {
        if (r > rows - at_once)
            r = rows - at_once;
        for (ptrdiff_t i = 0; i < cols; i += LANES) {
            if (cols >= LANES && i > cols - LANES)
                i = cols - LANES;
            const REAL *from = src + r * row_step + i;
            X(vec) sums[SUM_ROWS];
#pragma GCC unroll 8
            for (int n = 0; n < at_once; n++)
                sums[n] = start - (X(vec)){0};
            if (kernel_h)
                X(sum_columns)(at_once, gap, kernel_h, taps, weight, offset, from,
                               gap == 2 ? row_step / 2 : row_step, sums);
            else
                X(sum_taps)(at_once, taps, weight, offset, from, row_step, sums);
            REAL *to = out + r * out_step + i;
            if (cols >= LANES || (r + at_once <= spill && !HAS_MASKS)) {
#pragma GCC unroll 8
                for (int n = 0; n < at_once; n++)
                    X(store)(to + n * out_step, sums[n]);
                continue;
            }
#pragma GCC unroll 8
            for (int n = 0; n < at_once; n++)
                X(store_first)(to + n * out_step, sums[n], cols);
        }
    }
}

#define SUMS(at_once, gap, kernel_h)                                                                \
    X(sum_blocks)(at_once, gap, kernel_h, taps, weight, offset, start, src, row_step, out, out_step,\
                  rows, cols, spill)
#define SUMS_CASE(gap, kernel_h)                                                                    \
    case (gap) * 16 + (kernel_h):                                                                   \
        if (at_once == 8 && kernel_h < 7)                                                           \
            SUMS(8, gap, kernel_h);                                                                 \
        else if (at_once >= 7)                                                                      \
            SUMS(7, gap, kernel_h);                                                                 \
        else                                                                                        \
            SUMS(4, gap, kernel_h);                                                                 \
        return

/* out[r*out_step + i] = start + sum_k weight[k] * src[r*row_step + offset[k] + i]

   for `rows` rows of `cols` elements. If gap > 0, the taps come in columns of kernel_h, each of which lies
   row_step/gap behind the one above it. Rows shorter than a vector are written on into the row behind them,
   which is written later, where it may be: in the first `spill` rows. */
TILE_FUNCTION void X(weighted_sums)(int gap, int kernel_h, ptrdiff_t taps, const REAL *weight,
                                    const ptrdiff_t *offset, REAL start,
                                    const REAL *src, ptrdiff_t row_step, REAL *out, ptrdiff_t out_step,
                                    ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t spill)
{
    /* Seven or eight sums hide the latency of their additions; four may compute fewer in vain. */
    const ptrdiff_t eights = (rows + 7) / 8 * 8, sevens = (rows + 6) / 7 * 7, fours = (rows + 3) / 4 * 4;
    const int at_once = rows >= 8 && eights <= sevens ? 8 : rows >= 7 && 4 * sevens <= 5 * fours ? 7 : 4;
    if (rows < 4) {
        SUMS(1, 0, 0);
        return;
    }
    switch (gap * 16 + kernel_h) {
        SUMS_CASE(1, 2);
        SUMS_CASE(1, 3);
        SUMS_CASE(1, 5);
        SUMS_CASE(1, 7);
        SUMS_CASE(2, 3);
        SUMS_CASE(2, 5);
        SUMS_CASE(2, 7);
    }
    if (at_once == 8)
        SUMS(8, 0, 0);
    else if (at_once == 7)
        SUMS(7, 0, 0);
    else
        SUMS(4, 0, 0);
}
#undef SUMS
#undef SUMS_CASE

/* Columns of a window that weighted_planes can have, and vectors of a row. */
#define NARROW_COLUMNS 8
#define NARROW_VECTORS (HAS_MASKS ? 1 : 4)

/* The lanes of `cols` elements of a row that are in a plane where they lie `shift` columns further. */
TILE_INLINE X(some) X(narrow_lanes)(ptrdiff_t shift, ptrdiff_t width, ptrdiff_t cols)
{
    return X(lanes_inside)(shift, width < cols + shift ? width : cols + shift);
}

#if HAS_MASKED_LOADS
/* Blocks of rows of planes of few vectors a row, read where they lie: what is outside is masked away.

   Windows reach at most `reach` rows beyond a plane. Rows that are surely in it need no mask of their
   own: masks of all rows take more registers than there are, and planes of 7x7 or 14x14 1.2 times as long.
   The last vector of a row overlaps the one before. Where parts of vectors are slow to store, rows shorter
   than one are written on into what is written later. */
TILE_INLINE void X(sum_narrow)(const int is_short, const int at_once, const int kernel_h, const int reach, ptrdiff_t kernel_w,
                               ptrdiff_t dilation_w, ptrdiff_t planes, ptrdiff_t filters, const REAL *weight,
                               const REAL *bias, const REAL *src, ptrdiff_t height, ptrdiff_t width, ptrdiff_t top,
                               ptrdiff_t left, REAL *out, ptrdiff_t rows, ptrdiff_t cols)
{
    X(some) inside[NARROW_VECTORS * NARROW_COLUMNS];
    const X(some) nowhere = X(lanes_inside)(0, 0);
    const ptrdiff_t last = is_short ? 0 : cols - LANES;
    for (ptrdiff_t j = 0, at = 0; j < last + LANES; j += LANES)
        for (ptrdiff_t kw = 0; kw < kernel_w; kw++)
            inside[at++] = X(narrow_lanes)((j < last ? j : last) + kw * dilation_w - left, width, cols);
    for (ptrdiff_t c = 0; c < planes; c++) {
        /* What the last row writes on is in the next plane, if that is large enough. */
        const int is_followed = filters == 1 && c < planes - 1 && (rows + 1) * cols >= LANES;
        const ptrdiff_t spill = is_followed ? rows : rows - (LANES + cols - 1) / cols;
        for (ptrdiff_t r = 0; r < rows; r += at_once) {
            if (r > rows - at_once)
                r = rows - at_once;
            for (ptrdiff_t j = 0; j < last + LANES; j += LANES) {
                const X(some) *here = inside + j / LANES * kernel_w;
                const ptrdiff_t col = j < last ? j : last;
                X(vec) sums[SUM_ROWS];
#pragma GCC unroll 8
                for (int n = 0; n < at_once; n++)
                    sums[n] = (bias ? bias[c * filters] : 0) - (X(vec)){0};
                for (ptrdiff_t kw = 0; kw < kernel_w; kw++) {
                    const REAL *row = src + (r - top) * width + col + kw * dilation_w - left;
                    X(vec) factor[7];
#pragma GCC unroll 8
                    for (int kh = 0; kh < kernel_h; kh++)
                        factor[kh] = weight[kw * kernel_h + kh] - (X(vec)){0};
#pragma GCC unroll 16
                    for (int i = 0; i < at_once + kernel_h - 1; i++, row += width) {
                        const ptrdiff_t at = r - top + i;
                        const int is_sure = i >= reach && i < at_once + kernel_h - 1 - reach;
                        const X(vec) value =
                            X(load_some)(row, is_sure || (at >= 0 && at < height) ? here[kw] : nowhere);
#pragma GCC unroll 8
                        for (int n = 0; n < at_once; n++)
                            if (i - n >= 0 && i - n < kernel_h)
                                sums[n] += factor[i - n] * value;
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
#endif

#define NARROW(is_short, at_once, kernel_h, reach)                                                          \
    X(sum_narrow)(is_short, at_once, kernel_h, reach, kernel_w, dilation_w, planes, filters, weight, bias, src, height,     \
                  width, top, left, out, rows, cols)
#define NARROW_CASE(kernel_h)                                                                       \
    case kernel_h:                                                                                  \
        if (rows < 7 && cols > LANES)                                                               \
            NARROW(0, 4, kernel_h, 4 + kernel_h);                                                   \
        else if (rows < 7)                                                                          \
            NARROW(1, 4, kernel_h, 4 + kernel_h);                                                   \
        else if (cols > LANES && top <= (kernel_h) / 2 && below <= (kernel_h) / 2)                  \
            NARROW(0, 7, kernel_h, (kernel_h) / 2);                                                 \
        else if (cols > LANES)                                                                      \
            NARROW(0, 7, kernel_h, 7 + kernel_h);                                                   \
        else if (top <= (kernel_h) / 2 && below <= (kernel_h) / 2)                                  \
            NARROW(1, 7, kernel_h, (kernel_h) / 2);                                                 \
        else                                                                                        \
            NARROW(1, 7, kernel_h, 7 + kernel_h);                                                   \
        return 1

/* The same for one of the `filters` of each of some planes, with rows of one to a few vectors, from src as it
   is: without the copy that weighted_sums needs, whose loads wait for what was just stored, a 7x7 plane takes
   half the time. False where there are no masks or no code for such windows, which a call with no planes
   asks. */
TILE_FUNCTION int X(weighted_planes)(ptrdiff_t kernel_h, ptrdiff_t kernel_w, ptrdiff_t dilation_w,
                                     ptrdiff_t planes, ptrdiff_t filters, const REAL *weight,
                                     const REAL *bias, const REAL *src, ptrdiff_t height, ptrdiff_t width, ptrdiff_t top,
                                     ptrdiff_t left, REAL *out, ptrdiff_t rows, ptrdiff_t cols)
{
#if HAS_MASKED_LOADS
    const ptrdiff_t below = rows + kernel_h - 1 - top - height;
    if (cols > NARROW_VECTORS * LANES || rows < 4 || kernel_w > NARROW_COLUMNS)
        return 0;
    switch (kernel_h) {
        NARROW_CASE(3);
        NARROW_CASE(5);
    }
#endif
    return 0;
}
#undef NARROW
#undef NARROW_CASE

/* sums[k, :] += sum over rows r and vectors i of a[r, i] * b[r*b_step + offset[k] + i]

   for some taps; if `last`, sums[taps, :] += a too. Lanes add up to the dot product of a with b seen
   through a tap. The last vector of a row overlaps the one before, whose lanes are taken out of it. */
TILE_INLINE void X(lane_dots_body)(const int taps, const int is_short, const REAL *restrict a,
                                   ptrdiff_t a_step, const REAL *restrict b, ptrdiff_t b_step,
                                   const ptrdiff_t *restrict offset, ptrdiff_t rows, ptrdiff_t cols,
                                   ptrdiff_t next, int last, REAL *restrict sums)
{
    X(vec) acc[DOT_TAPS], total = {0};
#pragma GCC unroll 9
    for (int k = 0; k < taps; k++)
        acc[k] = (X(vec)){0};
    const ptrdiff_t whole = is_short ? 0 : cols / LANES * LANES, tail = cols - whole;
    X(mask) inside;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        inside[i] = (is_short ? i < tail : i >= LANES - tail) ? -1 : 0;
    for (ptrdiff_t r = 0; r < rows; r++, a += a_step, b += b_step) {
        for (ptrdiff_t j = 0; j < cols; j += 64 / (ptrdiff_t)sizeof(REAL))
            __builtin_prefetch(a + next + j);
        for (ptrdiff_t j = 0; j < whole; j += LANES) {
            const X(vec) shared = X(load)(a + j);
#pragma GCC unroll 9
            for (int k = 0; k < taps; k++)
                acc[k] += shared * X(load)(b + offset[k] + j);
            total += shared;
        }
        if (tail) {
            const ptrdiff_t j = is_short ? 0 : cols - LANES;
            const X(vec) shared = (X(vec))((X(mask))X(load)(a + j) & inside);
#pragma GCC unroll 9
            for (int k = 0; k < taps; k++) {
                X(vec) value = X(load)(b + offset[k] + j);
                /* What lies behind a short row may be infinite; no window of the row sees it. */
                if (is_short)
                    value = (X(vec))((X(mask))value & inside);
                acc[k] += shared * value;
            }
            total += shared;
        }
    }
#pragma GCC unroll 9
    for (int k = 0; k < taps; k++)
        X(store)(sums + k * LANES, X(load)(sums + k * LANES) + acc[k]);
    if (last)
        X(store)(sums + taps * LANES, X(load)(sums + taps * LANES) + total);
}

#define DOTS_CASE(n)                                                                                \
    case n:                                                                                         \
        if (cols < LANES)                                                                           \
            X(lane_dots_body)(n, 1, a, a_step, b, b_step, offset, rows, cols, next, taps == n, sums);   \
        else                                                                                        \
            X(lane_dots_body)(n, 0, a, a_step, b, b_step, offset, rows, cols, next, taps == n, sums);   \
        break

/* sums[k, :] += what adds up to the dot product of a with b at offset[k]; sums[taps, :] += a. Evenly many
   taps at a time, nine at most. */
TILE_FUNCTION void X(lane_dots)(ptrdiff_t taps, const REAL *a, ptrdiff_t a_step, const REAL *b,
                                ptrdiff_t b_step, const ptrdiff_t *offset, ptrdiff_t rows, ptrdiff_t cols,
                                ptrdiff_t next, REAL *sums)
{
    for (ptrdiff_t groups = (taps + DOT_TAPS - 1) / DOT_TAPS; groups > 0; groups--) {
        const ptrdiff_t n = (taps + groups - 1) / groups;
        switch (n) {
            DOTS_CASE(1);
            DOTS_CASE(2);
            DOTS_CASE(3);
            DOTS_CASE(4);
            DOTS_CASE(5);
            DOTS_CASE(6);
            DOTS_CASE(7);
            DOTS_CASE(8);
            DOTS_CASE(9);
        }
        taps -= n;
        offset += n;
        sums += n * LANES;
    }
}
#undef DOTS_CASE

#if HAS_MASKED_LOADS
/* The dots of narrow_dots, a vector of columns after the other. */
TILE_INLINE void X(narrow_dots_body)(const int is_short, ptrdiff_t dilation_h, ptrdiff_t dilation_w,
                                     const REAL *restrict a, ptrdiff_t rows, ptrdiff_t cols,
                                     const REAL *restrict b, ptrdiff_t height, ptrdiff_t width, ptrdiff_t top,
                                     ptrdiff_t left, REAL *restrict sums)
{
    X(vec) acc[3][3], total = {0};
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++)
        acc[k / 3][k % 3] = (X(vec)){0};
    for (ptrdiff_t j = 0; j < (is_short ? 1 : cols); j += LANES) {
        const X(some) first = X(lanes_inside)(j, cols);
        X(some) inside[3];
#pragma GCC unroll 3
        for (int kw = 0; kw < 3; kw++)
            inside[kw] = X(narrow_lanes)(j + kw * dilation_w - left, width, cols - j);
        for (ptrdiff_t r = 0; r < rows; r++) {
            const X(vec) shared = X(load_some)(a + r * cols + j, first);
            total += shared;
#pragma GCC unroll 3
            for (int kh = 0; kh < 3; kh++) {
                const ptrdiff_t row = r - top + kh * dilation_h;
                if (row < 0 || row >= height)
                    continue;
#pragma GCC unroll 3
                for (int kw = 0; kw < 3; kw++)
                    acc[kw][kh] += shared * X(load_some)(b + row * width + j + kw * dilation_w - left, inside[kw]);
            }
        }
    }
#pragma GCC unroll 9
    for (int k = 0; k < 9; k++)
        X(store)(sums + k * LANES, X(load)(sums + k * LANES) + acc[k / 3][k % 3]);
    X(store)(sums + 9 * LANES, X(load)(sums + 9 * LANES) + total);
}
#endif

/* lane_dots of a whole plane for windows of 3x3 and rows of one to a few vectors, from b as it is. False
   where there are no masks, or for other planes. */
TILE_FUNCTION int X(narrow_dots)(ptrdiff_t kernel_h, ptrdiff_t kernel_w, ptrdiff_t dilation_h,
                                 ptrdiff_t dilation_w, const REAL *restrict a, ptrdiff_t rows,
                                 ptrdiff_t cols, const REAL *restrict b, ptrdiff_t height, ptrdiff_t width,
                                 ptrdiff_t top, ptrdiff_t left, REAL *restrict sums)
{
#if HAS_MASKED_LOADS
    if (kernel_h != 3 || kernel_w != 3 || cols > NARROW_VECTORS * LANES)
        return 0;
    if (cols > LANES)
        X(narrow_dots_body)(0, dilation_h, dilation_w, a, rows, cols, b, height, width, top, left, sums);
    else
        X(narrow_dots_body)(1, dilation_h, dilation_w, a, rows, cols, b, height, width, top, left, sums);
    return 1;
#else
    return 0;
#endif
}

TILE_FUNCTION REAL X(sum_vector)(const REAL *p) { return X(sum_lanes)(X(load)(p)); }

#undef TWO
#undef FOUR
#undef EIGHT
#undef SIXTEEN
#undef ALL_LANES
#undef EVERY_SECOND
#undef THIRD_OF_TWO
#undef AND_OF_LAST
#undef IN_TURN

#endif
