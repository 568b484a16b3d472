/* Sums of windows of an image that lie anywhere: what a scattered gradient makes of its weights.

   This file includes itself twice, once per dtype, with REAL set: X(name) is name_f32 or name_f64. */

#ifndef FASTSCRATCH_SCATTERED_H
#define FASTSCRATCH_SCATTERED_H

#include "tile.h"

/* Rows of a window that are summed together: twice as many accumulators and a few more fit 16 registers. */
#define SCATTERED_ROWS 6

#define REAL float
#define LANES LANES_F32
#define X(name) PASTE(name, _f32)
#include "scattered.h"
#undef REAL
#undef LANES
#undef X

#define REAL double
#define LANES LANES_F64
#define X(name) PASTE(name, _f64)
#include "scattered.h"
#undef REAL
#undef LANES
#undef X

#elif defined(REAL)

/* sums[r, :] += sum_i value[i] * x[start[i] + row_offset[r] + :], one vector a row.

   Every other window goes to accumulators of its own: a chain of one multiply-add a window is as long as
   its latency, 1.3 times the time that the multiply-adds of 5 rows take. */
TILE_INLINE void X(scattered_body)(const int rows, const REAL *restrict x,
                                   const ptrdiff_t *restrict row_offset, const int *restrict start,
                                   const REAL *restrict value, ptrdiff_t count, REAL *restrict sums)
{
    X(vec) acc[2][SCATTERED_ROWS];
    const REAL *row[SCATTERED_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        row[r] = x + row_offset[r];
        acc[0][r] = X(load)(sums + r * LANES);
        acc[1][r] = (X(vec)){0};
    }
    ptrdiff_t i = 0;
    for (; i + 1 < count; i += 2) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            const REAL factor = value[i + h];
            const ptrdiff_t at = start[i + h];
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                acc[h][r] += factor * X(load)(row[r] + at);
        }
    }
    if (i < count)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            acc[0][r] += value[i] * X(load)(row[r] + start[i]);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        X(store)(sums + r * LANES, acc[0][r] + acc[1][r]);
}

/* Of a row of pooled elements, those that have a gradient, one behind the other: where the window that each
   maximum saw begins, and dout. How many there are.

   An index that no forward pass wrote must not touch foreign memory. Each is written, and kept or not: a
   branch that half of the elements take made this two thirds of a first layer's gradient. What is written
   reaches up to a vector beyond what is kept. */
TILE_FUNCTION ptrdiff_t X(list_gradients)(ptrdiff_t width, const REAL *restrict dout, const REAL *restrict y,
                                          const void *taken, int is_small, const int *restrict place,
                                          unsigned elements, int at, int step, int *restrict start,
                                          REAL *restrict value)
{
    const unsigned char *bytes = taken;
    const int *numbers = taken;
    ptrdiff_t count = 0;
#if HAS_MASKS && LANES == 16
    if (elements <= LANES) {
        const __m512i places = _mm512_maskz_loadu_epi32((1u << elements) - 1, place);
        const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m512i ahead = _mm512_mullo_epi32(lane, _mm512_set1_epi32(step));
        for (ptrdiff_t i = 0; i < width; i += LANES) {
            const unsigned inside = X(lanes_inside)(i, width);
            const __m512i which = is_small ? _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(inside, bytes + i))
                                           : _mm512_maskz_loadu_epi32(inside, numbers + i);
            const unsigned positive = _mm512_mask_cmp_ps_mask(
                inside, (__m512)X(load_some)(y + i, inside), _mm512_setzero_ps(), _CMP_GT_OQ);
            const unsigned kept =
                _mm512_mask_cmplt_epu32_mask(positive, which, _mm512_set1_epi32((int)elements));
            const __m512i first = _mm512_add_epi32(ahead, _mm512_set1_epi32(at + (int)i * step));
            const __m512i found = _mm512_add_epi32(first, _mm512_permutexvar_epi32(which, places));
            const __m512 gradient = (__m512)X(load_some)(dout + i, inside);
            _mm512_storeu_si512(start + count, _mm512_maskz_compress_epi32(kept, found));
            _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(kept, gradient));
            count += __builtin_popcount(kept);
        }
        return count;
    }
#endif
    for (ptrdiff_t i = 0; i < width; i++) {
        const unsigned which = is_small ? bytes[i] : (unsigned)numbers[i];
        const int known = which < elements;
        start[count] = at + (int)i * step + place[known ? which : 0];
        value[count] = dout[i];
        count += known & (y[i] > 0);
    }
    return count;
}

#define SCATTERED_CASE(n)                                                                           \
    case n:                                                                                         \
        X(scattered_body)(n, x, row_offset, start, value, count, sums);                             \
        break

TILE_FUNCTION void X(scattered_sums)(ptrdiff_t rows, const REAL *x, const ptrdiff_t *row_offset,
                                     const int *start, const REAL *value, ptrdiff_t count, REAL *sums)
{
    while (rows > 0) {
        /* Evenly: 7 rows are 4 and 3, not 6 and 1. */
        const ptrdiff_t steps = (rows + SCATTERED_ROWS - 1) / SCATTERED_ROWS;
        const ptrdiff_t part = (rows + steps - 1) / steps;
        switch (part) {
            SCATTERED_CASE(1);
            SCATTERED_CASE(2);
            SCATTERED_CASE(3);
            SCATTERED_CASE(4);
            SCATTERED_CASE(5);
            SCATTERED_CASE(6);
        }
        rows -= part;
        row_offset += part;
        sums += part * LANES;
    }
}
#undef SCATTERED_CASE

#endif
