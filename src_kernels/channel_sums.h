/* Sums over the pixels of a channel, in double precision: float32 would lose digits over a whole batch.

   A sum has a fixed number of lanes, so that threads change no bit. They are in registers: of an array that
   the compiler was to keep there half went through memory, each addition waiting for the store of the one
   before, and the gradient of batch normalisation took 1.6 times as long. Rows are what is contiguous of the
   channel: the plane of an image.

   This file includes itself twice, once per dtype, with REAL set: X(name) is name_f32 or name_f64. */

#ifndef FASTSCRATCH_CHANNEL_SUMS_H
#define FASTSCRATCH_CHANNEL_SUMS_H

#include "tile.h"

/* Vectors of doubles that are added to by turns: an addition takes up to four cycles. */
#define CHAINS 4

/* What is summed: x; (x - mean)^2; dout, and dout*(x - mean); the same where y > 0; dout*x unless x > 0. */
enum { ELEMENTS, SQUARES, SLOPES, PASSED_SLOPES, LEAKS };

/* Of half a vector of floats gcc makes two conversions and an insertion, if it is not told. */
#if HAS_MASKS
#define WIDEN_F32(v) (vec_f64) _mm512_cvtps_pd((__m256)(v))
#elif HAS_MASKED_LOADS
#define WIDEN_F32(v) (vec_f64) _mm256_cvtps_pd((__m128)(v))
#else
#define WIDEN_F32(v) __builtin_convertvector(v, vec_f64)
#endif

#define REAL float
#define WIDEN WIDEN_F32
#define MASKED_PART(fill, mask, p) _mm256_mask_loadu_ps((__m256)(fill), mask, p)
#define X(name) PASTE(name, _f32)
#include "channel_sums.h"
#undef REAL
#undef WIDEN
#undef MASKED_PART
#undef X

#define REAL double
#define WIDEN(v) (v)
#define MASKED_PART(fill, mask, p) _mm512_mask_loadu_pd((__m512d)(fill), mask, p)
#define X(name) PASTE(name, _f64)
#include "channel_sums.h"
#undef REAL
#undef WIDEN
#undef MASKED_PART
#undef X

#elif defined(REAL)

/* As many elements as a vector has doubles. */
typedef REAL X(part) __attribute__((vector_size(LANES_F64 * sizeof(REAL))));
typedef REAL X(loose_part)
    __attribute__((vector_size(LANES_F64 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

/* The first `count` elements, and what fills up the others. */
TILE_INLINE X(part) X(load_part)(const REAL *p, ptrdiff_t count, REAL fill)
{
    if (count == LANES_F64)
        return *(const X(loose_part) *)p;
#if HAS_MASKS
    return (X(part))MASKED_PART(fill - (X(part)){0}, (1u << count) - 1, p);
#else
    REAL part[LANES_F64];
    for (ptrdiff_t k = 0; k < LANES_F64; k++)
        part[k] = k < count ? p[k] : fill;
    return *(X(loose_part) *)part;
#endif
}

/* A part's `count` elements; those that fill it up add nothing. */
TILE_INLINE void X(add_elements)(const int kind, const REAL *dout, const REAL *y, const REAL *x, REAL mean,
                                 ptrdiff_t count, vec_f64 *sum, vec_f64 *product)
{
    typedef __typeof__((X(part)){0} > 0) lanes;
    const X(part) value = X(load_part)(x, count, mean);
    if (kind == ELEMENTS)
        *sum += WIDEN(value);
    else if (kind == SQUARES)
        *sum += WIDEN((value - mean) * (value - mean));
    else if (kind == LEAKS)
        *sum += WIDEN((X(part))((lanes)(X(load_part)(dout, count, 0) * value) & ~(value > 0)));
    else {
        X(part) slope = X(load_part)(dout, count, 0);
        if (kind == PASSED_SLOPES)
            slope = (X(part))((lanes)slope & (X(load_part)(y, count, 0) > 0));
        *sum += WIDEN(slope);
        *product += WIDEN(slope * (value - mean));
    }
}

TILE_INLINE void X(add_rows)(const int kind, const REAL *dout, const REAL *y, const REAL *x, REAL mean,
                             ptrdiff_t rows, ptrdiff_t step, ptrdiff_t count, double *sum, double *product)
{
    vec_f64 sums[CHAINS] = {{0}}, products[CHAINS] = {{0}};
    const ptrdiff_t whole = count / LANES_F64 * LANES_F64;
    for (ptrdiff_t r = 0; r < rows; r++, dout += step, y += step, x += step) {
        ptrdiff_t i = 0;
        for (; i <= whole - CHAINS * LANES_F64; i += CHAINS * LANES_F64)
#pragma GCC unroll 4
            for (int k = 0; k < CHAINS; k++) {
                const ptrdiff_t at = i + k * LANES_F64;
                X(add_elements)(kind, dout + at, y + at, x + at, mean, LANES_F64, &sums[k],
                                   &products[k]);
            }
        for (; i < whole; i += LANES_F64)
            X(add_elements)(kind, dout + i, y + i, x + i, mean, LANES_F64, &sums[0], &products[0]);
        if (i < count)
            X(add_elements)(kind, dout + i, y + i, x + i, mean, count - i, &sums[1], &products[1]);
    }
    *sum = sum_lanes_f64((sums[0] + sums[1]) + (sums[2] + sums[3]));
    *product = sum_lanes_f64((products[0] + products[1]) + (products[2] + products[3]));
}

/* The sums over `rows` rows of `count` elements, `step` from one to the next. Arrays that take no part in a
   kind of sum may be any that can be read. */
TILE_FUNCTION void X(sum_channel)(int kind, const REAL *dout, const REAL *y, const REAL *x, REAL mean,
                                  ptrdiff_t rows, ptrdiff_t step, ptrdiff_t count, double *sum, double *product)
{
#define SUM_CASE(kind)                                                                              \
    case kind:                                                                                      \
        X(add_rows)(kind, dout, y, x, mean, rows, step, count, sum, product);                       \
        break
    switch (kind) {
        SUM_CASE(ELEMENTS);
        SUM_CASE(SQUARES);
        SUM_CASE(SLOPES);
        SUM_CASE(PASSED_SLOPES);
        SUM_CASE(LEAKS);
    }
#undef SUM_CASE
}

#endif
