/* Pooling by vectors: blocks of windows of a row, one window to a lane.

   Written like tile.h, in portable vector types. This file includes itself once per dtype, and from there
   once per width of a block. Its twin for Numba is fastscratch/kernels/numba_jit/pool_tile.py. */

#ifndef FASTSCRATCH_POOL_TILE_H
#define FASTSCRATCH_POOL_TILE_H

#include "tile.h"

/* A block is a large vector, or a half or a quarter of one for rows of so few windows: 16 bytes at least. With
   halves alone, 3x3 windows took 1.2 to 1.6 times as long in planes of 28x28 and more, and 2x2 windows of a
   plane of 24x24 1.3 times. */

/* The indices of a shuffle are as wide as its elements. */
#if defined(__clang__)
#define SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

#define EACH2(f, i) f(i), f((i) + 1)
#define EACH4(f, i) EACH2(f, i), EACH2(f, (i) + 2)
#define EACH8(f, i) EACH4(f, i), EACH4(f, (i) + 4)
#define EACH16(f, i) EACH8(f, i), EACH8(f, (i) + 8)

#define REAL float
#define REAL_BYTES 4
#define MASK_INT int
#define SUFFIX _f32
#define SOME_BYTES int
#define LOAD_BYTES(p) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p)))
#define STORE_BYTES(p, lanes) _mm_storeu_si128((__m128i *)(p), _mm512_cvtepi32_epi8(lanes))
#include "pool_tile.h"
#undef REAL
#undef REAL_BYTES
#undef MASK_INT
#undef SUFFIX
#undef SOME_BYTES
#undef LOAD_BYTES
#undef STORE_BYTES

#define REAL double
#define REAL_BYTES 8
#define MASK_INT long long
#define SUFFIX _f64
#define SOME_BYTES short
#define LOAD_BYTES(p) _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(p)))
#define STORE_BYTES(p, lanes) _mm_storel_epi64((__m128i *)(p), _mm512_cvtepi64_epi8(lanes))
#include "pool_tile.h"
#undef REAL
#undef REAL_BYTES
#undef MASK_INT
#undef SUFFIX
#undef SOME_BYTES
#undef LOAD_BYTES
#undef STORE_BYTES

#elif defined(REAL) && !defined(POOL_BYTES)

/* X names a function of this width, NARROW one of half this width. */
#define AT(name, bytes) PASTE(PASTE(name, bytes), SUFFIX)

#define POOL_BYTES 16
#define IS_NARROWEST 1
#define X(name) AT(name, _16)
#define NARROW(name) X(name)
#include "pool_tile.h"
#undef POOL_BYTES
#undef IS_NARROWEST
#undef X
#undef NARROW
#define IS_NARROWEST 0

#if FASTSCRATCH_VECTOR_BYTES >= 32
#define POOL_BYTES 32
#define X(name) AT(name, _32)
#define NARROW(name) AT(name, _16)
#include "pool_tile.h"
#undef POOL_BYTES
#undef X
#undef NARROW
#endif

#if FASTSCRATCH_VECTOR_BYTES == 64
#define POOL_BYTES 64
#define X(name) AT(name, _64)
#define NARROW(name) AT(name, _32)
#include "pool_tile.h"
#undef POOL_BYTES
#undef X
#undef NARROW
#endif
#undef IS_NARROWEST

/* The function of the width for rows of so many windows, or of so many columns of blocks on the way back: of
   AVX-512, the widest where they take more bytes than `over`. (Rows of 4 windows took 1.2 times as long where
   each width called the next.) */
#if FASTSCRATCH_VECTOR_BYTES == 64
#define FOR_ROWS_OF(count, over, name, ...)                                                         \
    ((count)*REAL_BYTES > (over)   ? AT(name, _64)(__VA_ARGS__)                                     \
     : (count)*REAL_BYTES > 16     ? AT(name, _32)(__VA_ARGS__)                                     \
                                   : AT(name, _16)(__VA_ARGS__))
#elif FASTSCRATCH_VECTOR_BYTES == 32
#define FOR_ROWS_OF(count, over, name, ...)                                                         \
    ((count)*REAL_BYTES > 16 ? AT(name, _32)(__VA_ARGS__) : AT(name, _16)(__VA_ARGS__))
#else
#define FOR_ROWS_OF(count, over, name, ...) AT(name, _16)(__VA_ARGS__)
#endif
#define X(name) PASTE(name, SUFFIX)

/* y, argmax = the largest elements of the windows at x + row*x_step + i*step; argmax goes to `small` or
   `large`, the other is NULL. How many rows were made. */
TILE_INLINE ptrdiff_t X(largest_of_windows)(const REAL *x, ptrdiff_t there, ptrdiff_t x_step,
                                            ptrdiff_t rows, ptrdiff_t count, ptrdiff_t step, int kernel_h,
                                            int kernel_w, ptrdiff_t row_step, ptrdiff_t col_step, int first,
                                            REAL *y, unsigned char *small, int *large, ptrdiff_t y_step)
{
    return FOR_ROWS_OF(count, 32, largest, x, there, x_step, rows, count, step, kernel_h, kernel_w, row_step,
                       col_step, first, y, small, large, y_step);
}

/* y = the means of the windows at x + row*x_step + i*stride, as above; the stride is 3 at most. */
TILE_INLINE ptrdiff_t X(means_of_windows)(const REAL *x, ptrdiff_t there, ptrdiff_t x_step, ptrdiff_t rows,
                                          ptrdiff_t count, int stride, int kernel_h, int kernel_w,
                                          ptrdiff_t row_step, REAL divisor, REAL *y, ptrdiff_t y_step)
{
    return FOR_ROWS_OF(count, 32, means, x, there, x_step, rows, count, stride, kernel_h, kernel_w, row_step,
                       divisor, y, y_step);
}

/* dx[ih, iw] = the sum of dout, or of dout where argmax says so, over the windows that cover it.

   dout and argmax are the window at the image's corner; around it there must be zeros for all windows
   that could cover an element of a block. The stride is 1 or 2, for argmax at most 256 elements. Half of a
   large vector is used where a row does not fill that, half of that where it suffices. */
TILE_INLINE void X(collect_largest)(int stride, int kernel_h, int kernel_w, int top, int left,
                                    const REAL *dout, const unsigned char *argmax, ptrdiff_t dout_step,
                                    REAL *dx, ptrdiff_t H, ptrdiff_t W)
{
    FOR_ROWS_OF((W + stride - 1) / stride, 63, gather, stride, kernel_h, kernel_w, top, left, dout, argmax,
                dout_step, dx, H, W);
}

TILE_INLINE void X(collect_shares)(int stride, int kernel_h, int kernel_w, int top, int left,
                                   const REAL *dout, ptrdiff_t dout_step, REAL divisor, REAL *dx,
                                   ptrdiff_t H, ptrdiff_t W)
{
    FOR_ROWS_OF((W + stride - 1) / stride, 63, gather_shares, stride, kernel_h, kernel_w, top, left, dout,
                dout_step, divisor, dx, H, W);
}

/* A row of a strip: `before` zeros, `count` elements of src, over `rows` times those of `columns` if that is
   given, and zeros up to `step` elements and less than a vector more. Columns are ones behind the last.
   Copied first and then divided, the way back of average pooling took up to twice as long. */
TILE_FUNCTION void X(strip_row)(REAL *dst, ptrdiff_t step, ptrdiff_t before, const REAL *src,
                                ptrdiff_t count, const REAL *columns, REAL rows)
{
    const ptrdiff_t lanes = FASTSCRATCH_VECTOR_BYTES / REAL_BYTES;
    const X(vec) zero = {0};
    for (ptrdiff_t i = 0; i < step; i += lanes)
        X(store)(dst + i, zero);
    for (ptrdiff_t i = 0; i < count; i += lanes) {
        if (i > count - lanes && i > 0)
            i = count - lanes;
        X(vec) value = count >= lanes ? X(load)(src + i) : X(load_first)(src, count);
        if (columns)
            value /= rows * X(load)(columns + i);
        X(store)(dst + before + i, value);
    }
}

#undef X
#undef AT
#undef FOR_ROWS_OF

#elif defined(REAL)

#define LANES (POOL_BYTES / REAL_BYTES)
#if LANES == 16
#define BY_LANE(f) EACH16(f, 0)
#elif LANES == 8
#define BY_LANE(f) EACH8(f, 0)
#elif LANES == 4
#define BY_LANE(f) EACH4(f, 0)
#else
#define BY_LANE(f) EACH2(f, 0)
#endif

typedef REAL X(pool_vec) __attribute__((vector_size(POOL_BYTES)));
typedef MASK_INT X(pool_mask) __attribute__((vector_size(POOL_BYTES)));
/* Memory as the kernels get it: aligned to the item only. */
typedef REAL X(pool_loose) __attribute__((vector_size(POOL_BYTES), aligned(sizeof(REAL)), may_alias));
typedef int X(pool_ints) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

/* Lanes of two vectors, by their places in the result. EVEN and ODD take two vectors apart. EVEN_BEHIND is
   EVEN for a second vector that starts an element early, so that it does not end behind the last element.
   All three stay within 16 bytes of their vectors (NEAR elements), where a shuffle is one instruction;
   IN_ORDER then brings the lanes into order. */
#define NEAR (16 / REAL_BYTES)
#define EVEN(i) ((i) / NEAR * NEAR + (i) % NEAR * 2 + ((i) % NEAR < NEAR / 2 ? 0 : LANES - NEAR))
#define ODD(i) (EVEN(i) + 1)
#define EVEN_BEHIND(i) (EVEN(i) + (EVEN(i) >= LANES))
#define HALF(i) ((i) % (LANES / 2))
#define IN_ORDER(i) (2 * HALF(i) / NEAR * NEAR + HALF(i) % (NEAR / 2) + (i) / (LANES / 2) * (NEAR / 2))
/* Every third element of three vectors, the last of which starts two elements early. No two of them have the
   same place in the first two vectors, so that a blend brings those together: place i has element 3 * n,
   where n is i/3 modulo LANES. */
#define BLENDED(i) ((i) + (3 * (((i) * THIRD_OF_ONE) % LANES) >= LANES ? LANES : 0))
#define THIRD(i) (3 * (i) < 2 * LANES ? 3 * (i) % LANES : 3 * (i) - LANES + 2)
/* Modulo LANES. */
#define THIRD_OF_ONE (LANES == 16 ? 11 : 3)
/* Two vectors in turns; and two from the last lane of the first one on. */
#define LOWER_PAIRS(i) ((i) / 2 + (i) % 2 * LANES)
#define UPPER_PAIRS(i) (LOWER_PAIRS(i) + LANES / 2)
#define BUT_ONE(i) ((i) + LANES - 1)

TILE_INLINE X(pool_vec) X(pool_load)(const REAL *p) { return *(const X(pool_loose) *)p; }
TILE_INLINE void X(pool_store)(REAL *p, X(pool_vec) v) { *(X(pool_loose) *)p = v; }

/* What every `stride`-th element from p on is taken from, for strides to 3: nothing behind the last. */
TILE_INLINE void X(load_parts)(const int stride, const REAL *p, X(pool_vec) part[3])
{
    part[0] = part[1] = part[2] = X(pool_load)(p);
    if (stride == 2)
        part[1] = X(pool_load)(p + LANES - 1);
    if (stride == 3) {
        part[1] = X(pool_load)(p + LANES);
        part[2] = X(pool_load)(p + 2 * LANES - 2);
    }
}

/* Those elements, for stride 2 in the order of EVEN. */
TILE_INLINE X(pool_vec) X(taken)(const int stride, const X(pool_vec) part[3])
{
    if (stride == 2)
        return SHUFFLE(X(pool_mask), part[0], part[1], BY_LANE(EVEN_BEHIND));
    if (stride == 3) {
        const X(pool_vec) blended = SHUFFLE(X(pool_mask), part[0], part[1], BY_LANE(BLENDED));
        return SHUFFLE(X(pool_mask), blended, part[2], BY_LANE(THIRD));
    }
    return part[0];
}

/* Elements p[i * step], for stride 2 in the order of EVEN. The stride is the step, or 0 if that is more than
   3: then they are loaded one by one, which took twice as long for a step of 3. */
TILE_INLINE X(pool_vec) X(load_steps)(const int stride, ptrdiff_t step, const REAL *p)
{
    X(pool_vec) gathered, part[3];
    if (stride > 0) {
        X(load_parts)(stride, p, part);
        return X(taken)(stride, part);
    }
#pragma GCC unroll 16
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

/* store_bytes: byte i = lane i. load_bytes: lane i = BYTE_EACH times byte i. __builtin_convertvector becomes
   two to four instructions an element (gcc 12): forward and backward took 2 and 4 times as long with it. */
#if POOL_BYTES == 64 && HAS_MASKS
#define BYTE_EACH 1ull

TILE_INLINE void X(store_bytes)(unsigned char *p, X(pool_mask) lanes) { STORE_BYTES(p, (__m512i)lanes); }

TILE_INLINE X(pool_mask) X(load_bytes)(const unsigned char *p) { return (X(pool_mask))LOAD_BYTES(p); }

#elif POOL_BYTES == 64
#define BYTE_EACH 1ull

TILE_INLINE void X(store_bytes)(unsigned char *p, X(pool_mask) lanes)
{
    for (int i = 0; i < LANES; i++)
        p[i] = (unsigned char)lanes[i];
}

TILE_INLINE X(pool_mask) X(load_bytes)(const unsigned char *p)
{
    X(pool_mask) lanes;
    for (int i = 0; i < LANES; i++)
        lanes[i] = p[i];
    return lanes;
}

#else
#define BYTE_EACH 0x0101010101010101ull
/* As many bytes as there are lanes in all; SOME_BYTES are those in 16 bytes of a vector. */
#if LANES == 8
#define ALL_BYTES long long
#elif LANES == 4
#define ALL_BYTES int
#else
#define ALL_BYTES short
#endif
#if POOL_BYTES == 32
#define BY_BYTE(f) EACH16(f, 0), EACH16(f, 16)
#else
#define BY_BYTE(f) EACH16(f, 0)
#endif
/* FIRST puts the first byte of each lane to the front of 16 bytes. REPEAT gives each lane as many copies of
   its byte as it has room for, of a vector full of all lanes' bytes. */
#define FIRST(i) ((i) / 16 * 16 + ((i) % 16 < NEAR ? (i) % 16 * REAL_BYTES : 0))
#define REPEAT(i) ((i) / 16 * 16 + (i) / REAL_BYTES)

typedef unsigned char X(pool_bytes) __attribute__((vector_size(POOL_BYTES)));
typedef ALL_BYTES X(all_bytes) __attribute__((aligned(1), may_alias));
typedef SOME_BYTES X(some_bytes) __attribute__((aligned(1), may_alias));
typedef ALL_BYTES X(many_all_bytes) __attribute__((vector_size(POOL_BYTES)));
typedef SOME_BYTES X(many_some_bytes) __attribute__((vector_size(POOL_BYTES)));

TILE_INLINE void X(store_bytes)(unsigned char *p, X(pool_mask) lanes)
{
    const X(pool_bytes) bytes = (X(pool_bytes))lanes;
    const X(many_some_bytes) halves =
        (X(many_some_bytes))SHUFFLE(X(pool_bytes), bytes, bytes, BY_BYTE(FIRST));
#pragma GCC unroll 2
    for (int half = 0; half < POOL_BYTES / 16; half++)
        ((X(some_bytes) *)p)[half] = halves[half * (int)(16 / sizeof(SOME_BYTES))];
}

TILE_INLINE X(pool_mask) X(load_bytes)(const unsigned char *p)
{
    const X(pool_bytes) bytes = (X(pool_bytes))((X(many_all_bytes)){0} + *(const X(all_bytes) *)p);
    return (X(pool_mask))SHUFFLE(X(pool_bytes), bytes, bytes, BY_BYTE(REPEAT));
}
#undef ALL_BYTES
#undef BY_BYTE
#undef FIRST
#undef REPEAT
#endif

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
            const X(pool_vec) even = SHUFFLE(X(pool_mask), low, high, BY_LANE(EVEN));
            if (kh + kw == 0)
                best = even;
            else
                X(keep_larger)(even, k + kw, &best, &which);
            X(keep_larger)(SHUFFLE(X(pool_mask), low, high, BY_LANE(ODD)), k + kw + 1, &best, &which);
        }
#pragma GCC unroll 3
        for (; kw < kernel_w; kw++)
            if (kh + kw > 0)
                X(keep_larger)(X(load_steps)(stride, step, row + kw * col_step), k + kw, &best, &which);
    }
    if (stride == 2) {
        best = SHUFFLE(X(pool_mask), best, best, BY_LANE(IN_ORDER));
        which = SHUFFLE(X(pool_mask), which, which, BY_LANE(IN_ORDER));
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
        const X(pool_vec) pair = SHUFFLE(X(pool_mask), low, high, BY_LANE(EVEN)) +
                                 SHUFFLE(X(pool_mask), low, high, BY_LANE(ODD));
        total = kw == 0 ? pair : total + pair;
    }
#pragma GCC unroll 3
    for (; kw < kernel_w; kw++) {
        X(pool_vec) sum[3], part[3];
        X(load_parts)(stride, x + kw, sum);
#pragma GCC unroll 3
        for (int kh = 1; kh < kernel_h; kh++) {
            X(load_parts)(stride, x + kh * row_step + kw, part);
#pragma GCC unroll 3
            for (int i = 0; i < stride; i++)
                sum[i] += part[i];
        }
        const X(pool_vec) column = X(taken)(stride, sum);
        total = kw == 0 ? column : total + column;
    }
    if (stride == 2)
        total = SHUFFLE(X(pool_mask), total, total, BY_LANE(IN_ORDER));
    X(pool_store)(y, total / divisor);
}

/* Blocks that cover rows of `count` windows. A row's last block overlaps the one before. If there is none,
   it reads on behind the row, of `there` elements, and writes on, where the next row's block writes again.
   (Written elsewhere and copied, in two halves, 2x2 windows of a plane of 6x6 took twice as long.) How many
   rows were made: the last ones may lack space, and are left to narrower blocks, or to the caller. */
TILE_INLINE ptrdiff_t X(largest_rows)(const int stride, const int kernel_h, const int kernel_w,
                                      const REAL *x, ptrdiff_t there, ptrdiff_t x_step, ptrdiff_t rows,
                                      ptrdiff_t count, ptrdiff_t step, ptrdiff_t row_step,
                                      ptrdiff_t col_step, int first, REAL *y, unsigned char *small,
                                      int *large, ptrdiff_t y_step)
{
    const ptrdiff_t reach = (LANES - 1) * step + (kernel_h - 1) * row_step + (kernel_w - 1) * col_step + 1;
    const ptrdiff_t own = (rows - 1) * y_step + count;
    ptrdiff_t row = 0;
    for (; row < rows; row++) {
        ptrdiff_t i = 0;
        if (count < LANES && row * x_step + reach > there)
            break;
        if (count < LANES && row * y_step + LANES > own) {
            if (!IS_NARROWEST)
                break;
            REAL some_y[LANES];
            unsigned char some_small[LANES];
            int some_large[LANES];
            X(largest_block)(stride, kernel_h, kernel_w, x, step, row_step, col_step, first, some_y,
                             small ? some_small : NULL, some_large);
            for (; i < count; i++) {
                y[i] = some_y[i];
                if (small)
                    small[i] = some_small[i];
                else
                    large[i] = some_large[i];
            }
        }
        for (; i < count; i += LANES) {
            if (i > count - LANES && count >= LANES)
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
    return row;
}

TILE_INLINE ptrdiff_t X(mean_rows)(const int stride, const int kernel_h, const int kernel_w, const REAL *x,
                                   ptrdiff_t there, ptrdiff_t x_step, ptrdiff_t rows, ptrdiff_t count,
                                   ptrdiff_t row_step, REAL divisor, REAL *y, ptrdiff_t y_step)
{
    const ptrdiff_t reach = (LANES - 1) * stride + (kernel_h - 1) * row_step + kernel_w;
    const ptrdiff_t own = (rows - 1) * y_step + count;
    ptrdiff_t row = 0;
    for (; row < rows; row++) {
        ptrdiff_t i = 0;
        if (count < LANES && row * x_step + reach > there)
            break;
        if (count < LANES && row * y_step + LANES > own) {
            if (!IS_NARROWEST)
                break;
            REAL some_y[LANES];
            X(mean_block)(stride, kernel_h, kernel_w, x, row_step, divisor, some_y);
            for (; i < count; i++)
                y[i] = some_y[i];
        }
        for (; i < count; i += LANES) {
            if (i > count - LANES && count >= LANES)
                i = count - LANES;
            X(mean_block)(stride, kernel_h, kernel_w, x + i * stride, row_step, divisor, y + i);
        }
        x += x_step;
        y += y_step;
    }
    return row;
}

#define LARGEST(stride, kernel_h, kernel_w, col_step)                                               \
    done = X(largest_rows)(stride, kernel_h, kernel_w, x, there, x_step, rows, count, step,         \
                           row_step, col_step, first, y, small, large, y_step)

TILE_FUNCTION ptrdiff_t X(largest)(const REAL *x, ptrdiff_t there, ptrdiff_t x_step, ptrdiff_t rows,
                                   ptrdiff_t count, ptrdiff_t step, int kernel_h, int kernel_w,
                                   ptrdiff_t row_step, ptrdiff_t col_step, int first, REAL *y,
                                   unsigned char *small, int *large, ptrdiff_t y_step)
{
    const int square = col_step == 1 && small && kernel_h == kernel_w ? kernel_w : 0;
    ptrdiff_t done = 0;
    if (step == 2 && square == 2)
        LARGEST(2, 2, 2, 1);
    else if (step == 2 && square == 3)
        LARGEST(2, 3, 3, 1);
    else if (step == 1 && square == 3)
        LARGEST(1, 3, 3, 1);
    else if (step == 1 && square == 2)
        LARGEST(1, 2, 2, 1);
    else if (step == 3 && square == 3)
        LARGEST(3, 3, 3, 1);
    else if (step == 1)
        LARGEST(1, kernel_h, kernel_w, col_step);
    else if (step == 2)
        LARGEST(2, kernel_h, kernel_w, col_step);
    else if (step == 3)
        LARGEST(3, kernel_h, kernel_w, col_step);
    else
        LARGEST(0, kernel_h, kernel_w, col_step);
    if (!IS_NARROWEST && done < rows)
        done += NARROW(largest)(
            x + done * x_step, there - done * x_step, x_step, rows - done, count, step, kernel_h, kernel_w,
            row_step, col_step, first, y + done * y_step, small ? small + done * y_step : NULL,
            small ? NULL : large + done * y_step, y_step);
    return done;
}
#undef LARGEST

#define MEANS(stride, kernel_h, kernel_w, divisor)                                                  \
    done = X(mean_rows)(stride, kernel_h, kernel_w, x, there, x_step, rows, count, row_step,        \
                        divisor, y, y_step)

/* The compiler makes a product of a division by 4, where it sees the 4: 1.2 times as fast. */
TILE_FUNCTION ptrdiff_t X(means)(const REAL *x, ptrdiff_t there, ptrdiff_t x_step, ptrdiff_t rows,
                                 ptrdiff_t count, int stride, int kernel_h, int kernel_w, ptrdiff_t row_step,
                                 REAL divisor, REAL *y, ptrdiff_t y_step)
{
    const int square = kernel_h == kernel_w ? kernel_w : 0;
    ptrdiff_t done = 0;
    if (stride == 2 && square == 2 && divisor == 4)
        MEANS(2, 2, 2, 4);
    else if (stride == 2 && square == 3)
        MEANS(2, 3, 3, divisor);
    else if (stride == 1 && square == 3)
        MEANS(1, 3, 3, divisor);
    else if (stride == 1 && square == 2 && divisor == 4)
        MEANS(1, 2, 2, 4);
    else if (stride == 3 && square == 3)
        MEANS(3, 3, 3, divisor);
    else if (stride == 1)
        MEANS(1, kernel_h, kernel_w, divisor);
    else if (stride == 2)
        MEANS(2, kernel_h, kernel_w, divisor);
    else
        MEANS(3, kernel_h, kernel_w, divisor);
    if (!IS_NARROWEST && done < rows)
        done += NARROW(means)(x + done * x_step, there - done * x_step, x_step, rows - done, count,
                              stride, kernel_h, kernel_w, row_step, divisor, y + done * y_step, y_step);
    return done;
}
#undef MEANS

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
                                             (which == (MASK_INT)((kh * kernel_w + kw) * BYTE_EACH)));
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
    const ptrdiff_t width = stride * LANES, whole = (W + stride - 1) / stride * stride;
    const ptrdiff_t last = whole >= width ? whole - width : W;
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
                    low = SHUFFLE(X(pool_mask), sums[jh][0], sums[jh][1], BY_LANE(LOWER_PAIRS));
                    high = SHUFFLE(X(pool_mask), sums[jh][0], sums[jh][1], BY_LANE(UPPER_PAIRS));
                }
                if (jh >= H)
                    break;
                REAL *row = dx + jh * W + col;
                /* A block wider than its row writes on, where the next row's block writes again: element by
                   element, planes of 4x4 took 1.9 times as long. */
                const int writable = col + width <= W || (whole < width && (H - jh) * W >= width);
                if (writable) {
                    X(pool_store)(row, low);
                    if (stride == 2)
                        X(pool_store)(row + LANES, high);
                } else if (stride == 2 && col + width == W + 1) {
                    /* An odd row ends within a pair. Element by element, one of 13 took 1.2 times as long. */
                    X(pool_store)(row, low);
                    X(pool_store)(row + LANES - 1, SHUFFLE(X(pool_mask), low, high, BY_LANE(BUT_ONE)));
                } else {
                    X(pool_store)(rest, low);
                    if (stride == 2)
                        X(pool_store)(rest + LANES, high);
                    for (ptrdiff_t j = 0; j < W - col; j++)
                        row[j] = rest[j];
                }
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

TILE_FUNCTION void X(gather)(int stride, int kernel_h, int kernel_w, int top, int left, const REAL *dout,
                             const unsigned char *argmax, ptrdiff_t dout_step, REAL *dx, ptrdiff_t H,
                             ptrdiff_t W)
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

TILE_FUNCTION void X(gather_shares)(int stride, int kernel_h, int kernel_w, int top, int left,
                                    const REAL *dout, ptrdiff_t dout_step, REAL divisor, REAL *dx,
                                    ptrdiff_t H, ptrdiff_t W)
{
    const int square = kernel_h == kernel_w && top == left ? kernel_w : 0;
    if (stride == 2 && square == 2 && divisor == 4)
        COLLECT(NULL, 2, 2, 2, 0, 0, 4);
    else if (stride == 2 && square == 2 && top == 0)
        COLLECT(NULL, 2, 2, 2, 0, 0, 1);
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
        COLLECT(NULL, 2, kernel_h, kernel_w, top, left, 1);
    else
        COLLECT(NULL, 1, kernel_h, kernel_w, top, left, 1);
}
#undef COLLECT

#undef LANES
#undef BY_LANE
#undef NEAR
#undef EVEN
#undef ODD
#undef EVEN_BEHIND
#undef HALF
#undef IN_ORDER
#undef BLENDED
#undef THIRD
#undef THIRD_OF_ONE
#undef LOWER_PAIRS
#undef UPPER_PAIRS
#undef BUT_ONE
#undef BYTE_EACH

#endif
