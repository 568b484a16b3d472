/* Vector types, the register tiles and the register transpose that every compiled kernel is made of.

   The headers beside this one are the only C of the project: Cython has no vector types. Everything is
   written with the portable vector extensions of GCC and Clang and compiled once per processor level; the
   build passes the width as FASTSCRATCH_VECTOR_BYTES (16, 32 or 64). Everything here is static, so that the
   linker can never give one level's code to another. The tile's twin for Numba is
   fastscratch/kernels/numba_jit/tile.py.

   This file includes itself twice, once per dtype, with REAL set: X(name) is name_f32 or name_f64. */

#ifndef FASTSCRATCH_TILE_H
#define FASTSCRATCH_TILE_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FASTSCRATCH_VECTOR_BYTES
#define FASTSCRATCH_VECTOR_BYTES 16
#endif

/* Loads and stores of a part of a vector. AVX2's loads are good; some processors take ten times as long for
   its stores as for others. */
#if defined(__AVX512F__) && FASTSCRATCH_VECTOR_BYTES == 64
#include <immintrin.h>
#define HAS_MASKS 1
#define HAS_MASKED_LOADS 1
#elif defined(__AVX2__) && FASTSCRATCH_VECTOR_BYTES == 32
#include <immintrin.h>
#define HAS_MASKS 0
#define HAS_MASKED_LOADS 1
#else
#define HAS_MASKS 0
#define HAS_MASKED_LOADS 0
#endif

/* Rows of the tile: with two vectors a row, the accumulators, the two vectors of b and one broadcast must
   fit the registers: 32 of them at AVX-512 and on 64-bit Arm, 16 elsewhere. */
#if FASTSCRATCH_VECTOR_BYTES == 64
#define TILE_ROWS 14
#elif defined(__aarch64__)
#define TILE_ROWS 12
#else
#define TILE_ROWS 6
#endif

/* As many rows as find a register for their addresses, where each has one of its own: 14 reload them in
   every step, and reach 0.91 of the limit where 9 reach 0.99. */
#if TILE_ROWS > 9
#define ADDRESSED_ROWS 9
#else
#define ADDRESSED_ROWS TILE_ROWS
#endif

/* The most columns of a product whose vectors lie along the rows instead, three for each column. */
#define FEW_COLUMNS (TILE_ROWS / 2)

#define PACK_AHEAD 8

/* Vectors of a row that is padded as it is loaded. */
#define MOST_VECTORS 8

#define TALL_TILE (TILE_ROWS > 6)

#define LANES_F32 (FASTSCRATCH_VECTOR_BYTES / 4)
#define LANES_F64 (FASTSCRATCH_VECTOR_BYTES / 8)

/* Rows of the wide tile, of two vectors each; fewer rows have more vectors. Its a is packed, so that it
   needs few addresses. */
#if TILE_ROWS >= 12
#define WIDE_ROWS 12
#else
#define WIDE_ROWS 6
#endif

/* The unrolled body of a tile must disappear into its caller, or the accumulators live in memory. */
#define TILE_INLINE static inline __attribute__((always_inline))
/* Some dtype's or kernel's instances go unused in some of the modules. */
#define TILE_FUNCTION static __attribute__((noinline, unused))

/* The address of a row is that of the one before and a step. Left to itself, the compiler computes those
   of all rows ahead and keeps them on the stack, which takes another load for each load. */
#define KEEP_WALKING(pointer) __asm__("" : "+r"(pointer))

/* A build with FASTSCRATCH_CHECKS tests every access that the pointer code can state the extent of. */
#ifdef FASTSCRATCH_CHECKS
#define CHECKED 1
#else
#define CHECKED 0
#endif
#define CHECK(condition)                                                                            \
    do {                                                                                            \
        if (CHECKED && !(condition)) {                                                              \
            fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition);           \
            abort();                                                                                \
        }                                                                                           \
    } while (0)

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

#define REAL float
#define LANES LANES_F32
#define MASK_INT int
#if HAS_MASKS
#define MASKED_LOAD _mm512_maskz_loadu_ps
#else
#define MASKED_LOAD(mask, p) _mm256_maskload_ps(p, (__m256i)(mask))
#endif
#define MASKED_STORE _mm512_mask_storeu_ps
#define EXPANDING_LOAD _mm512_maskz_expandloadu_ps
#define PERMUTE(a, lanes, b) _mm512_permutex2var_ps(a, (__m512i)(lanes), b)
#define X(name) PASTE(name, _f32)
#include "tile.h"
#undef REAL
#undef LANES
#undef MASK_INT
#undef MASKED_LOAD
#undef MASKED_STORE
#undef EXPANDING_LOAD
#undef PERMUTE
#undef X

#define REAL double
#define LANES LANES_F64
#define MASK_INT long long
#if HAS_MASKS
#define MASKED_LOAD _mm512_maskz_loadu_pd
#else
#define MASKED_LOAD(mask, p) _mm256_maskload_pd(p, (__m256i)(mask))
#endif
#define MASKED_STORE _mm512_mask_storeu_pd
#define EXPANDING_LOAD _mm512_maskz_expandloadu_pd
#define PERMUTE(a, lanes, b) _mm512_permutex2var_pd(a, (__m512i)(lanes), b)
#define X(name) PASTE(name, _f64)
#include "tile.h"
#undef REAL
#undef LANES
#undef MASK_INT
#undef MASKED_LOAD
#undef MASKED_STORE
#undef EXPANDING_LOAD
#undef PERMUTE
#undef X

#elif defined(REAL)

typedef REAL X(vec) __attribute__((vector_size(FASTSCRATCH_VECTOR_BYTES)));
typedef MASK_INT X(mask) __attribute__((vector_size(FASTSCRATCH_VECTOR_BYTES)));
/* Memory as the kernels get it: aligned to the item only. */
typedef REAL X(loose) __attribute__((vector_size(FASTSCRATCH_VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

TILE_INLINE X(vec) X(load)(const REAL *p) { return *(const X(loose) *)p; }
TILE_INLINE void X(store)(REAL *p, X(vec) v) { *(X(loose) *)p = v; }

/* Which lanes of a vector: a bit for each, or a lane of ones. */
#if HAS_MASKS
typedef unsigned X(some);
#else
typedef X(mask) X(some);
#endif

/* Each lane i with 0 <= at + i < count. */
TILE_INLINE X(some) X(lanes_inside)(ptrdiff_t at, ptrdiff_t count)
{
#if HAS_MASKS
    const unsigned all = (1u << LANES) - 1;
    const ptrdiff_t skipped = at < 0 ? -at : 0, end = count - at;
    if (skipped >= LANES || end <= 0)
        return 0;
    return (end < LANES ? (1u << end) - 1 : all) & all << skipped;
#else
    X(mask) lane;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        lane[i] = i;
    return (lane >= (MASK_INT)-at) & (lane < (MASK_INT)(count - at));
#endif
}

#if HAS_MASKED_LOADS
/* Some lanes' elements, and zeros; no other memory is touched. */
TILE_INLINE X(vec) X(load_some)(const REAL *p, X(some) lanes) { return (X(vec))MASKED_LOAD(lanes, p); }
#endif

/* The first `count` elements of a vector, at most LANES; zeros are loaded beyond them. */
TILE_INLINE X(vec) X(load_first)(const REAL *p, ptrdiff_t count)
{
#if HAS_MASKS
    return X(load_some)(p, (1u << count) - 1);
#elif HAS_MASKED_LOADS
    return X(load_some)(p, X(lanes_inside)(0, count));
#else
    REAL part[LANES] = {0};
    for (ptrdiff_t i = 0; i < count; i++)
        part[i] = p[i];
    return X(load)(part);
#endif
}

TILE_INLINE void X(store_first)(REAL *p, X(vec) v, ptrdiff_t count)
{
#if HAS_MASKS
    MASKED_STORE(p, (1u << count) - 1, v);
#else
    REAL part[LANES];
    X(store)(part, v);
    for (ptrdiff_t i = 0; i < count; i++)
        p[i] = part[i];
#endif
}

/* out[r, :] = init[r, :] + sum_k a[row_offset[r] + k_offset[k]] * b[k, :]

   for `rows` rows and `vectors` (1 or 2) vectors of columns. The whole loop over k runs with the
   accumulators in registers; unrolled, it is 1.02 to 1.04 times as fast. Row offsets ascend; rows are side_by_side if they ascend by one.
   init_step 0 gives every row the same start, which is how a bias enters. */
TILE_INLINE void X(tile_body)(const int rows, const int vectors, const int side_by_side,
                              const REAL *restrict a, const ptrdiff_t *restrict row_offset,
                              const ptrdiff_t *restrict k_offset, ptrdiff_t depth,
                              const REAL *restrict b, ptrdiff_t b_step, const REAL *init,
                              ptrdiff_t init_step, REAL *out, ptrdiff_t out_step)
{
    X(vec) acc[TILE_ROWS][2];
    const REAL *row[TILE_ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        row[r] = a + row_offset[r];
        /* Where it goes may be far away; by the end of the loop it is here. */
        __builtin_prefetch(out + r * out_step, 1);
        __builtin_prefetch(out + r * out_step + 2 * LANES - 1, 1);
        acc[r][0] = (X(vec)){0};
        acc[r][1] = (X(vec)){0};
    }
#pragma GCC unroll 4
    for (ptrdiff_t k = 0; k < depth; k++) {
        const ptrdiff_t offset = k_offset[k];
        const X(vec) b0 = X(load)(b);
        const X(vec) b1 = vectors == 2 ? X(load)(b + LANES) : b0;
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            const REAL value = side_by_side ? row[0][offset + r] : row[r][offset];
            acc[r][0] += value * b0;
            if (vectors == 2)
                acc[r][1] += value * b1;
        }
        b += b_step;
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        X(store)(out + r * out_step, acc[r][0] + X(load)(init + r * init_step));
        if (vectors == 2)
            X(store)(out + r * out_step + LANES, acc[r][1] + X(load)(init + r * init_step + LANES));
    }
}

#define TILE_ARGUMENTS a, row_offset, k_offset, depth, b, b_step, init, init_step, out, out_step
#define TILE_CASE(n)                                                                                \
    case n:                                                                                         \
        if (vectors == 2)                                                                           \
            X(tile_body)(n, 2, 0, TILE_ARGUMENTS);                                                  \
        else                                                                                        \
            X(tile_body)(n, 1, 0, TILE_ARGUMENTS);                                                  \
        break
/* The addresses of many rows do not fit the registers; those of neighbours are one address. */
#define TILE_LARGE_CASE(n)                                                                          \
    case n:                                                                                         \
        if (vectors == 2 && row_offset[n - 1] == row_offset[0] + n - 1)                             \
            X(tile_body)(n, 2, 1, TILE_ARGUMENTS);                                                  \
        else if (vectors == 2)                                                                      \
            X(tile_body)(n, 2, 0, TILE_ARGUMENTS);                                                  \
        else if (row_offset[n - 1] == row_offset[0] + n - 1)                                        \
            X(tile_body)(n, 1, 1, TILE_ARGUMENTS);                                                  \
        else                                                                                        \
            X(tile_body)(n, 1, 0, TILE_ARGUMENTS);                                                  \
        break

TILE_FUNCTION void X(tile)(int rows, int vectors, const REAL *a, const ptrdiff_t *row_offset,
                           const ptrdiff_t *k_offset, ptrdiff_t depth, const REAL *b, ptrdiff_t b_step,
                           const REAL *init, ptrdiff_t init_step, REAL *out, ptrdiff_t out_step)
{
    switch (rows) {
        TILE_CASE(1);
        TILE_CASE(2);
        TILE_CASE(3);
        TILE_CASE(4);
        TILE_CASE(5);
        TILE_CASE(6);
#if TILE_ROWS > 6
        TILE_CASE(7);
        TILE_CASE(8);
        TILE_LARGE_CASE(9);
        TILE_LARGE_CASE(10);
        TILE_LARGE_CASE(11);
        TILE_LARGE_CASE(12);
#endif
#if TILE_ROWS > 12
        TILE_LARGE_CASE(13);
        TILE_LARGE_CASE(14);
#endif
    }
}
#undef TILE_CASE
#undef TILE_LARGE_CASE
#undef TILE_ARGUMENTS

/* out[r*out_step + target[v] + :] = start + sum_k a[k*rows + r] * b[place[v] + k_offset[k] + :]

   The same product with the vectors along the pixels, from wherever the table of places says, and a
   packed. The start is bias[r], or what is there where bias is NULL. */
TILE_INLINE void X(wide_tile_body)(const int rows, const int vectors, const REAL *restrict a,
                                   const REAL *restrict b, const ptrdiff_t *restrict place,
                                   const ptrdiff_t *restrict k_offset, ptrdiff_t depth,
                                   const REAL *restrict bias, REAL *out, ptrdiff_t out_step,
                                   const ptrdiff_t *restrict target)
{
    X(vec) acc[WIDE_ROWS][8];
    const REAL *column[8];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
        column[v] = b + place[v];
#pragma GCC unroll 32
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            acc[r][v] = (X(vec)){0};
    for (ptrdiff_t k = 0; k < depth; k++) {
        const ptrdiff_t offset = k_offset[k];
        X(vec) value[8];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            value[v] = X(load)(column[v] + offset);
#pragma GCC unroll 32
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                acc[r][v] += a[r] * value[v];
        a += rows;
    }
#pragma GCC unroll 32
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            REAL *to = out + r * out_step + target[v];
            X(store)(to, acc[r][v] + (bias ? bias[r] - (X(vec)){0} : X(load)(to)));
        }
}

#define WIDE_ARGUMENTS a, b, place, k_offset, depth, bias, out, out_step, target
#define WIDE_CASE(rows, vectors)                                                                    \
    case (rows) * 16 + (vectors):                                                                   \
        X(wide_tile_body)(rows, vectors, WIDE_ARGUMENTS);                                           \
        break
#define WIDE_PAIR(rows)                                                                             \
    WIDE_CASE(rows, 1);                                                                             \
    WIDE_CASE(rows, 2)
#define WIDE_FOUR(rows)                                                                             \
    WIDE_PAIR(rows);                                                                                \
    WIDE_CASE(rows, 3);                                                                             \
    WIDE_CASE(rows, 4)

TILE_FUNCTION void X(wide_tile)(int rows, int vectors, const REAL *a, const REAL *b,
                                const ptrdiff_t *place, const ptrdiff_t *k_offset, ptrdiff_t depth,
                                const REAL *bias, REAL *out, ptrdiff_t out_step,
                                const ptrdiff_t *target)
{
    switch (rows * 16 + vectors) {
        WIDE_FOUR(1);
        WIDE_CASE(1, 5);
        WIDE_CASE(1, 6);
        WIDE_CASE(1, 7);
        WIDE_CASE(1, 8);
        WIDE_FOUR(2);
        WIDE_PAIR(3);
        WIDE_CASE(3, 3);
        WIDE_PAIR(4);
        WIDE_CASE(4, 3);
        WIDE_PAIR(5);
        WIDE_PAIR(6);
#if WIDE_ROWS > 6
        WIDE_CASE(3, 4);
        WIDE_CASE(4, 4);
        WIDE_CASE(5, 3);
        WIDE_CASE(5, 4);
        WIDE_CASE(6, 3);
        WIDE_CASE(6, 4);
        WIDE_PAIR(7);
        WIDE_CASE(7, 3);
        WIDE_PAIR(8);
        WIDE_CASE(8, 3);
        WIDE_PAIR(9);
        WIDE_PAIR(10);
        WIDE_PAIR(11);
        WIDE_PAIR(12);
#endif
    }
}
#undef WIDE_PAIR
#undef WIDE_FOUR
#undef WIDE_CASE
#undef WIDE_ARGUMENTS

/* dst[i] = src[i]. Rows of images are too short for calls of memcpy: the last vector overlaps the one
   before. */
TILE_INLINE void X(copy_row)(REAL *dst, const REAL *src, ptrdiff_t count)
{
    if (count < LANES && HAS_MASKS) {
        X(store_first)(dst, X(load_first)(src, count), count);
        return;
    }
    if (count < LANES) {
        for (ptrdiff_t i = 0; i < count; i++)
            dst[i] = src[i];
        return;
    }
    for (ptrdiff_t i = 0; i < count - LANES; i += LANES)
        X(store)(dst + i, X(load)(src + i));
    X(store)(dst + count - LANES, X(load)(src + count - LANES));
}

/* The lanes of two vectors, as shuffles name them: those of a step of the register transpose, which
   exchanges the off-diagonal blocks of s x s elements; every second one, from s on; those s away; each
   of the first half twice. */
#define LOW(e, s) ((e) & (s) ? LANES + (e) - (s) : (e))
#define HIGH(e, s) ((e) & (s) ? LANES + (e) : (e) + (s))
#define EVERY_SECOND(e, s) (2 * (e) + (s))
#define ACROSS(e, s) ((e) ^ (s))
#define TWICE(e, s) ((e) / 2)
#define TWO(f, e, s) f(e, s), f(e + 1, s)
#define FOUR(f, e, s) TWO(f, e, s), TWO(f, e + 2, s)
#define EIGHT(f, e, s) FOUR(f, e, s), FOUR(f, e + 4, s)
#define SIXTEEN(f, e, s) EIGHT(f, e, s), EIGHT(f, e + 8, s)
#if defined(__clang__)
#define SHUFFLE(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(mask, a, b, ...) __builtin_shuffle(a, b, (X(mask)){__VA_ARGS__})
#endif
#if LANES == 16
#define ALL_LANES SIXTEEN
#elif LANES == 8
#define ALL_LANES EIGHT
#elif LANES == 4
#define ALL_LANES FOUR
#else
#define ALL_LANES TWO
#endif

/* The sum of all lanes, by halves: one after the other, each would wait for the one before. */
TILE_INLINE REAL X(sum_lanes)(X(vec) v)
{
#if LANES > 8
    v += SHUFFLE(mask, v, v, ALL_LANES(ACROSS, 0, 8));
#endif
#if LANES > 4
    v += SHUFFLE(mask, v, v, ALL_LANES(ACROSS, 0, 4));
#endif
#if LANES > 2
    v += SHUFFLE(mask, v, v, ALL_LANES(ACROSS, 0, 2));
#endif
    v += SHUFFLE(mask, v, v, ALL_LANES(ACROSS, 0, 1));
    return v[0];
}

/* dst[i] = src[2*i]. Two vectors are taken apart at once. */
TILE_FUNCTION void X(copy_second)(REAL *dst, const REAL *src, ptrdiff_t count)
{
    ptrdiff_t i = 0;
    for (; i + LANES < count; i += LANES)
        X(store)(dst + i, SHUFFLE(mask, X(load)(src + 2 * i), X(load)(src + 2 * i + LANES),
                                  ALL_LANES(EVERY_SECOND, 0, 0)));
    if (HAS_MASKS && i < count) {
        const ptrdiff_t rest = 2 * (count - i) - 1;
        const X(vec) low = X(load_first)(src + 2 * i, rest < LANES ? rest : LANES);
        const X(vec) high = rest > LANES ? X(load_first)(src + 2 * i + LANES, rest - LANES) : low;
        X(store_first)(dst + i, SHUFFLE(mask, low, high, ALL_LANES(EVERY_SECOND, 0, 0)), count - i);
        return;
    }
    for (; i < count; i++)
        dst[i] = src[2 * i];
}

/* dst[2*i] = src[i]; what lies between is left alone. */
TILE_FUNCTION void X(store_second)(REAL *dst, const REAL *src, ptrdiff_t count)
{
#if HAS_MASKS
    for (ptrdiff_t i = 0; i < count; i += LANES / 2) {
        const unsigned lanes = (2u << 2 * (count - i < LANES / 2 ? count - i - 1 : LANES / 2 - 1)) - 1;
        const X(vec) value = X(load_first)(src + i, count - i < LANES / 2 ? count - i : LANES / 2);
        MASKED_STORE(dst + 2 * i, lanes & 0x5555, SHUFFLE(mask, value, value, ALL_LANES(TWICE, 0, 0)));
    }
#else
    for (ptrdiff_t i = 0; i < count; i++)
        dst[2 * i] = src[i];
#endif
}

/* dst[i, phase*gap + j] = row[step*j + phase] for each phase < phases and j < width, where a row is that of
   src with `before` zeros in front of its `count` elements, and zeros behind.

   Windows of a stride find their neighbours' columns side by side. One column after the other, a copy of
   planes of 16x16 took as long as three quarters of what was then multiplied at stride 2. */
#if HAS_MASKS
/* The lanes of a phase that the v-th vector of a row has. Those that the ones before it had are kept. */
TILE_INLINE X(mask) X(lanes_of_phase)(const int step, const int phase, const int v)
{
    X(mask) lane;
#pragma GCC unroll 16
    for (int e = 0; e < LANES; e++) {
        const int at = step * e + phase;
        lane[e] = at / LANES == v ? LANES + at % LANES : v == 1 && at < LANES ? at : e;
    }
    return lane;
}

TILE_INLINE void X(copy_phases_body)(const int step, REAL *dst, ptrdiff_t dst_step, ptrdiff_t gap,
                                     ptrdiff_t phases, const REAL *src, ptrdiff_t src_step, ptrdiff_t rows,
                                     ptrdiff_t before, ptrdiff_t count, ptrdiff_t width, ptrdiff_t next)
{
    for (ptrdiff_t j = 0; j < width; j += LANES) {
        const ptrdiff_t at = step * j - before, inside = width - j < LANES ? width - j : LANES;
        unsigned lanes[4];
#pragma GCC unroll 4
        for (int v = 0; v < step; v++)
            lanes[v] = X(lanes_inside)(at + v * LANES, count);
        for (ptrdiff_t i = 0; i < rows; i++) {
            const REAL *from = src + i * src_step + at;
            REAL *to = dst + i * dst_step + j;
            X(vec) row[4];
#pragma GCC unroll 4
            for (int v = 0; v < step; v++) {
                __builtin_prefetch(from + v * LANES + next);
                row[v] = X(load_some)(from + v * LANES, lanes[v]);
            }
#pragma GCC unroll 4
            for (int phase = 0; phase < step; phase++) {
                X(vec) value = row[0];
#pragma GCC unroll 4
                for (int v = 1; v < step; v++)
                    value = (X(vec))PERMUTE(value, X(lanes_of_phase)(step, phase, v), row[v]);
                if (phase < phases)
                    X(store_first)(to + phase * gap, value, inside);
            }
        }
    }
}
#endif

TILE_FUNCTION void X(copy_phases)(ptrdiff_t step, REAL *dst, ptrdiff_t dst_step, ptrdiff_t gap,
                                  ptrdiff_t phases, const REAL *src, ptrdiff_t src_step, ptrdiff_t rows,
                                  ptrdiff_t before, ptrdiff_t count, ptrdiff_t width, ptrdiff_t next)
{
#define COPY_PHASES(step)                                                                           \
    X(copy_phases_body)(step, dst, dst_step, gap, phases, src, src_step, rows, before, count, width, next)
#if HAS_MASKS
    if (step == 2) {
        COPY_PHASES(2);
        return;
    }
    if (step == 3) {
        COPY_PHASES(3);
        return;
    }
    if (step == 4) {
        COPY_PHASES(4);
        return;
    }
#endif
#undef COPY_PHASES
    (void)next;
    for (ptrdiff_t phase = 0; phase < phases; phase++) {
        /* The columns first to end of this phase are inside. */
        const ptrdiff_t skipped = before > phase ? (before - phase + step - 1) / step : 0;
        const ptrdiff_t first = skipped < width ? skipped : width;
        const ptrdiff_t reached = before + count > phase ? (before + count - phase + step - 1) / step : 0;
        const ptrdiff_t end = reached < first ? first : reached < width ? reached : width;
        for (ptrdiff_t i = 0; i < rows; i++) {
            const REAL *from = src + i * src_step + phase - before;
            REAL *to = dst + i * dst_step + phase * gap;
            for (ptrdiff_t j = 0; j < first; j++)
                to[j] = 0;
            if (step == 2)
                X(copy_second)(to + first, from + 2 * first, end - first);
            else
                for (ptrdiff_t j = first; j < end; j++)
                    to[j] = from[step * j];
            for (ptrdiff_t j = end; j < width; j++)
                to[j] = 0;
        }
    }
}

/* dst[i, j] = src[i, j - before] and zeros around, for rows of `before + count + after` elements.

   Two whole vectors of zeros, most of which is then overwritten, take less time than two loops. What
   will be copied next lies `next` elements behind this; fetching it now makes a copy of a 28x28 plane
   that comes from L3 take a third of the time. */
TILE_FUNCTION void X(copy_padded)(REAL *dst, ptrdiff_t dst_step, const REAL *src, ptrdiff_t src_step,
                                  ptrdiff_t rows, ptrdiff_t before, ptrdiff_t count, ptrdiff_t after,
                                  ptrdiff_t next)
{
    const ptrdiff_t width = before + count + after;
#if HAS_MASKS
    /* Padded as they are loaded: depthwise planes of 28x28 and 56x56 1.15 times as fast. */
    const ptrdiff_t vectors = (width + LANES - 1) / LANES;
    if (vectors <= MOST_VECTORS) {
        unsigned inside[MOST_VECTORS];
        for (ptrdiff_t v = 0; v < vectors; v++)
            inside[v] = X(lanes_inside)(v * LANES - before, count);
        for (ptrdiff_t i = 0; i < rows; i++, dst += dst_step, src += src_step) {
            const REAL *from = src - before;
            for (ptrdiff_t v = 0; v < vectors - 1; v++, from += LANES) {
                __builtin_prefetch(from + next);
                X(store)(dst + v * LANES, X(load_some)(from, inside[v]));
            }
            __builtin_prefetch(from + next);
            X(store_first)(dst + (vectors - 1) * LANES, X(load_some)(from, inside[vectors - 1]),
                           width - (vectors - 1) * LANES);
        }
        return;
    }
#endif
    const X(vec) zero = {0};
    for (ptrdiff_t i = 0; i < rows; i++, dst += dst_step, src += src_step) {
        if (before <= LANES && after <= LANES && width >= LANES) {
            X(store)(dst, zero);
            X(store)(dst + width - LANES, zero);
        } else {
            for (ptrdiff_t j = 0; j < before; j++)
                dst[j] = 0;
            for (ptrdiff_t j = before + count; j < width; j++)
                dst[j] = 0;
        }
        for (ptrdiff_t j = 0; j < count; j += 64 / (ptrdiff_t)sizeof(REAL))
            __builtin_prefetch(src + next + j);
        X(copy_row)(dst + before, src, count);
    }
}

/* dst[i] = sum_j src[j*step + i + first + j*advance], where i + first + j*advance is in [0, limit)

   The ends of a row are masked: less than a vector is read on either side of it, and dropped. Done
   element by element they took a quarter of the time of a convolution of 14x14 images. */
TILE_INLINE X(vec) X(shifted)(const REAL *src, ptrdiff_t step, ptrdiff_t taps, ptrdiff_t at,
                              ptrdiff_t advance, ptrdiff_t limit)
{
    X(vec) sum = {0};
    for (ptrdiff_t j = 0; j < taps; j++, src += step, at += advance) {
        if (at <= -LANES || at >= limit)
            continue;
        X(vec) value = X(load)(src + at);
        if (at < 0 || at + LANES > limit) {
            X(mask) lane;
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                lane[i] = i;
            lane += (MASK_INT)at;
            value = (X(vec))((X(mask))value & (lane >= 0) & (lane < (MASK_INT)limit));
        }
        sum += value;
    }
    return sum;
}

TILE_FUNCTION void X(add_shifted)(REAL *dst, ptrdiff_t count, const REAL *src, ptrdiff_t step,
                                  ptrdiff_t taps, ptrdiff_t first, ptrdiff_t advance, ptrdiff_t limit)
{
    REAL edge[LANES];
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        const ptrdiff_t at = i + LANES <= count || count < LANES ? i : count - LANES;
        const X(vec) sum = X(shifted)(src, step, taps, at + first, advance, limit);
        if (count >= LANES) {
            X(store)(dst + at, sum);
        } else {
            X(store)(edge, sum);
            for (ptrdiff_t j = 0; j < count; j++)
                dst[j] = edge[j];
        }
    }
}

/* sums[r] += sum_i sum_j a[i*a_step + j] * b[b_offset[r] + i*b_step + j], over `count` rows of `width`

   Dot products of windows, for the gradient of weights with very few output channels. Reads on from the
   end of a row to that of its last vector; what it finds there is masked away, for it may be infinite. */
TILE_INLINE void X(window_dots_body)(const int rows, const REAL *restrict a, ptrdiff_t a_step,
                                     const REAL *restrict b, ptrdiff_t b_step,
                                     const ptrdiff_t *restrict b_offset, ptrdiff_t count,
                                     ptrdiff_t width, REAL *restrict sums)
{
    X(vec) acc[9];
#pragma GCC unroll 9
    for (int r = 0; r < rows; r++)
        acc[r] = (X(vec)){0};
    const ptrdiff_t whole = width / LANES * LANES;
    X(mask) inside;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        inside[i] = whole + i < width ? -1 : 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const REAL *a_row = a + i * a_step, *b_row = b + i * b_step;
        for (ptrdiff_t j = 0; j < whole; j += LANES) {
            const X(vec) shared = X(load)(a_row + j);
#pragma GCC unroll 9
            for (int r = 0; r < rows; r++)
                acc[r] += shared * X(load)(b_row + b_offset[r] + j);
        }
        if (whole < width) {
            const X(vec) shared = (X(vec))((X(mask))X(load)(a_row + whole) & inside);
#pragma GCC unroll 9
            for (int r = 0; r < rows; r++)
                acc[r] += shared * (X(vec))((X(mask))X(load)(b_row + b_offset[r] + whole) & inside);
        }
    }
#pragma GCC unroll 9
    for (int r = 0; r < rows; r++)
        sums[r] += X(sum_lanes)(acc[r]);
}

#define DOTS_CASE(n)                                                                                \
    case n:                                                                                         \
        X(window_dots_body)(n, a, a_step, b, b_step, b_offset, count, width, sums);                 \
        break

/* Evenly many rows at a time, nine at most: 3x3 taps read their windows once. */
TILE_FUNCTION void X(window_dots)(ptrdiff_t rows, const REAL *a, ptrdiff_t a_step, const REAL *b,
                                  ptrdiff_t b_step, const ptrdiff_t *b_offset, ptrdiff_t count,
                                  ptrdiff_t width, REAL *sums)
{
    for (ptrdiff_t groups = (rows + 8) / 9; groups > 0; groups--) {
        const ptrdiff_t n = (rows + groups - 1) / groups;
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
        rows -= n;
        b_offset += n;
        sums += n;
    }
}
#undef DOTS_CASE

/* The sum of `count` rows of `width` elements, in four chains: in one, each addition waits for the one
   before, and takes as long as four multiply-adds of whole vectors. */
TILE_FUNCTION REAL X(sum_rows)(const REAL *a, ptrdiff_t a_step, ptrdiff_t count, ptrdiff_t width)
{
    X(vec) acc[4] = {{0}, {0}, {0}, {0}};
    REAL sum = 0;
    for (ptrdiff_t i = 0; i < count; i++, a += a_step) {
        ptrdiff_t j = 0;
        for (; j + 4 * LANES <= width; j += 4 * LANES)
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                acc[v] += X(load)(a + j + v * LANES);
        for (; j + LANES <= width; j += LANES)
            acc[0] += X(load)(a + j);
        for (; j < width; j++)
            sum += a[j];
    }
    return sum + X(sum_lanes)((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

TILE_INLINE void X(add_columns_body)(const int vectors, const REAL *a, ptrdiff_t rows, REAL *sums)
{
    X(vec) acc[4][2] = {{{0}}};
    ptrdiff_t i = 0;
    for (; i + 4 <= rows; i += 4)
#pragma GCC unroll 8
        for (int j = 0; j < 4 * vectors; j++)
            acc[j / vectors][j % vectors] += X(load)(a + (i * vectors + j) * LANES);
    for (; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            acc[0][v] += X(load)(a + (i * vectors + v) * LANES);
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
        X(store)(sums + v * LANES, X(load)(sums + v * LANES)
                 + ((acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v])));
}

/* sums += the sum of `rows` rows, all of one or two vectors. */
TILE_FUNCTION void X(add_columns)(int vectors, const REAL *a, ptrdiff_t rows, REAL *sums)
{
    if (vectors == 1)
        X(add_columns_body)(1, a, rows, sums);
    else
        X(add_columns_body)(2, a, rows, sums);
}

/* sums[r] = sum_k a[k] * b[r*b_step + k], for four rows: one after the other they take 1.5 times as long. */
TILE_FUNCTION void X(four_dots)(const REAL *restrict a, const REAL *restrict b, ptrdiff_t b_step, ptrdiff_t depth,
                                REAL *restrict sums)
{
    X(vec) acc[4] = {{0}, {0}, {0}, {0}};
    ptrdiff_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        const X(vec) factor = X(load)(a + k);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            acc[r] += factor * X(load)(b + r * b_step + k);
    }
    if (HAS_MASKS) {
        const X(vec) factor = X(load_first)(a + k, depth - k);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            acc[r] += factor * X(load_first)(b + r * b_step + k, depth - k);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        REAL rest = 0;
        for (ptrdiff_t i = k; i < depth && !HAS_MASKS; i++)
            rest += a[i] * b[r * b_step + i];
        sums[r] = rest + X(sum_lanes)(acc[r]);
    }
}

/* The sum of a[k] * b[k]. */
TILE_FUNCTION REAL X(dot)(const REAL *restrict a, const REAL *restrict b, ptrdiff_t depth)
{
    X(vec) acc[4] = {{0}, {0}, {0}, {0}};
    REAL sum = 0;
    ptrdiff_t k = 0;
    for (; k + 4 * LANES <= depth; k += 4 * LANES)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            acc[i] += X(load)(a + k + i * LANES) * X(load)(b + k + i * LANES);
    for (; k + LANES <= depth; k += LANES)
        acc[0] += X(load)(a + k) * X(load)(b + k);
    if (HAS_MASKS)
        acc[1] += X(load_first)(a + k, depth - k) * X(load_first)(b + k, depth - k);
    for (; k < depth && !HAS_MASKS; k++)
        sum += a[k] * b[k];
    return sum + X(sum_lanes)((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

/* One step of the register transpose: exchange the off-diagonal blocks of s x s elements. */
#define TRANSPOSE_STEP(s)                                                                           \
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) if (!(i & (s)))                        \
    {                                                                                               \
        const X(vec) upper = row[i], lower = row[i + (s)];                                          \
        row[i] = SHUFFLE(mask, upper, lower, ALL_LANES(LOW, 0, s));                                       \
        row[i + (s)] = SHUFFLE(mask, upper, lower, ALL_LANES(HIGH, 0, s));                                \
    }

#if LANES == 16
#define TRANSPOSE_STEPS TRANSPOSE_STEP(8) TRANSPOSE_STEP(4) TRANSPOSE_STEP(2) TRANSPOSE_STEP(1)
#elif LANES == 8
#define TRANSPOSE_STEPS TRANSPOSE_STEP(4) TRANSPOSE_STEP(2) TRANSPOSE_STEP(1)
#elif LANES == 4
#define TRANSPOSE_STEPS TRANSPOSE_STEP(2) TRANSPOSE_STEP(1)
#else
#define TRANSPOSE_STEPS TRANSPOSE_STEP(1)
#endif

TILE_INLINE void X(transpose_rows)(X(vec) *row) { TRANSPOSE_STEPS }

TILE_INLINE void X(transpose_block)(REAL *dst, ptrdiff_t dst_step, const REAL *src, ptrdiff_t src_step)
{
    X(vec) row[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        row[i] = X(load)(src + i * src_step);
    X(transpose_rows)(row);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        X(store)(dst + i * dst_step, row[i]);
}

/* The same for fewer rows or columns than lanes. */
TILE_INLINE void X(transpose_part)(REAL *dst, ptrdiff_t dst_step, const REAL *src, ptrdiff_t src_step,
                                   ptrdiff_t rows, ptrdiff_t cols)
{
    if (!HAS_MASKS || rows <= 2 || cols <= 2) {
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t c = 0; c < cols; c++)
                dst[c * dst_step + r] = src[r * src_step + c];
        return;
    }
    X(vec) row[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        row[i] = i < rows ? X(load_first)(src + i * src_step, cols) : (X(vec)){0};
    X(transpose_rows)(row);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (i < cols)
            X(store_first)(dst + i * dst_step, row[i], rows);
}

/* dst[c*dst_step + r] = src[r*src_step + c]; either step may be negative.

   The last block overlaps the one before it: element by element, what 30 channels leave beyond a vector
   took 0.4 of the time of a first layer. */
TILE_FUNCTION void X(transpose)(REAL *dst, ptrdiff_t dst_step, const REAL *src, ptrdiff_t src_step,
                                ptrdiff_t rows, ptrdiff_t cols)
{
    for (ptrdiff_t i = 0; i < rows; i += LANES)
        for (ptrdiff_t j = 0; j < cols; j += LANES) {
            const ptrdiff_t r = i + LANES <= rows || rows < LANES ? i : rows - LANES;
            const ptrdiff_t c = j + LANES <= cols || cols < LANES ? j : cols - LANES;
            REAL *to = dst + c * dst_step + r;
            const REAL *from = src + r * src_step + c;
            if (rows >= LANES && cols >= LANES)
                X(transpose_block)(to, dst_step, from, src_step);
            else
                X(transpose_part)(to, dst_step, from, src_step, rows < LANES ? rows : LANES,
                                  cols < LANES ? cols : LANES);
        }
}

/* packed[q][k] = b[k][q], for `panels` whole panels of two vectors, `panel_step` apart when packed.

   memcpy would be called for each: a fifth of the time of a product of 128 rows. */
TILE_FUNCTION void X(pack_rows)(REAL *restrict packed, ptrdiff_t panel_step, const REAL *restrict b,
                                ptrdiff_t b_step, ptrdiff_t depth, ptrdiff_t panels)
{
    for (ptrdiff_t k = 0; k < depth; k++)
        for (ptrdiff_t q = 0; q < panels; q++) {
            const REAL *source = b + k * b_step + q * 2 * LANES;
            /* Rows of large matrices lie on pages of their own, where no hardware looks ahead. */
            __builtin_prefetch(source + PACK_AHEAD * b_step);
            REAL *target = packed + q * panel_step + k * 2 * LANES;
            X(store)(target, X(load)(source));
            X(store)(target + LANES, X(load)(source + LANES));
        }
}

/* Panels that lie side by side in rows of b, each from first[q] to first[q + 1], to rows of `panel` elements of
   their own. Whole vectors are copied, and what is too much of them is written over by the next row. */
TILE_FUNCTION void X(pack_beside)(REAL *packed, ptrdiff_t packed_panel, ptrdiff_t panel, const REAL *b,
                                  ptrdiff_t b_step, const ptrdiff_t *first, ptrdiff_t panels, ptrdiff_t depth)
{
    for (ptrdiff_t k = 0; k < depth; k++, b += b_step, packed += panel)
        for (ptrdiff_t q = 0; q < panels; q++) {
            const REAL *from = b + first[q];
            REAL *to = packed + q * packed_panel;
            __builtin_prefetch(from + PACK_AHEAD * b_step);
            if (k + 1 < depth)
                for (ptrdiff_t j = 0; j < panel; j += LANES)
                    X(store)(to + j, X(load)(from + j));
            else
                for (ptrdiff_t j = 0; j < first[q + 1] - first[q]; j++)
                    to[j] = from[j];
        }
}

#include "product.h"
#include "columns.h"

#undef LOW
#undef HIGH
#undef TWO
#undef FOUR
#undef EIGHT
#undef SIXTEEN
#undef SHUFFLE
#undef TRANSPOSE_STEP
#undef ALL_LANES
#undef EVERY_SECOND
#undef ACROSS
#undef TWICE
#undef TRANSPOSE_STEPS

#endif
