/* Pooling by vectors: blocks of windows of a row, one window to a lane.

   Written like tile.h, in portable vector types, once per dtype: this file includes itself twice. Its
   twin for Numba is fastscratch/kernels/numba_jit/pool_tile.py. */

#ifndef FASTSCRATCH_POOL_TILE_H
#define FASTSCRATCH_POOL_TILE_H

#include "tile.h"

/* Half of a large vector: rows are short, and pooling waits for memory. */
#if FASTSCRATCH_VECTOR_BYTES < 32
#define POOL_BYTES FASTSCRATCH_VECTOR_BYTES
#else
#define POOL_BYTES 32
#endif

/* The indices of a shuffle are as wide as its elements. */
#if defined(__clang__)
#define SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

typedef unsigned char pool_bytes __attribute__((vector_size(POOL_BYTES)));

#define TIMES4(i) i, i, i, i
#define TIMES8(i) TIMES4(i), TIMES4(i)

#define REAL float
#define LANES (POOL_BYTES / 4)
#define MASK_INT int
#define BYTE_EACH 0x01010101
/* As many bytes as there are lanes in all, and in 16 bytes of a vector. */
#if POOL_BYTES == 32
#define ALL_BYTES long long
#else
#define ALL_BYTES int
#endif
#define SOME_BYTES int
#define X(name) PASTE(name, _f32)
#include "pool_tile.h"
#undef REAL
#undef LANES
#undef MASK_INT
#undef BYTE_EACH
#undef ALL_BYTES
#undef SOME_BYTES
#undef X

#define REAL double
#define LANES (POOL_BYTES / 8)
#define MASK_INT long long
#define BYTE_EACH 0x0101010101010101
#if POOL_BYTES == 32
#define ALL_BYTES int
#else
#define ALL_BYTES short
#endif
#define SOME_BYTES short
#define X(name) PASTE(name, _f64)
#include "pool_tile.h"
#undef REAL
#undef LANES
#undef MASK_INT
#undef BYTE_EACH
#undef ALL_BYTES
#undef SOME_BYTES
#undef X

#elif defined(REAL)

typedef REAL X(pool_vec) __attribute__((vector_size(POOL_BYTES)));
typedef MASK_INT X(pool_mask) __attribute__((vector_size(POOL_BYTES)));
/* Memory as the kernels get it: aligned to the item only. */
typedef REAL X(pool_loose) __attribute__((vector_size(POOL_BYTES), aligned(sizeof(REAL)), may_alias));
typedef int X(pool_ints) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef ALL_BYTES X(all_bytes) __attribute__((aligned(1), may_alias));
typedef SOME_BYTES X(some_bytes) __attribute__((aligned(1), may_alias));
typedef ALL_BYTES X(many_all_bytes) __attribute__((vector_size(POOL_BYTES)));
typedef SOME_BYTES X(many_some_bytes) __attribute__((vector_size(POOL_BYTES)));

/* EVEN and ODD take two vectors apart. EVEN_BEHIND is EVEN for a second vector that starts an element
   early, so that it does not end behind the last element. All three stay within 16 bytes of their
   vectors, where a shuffle is one instruction; IN_ORDER then brings the lanes into order. REPEAT gives
   each lane as many copies of its byte as it has room for, of a vector full of all lanes' bytes; FIRST
   puts the first byte of each lane to the front of 16 bytes. */
#if LANES == 8
#define EVEN 0, 2, 8, 10, 4, 6, 12, 14
#define ODD 1, 3, 9, 11, 5, 7, 13, 15
#define EVEN_BEHIND 0, 2, 9, 11, 4, 6, 13, 15
#define IN_ORDER 0, 1, 4, 5, 2, 3, 6, 7
#define LOWER_PAIRS 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER_PAIRS 4, 12, 5, 13, 6, 14, 7, 15
#define REPEAT TIMES4(0), TIMES4(1), TIMES4(2), TIMES4(3), TIMES4(20), TIMES4(21), TIMES4(22), TIMES4(23)
#elif LANES == 4 && POOL_BYTES == 32
#define EVEN 0, 4, 2, 6
#define ODD 1, 5, 3, 7
#define EVEN_BEHIND 0, 5, 2, 7
#define IN_ORDER 0, 2, 1, 3
#define LOWER_PAIRS 0, 4, 1, 5
#define UPPER_PAIRS 2, 6, 3, 7
#define REPEAT TIMES8(0), TIMES8(1), TIMES8(18), TIMES8(19)
#elif LANES == 4
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define EVEN_BEHIND 0, 2, 5, 7
#define IN_ORDER 0, 1, 2, 3
#define LOWER_PAIRS 0, 4, 1, 5
#define UPPER_PAIRS 2, 6, 3, 7
#define REPEAT TIMES4(0), TIMES4(1), TIMES4(2), TIMES4(3)
#else
#define EVEN 0, 2
#define ODD 1, 3
#define EVEN_BEHIND 0, 3
#define IN_ORDER 0, 1
#define LOWER_PAIRS 0, 2
#define UPPER_PAIRS 1, 3
#define REPEAT TIMES8(0), TIMES8(1)
#endif
#if LANES == 8
#define FIRST 0, 4, 8, 12, TIMES4(0), TIMES8(0), 16, 20, 24, 28, TIMES4(16), TIMES8(16)
#elif POOL_BYTES == 32
#define FIRST 0, 8, 0, 0, TIMES4(0), TIMES8(0), 16, 24, 16, 16, TIMES4(16), TIMES8(16)
#elif LANES == 4
#define FIRST 0, 4, 8, 12, TIMES4(0), TIMES8(0)
#else
#define FIRST 0, 8, 0, 0, TIMES4(0), TIMES8(0)
#endif

TILE_INLINE X(pool_vec) X(pool_load)(const REAL *p) { return *(const X(pool_loose) *)p; }
TILE_INLINE void X(pool_store)(REAL *p, X(pool_vec) v) { *(X(pool_loose) *)p = v; }

/* Elements p[i * step], in the order of EVEN if the stride, which is the step where it is 1 or 2, is 2. */
TILE_INLINE X(pool_vec) X(load_steps)(const int stride, ptrdiff_t step, const REAL *p)
{
    if (stride == 1)
        return X(pool_load)(p);
    if (stride == 2) {
        const X(pool_vec) low = X(pool_load)(p), high = X(pool_load)(p + LANES - 1);
        return SHUFFLE(X(pool_mask), low, high, EVEN_BEHIND);
    }
    X(pool_vec) gathered;
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++)
        gathered[i] = p[i * step];
    return gathered;
}

/* A NaN is larger than everything; the first of equals wins. */
TILE_INLINE void X(keep_larger)(X(pool_vec) value, int k, X(pool_vec) *best, X(pool_mask) *which)
{
    const X(pool_mask) better = ~(value <= *best) & (*best == *best), number = (X(pool_mask)){0} + k;
    *best = (X(pool_vec))((better & (X(pool_mask))value) | (~better & (X(pool_mask))*best));
    *which = (better & number) | (~better & *which);
}

/* Byte i = lane i. __builtin_convertvector becomes four instructions an element (gcc 12): forward and
   backward took 2 and 4 times as long with it. */
TILE_INLINE void X(store_bytes)(unsigned char *p, X(pool_mask) lanes)
{
    const pool_bytes bytes = (pool_bytes)lanes;
    const X(many_some_bytes) halves = (X(many_some_bytes))SHUFFLE(pool_bytes, bytes, bytes, FIRST);
#pragma GCC unroll 2
    for (int half = 0; half < POOL_BYTES / 16; half++)
        ((X(some_bytes) *)p)[half] = halves[half * (int)(16 / sizeof(SOME_BYTES))];
}

/* Lane i = BYTE_EACH times byte i. */
TILE_INLINE X(pool_mask) X(load_bytes)(const unsigned char *p)
{
    const pool_bytes bytes = (pool_bytes)((X(many_all_bytes)){0} + *(const X(all_bytes) *)p);
    return (X(pool_mask))SHUFFLE(pool_bytes, bytes, bytes, REPEAT);
}

/* The largest elements of LANES windows and which they are. Element (kh, kw) lies at kh*row_step +
   kw*col_step from a window's first and has the number first + kh*kernel_w + kw. */
TILE_INLINE void X(largest_block)(const int stride, const int kernel_h, const int kernel_w, const REAL *x,
                                  ptrdiff_t step, ptrdiff_t row_step, ptrdiff_t col_step, int first,
                                  REAL *y, unsigned char *small, int *large)
{
    X(pool_vec) best = X(load_steps)(stride, step, x);
    X(pool_mask) which = (X(pool_mask)){0} + first;
#pragma GCC unroll 3
    for (int kh = 0; kh < kernel_h; kh++) {
        const REAL *row = x + kh * row_step;
        const int k = first + kh * kernel_w, pairs = stride == 2 && col_step == 1 ? kernel_w / 2 * 2 : 0;
        int kw = 0;
#pragma GCC unroll 2
        for (; kw < pairs; kw += 2) {
            const X(pool_vec) low = X(pool_load)(row + kw), high = X(pool_load)(row + kw + LANES);
            const X(pool_vec) even = SHUFFLE(X(pool_mask), low, high, EVEN);
            if (kh + kw == 0)
                best = even;
            else
                X(keep_larger)(even, k + kw, &best, &which);
            X(keep_larger)(SHUFFLE(X(pool_mask), low, high, ODD), k + kw + 1, &best, &which);
        }
#pragma GCC unroll 3
        for (; kw < kernel_w; kw++)
            if (kh + kw > 0)
                X(keep_larger)(X(load_steps)(stride, step, row + kw * col_step), k + kw, &best, &which);
    }
    if (stride == 2) {
        best = SHUFFLE(X(pool_mask), best, best, IN_ORDER);
        which = SHUFFLE(X(pool_mask), which, which, IN_ORDER);
    }
    X(pool_store)(y, best);
    if (small)
        X(store_bytes)(small, which);
    else
        *(X(pool_ints) *)large = __builtin_convertvector(which, X(pool_ints));
}

/* The sums of LANES windows over the divisor: first along the columns. */
TILE_INLINE void X(mean_block)(const int stride, const int kernel_h, const int kernel_w, const REAL *x,
                               ptrdiff_t row_step, REAL divisor, REAL *y)
{
    X(pool_vec) total = {0};
    const int pairs = stride == 2 ? kernel_w / 2 * 2 : 0;
    int kw = 0;
#pragma GCC unroll 2
    for (; kw < pairs; kw += 2) {
        X(pool_vec) low = X(pool_load)(x + kw), high = X(pool_load)(x + kw + LANES);
#pragma GCC unroll 3
        for (int kh = 1; kh < kernel_h; kh++) {
            low += X(pool_load)(x + kh * row_step + kw);
            high += X(pool_load)(x + kh * row_step + kw + LANES);
        }
        const X(pool_vec) pair = SHUFFLE(X(pool_mask), low, high, EVEN) + SHUFFLE(X(pool_mask), low, high, ODD);
        total = kw == 0 ? pair : total + pair;
    }
#pragma GCC unroll 3
    for (; kw < kernel_w; kw++) {
        X(pool_vec) low = X(pool_load)(x + kw), high = stride == 2 ? X(pool_load)(x + kw + LANES - 1) : low;
#pragma GCC unroll 3
        for (int kh = 1; kh < kernel_h; kh++) {
            low += X(pool_load)(x + kh * row_step + kw);
            if (stride == 2)
                high += X(pool_load)(x + kh * row_step + kw + LANES - 1);
        }
        const X(pool_vec) column = stride == 2 ? SHUFFLE(X(pool_mask), low, high, EVEN_BEHIND) : low;
        total = kw == 0 ? column : total + column;
    }
    if (stride == 2)
        total = SHUFFLE(X(pool_mask), total, total, IN_ORDER);
    X(pool_store)(y, total / divisor);
}

/* Blocks that cover `rows` rows of `count` windows. A row's last block overlaps the one before; if
   there is none, it reads on behind the row, and what is behind y stays as it is. */
TILE_INLINE void X(largest_rows)(const int stride, const int kernel_h, const int kernel_w, const REAL *x,
                                 ptrdiff_t x_step, ptrdiff_t rows, ptrdiff_t count, ptrdiff_t step,
                                 ptrdiff_t row_step, ptrdiff_t col_step, int first, REAL *y,
                                 unsigned char *small, int *large, ptrdiff_t y_step)
{
    for (; rows > 0; rows--) {
        if (count < LANES) {
            REAL some_y[LANES];
            unsigned char some_small[LANES];
            int some_large[LANES];
            X(largest_block)(stride, kernel_h, kernel_w, x, step, row_step, col_step, first, some_y,
                             small ? some_small : NULL, some_large);
            for (ptrdiff_t i = 0; i < count; i++) {
                y[i] = some_y[i];
                if (small)
                    small[i] = some_small[i];
                else
                    large[i] = some_large[i];
            }
        }
        for (ptrdiff_t i = 0; i < count && count >= LANES; i += LANES) {
            if (i > count - LANES)
                i = count - LANES;
            X(largest_block)(stride, kernel_h, kernel_w, x + i * step, step, row_step, col_step, first,
                             y + i, small ? small + i : NULL, small ? NULL : large + i);
        }
        x += x_step;
        y += y_step;
        if (small)
            small += y_step;
        else
            large += y_step;
    }
}

#define LARGEST(stride, kernel_h, kernel_w, col_step)                                               \
    X(largest_rows)(stride, kernel_h, kernel_w, x, x_step, rows, count, step, row_step, col_step,   \
                    first, y, small, large, y_step)

/* y, argmax = the largest elements of the windows at x + row*x_step + i*step; argmax goes to `small`
   or `large`, the other is NULL. */
TILE_FUNCTION void X(largest_of_windows)(const REAL *x, ptrdiff_t x_step, ptrdiff_t rows, ptrdiff_t count,
                                         ptrdiff_t step, int kernel_h, int kernel_w, ptrdiff_t row_step,
                                         ptrdiff_t col_step, int first, REAL *y, unsigned char *small,
                                         int *large, ptrdiff_t y_step)
{
    const int square = col_step == 1 && small && kernel_h == kernel_w ? kernel_w : 0;
    if (step == 2 && square == 2)
        LARGEST(2, 2, 2, 1);
    else if (step == 2 && square == 3)
        LARGEST(2, 3, 3, 1);
    else if (step == 1 && square == 3)
        LARGEST(1, 3, 3, 1);
    else if (step == 1 && square == 2)
        LARGEST(1, 2, 2, 1);
    else if (step == 2)
        LARGEST(2, kernel_h, kernel_w, col_step);
    else if (step == 1)
        LARGEST(1, kernel_h, kernel_w, col_step);
    else
        LARGEST(0, kernel_h, kernel_w, col_step);
}
#undef LARGEST

TILE_INLINE void X(mean_rows)(const int stride, const int kernel_h, const int kernel_w, const REAL *x,
                              ptrdiff_t x_step, ptrdiff_t rows, ptrdiff_t count, ptrdiff_t row_step,
                              REAL divisor, REAL *y, ptrdiff_t y_step)
{
    for (; rows > 0; rows--) {
        if (count < LANES) {
            REAL some_y[LANES];
            X(mean_block)(stride, kernel_h, kernel_w, x, row_step, divisor, some_y);
            for (ptrdiff_t i = 0; i < count; i++)
                y[i] = some_y[i];
        }
        for (ptrdiff_t i = 0; i < count && count >= LANES; i += LANES) {
            if (i > count - LANES)
                i = count - LANES;
            X(mean_block)(stride, kernel_h, kernel_w, x + i * stride, row_step, divisor, y + i);
        }
        x += x_step;
        y += y_step;
    }
}

/* y = the means of the windows at x + row*x_step + i*stride; the stride is 1 or 2. */
TILE_FUNCTION void X(means_of_windows)(const REAL *x, ptrdiff_t x_step, ptrdiff_t rows, ptrdiff_t count,
                                       int stride, int kernel_h, int kernel_w, ptrdiff_t row_step,
                                       REAL divisor, REAL *y, ptrdiff_t y_step)
{
    const int square = kernel_h == kernel_w ? kernel_w : 0;
    if (stride == 2 && square == 2)
        X(mean_rows)(2, 2, 2, x, x_step, rows, count, row_step, divisor, y, y_step);
    else if (stride == 2 && square == 3)
        X(mean_rows)(2, 3, 3, x, x_step, rows, count, row_step, divisor, y, y_step);
    else if (stride == 1 && square == 3)
        X(mean_rows)(1, 3, 3, x, x_step, rows, count, row_step, divisor, y, y_step);
    else if (stride == 1 && square == 2)
        X(mean_rows)(1, 2, 2, x, x_step, rows, count, row_step, divisor, y, y_step);
    else if (stride == 2)
        X(mean_rows)(2, kernel_h, kernel_w, x, x_step, rows, count, row_step, divisor, y, y_step);
    else
        X(mean_rows)(1, kernel_h, kernel_w, x, x_step, rows, count, row_step, divisor, y, y_step);
}

/* The way back: a block is `stride` rows of `stride` vectors of dx, and gathers from all the windows
   that cover it. Window (dh, dw), counted from the block's own, covers element (jh, jw) of the
   block's stride x stride with its element

       kh = jh + top - stride*dh        kw = jw + left - stride*dw

   Windows come in row-major order, as in a loop over windows that adds to what each covers.
   With argmax, only those whose argmax is kh*kernel_w + kw give; a select, not a product, so that a
   NaN goes nowhere else. */
TILE_INLINE void X(collect_block)(const int stride, const int kernel_h, const int kernel_w, const int top,
                                  const int left, const REAL *dout, const unsigned char *argmax,
                                  ptrdiff_t dout_step, REAL divisor, X(pool_vec) sums[2][2])
{
#pragma GCC unroll 2
    for (int jh = 0; jh < 2; jh++)
        sums[jh][0] = sums[jh][1] = (X(pool_vec)){0};
#pragma GCC unroll 3
    for (int dh = -((kernel_h - 1 - top) / stride); dh <= (stride - 1 + top) / stride; dh++)
#pragma GCC unroll 3
        for (int dw = -((kernel_w - 1 - left) / stride); dw <= (stride - 1 + left) / stride; dw++) {
            X(pool_vec) value = X(pool_load)(dout + dh * dout_step + dw);
            X(pool_mask) which = {0};
            if (argmax)
                which = X(load_bytes)(argmax + dh * dout_step + dw);
            else if (divisor != 1)
                value /= divisor;
#pragma GCC unroll 2
            for (int jh = 0; jh < stride; jh++)
#pragma GCC unroll 2
                for (int jw = 0; jw < stride; jw++) {
                    const int kh = jh + top - stride * dh, kw = jw + left - stride * dw;
                    if (kh < 0 || kh >= kernel_h || kw < 0 || kw >= kernel_w)
                        continue;
                    X(pool_vec) term = value;
                    if (argmax)
                        term = (X(pool_vec))((X(pool_mask))value &
                                             (which == (MASK_INT)((kh * kernel_w + kw) * (unsigned long long)BYTE_EACH)));
                    /* No earlier window covers it. */
                    if (kh + stride >= kernel_h && kw + stride >= kernel_w)
                        sums[jh][jw] = term;
                    else
                        sums[jh][jw] += term;
                }
        }
}

TILE_INLINE void X(collect_rows)(const int stride, const int kernel_h, const int kernel_w, const int top,
                                 const int left, const REAL *dout, const unsigned char *argmax,
                                 ptrdiff_t dout_step, REAL divisor, REAL *dx, ptrdiff_t H, ptrdiff_t W)
{
    const ptrdiff_t width = stride * LANES;
    const ptrdiff_t last = W % stride == 0 && W >= width ? W - width : W;
    REAL rest[2 * LANES] = {0};
    for (; H > 0; H -= stride) {
        for (ptrdiff_t col = 0; col < W; col += width) {
            if (col > last)
                col = last;
            const ptrdiff_t i = col / stride;
            X(pool_vec) sums[2][2];
            X(collect_block)(stride, kernel_h, kernel_w, top, left, dout + i, argmax ? argmax + i : NULL,
                             dout_step, divisor, sums);
#pragma GCC unroll 2
            for (int jh = 0; jh < stride; jh++) {
                X(pool_vec) low = sums[jh][0], high = sums[jh][1];
                if (stride == 2) {
                    low = SHUFFLE(X(pool_mask), sums[jh][0], sums[jh][1], LOWER_PAIRS);
                    high = SHUFFLE(X(pool_mask), sums[jh][0], sums[jh][1], UPPER_PAIRS);
                }
                if (jh >= H)
                    break;
                REAL *row = dx + jh * W + col;
                REAL *target = col + width <= W ? row : rest;
                X(pool_store)(target, low);
                if (stride == 2)
                    X(pool_store)(target + LANES, high);
                if (col + width > W)
                    for (ptrdiff_t j = 0; j < W - col; j++)
                        row[j] = rest[j];
            }
        }
        dout += dout_step;
        if (argmax)
            argmax += dout_step;
        dx += stride * W;
    }
}

#define COLLECT(argmax, stride, kernel_h, kernel_w, top, left, divisor)                             \
    X(collect_rows)(stride, kernel_h, kernel_w, top, left, dout, argmax, dout_step, divisor, dx, H, W)

/* dx[ih, iw] = the sum of dout, or of dout where argmax says so, over the windows that cover it.

   dout and argmax are the window at the image's corner; around it there must be zeros for all windows
   that could cover an element of a block. The stride is 1 or 2, for argmax at most 256 elements. */
TILE_FUNCTION void X(collect_largest)(int stride, int kernel_h, int kernel_w, int top, int left,
                                      const REAL *dout, const unsigned char *argmax, ptrdiff_t dout_step,
                                      REAL *dx, ptrdiff_t H, ptrdiff_t W)
{
    const int square = kernel_h == kernel_w && top == left ? kernel_w : 0;
    if (stride == 2 && square == 2 && top == 0)
        COLLECT(argmax, 2, 2, 2, 0, 0, 1);
    else if (stride == 2 && square == 3 && top == 0)
        COLLECT(argmax, 2, 3, 3, 0, 0, 1);
    else if (stride == 2 && square == 3 && top == 1)
        COLLECT(argmax, 2, 3, 3, 1, 1, 1);
    else if (stride == 1 && square == 3 && top == 1)
        COLLECT(argmax, 1, 3, 3, 1, 1, 1);
    else if (stride == 1 && square == 3 && top == 0)
        COLLECT(argmax, 1, 3, 3, 0, 0, 1);
    else if (stride == 1 && square == 2 && top == 0)
        COLLECT(argmax, 1, 2, 2, 0, 0, 1);
    else if (stride == 2)
        COLLECT(argmax, 2, kernel_h, kernel_w, top, left, 1);
    else
        COLLECT(argmax, 1, kernel_h, kernel_w, top, left, 1);
}

TILE_FUNCTION void X(collect_shares)(int stride, int kernel_h, int kernel_w, int top, int left,
                                     const REAL *dout, ptrdiff_t dout_step, REAL divisor, REAL *dx,
                                     ptrdiff_t H, ptrdiff_t W)
{
    const int square = kernel_h == kernel_w && top == left ? kernel_w : 0;
    if (stride == 2 && square == 2 && top == 0)
        COLLECT(NULL, 2, 2, 2, 0, 0, divisor);
    else if (stride == 2 && square == 3 && top == 0)
        COLLECT(NULL, 2, 3, 3, 0, 0, 1);
    else if (stride == 2 && square == 3 && top == 1)
        COLLECT(NULL, 2, 3, 3, 1, 1, 1);
    else if (stride == 1 && square == 3 && top == 1)
        COLLECT(NULL, 1, 3, 3, 1, 1, 1);
    else if (stride == 1 && square == 3 && top == 0)
        COLLECT(NULL, 1, 3, 3, 0, 0, 1);
    else if (stride == 1 && square == 2 && top == 0)
        COLLECT(NULL, 1, 2, 2, 0, 0, 1);
    else if (stride == 2)
        COLLECT(NULL, 2, kernel_h, kernel_w, top, left, divisor);
    else
        COLLECT(NULL, 1, kernel_h, kernel_w, top, left, divisor);
}
#undef COLLECT

#undef EVEN
#undef ODD
#undef EVEN_BEHIND
#undef IN_ORDER
#undef LOWER_PAIRS
#undef UPPER_PAIRS
#undef REPEAT
#undef FIRST

#endif
