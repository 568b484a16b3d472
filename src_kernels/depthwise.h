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

TILE_FUNCTION REAL X(sum_vector)(const REAL *p) { return X(sum_lanes)(X(load)(p)); }

#include "narrow_planes.h"
#include "planes_abreast.h"

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
